"""What several processes see, as if one process had seen it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import distributed

from callosal.memory.competition import Competition


def everyone() -> "distributed.ProcessGroup | None":
    """Return the group of all processes; None where there is only this one."""
    alone = not distributed.is_available() or not distributed.is_initialized()
    return None if alone else distributed.group.WORLD


@contextmanager
def pooled(
    memories: Iterable[Competition], group: "distributed.ProcessGroup | None"
) -> Iterator[None]:
    """Let the buffers of these memories move, while inside, by the rows of all processes of a group."""
    memories = list(memories)
    before = [memory.process_group for memory in memories]
    for memory in memories:
        memory.process_group = group
    try:
        yield
    finally:
        for memory, own in zip(memories, before, strict=True):
            memory.process_group = own
