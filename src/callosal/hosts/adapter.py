"""The weights of attached memories as files: a folder that callosal alone reads."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from callosal.hosts.cue import Cue
from callosal.memory import LateralMemory, MemoryConfig
from callosal.memory.disk.atomic import write_atomically
from callosal.memory.shared import memory_of

WEIGHTS = "callosal_memory.safetensors"
CONFIG = "callosal_config.json"
FORMAT = 2
# Format 1 had the names that PEFT gives a LoRA's files, and PEFT tried to load it.
OLD_WEIGHTS = "adapter_model.safetensors"
OLD_CONFIG = "adapter_config.json"
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_REMEDY = "save the adapter again or restore both files from a copy"

# By the names of their layers.
Memories = Mapping[str, LateralMemory]


def save_adapter(
    folder: str | Path,
    memories: Memories,
    layers: Sequence[str],
    base: str | None,
    dtype: torch.dtype | None = None,
    cue: Cue | None = None,
) -> None:
    """Write the weights, matrices in ``dtype``, and what is needed to attach them again.

    Each file is replaced as a whole, the weights first. The configuration holds their checksum, so that a save that is
    killed between the two is refused when it is loaded.

    Args:
        folder: where to.
        memories: the memories: of each layer one, or one that all layers share, by the layer that is written.
        layers: the layers that they stand behind.
        base: the model's name.
        dtype: of the matrices; None as they are.
        cue: that they were taught, if any.

    Raises:
        ValueError: no such type is read back, or a weight is too large for it.
    """
    if dtype is not None and dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype}; weights are saved as one of {', '.join(map(str, _DTYPES))}")
    folder = Path(folder)
    weights = {key: _stored(key, tensor, dtype) for key, tensor in _tensors(memories).items()}
    data = save(weights, metadata={"format": "pt"})
    described = {
        "library_name": "callosal",
        "format_version": FORMAT,
        "base_model": base,
        "layers": list(layers),
        **({} if len(layers) == len(memories) else {"written": next(iter(memories))}),
        "memory": asdict(next(iter(memories.values())).config),
        **({} if cue is None else {"cue": asdict(cue)}),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomically(folder / WEIGHTS, data)
    write_atomically(folder / CONFIG, (json.dumps(described, indent=2) + "\n").encode())


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """What an adapter's files hold.

    Attributes:
        layers: that memories stand behind.
        written: which of them is written where they share one memory; else None.
        config: of the memories.
        weights: by name of the layer and of the tensor.
        cue: that they were taught, if any.
    """

    layers: list[str]
    written: str | None
    config: MemoryConfig
    weights: dict[str, Tensor]
    cue: Cue | None


def load_adapter(folder: str | Path) -> Adapter:
    """Return what was saved, in this format or the one before.

    What is returned fits together: each layer has the tensors of a memory of this configuration, all of numbers; or
    that one has which is written of layers that share a memory.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files are damaged, not of one save, or not of a format of ours; each error names the file.
    """
    folder = Path(folder)
    old = not (folder / CONFIG).is_file() and (folder / OLD_CONFIG).is_file()
    config, weights = (folder / name for name in ((OLD_CONFIG, OLD_WEIGHTS) if old else (CONFIG, WEIGHTS)))
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; memories.save_pretrained(folder) writes it")
    data = weights.read_bytes()
    try:
        described: Any = json.loads(config.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{config} cannot be read: {error}; {_REMEDY}") from error
    _require_ours(described, config, data, weights, old=old)
    try:
        layers, memory = _layers_of(described["layers"]), _config_of(described["memory"])
        written = _written_of(described.get("written"), layers)
        cue = Cue.of(described["cue"]) if "cue" in described else None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{config} has missing or unknown entries: {error}; {_REMEDY}") from error
    try:
        tensors = load(data)
    # torch and safetensors raise what they like for damaged bytes.
    except Exception as error:
        raise ValueError(f"{weights} cannot be read: {error}; {_REMEDY}") from error
    _require_fit(tensors, dict.fromkeys(layers, 0) if written is None else {written: len(layers) - 1}, memory, weights)
    return Adapter(layers=layers, written=written, config=memory, weights=tensors, cue=cue)


def fill(memories: Memories, weights: Mapping[str, Tensor], folder: str | Path) -> None:
    """Give attached memories their weights.

    Raises:
        ValueError: the memories cannot hold them as they are: float64 in a model that is not of that.
    """
    for name, memory in memories.items():
        state = {key: weights[f"{name}.{key}"] for key in memory.state_dict()}
        dtypes = {tensor.dtype for tensor in state.values()}
        wide = [
            dtype for dtype in dtypes if torch.promote_types(dtype, memory.addresses.dtype) != memory.addresses.dtype
        ]
        if wide:
            raise ValueError(
                f"the weights in {folder} are {wide[0]}, and a memory in this model is {memory.addresses.dtype}, which "
                "cannot hold them: attach them to model.double(), or there call model.float() and save them again"
            )
        memory.load_state_dict(state)


def _layers_of(plain: Any) -> list[str]:
    if not plain or not isinstance(plain, list) or not all(isinstance(name, str) for name in plain):
        raise ValueError(f"its layers are {plain!r}")
    return plain


def _written_of(plain: Any, layers: list[str]) -> str | None:
    if plain is not None and (plain not in layers or len(layers) < 2):
        raise ValueError(f"the layer that is written is {plain!r}, of {layers!r}")
    return plain


def _config_of(plain: Mapping[str, Any]) -> MemoryConfig:
    config = MemoryConfig(**plain)
    for (name, value), usual in zip(asdict(config).items(), asdict(MemoryConfig(width=8)).values(), strict=True):
        kinds = {float: (float, int), type(None): (int, type(None))}.get(type(usual), (type(usual),))
        if type(value) not in kinds:
            raise TypeError(f"{name} is {value!r}, of another type than {usual!r}")
    return config


def _tensors(memories: Memories) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for name, memory in memories.items() for key, tensor in memory.state_dict().items()}


def _stored(key: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    stored = tensor.detach().contiguous().cpu()
    # What weighs next to nothing stays whole: of a mean far more is lost than of what is left without it.
    if dtype is None or stored.ndim < 2:
        return stored
    if stored.isfinite().all() and not stored.to(dtype).isfinite().all():
        raise ValueError(f"{key!r} holds {stored.abs().max():.3g}, too large for {dtype}; save it as torch.bfloat16")
    return stored.to(dtype)


def _require_fit(
    tensors: Mapping[str, Tensor], readers: Mapping[str, int], config: MemoryConfig, weights: Path
) -> None:
    """Check names, shapes, types and values before anything is built of them; ``readers`` is how many a memory has."""
    for name in readers:
        # The sizes first: a configuration may ask for more than there is memory, even to describe.
        addresses, filters = (tensors.get(f"{name}.{key}") for key in ("addresses", "filters"))
        sizes = (config.num_banks, config.num_slots, config.slot_width), (config.num_heads, config.num_lags)
        if addresses is None or filters is None or (addresses.shape, filters.shape[:-1]) != sizes:
            raise _unfit(weights, f"{name}.addresses")
    # On the device "meta" it would cost nothing, but torch's reference code for that imports its compiler.
    with torch.random.fork_rng(devices=[]):
        # All have as many.
        like = memory_of(config, next(iter(readers.values()))).state_dict()
    wanted = {(f"{name}.{key}", tensor.shape) for name in readers for key, tensor in like.items()}
    wrong = sorted({key for key, _ in wanted ^ {(key, tensor.shape) for key, tensor in tensors.items()}})
    if wrong:
        raise _unfit(weights, *wrong)
    for key, tensor in tensors.items():
        if tensor.dtype not in _DTYPES or not tensor.isfinite().all():
            raise ValueError(f"{key!r} in {weights} holds {tensor.dtype} that are not all numbers; {_REMEDY}")


def _unfit(weights: Path, *wrong: str) -> ValueError:
    return ValueError(
        f"the weights in {weights} do not fit their configuration: {wrong[0]!r} and {len(wrong) - 1} more are missing, "
        f"unknown or of another shape; {_REMEDY}"
    )


def _require_ours(described: Any, config: Path, data: bytes, weights: Path, *, old: bool) -> None:
    key, ours, version = ("peft_type", "CALLOSAL", 1) if old else ("library_name", "callosal", FORMAT)
    found = [described.get(name) if isinstance(described, dict) else None for name in (key, "format_version")]
    if found != [ours, version]:
        raise ValueError(
            f"{config} describes {key} {found[0]!r}, format_version {found[1]!r}; this version of callosal reads "
            f"{ours!r}, format_version {version}"
        )
    if not old and described.get("weights_sha256") != hashlib.sha256(data).hexdigest():
        raise ValueError(
            f"{weights} is not the file that {CONFIG} was saved with: a save was interrupted, or the file was altered; "
            f"{_REMEDY}"
        )
