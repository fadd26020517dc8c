"""Checkpoints that are either whole or not there."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from callosal.memory.disk.atomic import write_atomically


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of another run."""


def save_checkpoint(path: Path, content: dict[str, Any], fingerprint: str) -> None:
    """Write a checkpoint atomically: a kill at any moment leaves the old file or the new one, whole."""
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, **content}, buffer)
    write_atomically(path, buffer.getvalue(), path.with_suffix(".unfinished").name)


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values; nothing in it is executed.

    Raises:
        CheckpointError: it is missing, damaged, or its fingerprint is of another configuration.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; train the run first")
    try:
        content = _read(path)
    except Exception as error:  # damaged bytes can break a reader in any way
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({type(error).__name__}); delete it and train again"
        ) from error
    if not isinstance(content, dict) or content.get("fingerprint") != fingerprint:
        raise CheckpointError(f"the checkpoint {path} is of another configuration; delete it or use another folder")
    return content


def _read(path: Path) -> Any:
    # torch writes a checksum of every part but does not look at it when it reads.
    with zipfile.ZipFile(path) as parts:
        if parts.testzip() is not None:
            raise zipfile.BadZipFile("a part does not match its checksum")
    return torch.load(path, map_location="cpu", weights_only=True)
