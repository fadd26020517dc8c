"""Memories put into a model that exists already, and taken out again."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from callosal.hosts import adapter
from callosal.hosts.layers import Layers, arguments_of, calling_module, hidden_width, named_layers
from callosal.hosts.session import Session, Store, named
from callosal.memory import LateralMemory, MemoryConfig

# Under this name they are a part of the model while they are attached.
PLACE = "callosal"


class Memories(nn.Module):
    """The memories that are attached to a model, by the names of the layers they stand behind.

    They are a part of the model (``model.callosal``), so that what moves, trains, shards or optimises
    the model does so to them. They act in a session only: outside one the model computes what it did
    before, bit for bit, since a memory without anybody's state has nothing to say and a key-value cache
    could not carry what it would have read.

    Attributes:
        active: the session under way, which holds all state; None between sessions.
    """

    active: Session | None

    def __init__(self, model: nn.Module, memories: Mapping[str, LateralMemory]) -> None:
        super().__init__()
        self.active = None
        # A module's name in a ModuleDict has no dots; a layer's has nothing but dots and words.
        self.layers = nn.ModuleDict({name.replace(".", "/"): m for name, m in memories.items()})
        self._handles: list[RemovableHandle] = []
        # In a tuple, or the model would be a part of its own part.
        self._model = (model,)

    @property
    def model(self) -> nn.Module:
        """The model that these memories are attached to."""
        return self._model[0]

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

    def forward(self, hidden: Any) -> Any:
        """Hand on what comes: a container that calls its parts in a row, as nn.Sequential, calls this too."""
        return hidden

    def session(
        self, users: str | Iterable[str] | None = None, store: Store | None = None
    ) -> Session:
        """Return a session, in which the model remembers: ``with memories.session("ada", store):``.

        It loads the users' memories when it begins, carries them through the calls of the model and
        of ``generate``, commits them at turns (see :class:`~callosal.hosts.session.Session`) and saves
        them when it ends; after an error it saves nothing.

        Args:
            users: who the rows of the batch belong to, one name each. None is for rows that start
                blank and are forgotten at the end, as in training.
            store: where memories are kept: an object with ``load(name, memory)``, which returns a state of
                one row, and ``save(name, state, memory)``. Each layer's memory is an entry of its own, named
                ``user@layer``. None keeps nothing beyond the session object.

        Raises:
            ValueError: a user is named twice, none is, or there is a store but no user.
        """
        names = named(users)
        if names is None and store is not None:
            raise ValueError("a store but no user; pass the name under which memories are kept")
        return Session(self, self.model, names, store)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the memories' weights: ``adapter_model.safetensors`` and ``adapter_config.json``.

        The model's own weights are not among them, and no user's memories.
        """
        adapter.save(folder, self, getattr(self.model, "name_or_path", None))

    def connect(self) -> None:
        """Put the hooks on the model."""
        host = calling_module(self.model, list(self))
        before = partial(_before, self, arguments_of(host))
        self._handles = [
            host.register_forward_pre_hook(before, with_kwargs=True),
            host.register_forward_hook(partial(_after, self)),
        ]
        for name in self:
            layer = self.model.get_submodule(name)
            self._handles.append(layer.register_forward_hook(partial(_behind, self, name)))

    def disconnect(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def extra_repr(self) -> str:
        """Name the layers."""
        return f"behind {', '.join(self)}"


def attach(model: nn.Module, layers: Layers, config: MemoryConfig | None = None) -> Memories:
    """Put a memory behind layers of a model: what a memory reads is added to the layer's output.

    For causal language models of Hugging Face transformers and for any module whose layers return hidden
    states [batch, time, width], alone or first in a tuple. Nothing is subclassed or copied; hooks on the
    named layers do it. Output maps start at zero, so that the model's answers do not change by a bit until
    the memories are trained. No weight is frozen or thawed: ``model.requires_grad_(False)`` *before*
    attaching leaves the memories alone trainable.

    The memories stay in float32 (float64 in a model of that) whatever the model computes in, and cast what they
    read and give: a state is a sum over thousands of tokens. Compile a model after attaching.

    Args:
        model: the model.
        layers: which layers, by number among the decoder layers (negative from the end) or dotted name.
        config: sizes of each memory; None for the defaults at the model's hidden width.

    Returns:
        The memories, whose ``session`` makes them act.

    Raises:
        ValueError: memories are attached already, a layer does not exist, the width is unknown or not the
            model's, or the model is compiled.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    >>> memories = attach(model, layers="0", config=MemoryConfig(width=8))
    >>> with memories.session():
    ...     y = model(torch.randn(2, 5, 8))
    >>> detach(model) is model
    True
    """
    if hasattr(model, PLACE):
        raise ValueError(
            f"{type(model).__name__} has memories attached (or something else named {PLACE!r}); call "
            "callosal.detach(model) first, and name all layers in one call"
        )
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        raise ValueError(
            "the model is compiled, and compiled code does not see new hooks; attach first, then compile"
        )
    names = named_layers(model, layers)
    width = hidden_width(model)
    if config is None:
        if width is None:
            raise ValueError(
                f"{type(model).__name__} has no config.hidden_size to tell its width; "
                "pass config=MemoryConfig(width=...)"
            )
        config = MemoryConfig(width=width)
    if width is not None and config.width != width:
        raise ValueError(
            f"MemoryConfig.width is {config.width}; the hidden states of {type(model).__name__} "
            f"are {width} wide: make them equal"
        )
    memories = Memories(model, {name: _new(model, name, config) for name in names})
    memories.train(model.training)
    memories.connect()
    setattr(model, PLACE, memories)
    return memories


def detach(model: nn.Module) -> nn.Module:
    """Take the memories out of a model and give it back as it was before ``attach``.

    Raises:
        ValueError: none are attached.
        RuntimeError: a session is under way.
    """
    memories = getattr(model, PLACE, None)
    if not isinstance(memories, Memories):
        raise ValueError(  # noqa: TRY004
            f"{type(model).__name__} has no memories attached; detach the model that attach() was given"
        )
    if memories.active is not None:
        raise RuntimeError("detach() was called inside a session; end the session first")
    memories.disconnect()
    delattr(model, PLACE)
    return model


def attach_pretrained(model: nn.Module, folder: str | Path) -> Memories:
    """Attach memories with the weights that ``memories.save_pretrained(folder)`` saved.

    Raises:
        FileNotFoundError: the folder has no adapter of ours.
        ValueError: it is of another format, or its layers or sizes are not those of this model.
    """
    layers, config, weights = adapter.load(folder)
    memories = attach(model, layers, config)
    try:
        adapter.fill(memories, weights, folder)
    except BaseException:
        detach(model)
        raise
    return memories


def _new(model: nn.Module, name: str, config: MemoryConfig) -> LateralMemory:
    memory = LateralMemory(config)
    nn.init.zeros_(memory.output.weight)
    layer = model.get_submodule(name)
    like = next((t for t in chain(layer.parameters(), model.parameters())), torch.empty(()))
    return memory.to(like.device, torch.promote_types(like.dtype, torch.float32))


def _before(
    memories: Memories,
    names: list[str],
    _: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    if memories.active is not None:
        memories.active.before(dict(zip(names, args, strict=False)) | kwargs)


def _behind(memories: Memories, name: str, _: nn.Module, __: Any, output: Any) -> Any:
    session = memories.active
    if session is None:
        return None
    # Layers return their hidden states alone or, with weights or caches, first in a tuple.
    hidden = output if isinstance(output, Tensor) else output[0]
    added = hidden + session.behind(name, memories[name], hidden)
    return added if isinstance(output, Tensor) else type(output)((added, *output[1:]))


def _after(memories: Memories, _: nn.Module, __: Any, output: Any) -> None:
    if memories.active is not None:
        memories.active.after(output)
