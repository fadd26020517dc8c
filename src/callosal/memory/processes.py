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


def all_apart() -> "distributed.ProcessGroup | None":
    """Return a new group of all processes, whose exchanges never meet those of another; None where there is only one.

    All must ask for it alike. It stays until the processes end.
    """
    if everyone() is None:
        return None
    group = distributed.new_group()
    assert isinstance(group, distributed.ProcessGroup)
    return group


def gathered(
    rows: Float[Tensor, "batch *rest"], group: "distributed.ProcessGroup | None"
) -> Float[Tensor, "pool *rest"]:
    """Return the rows of all processes of a group, in the same order on each; None is this one alone."""
    if group is None:
        return rows
    pool = [torch.empty_like(rows) for _ in range(group.size())]
    distributed.all_gather(pool, rows.contiguous(), group)
    return torch.cat(pool)


def added(shares: Float[Tensor, "*shape"], group: "distributed.ProcessGroup | None") -> Float[Tensor, "*shape"]:
    """Return the sum over the processes of a group, on each; None is this one alone.

    The gradient goes back to all: that of each process's share is the sum of what the sum earned everywhere. All
    processes must then go backward alike.
    """
    return shares if group is None else _Added.apply(shares, group)


def from_each(
    part: Float[Tensor, "*shape"], group: "distributed.ProcessGroup | None"
) -> Float[Tensor, "process *shape"]:
    """Return what each process of a group has, in their order, on each; None is this one alone. As in :func:`added`."""
    return part[None] if group is None else _FromEach.apply(part, group)


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, shares: Tensor, group: Any) -> Tensor:
        context.group = group
        total = shares.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Added.apply(gradient, context.group), None


class _FromEach(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, part: Tensor, group: Any) -> Tensor:
        context.group = group
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(group.size())]
        distributed.all_gather(parts, part.contiguous(), group)
        return torch.stack(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Added.apply(gradient, context.group)[context.group.rank()], None


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
