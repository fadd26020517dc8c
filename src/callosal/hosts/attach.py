"""Memories put into a model that exists already, and taken out again."""

import re
import warnings
from collections.abc import ItemsView, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from callosal.hosts.adapter import fill, load_adapter, save_adapter
from callosal.hosts.hooks import Hooks
from callosal.hosts.layers import Layers, hidden_width, named_layers
from callosal.hosts.reading import Reader
from callosal.hosts.session import Session, Store, named
from callosal.memory import LateralMemory, MemoryConfig

_REPO_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+")

# Under this name they are a part of the model while they are attached.
PLACE = "callosal"


class Memories(nn.Module):
    """The memories that are attached to a model, by the names of the layers they stand behind.

    They are a part of the model (``model.callosal``), so that what moves, trains, shards or optimises the model does so
    to them. They act in a session only: outside one the model computes what it did before, bit for bit, since there is
    no user whose state could be read, and a key-value cache could not carry what was read. The first such call warns.
    """

    def __init__(self, model: nn.Module, memories: Mapping[str, LateralMemory]) -> None:
        super().__init__()
        # A module's name in a ModuleDict has no dots; a layer's has nothing but dots and words.
        self.layers = nn.ModuleDict({name.replace(".", "/"): m for name, m in memories.items()})
        self._hooks = Hooks(model, self)
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
        return name if _REPO_ID.fullmatch(name) and not Path(name).exists() else None

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

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the layers."""
        return (key.replace("/", ".") for key in self.layers)

    def __len__(self) -> int:
        """Return how many memories there are."""
        return len(self.layers)

    def __getitem__(self, name: str) -> LateralMemory:
        """Return the memory behind a layer, by the layer's dotted name."""
        memory = dict(self.layers.items()).get(name.replace(".", "/"))
        if memory is None:
            raise KeyError(f"no memory behind {name!r}; there are some behind {list(self)}")
        assert isinstance(memory, LateralMemory)
        return memory

    def items(self) -> ItemsView[str, LateralMemory]:
        """Return (name of the layer, memory) pairs."""
        return {name: self[name] for name in self}.items()

    def forward(self, hidden: Any) -> Any:
        """Hand on what comes: a container that calls its parts in a row, as nn.Sequential, calls this too."""
        return hidden

    def session(self, users: str | Iterable[str] | None = None, store: Store | None = None) -> Session:
        """Return a session, in which the model remembers: ``with memories.session("ada", store):``.

        It loads the users' memories when it begins, carries them through the calls of the model and of ``generate``,
        commits them at turns (see :class:`~callosal.hosts.session.Session`) and saves them at its end unless it failed.

        Args:
            users: who the rows of the batch belong to, one name each. None is for rows that start blank and are
                forgotten at the end, as in training.
            store: where memories are kept: an object with ``load(name, memory)``, which returns a state of one row, and
                ``save(name, state, memory)``. Each layer has an entry of its own, ``user@layer``. None keeps nothing.

        Raises:
            ValueError: a user is named twice, none is, or there is a store but no user.
        """
        names = named(users)
        if names is None and store is not None:
            raise ValueError("a store but no user; pass the name under which memories are kept")
        return Session(Reader(self.model, dict(self.items()), self._hooks), names, store)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the memories' weights: ``callosal_memory.safetensors`` and ``callosal_config.json``.

        The model's own weights are not among them, and no user's memories. A save that is killed leaves the old adapter
        or the new one, or files that :func:`attach_pretrained` refuses.
        """
        save_adapter(folder, dict(self.items()), self.base_name)

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

    def disconnect(self) -> None:
        """Take the hooks off the model."""
        self._hooks.disconnect()

    def extra_repr(self) -> str:
        """Name the layers."""
        return f"behind {', '.join(self)}"


def attach(
    model: nn.Module, layers: Layers, config: MemoryConfig | None = None, *, warn_outside_session: bool = True
) -> Memories:
    """Put a memory behind layers of a model: what a memory reads is added to the layer's output.

    For causal language models of Hugging Face transformers and for any module whose layers return hidden states
    [batch, time, width], alone or first in a tuple. Nothing is subclassed or copied; hooks on the named layers do it.
    Output maps start at zero, so that the model's answers do not change by a bit until the memories are trained. No
    weight is frozen or thawed: ``model.requires_grad_(False)`` *before* attaching leaves the memories alone trainable.

    The memories stay in float32 (float64 in a model of that) whatever the model computes in, and cast what they read
    and give: a state is a sum over thousands of tokens. Compile a model after attaching.

    Args:
        model: the model.
        layers: which layers, by number among the decoder layers (negative from the end) or dotted name.
        config: sizes of each memory; None for the defaults at the model's hidden width.
        warn_outside_session: whether the first call of the model outside a session warns
            (:class:`~callosal.hosts.hooks.OutsideSessionWarning`), since the memories do nothing there.

    Returns:
        The memories, whose ``session`` makes them act.

    Raises:
        ValueError: memories are attached already, the model is compiled, or a layer or width is not the model's.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    >>> memories = attach(model, layers="0", config=MemoryConfig(width=8))
    >>> with memories.session():
    ...     y = model(torch.randn(2, 5, 8))
    >>> unload(model) is model
    True
    """
    kind = type(model).__name__
    if hasattr(model, PLACE):
        raise ValueError(
            f"{kind} has memories attached (or something else named {PLACE!r}); call callosal.unload(model) first, and "
            "name all layers in one call"
        )
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        raise ValueError("the model is compiled, and compiled code does not see new hooks; attach first, then compile")
    names = named_layers(model, layers)
    width = hidden_width(model)
    if config is None:
        if width is None:
            raise ValueError(f"{kind} has no config.hidden_size to tell its width; pass config=MemoryConfig(width=...)")
        config = MemoryConfig(width=width)
    if width is not None and config.width != width:
        raise ValueError(
            f"MemoryConfig.width is {config.width}; the hidden states of {kind} are {width} wide: make them equal"
        )
    memories = Memories(model, {name: _new(model, name, config) for name in names})
    memories.warn_outside_session = warn_outside_session
    memories.train(model.training)
    setattr(model, PLACE, memories)
    return memories


def unload(model: nn.Module) -> nn.Module:
    """Take the memories out of a model and give it back as it was before ``attach``.

    Raises:
        ValueError: none are attached.
        RuntimeError: a session is under way.
    """
    memories = getattr(model, PLACE, None)
    if not isinstance(memories, Memories):
        raise ValueError(  # noqa: TRY004
            f"{type(model).__name__} has no memories attached; unload the model that attach() was given"
        )
    if memories.in_use:
        raise RuntimeError("unload() was called inside a session, or while another thread is in one; end it first")
    memories.disconnect()
    delattr(model, PLACE)
    return model


def detach(model: nn.Module) -> nn.Module:
    """Old name of :func:`unload`, until the next version."""
    warnings.warn("detach(model) is now unload(model)", DeprecationWarning, stacklevel=2)
    return unload(model)


def attach_pretrained(
    model: nn.Module, name: str | Path, *, warn_outside_session: bool = True, **options: Any
) -> Memories:
    """Attach memories with the weights that ``save_pretrained`` or ``push_to_hub`` saved.

    Args:
        model: the model that they were trained with, or one of the same layers and width.
        name: a folder, or ``"user/name"`` on the Hugging Face hub where there is no such folder.
        warn_outside_session: as in :func:`attach`.
        options: of huggingface_hub's ``snapshot_download``: ``revision``, ``token``, ``cache_dir``,
            ``local_files_only``, ``force_download``.

    Raises:
        FileNotFoundError: there is no adapter of ours.
        ValueError: it is of another format, not whole, or its layers or sizes are not those of this model.
        ImportError: there is no such folder, and huggingface_hub is not installed to ask the hub.
    """
    folder = Path(name)
    if isinstance(name, str) and "/" in name and not folder.exists() and _REPO_ID.fullmatch(name):
        from callosal.hosts import hub  # an extra  # noqa: PLC0415

        folder = hub.download(name, **options)
    layers, config, weights = load_adapter(folder)
    memories = attach(model, layers, config, warn_outside_session=warn_outside_session)
    try:
        fill(dict(memories.items()), weights, folder)
    except BaseException:
        unload(model)
        raise
    return memories


def _new(model: nn.Module, name: str, config: MemoryConfig) -> LateralMemory:
    memory = LateralMemory(config)
    nn.init.zeros_(memory.output.weight)
    layer = model.get_submodule(name)
    like = next((t for t in chain(layer.parameters(), model.parameters())), torch.empty(()))
    return memory.to(like.device, torch.promote_types(like.dtype, torch.float32))
