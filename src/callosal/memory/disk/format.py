"""The bytes of a memory file: safetensors, with our header in it and one checksum over every byte."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import safetensors.torch
import torch
from torch import Tensor

FORMAT_VERSION = 1
# Keys of the metadata that safetensors keeps as text beside the tensors.
_HEADER, _CHECKSUM = "callosal", "sha256"
# The checksum is taken with its own place filled with this.
_NO_CHECKSUM = "0" * 64
# A header is read before anything of it is trusted; notes and a user id need far less.
_MOST_HEADER_BYTES = 16 * 2**20


class MemoryFileError(ValueError):
    """A memory file is missing, damaged, of another memory, or cannot be written as asked."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a memory file says of itself; it can be read without the tensors.

    Attributes:
        config_hash: of the memory's configuration.
        config: the configuration itself, as plain values.
        parameters_hash: of the weights that wrote the memory.
        shapes: of each tensor, by name.
        created: when the file was written, UTC.
        package_version: the callosal that wrote it.
        notes: free-form text.
        user: the id of the user that the memory belongs to, in a store; else None.
        max_slot_norm: what no slot's norm exceeds; None where the write has no such bound.
        parents: checksums of the files it was made of (merged, forked or reset), if any.
        format_version: of the file.
    """

    config_hash: str
    config: Mapping[str, Any]
    parameters_hash: str
    shapes: Mapping[str, tuple[int, ...]]
    created: datetime
    package_version: str
    notes: str = ""
    user: str | None = None
    max_slot_norm: float | None = None
    parents: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def to_plain(self) -> dict[str, Any]:
        """Return the header as values that JSON has."""
        # Percent-encoded, for JSON cannot keep every Python string apart (lone surrogates).
        user = None if self.user is None else quote(self.user, errors="surrogatepass")
        return {
            **vars(self),
            "config": dict(self.config),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "created": self.created.astimezone(UTC).isoformat(),
            "user": user,
            "parents": list(self.parents),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Header":
        """Read a header from values that JSON has; KeyError, TypeError or ValueError where one is not whole."""
        texts = {
            name: _checked(plain[name], str) for name in ("config_hash", "parameters_hash", "package_version", "notes")
        }
        user, bound = plain["user"], plain["max_slot_norm"]
        created = datetime.fromisoformat(_checked(plain["created"], str))
        if created.tzinfo is None:
            raise ValueError("created has no time zone")
        return cls(
            **texts,
            config=_checked(plain["config"], dict),
            shapes={
                name: tuple(_checked(size, int) for size in _checked(shape, list))
                for name, shape in _checked(plain["shapes"], dict).items()
            },
            created=created,
            user=None if user is None else unquote(_checked(user, str), errors="surrogatepass"),
            max_slot_norm=None if bound is None else float(_checked(bound, (int, float))),
            parents=tuple(_checked(parent, str) for parent in _checked(plain["parents"], list)),
        )


class MissingMemoryFileError(MemoryFileError):
    """There is no such file."""


def pack(header: Header, tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a memory file; MemoryFileError where the header is longer than any reader takes."""
    text = json.dumps(header.to_plain())
    if len(text) > _MOST_HEADER_BYTES // 2:
        raise MemoryFileError(
            f"the notes and the user id make a header of {len(text)} bytes; it may have at most "
            f"{_MOST_HEADER_BYTES // 2}: shorten them"
        )
    # Copies, because safetensors refuses tensors that share memory.
    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    data = safetensors.torch.save(copies, {_HEADER: text, _CHECKSUM: _NO_CHECKSUM})
    return _with_checksum(data, checksum_of(data))


def unpack(data: bytes, path: Path) -> tuple[Header, dict[str, Tensor], str]:
    """Return header, tensors and checksum of a file's bytes; MemoryFileError, with its path, if they are not whole."""
    container = _read_container(data, len(data), path)
    header = _header_in(container, path)
    stored = container["__metadata__"].get(_CHECKSUM)
    try:
        tensors = safetensors.torch.load(data)
        computed = checksum_of(data)
    except Exception as error:  # altered bytes can break a reader in any way
        raise _altered(path, f"{type(error).__name__} while reading its tensors") from error
    if computed != stored:
        raise _altered(path, "its checksum does not fit its content")
    return header, tensors, stored


