"""The memories that are attached to a model, and what they do in its life: sessions, calibration, saving, casts."""

import copy
import warnings
from collections.abc import Callable, Generator, ItemsView, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, distributed, nn

from callosal.hosts.adapter import save_adapter
from callosal.hosts.calibration import Text, UncalibratedWarning, sample_hidden
from callosal.hosts.cue import Cue
from callosal.hosts.hooks import Hooks
from callosal.hosts.layers import Place, input_embedding
from callosal.hosts.neighbours import kept_from_peft, take_back, whole_precision
from callosal.hosts.reading import Reader
from callosal.hosts.session import Session, Store, named
from callosal.hosts.shipped import REPO_ID
from callosal.memory import LateralMemory, calibrate
from callosal.memory.ways import Ways
from callosal.stores import OnConflict
from callosal.stores import Store as LayerStore

# Under this name they are a part of the model while they are attached.
PLACE = "callosal"


class Memories(nn.Module):
    """The memories that are attached to a model, by the names of the layers they stand behind.

    They are a part of the model (``model.callosal``), so that what moves, trains, shards or optimises the model does so
    to them; but no cast makes them narrower than float32, and neither PEFT nor Accelerate takes them over.

    They act in a session only: outside one the model computes what it did before, bit for bit, since there is no user
    whose state could be read, and a key-value cache could not carry what was read. The first such call warns.

    Attributes:
        places: by layer, whose memory stands behind it. A memory that several layers share goes by the name of the one
            that it is written from.
        cue: that replies begin with where they have something to say, if they were taught one; saved with them.
    """

    def __init__(
        self, model: nn.Module, memories: Mapping[str, LateralMemory], places: Mapping[str, Place] | None = None
    ) -> None:
        super().__init__()
        self.places: dict[str, Place] = dict(places or {name: Place(name) for name in memories})
        # A module's name has no dots; nor may it have slashes, since disk offloading makes a file of each parameter.
        self._keys = {name: name.replace(".", "-") for name in memories}
        self.layers = nn.ModuleDict({self._keys[name]: memory for name, memory in memories.items()})
        self.warn_uncalibrated = False
        self.cue: Cue | None = None
        wanted = any(memory.config.embedded for memory in memories.values())
        embedding = input_embedding(model) if wanted else None
        self._hooks = Hooks(model, self.places, self._learn, embedding)
        # In a tuple, or the model would be a part of its own part.
        self._model = (model,)

    @property
    def model(self) -> nn.Module:
        """The model that these memories are attached to."""
        return self._model[0]

    @property
    def base_name(self) -> str | None:
        """The model's name on the Hugging Face hub; None if it has none, or came from a folder.

        Where a folder lies is nobody else's business, and adapters are passed on.
        """
        name: str = getattr(self.model, "name_or_path", None) or ""
        return name if REPO_ID.fullmatch(name) and not Path(name).exists() else None

    @property
    def active(self) -> Session | None:
        """The session that the calling code is in, which holds all state; None in no session of this model."""
        reader = self._hooks.reader
        return None if reader is None else reader.session

    @property
    def in_use(self) -> bool:
        """Whether a session of this model is under way in any thread or task."""
        return bool(self._hooks.under_way)

    @property
    def warn_outside_session(self) -> bool:
        """Whether the next call of the model outside a session warns; the warning itself ends it."""
        return self._hooks.warn_outside_session

    @warn_outside_session.setter
    def warn_outside_session(self, warn: bool) -> None:
        self._hooks.warn_outside_session = warn

    @property
    def acting(self) -> Self:
        """These; PEFT's ``modules_to_save`` hands the question on to the copy that it trains, or to the original."""
        return self

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the layers."""
        return iter(self._keys)

    def __len__(self) -> int:
        """Return how many memories there are."""
        return len(self.layers)

    def __getitem__(self, name: str) -> LateralMemory:
        """Return the memory that acts behind a layer, by the layer's dotted name."""
        if name not in self.places:
            raise KeyError(f"no memory behind {name!r}; there are some behind {list(self.places)}")
        acting = attached(self.model) or self
        take_back(acting)
        memory = acting.layers[self._keys[self.places[name].memory]]
        assert isinstance(memory, LateralMemory)
        return memory

    def items(self) -> ItemsView[str, LateralMemory]:
        """Return (name of the layer, memory) pairs."""
        return {name: self[name] for name in self}.items()

    def forward(self, hidden: Any) -> Any:
        """Hand on what comes: a container that calls its parts in a row, as nn.Sequential, calls this too."""
        return hidden

    def session(
        self,
        users: str | Iterable[str] | None = None,
        store: LayerStore | Store | None = None,
        *,
        on_conflict: OnConflict | None = None,
        sequence_group: "distributed.ProcessGroup | None" = None,
    ) -> Session:
        """Return a session, in which the model remembers: ``with memories.session("ada", store):``.

        It loads the users' memories when it begins, carries them through the calls of the model and of ``generate``,
        commits them at turns (see :class:`~callosal.hosts.session.Session`) and saves them at its end unless it failed.

        Args:
            users: who the rows of the batch belong to, one name each. None is for rows that start blank and are
                forgotten at the end, as in training.
            store: where memories are kept: a :class:`~callosal.MemoryStore`, a :class:`~callosal.RedisStore`, or an
                object with ``load(name, memory)``, which returns a state of one row, and ``save(name, state, memory)``,
                for which each layer has an entry of its own, ``user@layer``. None keeps nothing.
            on_conflict: what saving does where somebody else has saved the user's memory meanwhile: "error",
                "merge" or "overwrite"; None as the store does by itself.
            sequence_group: processes of which each gives the model its own piece of every text, in the order of their
                ranks (:func:`callosal.memory.sequence_parallel`): all must call it alike. The memories are those of
                the whole text on each; what the model itself joins across pieces, by attention, is not seen to.

        Raises:
            TypeError: a user is no string.
            ValueError: a user is named twice, none is, there is a store but no user, or there is a sequence_group and a
                store, or one and a memory that several layers share.
        """
        names = named(users)
        if store is not None and sequence_group is not None:
            raise ValueError(
                "a store and a sequence_group: each process would save the same memories; begin the session without a "
                "store and save session.states on one process"
            )
        if sequence_group is not None and len(self.places) > len(self.layers):
            raise ValueError(
                "a sequence_group and a memory that several layers share: what the layers that only read have seen is "
                "not added up over processes; attach with shared=False, or begin the session without a sequence_group"
            )
        if names is None and store is not None:
            raise ValueError("a store but no user; pass the name under which memories are kept")
        if self.warn_uncalibrated:
            self.warn_uncalibrated = False
            warnings.warn(
                f"{type(self.model).__name__} is pretrained, and the hidden states of such models all look alike: its "
                "memories will hardly tell tokens apart. Call memories.calibrate(texts, tokenizer) before you train "
                "them; if it is meant, set memories.warn_uncalibrated = False (this is said once)",
                UncalibratedWarning,
                stacklevel=2,
            )
        reader = Reader(self.model, dict(self.items()), self.places, self._hooks, sequence_group)
        return Session(reader, names, store, on_conflict)

    def calibrate(
        self,
        texts: Iterable[Text],
        tokenizer: Callable[[str], Mapping[str, Any]] | None = None,
        *,
        num_tokens: int = 16_384,
        seed: int = 0,
    ) -> None:
        """Fit new memories to the hidden states of this model, before they are trained; no labels are needed.

        The model reads the texts once, without the memories. What each layer gives is sampled, attention sinks left
        out, and taken apart as :func:`callosal.memory.calibrate` says. It is a part of the weights that are saved.

        Args:
            texts: some that are like what the memories will see: strings (rendered as they will be, such as by a chat
                template), ids of tokens, or batches of a loader.
            tokenizer: of the model, for strings.
            num_tokens: how many to sample at most. They are held in memory for every layer.
            seed: of the draws by which the addresses start.

        Raises:
            RuntimeError: a session is under way, or the memories are trained.
            TypeError: ``texts`` is one text.
            ValueError: a string without a tokenizer, or fewer tokens than the hidden states are wide.
        """
        if self.in_use:
            raise RuntimeError("calibrate() was called inside a session, or while another thread is in one; end that")
        ways = [part for _, memory in self.items() for part in memory.modules() if isinstance(part, Ways)]
        if any(part.output.weight.any() for part in ways):
            raise RuntimeError(
                "calibrate() would undo the training of these memories, whose output maps are no longer zero; attach "
                "new ones, calibrate these, and train them"
            )
        warns, self.warn_outside_session = self.warn_outside_session, False
        try:
            together = [(name, *self._readers(name)) for name in self]
            sampled = sample_hidden(self.model, together, texts, tokenizer, num_tokens)
        finally:
            self.warn_outside_session = warns
        for name, *readers in together:
            calibrate(self[name], sampled[name], [sampled[reader] for reader in readers], seed=seed)
        self.warn_uncalibrated = False

    def save_pretrained(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Save the memories' weights: ``callosal_memory.safetensors`` and ``callosal_config.json``.

        The model's own weights are not among them, and no user's memories. A save that is killed leaves the old adapter
        or the new one, or files that :func:`attach_pretrained` refuses.

        Args:
            folder: where to; made if it does not exist.
            dtype: of the matrices on disk, such as ``torch.bfloat16`` for half the size; None as they are. Vectors and
                numbers, such as the mean of a calibration, stay whole. Attached again, all are float32.

        Raises:
            ValueError: no such type is read back, or a weight is too large for it.
        """
        save_adapter(folder, dict(self.items()), list(self.places), self.base_name, dtype, self.cue)

    def push_to_hub(self, repo_id: str, *, metadata: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Upload what :meth:`save_pretrained` saves, with a model card, to the Hugging Face hub.

        Args:
            repo_id: where to, as in ``"user/name"``; made if it does not exist.
            metadata: of the card, such as ``{"license": "apache-2.0"}``; no licence is stated otherwise.
            options: of huggingface_hub's ``ModelHubMixin.push_to_hub``: ``private``, ``token``, ``branch``,
                ``commit_message``, ``create_pr``.

        Returns:
            The address of the commit.

        Raises:
            ImportError: huggingface_hub is not installed (``pip install "callosal[hf]"``).
        """
        from callosal.hosts import hub  # an extra  # noqa: PLC0415

        return hub.push(self, repo_id, dict(metadata or {}), **options)

    def _readers(self, name: str) -> list[str]:
        """Return the layers that only read a memory, in the order in which the memory counts them."""
        return [layer for layer, place in self.places.items() if place.memory == name and place.reader is not None]

    def _learn(self) -> bool:
        acting = attached(self.model) or self
        return acting.training and any(parameter.requires_grad for parameter in acting.parameters())

    def named_modules(self, *args: Any, **kwargs: Any) -> Generator[tuple[str, nn.Module]]:
        """Go through the modules, as all that lists, freezes or optimises parameters does."""
        take_back(self)
        with kept_from_peft(self.layers.parameters()):
            yield from super().named_modules(*args, **kwargs)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze the memories, or let them learn. Said of them and not of a whole model, it holds for PEFT too."""
        for memory in self.layers.values():
            memory.requires_grad_(requires_grad)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast as the model is (``model.to``, ``half``, ``to_empty``), but stay whole and in float32."""

        def moved(tensor: Tensor) -> Tensor:
            like = fn(tensor)
            if like is tensor or tensor.is_meta:
                return like
            return tensor.to(tensor.device if like.is_meta else like.device, whole_precision(like.dtype))

        return super()._apply(moved, recurse)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy the memories; without their model they are copies that belong to the same one."""
        shared = [] if id(self.model) in memo else [self.model, self._hooks]
        memo |= {id(one): one for one in shared}
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        for one in shared:
            del memo[id(one)]
        return twin

    def disconnect(self) -> None:
        """Take the hooks off the model."""
        self._hooks.disconnect()

    def extra_repr(self) -> str:
        """Name the layers."""
        readers = [layer for name in self for layer in self._readers(name)]
        return f"behind {', '.join(self)}" + (f", read behind {', '.join(readers)} too" if readers else "")


def attached(model: nn.Module) -> Memories | None:
    """Return the memories that act in a model; None if none are attached."""
    acting = getattr(getattr(model, PLACE, None), "acting", None)
    return acting if isinstance(acting, Memories) else None
