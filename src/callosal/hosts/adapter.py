"""The weights of attached memories as files, named as users of PEFT know them."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from callosal.memory import LateralMemory, MemoryConfig

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
KIND = "CALLOSAL"
FORMAT = 1


@runtime_checkable
class Named(Protocol):
    """Memories by the names of their layers."""

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the layers."""
        ...

    def __getitem__(self, name: str) -> LateralMemory:
        """Return the memory behind a layer."""
        ...


def save(folder: str | Path, memories: Named, base: str | None) -> None:
    """Write the weights and what is needed to attach them again."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = list(memories)
    described = {
        "peft_type": KIND,
        "format_version": FORMAT,
        "base_model_name_or_path": base or None,
        "layers": names,
        "memory": asdict(memories[names[0]].config),
    }
    weights = {
        f"{name}.{key}": tensor.detach().contiguous()
        for name in names
        for key, tensor in memories[name].state_dict().items()
    }
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    # Last: a folder with a configuration is a complete one.
    (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n")


def load(folder: str | Path) -> tuple[list[str], MemoryConfig, dict[str, Tensor]]:
    """Return the layers, the configuration and the weights that were saved.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files are damaged or not of this format.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing; memories.save_pretrained(folder) writes it"
            )
    try:
        described: Any = json.loads((folder / CONFIG).read_text())
        weights = load_file(folder / WEIGHTS)
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise ValueError(f"an adapter in {folder} cannot be read: {error}") from error
    kind = described.get("peft_type") if isinstance(described, dict) else None
    if kind != KIND or described.get("format_version") != FORMAT:
        raise ValueError(
            f"{folder / CONFIG} describes peft_type {kind!r}; this version of callosal reads "
            f"{KIND!r}, format_version {FORMAT}"
        )
    try:
        return list(described["layers"]), MemoryConfig(**described["memory"]), weights
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG} has missing or unknown entries: {error}") from error


def fill(memories: Named, weights: dict[str, Tensor], folder: str | Path) -> None:
    """Give attached memories their weights.

    Raises:
        ValueError: a tensor is missing, too many, or of another shape.
    """
    wanted = {
        f"{name}.{key}": tensor
        for name in memories
        for key, tensor in memories[name].state_dict().items()
    }
    wrong = sorted(
        key
        for key in wanted.keys() | weights.keys()
        if key not in wanted or key not in weights or wanted[key].shape != weights[key].shape
    )
    if wrong:
        raise ValueError(
            f"{Path(folder) / WEIGHTS} does not fit its {CONFIG}: {wrong[0]!r} and {len(wrong) - 1} "
            "more are missing, unknown or of another shape; save the adapter again"
        )
    for name in memories:
        mine = {key: weights[f"{name}.{key}"] for key in memories[name].state_dict()}
        memories[name].load_state_dict(mine)
