"""What several processes see, as if one process had seen it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed


def everyone() -> "distributed.ProcessGroup | None":
    """Return the group of all processes; None where there is only this one."""
    alone = not distributed.is_available() or not distributed.is_initialized()
    return None if alone else distributed.group.WORLD


def gathered(
    rows: Float[Tensor, "batch *rest"], group: "distributed.ProcessGroup | None"
) -> Float[Tensor, "pool *rest"]:
    """Return the rows of all processes of a group, in the same order on each; None is this one alone."""
    if group is None:
        return rows
    pool = [torch.empty_like(rows) for _ in range(group.size())]
    distributed.all_gather(pool, rows.contiguous(), group)
    return torch.cat(pool)


@contextmanager
def pooled(memories: Iterable[Any], group: "distributed.ProcessGroup | None") -> Iterator[None]:
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
