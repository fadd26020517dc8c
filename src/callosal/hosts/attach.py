"""Memories put into a model that exists already, and taken out again."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from callosal.hosts.adapter import fill, load_adapter
from callosal.hosts.layers import Layers, hidden_width, named_layers, places_of, require_readable
from callosal.hosts.memories import PLACE, Memories, attached
from callosal.hosts.neighbours import base_of, place_for, require_uncompiled
from callosal.hosts.shipped import locate
from callosal.memory import LateralMemory, MemoryConfig
from callosal.memory.shared import memory_of


def attach(
    model: nn.Module,
    layers: Layers,
    config: MemoryConfig | None = None,
    *,
    shared: bool = False,
    written: int | str | None = None,
    warn_outside_session: bool = True,
) -> Memories:
    """Put a memory behind layers of a model: what a memory reads is added to the layer's output.

    For causal language models of Hugging Face transformers and for any module whose layers return hidden states
    [batch, time, width], alone or first in a tuple. Nothing is subclassed or copied; hooks on the named layers do it.
    Output maps start at zero, so that the model's answers do not change by a bit until the memories are trained. No
    weight is frozen or thawed: ``model.requires_grad_(False)`` *before* attaching leaves the memories alone trainable.

    The memories stay in float32 (float64 in a model of that) whatever the model computes in or is cast to, and cast
    what they read and give: a state is a sum over thousands of tokens. Compile a model after attaching. Into a PEFT
    model they go where they would without it: into its base model.

    Args:
        model: the model.
        layers: which layers, by number among the decoder layers (negative from the end) or dotted name.
        config: sizes of each memory; None for the defaults at the model's hidden width, but that the cross-talk matrix
            is frozen where its sign put it (five seeds with users: as much is known; ``docs/memory.md``).
        shared: one memory behind all of these layers: one state, read behind each of them by a way in and a way out of
            its own (:class:`~callosal.memory.SharedMemory`), and written once, from one of them.
        written: from which, where it is shared; None is the last that is named.
        warn_outside_session: whether the first call of the model outside a session warns
            (:class:`~callosal.hosts.hooks.OutsideSessionWarning`), since the memories do nothing there.

    Returns:
        The memories, whose ``session`` makes them act.

    Raises:
        ValueError: memories are attached already, the model is compiled, a layer or width is not the model's, or what
            is shared or written is not among several layers.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    >>> memories = attach(model, layers="0", config=MemoryConfig(width=8))
    >>> with memories.session():
    ...     y = model(torch.randn(2, 5, 8))
    >>> unload(model) is model
    True
    """
    require_uncompiled(model)
    model = base_of(model)
    kind = type(model).__name__
    if hasattr(model, PLACE):
        raise ValueError(
            f"{kind} has memories attached (or something else named {PLACE!r}); call callosal.unload(model) first, and "
            "name all layers in one call"
        )
    names = named_layers(model, layers)
    require_uncompiled(model, names)
    require_readable(model, names)
    width = hidden_width(model)
    if config is None:
        if width is None:
            raise ValueError(f"{kind} has no config.hidden_size to tell its width; pass config=MemoryConfig(width=...)")
        config = MemoryConfig(width=width, learn_crosstalk=False)
    if width is not None and config.width != width:
        raise ValueError(
            f"MemoryConfig.width is {config.width}; the hidden states of {kind} are {width} wide: make them equal"
        )
    places = places_of(model, layers, shared=shared, written=written)
    homes = Counter(place.memory for place in places.values())
    memories = Memories(model, {name: _new(model, name, config, count - 1) for name, count in homes.items()}, places)
    memories.warn_outside_session = warn_outside_session
    memories.warn_uncalibrated = bool(getattr(model, "name_or_path", "")) and not config.calibrated
    memories.train(model.training)
    setattr(model, PLACE, memories)
    return memories


def unload(model: nn.Module) -> nn.Module:
    """Take the memories out of a model and give it back as it was before ``attach``.

    Raises:
        ValueError: none are attached.
        RuntimeError: a session is under way.
    """
    memories = attached(model)
    if memories is None:
        raise ValueError(f"{type(model).__name__} has no memories attached; unload the model that attach() was given")
    if memories.in_use:
        raise RuntimeError("unload() was called inside a session, or while another thread is in one; end it first")
    memories.disconnect()
    delattr(base_of(model), PLACE)
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
        name: a folder; where there is no such folder, the ``"callosal/name"`` of an adapter that ships with this
            package, or ``"user/name"`` on the Hugging Face hub.
        warn_outside_session: as in :func:`attach`.
        options: of huggingface_hub's ``snapshot_download``: ``revision``, ``token``, ``cache_dir``,
            ``local_files_only``, ``force_download``. Who names a revision asks the hub, whatever ships.

    Raises:
        FileNotFoundError: there is no adapter of ours; of ``"callosal/name"`` the error lists which ship.
        ValueError: it is of another format, not whole, or its layers or sizes are not those of this model.
        ImportError: there is no such folder, none of the name ships, and huggingface_hub is not installed to ask the
            hub.
    """
    folder = locate(name, **options)
    saved = load_adapter(folder)
    how: dict[str, Any] = {"shared": saved.written is not None, "written": saved.written}
    try:
        memories = attach(model, saved.layers, saved.config, **how, warn_outside_session=warn_outside_session)
    except ValueError as error:
        raise ValueError(f"the adapter in {folder} was not attached: {error}") from error
    memories.warn_uncalibrated, memories.cue = False, saved.cue  # they were trained as they are
    try:
        fill(dict(memories.items()), saved.weights, folder)
    except BaseException:
        unload(model)
        raise
    return memories


def _new(model: nn.Module, name: str, config: MemoryConfig, num_readers: int) -> LateralMemory:
    # Whatever scripts set as defaults, such as bfloat16 or the device "meta".
    with torch.device("cpu"), _default_dtype(torch.float32):
        memory = memory_of(config, num_readers)
    if memory.addresses.is_meta:
        raise ValueError("attach() inside accelerate.init_empty_weights(), which takes all weights; attach after it")
    nn.init.zeros_(memory.output.weight)
    return memory.to(*place_for(model.get_submodule(name), model))


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
