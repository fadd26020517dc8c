"""Masked tokens made absent: the existing ones move to the front of their segment, and back."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Hidden states with a segment axis, existing tokens first.

    To everything causal, a token behind the last existing one never came; so a mask of any shape (left padding, holes)
    needs no case of its own in the lagged heads or the running context.

    Attributes:
        hidden: the states, packed.
        present: True where a packed token exists; None if all do.
        order: where each packed token stood; None if nothing moved.
        several: whether the caller's tensors had a segment axis.
    """

    hidden: Float[Tensor, "batch seg time width"]
    present: Bool[Tensor, "batch seg time"] | None
    order: Int[Tensor, "batch seg time"] | None
    several: bool

    @classmethod
    def pack(cls, hidden: Tensor, mask: Tensor | None) -> "Packed":
        """Add the segment axis where it is missing and move existing tokens to the front."""
        several = hidden.ndim == 4
        if not several:
            hidden = hidden[:, None]
            mask = mask[:, None] if mask is not None else None
        if mask is None:
            return cls(hidden=hidden, present=None, order=None, several=several)
        order = torch.argsort(~mask, dim=-1, stable=True)
        present = mask.take_along_dim(order, dim=-1)
        hidden = hidden.take_along_dim(order[..., None], dim=-2)
        # Zeroed rather than multiplied by zero: padding may hold anything, NaN included.
        hidden = hidden.masked_fill(~present[..., None], 0.0)
        return cls(hidden=hidden, present=present, order=order, several=several)

    @property
    def count(self) -> Float[Tensor, "batch seg"]:
        """Number of existing tokens; in float32 at least, since bfloat16 cannot count past 256."""
        dtype = torch.promote_types(self.hidden.dtype, torch.float32)
        if self.present is None:
            return self.hidden.new_full(self.hidden.shape[:2], self.hidden.shape[2], dtype=dtype)
        return self.present.sum(-1).to(dtype)

    def restore(self, y: Float[Tensor, "batch seg time out"]) -> Tensor:
        """Put each token's output where the token stood, zero where there was none."""
        if self.present is not None and self.order is not None:
            y = y * self.present[..., None]
            y = torch.zeros_like(y).scatter(-2, self.order[..., None].expand_as(y), y)
        return y if self.several else y[:, 0]


def check_input(hidden: Tensor, mask: Tensor | None, num_rows: int, width: int) -> None:
    """Raise ValueError for what no memory of this width, with a state of so many rows, can take.

    Hidden states must be [batch, (segment,) time, width], and a mask boolean and of that shape without the width.
    """
    if hidden.ndim not in (3, 4) or hidden.shape[-1] != width:
        raise ValueError(
            f"hidden states of shape {tuple(hidden.shape)}; this memory takes [batch, time, {width}] or [batch, "
            f"segment, time, {width}]"
        )
    if len(hidden) != num_rows:
        raise ValueError(
            f"{len(hidden)} rows of hidden states meet a memory of {num_rows} rows; make one with "
            f"memory.blank({len(hidden)}) or select rows with state[rows]"
        )
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(
            f"a mask of dtype {mask.dtype}; it must be torch.bool, True where a token exists: pass mask.bool()"
        )
    if mask is not None and mask.shape != hidden.shape[:-1]:
        raise ValueError(
            f"a mask of shape {tuple(mask.shape)} meets hidden states of shape {tuple(hidden.shape)}; it must be of "
            f"shape {tuple(hidden.shape[:-1])}"
        )
