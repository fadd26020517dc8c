"""Checkpoints that are either whole or not there."""

import hashlib
import io
import json
import os
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


def seal(folder: Path, name: str, content: dict[str, Any]) -> None:
    """Bring what others wrote into a folder onto the disk, and write plain values and its checksums beside it."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            files[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    content = content | {"files": files}
    write_atomically(folder / name, json.dumps(content | {"sha256": _sum_of(content)}, indent=1).encode())


def sealed(folder: Path, name: str) -> dict[str, Any]:
    """Return the plain values that a folder was sealed with.

    Raises:
        CheckpointError: it was never sealed, or a file is missing or altered since.
    """
    altered = []
    try:
        content = json.loads((folder / name).read_bytes())
        if content.pop("sha256") != _sum_of(content):
            altered.append(name)
        for file, checksum in content.pop("files").items():
            with open(folder / file, "rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != checksum:
                    altered.append(file)
    except Exception as error:  # damaged bytes can break a reader in any way
        raise CheckpointError(
            f"the checkpoint {folder} is damaged, or not of this version ({error}); delete it and train again"
        ) from error
    if altered:
        raise CheckpointError(
            f"the checkpoint {folder} is damaged ({altered[0]} was altered); delete it and train again"
        )
    return content


def _sum_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
