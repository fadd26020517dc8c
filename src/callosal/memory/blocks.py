"""Many users at once, some at a time: what keeps a large batch from costing twice as much a token."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.memory.state import MemoryState

# From 32 MiB on the C library (glibc) asks the system for fresh pages every time, and to fill these with zeros takes as
# long as all that is computed in them (LOG.md, 2026-11-30). Tensors of a block are far smaller, and use theirs again.
TOO_LARGE, BLOCK = 32 * 2**20, 4 * 2**20

Forward = Callable[..., tuple[Tensor, MemoryState]]


def rows_at_once(num_rows: int, bytes_of_a_row: int) -> int:
    """Return how many rows to take at a time, given the size of the largest tensor's part for one of them.

    >>> rows_at_once(128, 128 * 1024), rows_at_once(512, 128 * 1024)
    (128, 32)
    """
    return num_rows if num_rows * bytes_of_a_row < TOO_LARGE else max(1, BLOCK // bytes_of_a_row)


def in_blocks(
    forward: Forward,
    num_rows: int,
    hidden: Float[Tensor, "batch *segment time width"],
    state: MemoryState,
    *beside: Tensor | None,
    **options: Any,
) -> tuple[Float[Tensor, "batch *segment time width"], MemoryState]:
    """Call a memory with so many rows at a time; rows do not see each other, so it is what one call gives.

    Args:
        forward: called with hidden states, a state, what is ``beside`` them, and the options.
        num_rows: of a block.
        hidden: of all rows.
        state: of all rows.
        beside: further tensors by rows, or None.
        options: the same for all.
    """
    parts = [hidden.split(num_rows), state.split(num_rows)]
    parts += [[None] * len(parts[0]) if one is None else one.split(num_rows) for one in beside]
    ys, states = zip(*(forward(*block, **options) for block in zip(*parts, strict=True)), strict=True)
    return torch.cat(ys), MemoryState.stack(states)
