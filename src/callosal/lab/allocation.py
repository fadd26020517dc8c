"""How a process of the lab gets its memory."""

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Let this process use again what it has freed, for as long as it lives; return whether it could be told so.

    By itself glibc gives the system back what a training step has freed, and tensors of 32 MiB and more whenever they
    are freed; for the next step the system fills as many pages with zeros. Not for a process that others share: its
    memory stays at its peak. Elsewhere than on Linux with glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1)) and bool(mallopt(_MMAP_THRESHOLD, 2**30))