def read_header(path: str | Path) -> Header:
    """Read the header of a memory file without its tensors; their checksum is therefore not looked at.

    Raises:
        MemoryFileError: there is no such file, or it is no memory file, or truncated, or of another format.
    """
    path = Path(path)
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, "little"), _MOST_HEADER_BYTES))
    return _header_in(_read_container(start, size, path), path)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a memory file to read; MissingMemoryFileError where there is none."""
    try:
        with open(path, "rb") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise MissingMemoryFileError(
            f"there is no memory file at {path}; write one with callosal.save_memory"
        ) from error


def write_atomically(path: Path, data: bytes, unfinished: Path | None = None) -> None:
    """Write a file, and missing folders, so that a kill at any moment leaves the old one or the new one, whole.

    The bytes go into a file beside it, onto the disk, and only then under the name. A kill can leave that file behind;
    its name ends in ``.unfinished`` and nothing reads it. Name it (``unfinished``) only where one alone writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished or path.with_name(f".{secrets.token_hex(8)}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    # The new name itself has to reach the disk too, where a folder can be opened for that.
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def checksum_of(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, the checksum's own place (else ValueError) filled with zeros."""
    return hashlib.sha256(_with_checksum(data, _NO_CHECKSUM)).hexdigest()


def checksum_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of tensors: names, types, shapes and every bit."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()


def _with_checksum(data: bytes, checksum: str) -> bytes:
    # Quotes inside other texts of a JSON header are escaped, so that this occurs once.
    mark = f'"{_CHECKSUM}":"'.encode()
    place = data.index(mark) + len(mark)
    return data[:place] + checksum.encode() + data[place + len(checksum) :]


def _read_container(start: bytes, size: int, path: Path) -> dict[str, Any]:
    """Return the JSON at the start of a safetensors file, after looking at the file's size."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or length > _MOST_HEADER_BYTES:
        raise _foreign(path, f"its {size} bytes do not begin as one does")
    if size < 8 + length:
        raise _truncated(path, size, 8 + length)
    try:
        container = json.loads(start[8 : 8 + length])
        parts = [part for name, part in container.items() if name != "__metadata__"]
        end = 8 + length + max((part["data_offsets"][1] for part in parts), default=0)
        metadata = container.get("__metadata__")
        shorter, longer = size < end, size > end
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise _altered(path, "its header cannot be read") from error
    if not isinstance(metadata, dict) or _HEADER not in metadata:
        raise _foreign(path, f"it is a safetensors file without a {_HEADER} header")
    if shorter:
        raise _truncated(path, size, end)
    if longer:
        raise _altered(path, f"{size} bytes where {end} should be")
    return container


def _header_in(container: Mapping[str, Any], path: Path) -> Header:
    """Return the header among a file's metadata."""
    try:
        plain = json.loads(container["__metadata__"][_HEADER])
        version = _checked(plain["format_version"], int)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise _altered(path, "its header cannot be read") from error
    if version != FORMAT_VERSION:
        remedy = "upgrade it" if version > FORMAT_VERSION else "no release wrote an older one"
        raise MemoryFileError(
            f"{path} is of format {version}, written by callosal {plain.get('package_version')}; this callosal reads "
            f"format {FORMAT_VERSION} only: {remedy}"
        )
    try:
        return Header.from_plain(plain)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _altered(path, f"its header is not whole ({error})") from error


def _checked(value: Any, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__} where another kind of value belongs")
    return value


def _foreign(path: Path, reason: str) -> MemoryFileError:
    return MemoryFileError(f"{path} is not a memory file: {reason}; give a file that callosal.save_memory wrote")


def _truncated(path: Path, size: int, least: int) -> MemoryFileError:
    return MemoryFileError(f"{path} is truncated: {size} bytes of at least {least}; restore it from a copy")


def _altered(path: Path, reason: str) -> MemoryFileError:
    return MemoryFileError(f"{path} is altered or damaged: {reason}; restore it from a copy")
