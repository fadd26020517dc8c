"""Memory files edited without the model that wrote them: what ``callosal memory`` does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callosal.memory.disk.format import FORMAT_VERSION, Header, MemoryFileError
from callosal.memory.disk.storage import (
    PACKAGE_VERSION,
    StoredMemory,
    draw_version,
    pack_stored,
    read_file,
    read_memory,
    write_bytes,
)
from callosal.memory.editing import Bank, merge, reset_banks
from callosal.memory.inspection import BankChange, diff
from callosal.memory.state import MemoryState


def diff_files(first: Path, second: Path) -> tuple[Sequence[BankChange], list[str]]:
    """Return how the banks of two files differ, and what their headers say that matters for it.

    Raises:
        MemoryFileError: a file cannot be read.
        ValueError: their states are of different shape or dtype.
    """
    a, b = read_memory(first), read_memory(second)
    remarks = []
    if a.checksum == b.checksum:
        remarks.append("the files are the same")
    if a.header.config_hash != b.header.config_hash:
        remarks.append("their configurations differ, so that their slots do not mean the same")
    elif a.header.parameters_hash != b.header.parameters_hash:
        remarks.append("other weights wrote them, so that their slots do not mean the same")
    if a.checksum in b.header.parents:
        remarks.append("B was made of A")
    if b.checksum in a.header.parents:
        remarks.append("A was made of B")
    return diff(a.state, b.state), remarks


def merge_files(first: Path, second: Path, into: Path, banks: Mapping[Bank, str] | None = None) -> StoredMemory:
    """Merge two files into a new one; :func:`callosal.memory.editing.merge` says what that means.

    Raises:
        MemoryFileError: a file cannot be read, the parents differ in configuration or weights, or ``into`` exists.
        ValueError: the states cannot be merged as asked.
    """
    a, b = read_memory(first), read_memory(second)
    if (a.header.config_hash, a.header.parameters_hash) != (b.header.config_hash, b.header.parameters_hash):
        what = "configurations" if a.header.config_hash != b.header.config_hash else "weights"
        raise MemoryFileError(
            f"{first} and {second} were written by other {what}, so that their slots do not mean the same; merge "
            "memories of one model"
        )
    _require_free(into)
    notes = f"merged of {first.name} and {second.name}"
    merged = merge(a.state, b.state, banks)
    return _write(into, _copy(a, merged, notes=notes, parents=(a.checksum, b.checksum)))


def fork_file(path: Path, into: Sequence[Path]) -> StoredMemory:
    """Write copies of a file that continue independently: of no user, with the original as their parent.

    Raises:
        MemoryFileError: the file cannot be read, a path is named twice, or a file is there already.
    """
    stored = read_memory(path)
    if len(set(into)) < len(into):
        raise MemoryFileError("a fork's path is named twice; give each copy a path of its own")
    for place in into:
        _require_free(place)
    for place in into:
        _write(place, _copy(stored, stored.state))
    return stored


def reset_file(path: Path, banks: Sequence[Bank] | None = None, into: Path | None = None) -> None:
    """Blank banks of a file (None: all), in its place or into a new file.

    A file in a :class:`callosal.MemoryStore` keeps its user and is reset in all layers; nothing else may write it
    meanwhile.

    Raises:
        MemoryFileError: the file cannot be read, there is one at ``into`` already, or several layers are to go there.
        ValueError: there is no such bank.
    """
    if into is not None:
        stored = read_memory(path)
        _require_free(into)
        _write(into, _copy(stored, reset_banks(stored.state, banks)))
        return
    layers = {
        layer: _copy(one, reset_banks(one.state, banks), **_place_in_store(one.header))
        for layer, one in read_file(path).items()
    }
    write_bytes(path, pack_stored(layers))


def _copy(origin: StoredMemory, state: MemoryState, **header: Any) -> StoredMemory:
    """Return what is made of a file: of no user, with the original as its parent, unless it is said otherwise."""
    fields = {"user": None, "parents": (origin.checksum,), "format_version": FORMAT_VERSION, "version": 0} | header
    now = replace(origin.header, created=datetime.now(UTC), package_version=PACKAGE_VERSION, **fields)
    return replace(origin, header=now, state=state)


def _place_in_store(header: Header) -> dict[str, Any]:
    version = draw_version() if header.version else 0
    return {"user": header.user, "format_version": header.format_version, "version": version}


def _write(path: Path, stored: StoredMemory) -> StoredMemory:
    write_bytes(path, pack_stored({"": stored}))
    return read_memory(path)


def _require_free(path: Path) -> None:
    if path.exists():
        raise MemoryFileError(f"there is a file at {path} already; delete it or choose another path")
