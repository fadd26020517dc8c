"""What a memory remembers, as a value: nothing of it lives on the module."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor


# No generated equality: tensors have none that is a bool.
@dataclass(frozen=True, kw_only=True, eq=False)
class OpenSegment:
    """The part of a segment that was seen but not yet committed. All of it is a sum over tokens.

    Attributes:
        tail: the last hidden states, oldest first, for the lagged heads.
        signal_sum: sum of what homeostasis averages (normalised hidden states, or slot drives).
        num_tokens: number of tokens so far, as a float.
        consolidated: A^T A V so far.
        usage: column sums of A so far.
    """

    tail: Float[Tensor, "batch tail width"]
    signal_sum: Float[Tensor, "batch signal"]
    num_tokens: Float[Tensor, "batch"]
    consolidated: Float[Tensor, "batch bank slot width"]
    usage: Float[Tensor, "batch bank slot"]


# No generated equality: tensors have none that is a bool.
@dataclass(frozen=True, kw_only=True, eq=False)
class MemoryState:
    """The memory of a batch: one row per sequence, user or episode. Methods return new states.

    Attributes:
        trace: what was written; zero is blank.
        segment: the open segment, or None right after a commit.
    """

    trace: Float[Tensor, "batch bank slot width"]
    segment: OpenSegment | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.trace)

    def __getitem__(self, rows: Any) -> Self:
        """Select rows by a slice, a list, an index tensor or a boolean mask: ``state[2:5]``.

        One number keeps the batch axis: ``state[3]`` is a state of one row.

        Raises:
            IndexError: there is no such row, or the index is for more than rows.
        """
        if isinstance(rows, tuple):
            raise IndexError(
                f"{rows} indexes more than rows; a memory state is indexed by rows alone"
            )
        try:
            index = torch.arange(len(self), device=self.trace.device)[rows]
        except IndexError as error:
            raise IndexError(
                f"rows {rows} of a memory state with {len(self)} rows: {error}"
            ) from error
        return self._map(lambda tensor: tensor[index.reshape(-1)])

    def detach(self) -> Self:
        """Cut the gradient: what comes after does not reach what came before."""
        return self._map(Tensor.detach)

    def clone(self) -> Self:
        """Copy every tensor."""
        return self._map(Tensor.clone)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast every tensor, with the arguments of ``Tensor.to``."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def reset(self, rows: Any) -> Self:
        """Make some rows blank, an open segment of theirs included; the others keep every bit.

        Raises:
            ValueError: a segment is open.
        """
        if self.segment is not None:
            raise ValueError(
                "reset() was called inside an open segment; call memory.commit(state) before it"
            )
        keep = torch.ones(len(self), dtype=torch.bool, device=self.trace.device)
        keep[rows] = False
        blank = torch.zeros_like(self.trace)
        return replace(self, trace=torch.where(keep[:, None, None, None], self.trace, blank))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        segment = self.segment
        if segment is not None:
            moved = {f.name: function(getattr(segment, f.name)) for f in fields(segment)}
            segment = OpenSegment(**moved)
        return replace(self, trace=function(self.trace), segment=segment)
