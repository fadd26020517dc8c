"""A memory as a file: saved whole or not at all, loaded only into the memory that it belongs to."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from callosal.memory.config import MemoryConfig, describe
from callosal.memory.disk.format import (
    Header,
    MemoryFileError,
    checksum_of_tensors,
    opened,
    pack,
    unpack,
    write_atomically,
)
from callosal.memory.lateral import LateralMemory
from callosal.memory.state import CarriedContext, MemoryState

# What a file may hold, and how many axes each has.
_AXES = {"trace": 4, "context.signal_sum": 2, "context.num_tokens": 1}
_BOUNDS: WeakKeyDictionary[LateralMemory, tuple[str, float]] = WeakKeyDictionary()
# Read from the package's metadata, so that nothing here imports what stands above it.
_VERSION = version("callosal")
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class StoredMemory:
    """What a memory file holds.

    Attributes:
        header: what it says of itself.
        state: the memory, on the CPU.
        checksum: of the file, which names it wherever another file was made of it.
    """

    header: Header
    state: MemoryState
    checksum: str


def save_memory(state: MemoryState, path: str | Path, memory: LateralMemory, *, notes: str = "") -> None:
    """Write a memory to a file, atomically: a kill at any moment leaves the old file or the new one.

    The file is a safetensors file. It holds the trace and the carried context bit for bit, in their dtype, and says
    which configuration and which weights they belong to. Ours.

    Args:
        state: any number of rows, on any device; what was not committed cannot be saved.
        path: where; missing folders are made, an older file is replaced.
        memory: the module that the state comes from.
        notes: free-form text, shown by ``callosal memory inspect``.

    Raises:
        MemoryFileError: a segment is open, or the state does not fit the memory or is not finite. An older file stays.

    >>> import callosal, tempfile, torch
    >>> memory = LateralMemory(MemoryConfig(width=8, num_slots=4)).eval()
    >>> _, state = memory(torch.randn(2, 5, 8), memory.blank(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     callosal.save_memory(state, f"{folder}/two-users.safetensors", memory)
    ...     again = callosal.load_memory(f"{folder}/two-users.safetensors", memory)
    >>> torch.equal(again.trace, state.trace)
    True
    """
    write_memory(Path(path), header_of(state, memory, notes=notes), state)


def load_memory(path: str | Path, memory: LateralMemory, *, strict: bool = True) -> MemoryState:
    """Read a memory from a file, if it belongs to this memory module.

    A trace is only a memory to the weights that wrote it: addresses decide which slot a token reads, prototypes what a
    slot held before anything was written, and the output map what a slot's content means to the model. To other weights
    of the same configuration it is noise, and nothing would show it. So the file keeps a hash of all parameters;
    another is refused.

    Args:
        path: of a file that :func:`save_memory` wrote.
        memory: the module that will read it. It is not changed.
        strict: False takes a file whose parameters' hash differs. For a model that was trained further: its old
            memories are worth as much as the weights stayed alike; measure it.

    Returns:
        The state, on the memory's device; what you held before is untouched, whatever goes wrong.

    Raises:
        MemoryFileError: the file is missing, truncated, altered, of another format, of another configuration, dtype,
            shape or parameters, or not finite.
    """
    stored = read_memory(path)
    require_fit(stored, memory, path, strict=strict)
    return stored.state.to(memory.prototypes.device)


def read_memory(path: str | Path) -> StoredMemory:
    """Read a memory file without its model; MemoryFileError where it is missing, damaged, not ours or infinite."""
    path = Path(path)
    with opened(path) as file:
        header, tensors, checksum = unpack(file.read(), path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    axes = {name: len(shape) for name, shape in shapes.items()}
    context = {name: count for name, count in _AXES.items() if name != "trace"}
    if axes not in (_AXES, {"trace": 4}):
        raise MemoryFileError(
            f"{path} holds tensors of axes {axes}; a memory holds a trace of 4 axes and may hold a context of {context}"
        )
    if shapes != dict(header.shapes) or len({shape[0] for shape in shapes.values()}) > 1:
        raise MemoryFileError(
            f"{path} holds tensors of shapes {shapes}, which are not those of its header ({dict(header.shapes)}) or "
            "not of equally many rows; restore it from a copy"
        )
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise MemoryFileError(f"{path} holds a {name} of dtype {tensor.dtype}; it may be one of {_DTYPES}")
    _require_finite(tensors, str(path))
    carried = None
    if "context.signal_sum" in tensors:
        carried = CarriedContext(signal_sum=tensors["context.signal_sum"], num_tokens=tensors["context.num_tokens"])
    state = MemoryState(trace=tensors["trace"], context=carried)
    return StoredMemory(header=header, state=state, checksum=checksum)


def write_memory(path: Path, header: Header, state: MemoryState, *, unfinished: Path | None = None) -> None:
    """Write a state that is committed and finite (else MemoryFileError) under a header; its shapes are set here."""
    tensors = tensors_of(state)
    _require_finite(tensors, "the state")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    header = replace(header, shapes=shapes, package_version=_VERSION)
    write_atomically(path, pack(header, tensors), unfinished)


def header_of(state: MemoryState, memory: LateralMemory, *, notes: str = "", user: str | None = None) -> Header:
    """Return the header under which a state of this memory is written now; MemoryFileError where it does not fit."""
    banks, slots, width = memory.prototypes.shape
    if state.trace.shape[1:] != (banks, slots, width):
        raise MemoryFileError(
            f"a trace of shape {tuple(state.trace.shape)} meets a memory of {banks} banks, {slots} slots and width "
            f"{width}; save it with the memory that it comes from"
        )
    if state.trace.dtype != memory.prototypes.dtype:
        raise MemoryFileError(
            f"a trace of {state.trace.dtype} meets a memory of {memory.prototypes.dtype}; cast one: "
            f"state.to({memory.prototypes.dtype})"
        )
    config, parameters_hash = memory.config, hash_parameters(memory)
    return Header(
        config_hash=hash_config(config),
        config=describe(config),
        parameters_hash=parameters_hash,
        shapes={},
        created=datetime.now(UTC),
        package_version=_VERSION,
        notes=notes,
        user=user,
        max_slot_norm=_bound(memory, parameters_hash) if config.write == "bounded" else None,
    )


def tensors_of(state: MemoryState) -> dict[str, Tensor]:
    """Return a state's tensors by the names they have in a file; MemoryFileError where a segment is open."""
    if state.segment is not None:
        raise MemoryFileError(
            "the state has an open segment, which a file does not keep; save what memory.commit(state) returns"
        )
    tensors = {"trace": state.trace}
    if state.context is not None:
        tensors |= {f"context.{name}": tensor for name, tensor in vars(state.context).items()}
    return tensors


def hash_config(config: MemoryConfig) -> str:
    """Return a hash of a configuration; fields at a default that came later do not change it.

    >>> hash_config(MemoryConfig(width=8, gain=4)) == hash_config(MemoryConfig(width=8, gain=4.0))
    True
    """
    # Equal numbers hash alike: 4 and 4.0, 0.0 and -0.0.
    plain = {
        name: float(value) + 0.0 if type(value) in (int, float) else value for name, value in describe(config).items()
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def hash_parameters(memory: LateralMemory) -> str:
    """Return a hash of all parameters: what every slot's content means depends on each of them.

    Buffers are left out: the running means and the plastic axes move with every training-mode commit, which is the same
    model going on, and not another that was trained otherwise.
    """
    parameters = {name.removeprefix("_orig_mod."): parameter for name, parameter in memory.named_parameters()}
    return checksum_of_tensors(parameters)


def require_fit(stored: StoredMemory, memory: LateralMemory, path: str | Path, *, strict: bool) -> None:
    """Raise MemoryFileError where a file is of another configuration, dtype, shape or (if ``strict``) parameters."""
    header, trace = stored.header, stored.state.trace
    if header.config_hash != hash_config(memory.config):
        raise MemoryFileError(
            f"{path} is of another configuration ({_differences(header.config, memory.config)}); load it into a memory "
            "of the configuration that it was saved with"
        )
    if trace.shape[1:] != memory.prototypes.shape:
        raise MemoryFileError(
            f"{path} holds a trace of shape {tuple(trace.shape)}, which does not fit a memory of "
            f"{tuple(memory.prototypes.shape)} (bank, slot, width), though it says so: it is not whole"
        )
    if trace.dtype != memory.prototypes.dtype:
        raise MemoryFileError(
            f"{path} holds {trace.dtype} and the memory is {memory.prototypes.dtype}; load it into "
            f"memory.to({trace.dtype}) and cast the state"
        )
    if strict and header.parameters_hash != hash_parameters(memory):
        raise MemoryFileError(
            f"{path} was written by other weights of the same configuration, to which its slots mean something else; "
            "load the weights it was saved with, or pass strict=False if this is the same model, trained further"
        )


def _bound(memory: LateralMemory, parameters_hash: str) -> float:
    """Return the bound on a slot's norm; the singular values that it takes are computed once per weights."""
    known = _BOUNDS.get(memory)
    if known is None or known[0] != parameters_hash:
        known = _BOUNDS[memory] = (parameters_hash, memory.max_slot_norm)
    return known[1]


def _differences(saved: Mapping[str, object], config: MemoryConfig) -> str:
    """Say which fields differ, and how."""
    ours = describe(config)
    differing = [
        f"{name} {saved.get(name, 'at its default')} in the file, {ours.get(name, 'at its default')} here"
        for name in dict.fromkeys([*saved, *ours])
        if saved.get(name) != ours.get(name)
    ]
    return "; ".join(differing)


def _require_finite(tensors: Mapping[str, Tensor], owner: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise MemoryFileError(f"{owner} holds a {name} with NaN or infinity in it; go back to one that is finite")
