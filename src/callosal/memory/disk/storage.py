"""A memory as a file: saved whole or not at all, loaded only into the memory that it belongs to."""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from io import BufferedIOBase
from pathlib import Path
from weakref import WeakKeyDictionary

from torch import Tensor

from callosal.memory.config import MemoryConfig, describe
from callosal.memory.disk.atomic import SpecialFileError, write_atomically
from callosal.memory.disk.format import (
    FORMAT_VERSION,
    Header,
    MemoryFileError,
    Outline,
    checksum_of_tensors,
    only_layer,
    opened,
    pack,
    pack_layers,
    read_outline,
    read_tensors,
)
from callosal.memory.lateral import LateralMemory
from callosal.memory.state import CarriedContext, MemoryState
from callosal.ops import precision

# What a memory may hold, and how many axes each has.
_CONTEXT = {"context.signal_sum": 2, "context.num_tokens": 1}
_AXES = {"trace": 4, **_CONTEXT, "recollected": 2}
_BOUNDS: WeakKeyDictionary[LateralMemory, tuple[str, float]] = WeakKeyDictionary()
# Read from the package's metadata, so that nothing here imports what stands above it.
PACKAGE_VERSION = version("callosal")
# Memories are private to those whose process writes them.
MODE = 0o600


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

    @property
    def version(self) -> int:
        """Which save this was: a number that the store drew for it, or one of the file's content."""
        return self.header.version or int(self.checksum[:15], 16)


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
    write_bytes(Path(path), pack_stored({"": describe_state(state, memory, notes=notes)}))


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

    def judge(outline: Outline) -> None:
        require_fit(outline, only_layer(outline.headers, path), memory, path, strict=strict)

    with opened(path) as (file, size):
        (stored,) = read_layers(file, size, path, judge).values()
    return stored.state.to(memory.prototypes.device, memory.state_dtype)


def read_memory(path: str | Path) -> StoredMemory:
    """Read a file of one memory without its model; MemoryFileError as :func:`read_layers`, or where there is none."""
    layers = read_file(path)
    return layers[only_layer(layers, path)]


def read_file(path: str | Path) -> dict[str, StoredMemory]:
    """Read a file with all its layers, without their model; MemoryFileError as :func:`read_memory`."""
    with opened(path) as (file, size):
        return read_layers(file, size, path)


def read_layers(
    file: BufferedIOBase, size: int, place: object, judge: Callable[[Outline], None] | None = None
) -> dict[str, StoredMemory]:
    """Read the memories of a file, by layer; a file of one memory has them under the empty name.

    Args:
        file: at its start.
        size: of the file, in bytes.
        place: where it is, for messages.
        judge: raises where the file does not fit. It sees what the headers say, before the rest is read.

    Raises:
        MemoryFileError: it is damaged, not ours, or its parts do not fit each other or hold NaN, infinity or a
            negative count.
    """
    outline = read_outline(file, size, place)
    for header in outline.headers.values():
        _require_sound(header.shapes, place)
    if judge is not None:
        judge(outline)
    layers = {}
    for layer, tensors in read_tensors(outline, file, place).items():
        _require_values(tensors, str(place))
        context = None
        if "context.signal_sum" in tensors:
            context = CarriedContext(signal_sum=tensors["context.signal_sum"], num_tokens=tensors["context.num_tokens"])
        state = MemoryState(trace=tensors["trace"], context=context, recollected=tensors.get("recollected"))
        layers[layer] = StoredMemory(header=outline.headers[layer], state=state, checksum=outline.checksum)
    return layers


def write_bytes(path: Path, data: bytes, unfinished: str | None = None) -> None:
    """Write a memory's file, private where it is new; MemoryFileError where a pipe or a device stands there."""
    try:
        write_atomically(path, data, unfinished, mode=MODE)
    except SpecialFileError as error:
        raise MemoryFileError(str(error)) from None


def pack_stored(stored: Mapping[str, StoredMemory]) -> bytes:
    """Return the bytes of a file like the one that these layers were read from."""
    layers = {}
    for layer, one in stored.items():
        tensors = tensors_of(one.state)
        layers[layer] = replace(one.header, shapes={name: tuple(t.shape) for name, t in tensors.items()}), tensors
    if all(header.format_version == FORMAT_VERSION for header, _ in layers.values()):
        return pack(*layers[only_layer(layers, "the file")])
    return pack_layers(layers)


