"""A store in a folder: one file per user, any id is safe, one writer per user, readers never wait."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from io import BufferedIOBase
from pathlib import Path

from filelock import FileLock, Timeout

from callosal.memory.disk.format import (
    FORMAT_VERSION,
    MOST_HEADER_BYTES,
    STORE_FORMAT_VERSION,
    MissingMemoryFileError,
    opened,
    read_user,
)
from callosal.memory.disk.storage import MODE, write_bytes
from callosal.stores.base import Change, OnConflict, Store, is_layer, require_user, short
from callosal.stores.writing import Lock, Writing

_SUFFIX = ".safetensors"
# What most headers fit into.
_MOST_HEADERS = 4096


class MemoryStore(Store):
    """A folder with one memory file per user, of all layers behind which the user has memories.

    A file's name is the SHA-256 of the user's id, in one of 256 folders, so that an id can be any string and no id
    leads out of the folder; the id itself stands in the file's header and is compared on every load. Files are replaced
    atomically: readers need no lock and see the old memory or the new one, whole, of all layers. Writers of one user
    wait for each other; beside each user's file lies an empty lock file. Tested on Linux and a local disk; a network
    folder needs flock.

    Entries of earlier versions, one file per user and layer, are read, and join the user's file when it is saved. Such
    a file named ``ada@h.0`` is taken for Ada's layer ``h.0`` and ``ada@example.org`` for a user: layers are numbered.

    Args:
        folder: of the store; made with the first save.
        on_conflict: as for every :class:`callosal.stores.Store`.

    >>> import tempfile, torch
    >>> from callosal import LateralMemory, MemoryConfig
    >>> memory = LateralMemory(MemoryConfig(width=8, num_slots=4)).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = MemoryStore(folder)
    ...     with store.writing("ada"):
    ...         _, state = memory(torch.randn(1, 5, 8), store.load("ada", memory))
    ...         state = store.save("ada", state, memory)
    ...     store.users()
    ['ada']
    """

    def __init__(self, folder: str | Path, *, on_conflict: OnConflict = "error") -> None:
        super().__init__(on_conflict)
        self.folder = Path(folder)
        self._no_older = False

    def path(self, user: str) -> Path:
        """Return where a user's file is, or would be."""
        name = _hashed(require_user(user))
        return self.folder / name[:2] / f"{name}{_SUFFIX}"

    def _open(self, name: str) -> AbstractContextManager[tuple[BufferedIOBase, int]]:
        return opened(self.path(name))

    def _update(self, name: str, change: Change) -> None:
        path = self.path(name)
        with self.writing(name):
            try:
                with opened(path) as (file, _):
                    data = file.read()
            except MissingMemoryFileError:
                data = None
            # Only one writes, so that what a kill left behind is written over, not added to.
            write_bytes(path, change(data), path.with_suffix(".unfinished").name)

    def _discard(self, name: str) -> list[str]:
        path = self.path(name)
        # What a link points to is the memory, and the link says whose it was.
        gone = {path, path.resolve(), path.with_suffix(".unfinished"), path.resolve().with_suffix(".unfinished")}
        with self.writing(name):  # whose end removes the lock file, too
            for one in gone:
                one.unlink(missing_ok=True)
            return [str(one) for one in gone if os.path.lexists(one)]

    def _format(self, name: str) -> int | None:
        try:
            with opened(self.path(name)) as (file, _):
                return _owner(file.fileno())[1]
        except MissingMemoryFileError:
            return None
        except (ValueError, OSError):
            return STORE_FORMAT_VERSION

    def _writing(self, name: str, timeout_seconds: float) -> Writing:
        path = self.path(name).with_suffix(".lock")
        return Writing(os.path.realpath(path), _Lock(path), f"user {short(name)}", timeout_seconds)

    def _place(self, name: str) -> str:
        return str(self.path(name))

    def _users(self) -> set[str]:
        found = set()
        for name, version in self._listing():
            owner, at, layer = name.rpartition("@")
            found.add(owner if at and version == FORMAT_VERSION and is_layer(layer) else name)
        return found

    def _older_layers(self, user: str) -> list[str]:
        if self._no_older:
            return []
        older = [name for name, version in self._listing() if version == FORMAT_VERSION]
        self._no_older = not older
        mine = [name.rpartition("@")[2] for name in older if name.rpartition("@")[:2] == (user, "@")]
        for layer in mine:
            if not is_layer(layer):
                warnings.warn(
                    f"an earlier version saved {short(f'{user}@{layer}')}: a layer of {short(user)}, or somebody else; "
                    "it is taken for somebody else, whom to load, export or forget by this whole name",
                    stacklevel=4,
                )
        return [layer for layer in mine if is_layer(layer)]

    def _listing(self) -> Iterator[tuple[str, int]]:
        """Go through the names that files are kept under, and their formats; warn of what cannot be told."""
        if not self.folder.exists():
            return
        with os.scandir(self.folder) as shards:
            folders = [shard.path for shard in shards if len(shard.name) == 2 and shard.is_dir()]
        for folder in folders:
            with os.scandir(folder) as files:
                found = [file for file in files if file.name.endswith(_SUFFIX)]
            for file in found:
                try:
                    name, version = _owner_at(file.path)
                except FileNotFoundError:  # forgotten since
                    continue
                except (ValueError, OSError) as error:
                    warnings.warn(f"{file.path} is left out: whose it is cannot be read ({error})", stacklevel=4)
                    continue
                if _hashed(name) != file.name.removesuffix(_SUFFIX):
                    warnings.warn(
                        f"{file.path} is left out: it says that it is of user {short(name)}, which belongs elsewhere; "
                        "move it out of the store",
                        stacklevel=4,
                    )
                    continue
                yield name, version


class _Lock(Lock):
    """The lock file of a user, which goes with the last memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, thread_local=False, mode=MODE)

    def acquire(self) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        # Whoever waits for it sees that it was removed, and makes another.
        if not self._path.with_suffix(_SUFFIX).exists():
            self._path.unlink(missing_ok=True)
        self._lock.release()


def _hashed(name: str) -> str:
    # Any string has these bytes, lone surrogates included, and no two strings share them.
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _owner_at(path: str) -> tuple[str, int]:
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        return _owner(file)
    finally:
        os.close(file)


def _owner(file: int) -> tuple[str, int]:
    """Return the name that a file is kept under and its format, by its beginning."""
    start = os.read(file, _MOST_HEADERS)
    try:
        return read_user(start)
    except ValueError:
        length = 8 + int.from_bytes(start[:8], "little")
        return read_user(start + os.read(file, min(length, MOST_HEADER_BYTES)))
