"""Files that are read with care and replaced whole: a kill at any moment leaves the old one or the new one."""

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

# What a killed writer left is taken for left, and not for under way, after this long.
_STALE_SECONDS = 3600.0
_SUFFIX = ".unfinished"
# Not every system has them.
_NO_FOLLOW, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


class SpecialFileError(ValueError):
    """A pipe, device or socket stands where a file should."""


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file to read, and never wait for one that is a pipe.

    Raises:
        OSError: as ``open`` raises, for a folder too.
        SpecialFileError: it is no file but a pipe, a device or a socket.
    """
    try:
        # A pipe without a writer is opened at once, and refused then.
        number = os.open(path, os.O_RDONLY | _NO_WAIT | _BINARY)
    except OSError:
        _require_plain(path)  # a socket cannot be opened at all
        raise
    with open(number, "rb") as file:
        _refuse_special(os.fstat(file.fileno()).st_mode, path)
        yield file


def write_atomically(path: Path, data: bytes, unfinished: str | None = None, *, mode: int | None = None) -> None:
    """Write a file, and missing folders, so that a kill at any moment leaves the old one or the new one, whole.

    The bytes go into a file beside it, onto the disk, and only then under the name. A kill can leave that file behind;
    its name ends in ``.unfinished``, nothing reads it, and a later call in the same folder removes it. A symbolic link
    stays: what it points to is replaced.

    Args:
        path: where.
        data: what.
        unfinished: name of the file beside it, only where one alone writes; by default a name of its own.
        mode: of a new file, None as the process makes files. A file that is replaced hands on its own.

    Raises:
        OSError: it cannot be written.
        SpecialFileError: at ``path`` is a pipe, a device or a socket.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _require_plain(path) or mode
    if unfinished is None:
        _sweep(path.parent)
    beside = path.with_name(unfinished or f".{secrets.token_hex(8)}{_SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW | _BINARY
    try:
        # Nobody else reads it before it has its mode.
        with open(os.open(beside, flags, 0o666 if mode is None else 0o600), "wb") as file:
            if mode is not None:
                beside.chmod(mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    # The new name itself has to reach the disk too, where a folder can be opened for that.
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _require_plain(path: Path) -> int | None:
    """Return the mode of the file that is there, None without one; SpecialFileError where it is no plain file."""
    try:
        found = path.stat().st_mode
    except OSError:
        return None
    _refuse_special(found, path)
    return stat.S_IMODE(found)


def _refuse_special(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kinds = {stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFSOCK: "socket"}
        raise SpecialFileError(f"{path} is a {kinds.get(stat.S_IFMT(mode), 'special file')}; give the path of a file")


def _sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder."""
    with os.scandir(folder) as entries:
        left = [entry for entry in entries if entry.name.startswith(".") and entry.name.endswith(_SUFFIX)]
    for entry in left:
        try:
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
                Path(entry.path).unlink()
        except OSError:  # somebody else's, or gone
            continue
