"""Many users' memories in one folder: any id is safe, one writer per user, readers never wait."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from callosal.memory.disk.format import MemoryFileError, MissingMemoryFileError, read_header
from callosal.memory.disk.storage import header_of, read_memory, require_fit, write_memory
from callosal.memory.lateral import LateralMemory
from callosal.memory.state import MemoryState

_SUFFIX = ".safetensors"


class MemoryStore:
    """A folder with one memory file per user.

    A file's name is the SHA-256 of the user's id, in one of 256 folders, so that an id can be any string and no id
    leads out of the folder; the id itself stands in the file's header and is compared on every load. Files are replaced
    atomically: readers need no lock and see the old memory or the new one, whole. Writers of one user, threads or
    processes, wait for each other; beside each user's file lies an empty lock file. Tested on Linux and a local disk; a
    network folder needs flock.

    Args:
        folder: of the store; made with the first save.

    >>> import tempfile, torch
    >>> from callosal import LateralMemory, MemoryConfig
    >>> memory = LateralMemory(MemoryConfig(width=8, num_slots=4)).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = MemoryStore(folder)
    ...     with store.writing("ada"):
    ...         _, state = memory(torch.randn(1, 5, 8), store.load("ada", memory))
    ...         store.save("ada", state, memory)
    ...     store.users()
    ['ada']
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def load(self, user: str, memory: LateralMemory, *, strict: bool = True) -> MemoryState:
        """Return a user's memory, one row; a blank one for a user the store does not know.

        Raises:
            MemoryFileError: the file is of another user, or as in :func:`callosal.load_memory` (also for ``strict``).
        """
        path = self.path(user)
        try:
            stored = read_memory(path)
        except MissingMemoryFileError:
            return memory.blank(1)
        if stored.header.user != user:
            raise MemoryFileError(
                f"{path} is where the memory of user {_short(user)} belongs and says that it is of user "
                f"{_short(stored.header.user)}; it was moved: put it back"
            )
        require_fit(stored, memory, path, strict=strict)
        return stored.state.to(memory.prototypes.device)

    def save(self, user: str, state: MemoryState, memory: LateralMemory, *, notes: str = "") -> None:
        """Write a user's memory, atomically; waits for another writer of the same user.

        To read, change and write with no other writer in between, do it all inside ``with store.writing(user):``.

        Raises:
            MemoryFileError: the state has more or fewer rows than one, or :func:`callosal.save_memory` would refuse it.
            TimeoutError: another writer kept the lock for a minute.
        """
        if len(state) != 1:
            raise MemoryFileError(f"a state of {len(state)} rows for one user; save each row: state[row]")
        header = header_of(state, memory, notes=notes, user=user)
        path = self.path(user)
        with self.writing(user):
            # Only one writes, so that what a kill left behind is written over, not added to.
            write_memory(path, header, state, unfinished=path.with_suffix(".unfinished"))

    @contextmanager
    def writing(self, user: str, timeout_seconds: float = 60.0) -> Iterator[None]:
        """Hold the lock of a user's file; inside it ``save`` and ``forget`` do not wait.

        The lock is the operating system's, so it ends with the process that holds it, killed or not.

        Raises:
            TimeoutError: another writer kept it for ``timeout_seconds``.
        """
        path = self.path(user)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A singleton per path: held once by this thread, it can be taken again inside.
        lock = FileLock(path.with_suffix(".lock"), is_singleton=True)
        try:
            lock.acquire(timeout=timeout_seconds)
        except Timeout:
            raise TimeoutError(
                f"another writer kept the memory of user {_short(user)} for {timeout_seconds:g} seconds; try again, or "
                "find out what holds it"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def users(self) -> list[str]:
        """Return the ids of all users, in no particular order but always the same.

        Raises:
            MemoryFileError: a file's header cannot be read, or its name is not that of its user.
        """
        found = []
        for path in sorted(self.folder.glob(f"??/*{_SUFFIX}")):
            try:
                user = read_header(path).user
            except MissingMemoryFileError:  # forgotten since
                continue
            if user is None or self.path(user) != path:
                raise MemoryFileError(
                    f"{path} says that it is of user {_short(user)}, which belongs elsewhere; move it out of the store"
                )
            found.append(user)
        return found

    def forget(self, user: str) -> bool:
        """Delete a user's memory and return whether there was one; an empty lock file remains.

        Raises:
            TimeoutError: another writer kept the lock for a minute.
        """
        path = self.path(user)
        with self.writing(user):
            path.with_suffix(".unfinished").unlink(missing_ok=True)
            known = path.is_file()
            path.unlink(missing_ok=True)
        return known

    def path(self, user: str) -> Path:
        """Return where a user's file is, or would be."""
        # Any string has these bytes, lone surrogates included, and no two strings share them.
        name = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / name[:2] / f"{name}{_SUFFIX}"


def _short(user: str | None) -> str:
    text = ascii(user)
    return text if len(text) <= 60 else f"{text[:60]}... ({len(user or '')} characters)"