def describe_state(
    state: MemoryState, memory: LateralMemory, *, notes: str = "", user: str | None = None
) -> StoredMemory:
    """Return a state as it is written for a file now, with its header, on the CPU.

    Raises:
        MemoryFileError: a segment is open, or the state does not fit the memory, or holds NaN, infinity or a negative
            count.
    """
    banks, slots, width = memory.prototypes.shape
    if state.segment is not None:
        raise MemoryFileError(
            "the state has an open segment, which a file does not keep; save what memory.commit(state) returns"
        )
    if state.trace.shape[1:] != (banks, slots, width):
        raise MemoryFileError(
            f"a trace of shape {tuple(state.trace.shape)} meets a memory of {banks} banks, {slots} slots and width "
            f"{width}; save it with the memory that it comes from"
        )
    if state.trace.dtype != memory.state_dtype:
        raise MemoryFileError(
            f"a trace of {state.trace.dtype} meets a memory of {memory.state_dtype} traces; cast one: "
            f"state.to({memory.state_dtype})"
        )
    # To the memory, a context that is not there and a blank one are the same; likewise what is recollected.
    context = state.context or memory.competition.blank_context(len(state))
    recollected = memory.blank(len(state)).recollected if state.recollected is None else state.recollected
    state = MemoryState(trace=state.trace, context=context, recollected=recollected).detach().to("cpu")
    tensors = tensors_of(state)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    _require_sound(shapes, "the state")
    if (context is not None) != (memory.config.carry > 0.0):
        raise MemoryFileError(
            "the state has a carried context and the memory carries none (its carry is 0); save it with the memory "
            "that it comes from"
        )
    if (recollected is not None) != (memory.config.recollection > 0.0):
        raise MemoryFileError(
            "the state recollects what was retrieved and the memory does not (its recollection is 0); save it with the "
            "memory that it comes from"
        )
    _require_values(tensors, "the state")
    config, parameters_hash = memory.config, hash_parameters(memory)
    header = Header(
        config_hash=hash_config(config),
        config=describe(config),
        parameters_hash=parameters_hash,
        shapes=shapes,
        created=datetime.now(UTC),
        package_version=PACKAGE_VERSION,
        notes=notes,
        user=user,
        max_slot_norm=_bound(memory, parameters_hash) if config.write == "bounded" else None,
    )
    return StoredMemory(header=header, state=state, checksum="")


def draw_version() -> int:
    """Return a number that no other save has, and that an int64 holds."""
    return 1 + secrets.randbits(62)


def tensors_of(state: MemoryState) -> dict[str, Tensor]:
    """Return a committed state's tensors by the names they have in a file."""
    tensors = {"trace": state.trace}
    if state.context is not None:
        tensors |= {f"context.{name}": tensor for name, tensor in vars(state.context).items()}
    if state.recollected is not None:
        tensors["recollected"] = state.recollected
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


def require_fit(outline: Outline, layer: str, memory: LateralMemory, place: object, *, strict: bool) -> None:
    """Raise MemoryFileError where a layer is of another configuration, dtype, shape or (if ``strict``) parameters."""
    header, dtype = outline.headers[layer], outline.dtypes[layer]["trace"]
    if header.config_hash != hash_config(memory.config):
        raise MemoryFileError(
            f"{place} is of another configuration ({_differences(header.config, memory.config)}); load it into a "
            "memory of the configuration that it was saved with"
        )
    banks_slots_width = tuple(memory.prototypes.shape)
    carries, recollects = memory.config.carry > 0.0, memory.config.recollection > 0.0
    held = "context.signal_sum" in header.shapes, "recollected" in header.shapes
    if header.shapes["trace"][1:] != banks_slots_width or held != (carries, recollects):
        raise MemoryFileError(
            f"{place} holds {dict(header.shapes)}, which does not fit a memory of {banks_slots_width} (bank, slot, "
            f"width) {'with' if carries else 'without'} a carried context{' that recollects' if recollects else ''}, "
            "though it says so: it is not whole"
        )
    # What earlier versions wrote of memories in half precision is half itself, and loses nothing.
    if precision.whole(dtype) != memory.state_dtype:
        raise MemoryFileError(
            f"{place} holds {dtype} and the memory is {memory.state_dtype}; load it into memory.to({dtype}) and cast "
            "the state"
        )
    if strict and header.parameters_hash != hash_parameters(memory):
        raise MemoryFileError(
            f"{place} was written by other weights of the same configuration, to which its slots mean something else; "
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


def _require_sound(shapes: Mapping[str, tuple[int, ...]], owner: object) -> None:
    """Raise MemoryFileError where the parts are not those of a memory, or not of the same rows and width."""
    axes = {name: len(shape) for name, shape in shapes.items()}
    known = axes.items() <= _AXES.items() and "trace" in axes
    if not known or len(_CONTEXT.keys() & axes.keys()) == 1:
        raise MemoryFileError(
            f"{owner} holds tensors of axes {axes}; a memory holds a trace of 4 axes and may hold a context of "
            f"{_CONTEXT} and what is recollected, of 2"
        )
    rows, *_, width = shapes["trace"]
    wanted = {"context.signal_sum": (rows, width), "context.num_tokens": (rows,), "recollected": (rows, width)}
    if any(shape != wanted[name] for name, shape in shapes.items() if name != "trace"):
        raise MemoryFileError(
            f"{owner} holds tensors of shapes {dict(shapes)}, which are not of equally many rows and of one width; "
            "restore it from a copy"
        )


def _require_values(tensors: Mapping[str, Tensor], owner: str) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise MemoryFileError(f"{owner} holds a {name} with NaN or infinity in it; go back to one that is finite")
    counts = tensors.get("context.num_tokens")
    if counts is not None and (counts < 0).any():
        raise MemoryFileError(f"{owner} counts {counts.min().item():g} tokens; go back to one that counts none or more")
