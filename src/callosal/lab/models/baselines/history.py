"""The full history in context: what a memory could reach if nothing had to be forgotten."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.checks import require, require_counts, require_heads
from callosal.lab.models.baselines.base import AttentionBlock, Hidden, Mask, SegmentMemory
from callosal.memory import RowState


@dataclass(frozen=True, kw_only=True)
class FullHistoryConfig:
    """Sizes of a :class:`FullHistory`.

    Attributes:
        width: width of the hidden states, a multiple of ``num_heads``.
        num_heads: attention heads.
        feed_forward: hidden width of a feed-forward behind the attention, as a multiple of ``width``; 0 for none.
        num_lags: tokens that the filters of its roles span (see :class:`.Views`); 1 is the memory as it was published.
    """

    width: int
    num_heads: int = 4
    feed_forward: int = 0
    num_lags: int = 1

    def __post_init__(self) -> None:
        require_heads(self)
        require_counts(self, "num_lags")
        require(self, "feed_forward", self.feed_forward >= 0, "it must be at least 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class HistoryState(RowState):
    """Keys and values of all tokens so far, oldest first.

    Attributes:
        keys: one per token, heads side by side.
        values: the same.
        held: 1 where a token exists, 0 where a row had fewer than another.
    """

    keys: Float[Tensor, "batch token width"]
    values: Float[Tensor, "batch token width"]
    # A float, because ``state.to(dtype)`` casts every tensor of a state.
    held: Float[Tensor, "batch token"]

    def __getitem__(self, rows: Any) -> Self:
        """Select rows, and drop the places where none of them has a token."""
        selected = super().__getitem__(rows)
        places = (selected.held > 0).any(0)
        return selected._map(lambda tensor: tensor[:, places])  # noqa: SLF001 - a state like itself


class FullHistory(SegmentMemory[HistoryState]):
    r"""Attend to every earlier token of all segments: the upper bound, whose state has no bound.

    $$y_t = W_o \sum_{s \le t} \mathrm{softmax}_s(q_t^\top k_s / \sqrt{d})\, v_s$$
    Causal multi-head attention, arXiv 1706.03762, over the concatenated segments.

    The state grows by two vectors per token, and the time of a segment with it. Attention adds no positions; tokens
    know their places only by what their hidden states hold.

    >>> memory = FullHistory(FullHistoryConfig(width=8, num_heads=2))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, state.keys.shape
    (torch.Size([3, 2, 5, 8]), torch.Size([3, 10, 8]))
    """

    def __init__(self, config: FullHistoryConfig) -> None:
        super().__init__(config.width)
        self.config = config
        inner = config.feed_forward * config.width
        self.block = AttentionBlock(config.width, config.num_heads, inner, config.num_lags)

    @property
    def state_floats(self) -> None:
        """None: the state grows with every token."""
        return

    def blank(self, batch_size: int) -> HistoryState:
        """Return a history without tokens."""
        new = self.block.merge.weight.new_zeros
        nothing = new(batch_size, 0, self.width)
        return HistoryState(keys=nothing, values=nothing, held=new(batch_size, 0))

    def _segment(self, hidden: Hidden, state: HistoryState, mask: Mask) -> tuple[Hidden, HistoryState]:
        num_steps = hidden.shape[1]
        held = torch.ones_like(hidden[..., 0]) if mask is None else mask.to(hidden.dtype)
        itself = torch.eye(num_steps, dtype=torch.bool, device=hidden.device)
        earlier = torch.ones_like(itself).tril() & (held > 0)[:, None]
        past = (state.held > 0)[:, None].expand(-1, num_steps, -1)
        # A masked token sees itself, so that its softmax is over something.
        visible = torch.cat([past, earlier | itself], dim=-1)

        queries, keys, values = self.block.project(hidden)
        keys = torch.cat([state.keys, keys], dim=1)
        values = torch.cat([state.values, values], dim=1)
        y = self.block(hidden, queries, keys, values, visible)

        # No row needs more places than the fullest one has tokens; an empty segment needs none.
        longest = num_steps if mask is None else int(mask.sum(-1).max())
        kept = state.held.shape[1] + longest
        held = torch.cat([state.held, held], dim=1)
        return y, HistoryState(keys=keys[:, :kept], values=values[:, :kept], held=held[:, :kept])
