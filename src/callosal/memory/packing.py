"""Masked tokens made absent: the existing ones move to the front of their segment, and back.

Likewise for tokens of salience 0, which are told from outside to leave no trace: they stand behind those that count,
and only read.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from callosal.ops.precision import whole


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Hidden states with a segment axis: first the tokens that count, then those that only read, then padding.

    To everything causal, a token behind the last one that counts never came; so a mask of any shape (left padding,
    holes) needs no case of its own in the lagged heads or the running context.

    Attributes:
        hidden: the states, packed.
        present: True where a packed token exists; None if all do.
        counts: True where one leaves a trace; None if all do. Those that exist and leave none, of salience 0, read as
            if they were the last of their segment so far.
        order: where each packed token stood; None if nothing moved.
        place: how many tokens that count stand before each; None where that is its index.
        salience: of each token, 0 for padding; None if the caller gave none.
        several: whether the caller's tensors had a segment axis.
    """

    hidden: Float[Tensor, "batch seg time width"]
    present: Bool[Tensor, "batch seg time"] | None = None
    counts: Bool[Tensor, "batch seg time"] | None = None
    order: Int[Tensor, "batch seg time"] | None = None
    place: Int[Tensor, "batch seg time"] | None = None
    salience: Float[Tensor, "batch seg time"] | None = None
    several: bool

    @classmethod
    def pack(cls, hidden: Tensor, mask: Tensor | None, salience: Tensor | None = None) -> "Packed":
        """Add the segment axis where it is missing and move the tokens that count to the front."""
        several = hidden.ndim == 4
        if not several:
            hidden = hidden[:, None]
            mask, salience = (None if one is None else one[:, None] for one in (mask, salience))
        if mask is None and salience is None:
            return cls(hidden=hidden, several=several)
        present = torch.ones_like(hidden[..., 0], dtype=torch.bool) if mask is None else mask
        counts, place = present, None
        if salience is not None:
            salience = salience.to(whole(hidden.dtype)).masked_fill(~present, 0.0)
            counts = salience > 0.0
            place = counts.cumsum(-1) - counts.long()
        order = torch.argsort(2 - present.int() - counts.int(), dim=-1, stable=True)

        def packed(tensor: Tensor) -> Tensor:
            return tensor.take_along_dim(order, dim=-1)

        present = packed(present)
        hidden = hidden.take_along_dim(order[..., None], dim=-2)
        return cls(
            # Zeroed rather than multiplied by zero: padding may hold anything, NaN included.
            hidden=hidden.masked_fill(~present[..., None], 0.0),
            present=present,
            counts=present if salience is None else packed(counts),
            order=order,
            place=None if place is None else packed(place),
            salience=None if salience is None else packed(salience),
            several=several,
        )

    def along(self, tensor: Float[Tensor, "batch *segment time width"]) -> Float[Tensor, "batch seg time width"]:
        """Move another tensor of the caller's as the hidden states were moved."""
        tensor = tensor if self.several else tensor[:, None]
        if self.order is None or self.present is None:
            return tensor
        return tensor.take_along_dim(self.order[..., None], dim=-2).masked_fill(~self.present[..., None], 0.0)

    def apart(self) -> "list[Packed]":
        """Return the segments one by one."""

        def of(tensor: Tensor | None, segment: int) -> Any:
            return None if tensor is None else tensor[:, segment, None]

        parts = ("hidden", "present", "counts", "order", "place", "salience")
        return [
            replace(self, **{name: of(getattr(self, name), segment) for name in parts})
            for segment in range(self.hidden.shape[1])
        ]

    def counted(self, tensor: Float[Tensor, "batch seg time part"]) -> Float[Tensor, "batch seg time part"]:
        """Return the tensor with zeros for what does not count."""
        return tensor if self.counts is None else tensor * self.counts[..., None]

    @property
    def count(self) -> Float[Tensor, "batch seg"]:
        """Number of tokens that count; in float32 at least, since bfloat16 cannot count past 256."""
        dtype = whole(self.hidden.dtype)
        if self.counts is None:
            return self.hidden.new_full(self.hidden.shape[:2], self.hidden.shape[2], dtype=dtype)
        return self.counts.sum(-1).to(dtype)

    def restore(self, y: Float[Tensor, "batch seg time out"]) -> Tensor:
        """Put each token's output where the token stood, zero where there was none."""
        if self.present is not None and self.order is not None:
            y = y * self.present[..., None]
            y = torch.zeros_like(y).scatter(-2, self.order[..., None].expand_as(y), y)
        return y if self.several else y[:, 0]


def check_input(hidden: Tensor, mask: Tensor | None, num_rows: int, width: int, salience: Tensor | None = None) -> None:
    """Raise ValueError for what no memory of this width, with a state of so many rows, can take.

    Hidden states must be [batch, (segment,) time, width], a mask boolean and of that shape without the width, salience
    of that shape too and in [0, 1].
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
    if salience is None:
        return
    if salience.shape != hidden.shape[:-1]:
        raise ValueError(
            f"salience of shape {tuple(salience.shape)} meets hidden states of shape {tuple(hidden.shape)}; it must be "
            f"of shape {tuple(hidden.shape[:-1])}"
        )
    if torch.compiler.is_compiling():  # a value cannot be looked at there
        return
    outside = ~((salience >= 0.0) & (salience <= 1.0))
    if mask is not None:
        outside = outside & mask
    if outside.any():
        raise ValueError(f"a salience of {salience[outside][0].item()}; it must be from 0 to 1 where a token exists")
