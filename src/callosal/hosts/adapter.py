"""The weights of attached memories as files: a folder that callosal alone reads."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from callosal.memory import LateralMemory, MemoryConfig
from callosal.memory.disk.atomic import write_atomically

WEIGHTS = "callosal_memory.safetensors"
CONFIG = "callosal_config.json"
FORMAT = 2
# Format 1 had the names that PEFT gives a LoRA's files, and PEFT tried to load it.
OLD_WEIGHTS = "adapter_model.safetensors"
OLD_CONFIG = "adapter_config.json"

# By the names of their layers.
Memories = Mapping[str, LateralMemory]


def save_adapter(folder: str | Path, memories: Memories, base: str | None) -> None:
    """Write the weights and what is needed to attach them again.

    Each file is replaced as a whole, the weights first. The configuration holds their checksum, so that a save that is
    killed between the two is refused when it is loaded.
    """
    folder = Path(folder)
    weights = {key: tensor.detach().contiguous().cpu() for key, tensor in _tensors(memories).items()}
    data = save(weights, metadata={"format": "pt"})
    described = {
        "library_name": "callosal",
        "format_version": FORMAT,
        "base_model": base,
        "layers": list(memories),
        "memory": asdict(next(iter(memories.values())).config),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomically(folder / WEIGHTS, data)
    write_atomically(folder / CONFIG, (json.dumps(described, indent=2) + "\n").encode())


def load_adapter(folder: str | Path) -> tuple[list[str], MemoryConfig, dict[str, Tensor]]:
    """Return the layers, the configuration and the weights that were saved, in this format or the one before.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files are damaged, not of one save, or not of a format of ours.
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
        _require_ours(described, config, data, weights, old=old)
        return list(described["layers"]), MemoryConfig(**described["memory"]), load(data)
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise ValueError(f"an adapter in {folder} cannot be read: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{config} has missing or unknown entries: {error}") from error


def fill(memories: Memories, weights: Mapping[str, Tensor], folder: str | Path) -> None:
    """Give attached memories their weights; ValueError where a tensor is missing, too many, or of another shape."""
    wanted, given = ({(key, t.shape) for key, t in tensors.items()} for tensors in (_tensors(memories), weights))
    wrong = sorted({key for key, _ in wanted ^ given})
    if wrong:
        raise ValueError(
            f"the weights in {folder} do not fit their configuration: {wrong[0]!r} and {len(wrong) - 1} more are "
            "missing, unknown or of another shape; save the adapter again"
        )
    for name, memory in memories.items():
        memory.load_state_dict({key: weights[f"{name}.{key}"] for key in memory.state_dict()})


def _tensors(memories: Memories) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for name, memory in memories.items() for key, tensor in memory.state_dict().items()}


def _require_ours(described: Any, config: Path, data: bytes, weights: Path, *, old: bool) -> None:
    key, ours, version = ("peft_type", "CALLOSAL", 1) if old else ("library_name", "callosal", FORMAT)
    found = [described.get(name) if isinstance(described, dict) else None for name in (key, "format_version")]
    if found != [ours, version]:
        raise ValueError(
            f"{config} describes {key} {found[0]!r}, format_version {found[1]!r}; this version of callosal reads "
            f"{ours!r}, format_version {version}"
        )
    if not old and described["weights_sha256"] != hashlib.sha256(data).hexdigest():
        raise ValueError(
            f"{weights} is not the file that {CONFIG} was saved with: a save was interrupted, or the file was altered; "
            "save the adapter again or restore both from a copy"
        )
