"""What baselines share: the mask, the loop over segments, the views of a token, and attention."""

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Generic, TypeVar

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from callosal.memory import RowState
from callosal.memory.packing import Packed, check_input

S = TypeVar("S", bound=RowState)
Hidden = Float[Tensor, "batch time width"]
Mask = Bool[Tensor, "batch time"] | None


class SegmentMemory(nn.Module, ABC, Generic[S]):
    """A memory defined by what one segment does; this class adds the rest of the contract.

    Segments come one after another and each reads the state that those before it left. A masked token is as if it were
    not there, whatever it holds: existing tokens are moved to the front of their segment, and the outputs back.

    Args:
        width: width of the hidden states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @abstractmethod
    def blank(self, batch_size: int) -> S:
        """Return the state of rows that have seen nothing."""

    @abstractmethod
    def _segment(self, hidden: Hidden, state: S, mask: Mask) -> tuple[Hidden, S]:
        """Do one segment of at least one row and one token; masked tokens are last, and zero.

        What it puts out for a masked token is dropped, but it must be finite.
        """

    @property
    def state_floats(self) -> int | None:
        """Number of floats that a row's state holds; None if it grows without bound."""
        state = self.blank(1)
        return sum(getattr(state, field.name).numel() for field in fields(state))

    def forward(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        state: S,
        mask: Bool[Tensor, "batch *segment time"] | None = None,
    ) -> tuple[Float[Tensor, "batch *segment time width"], S]:
        """Read for every token, write, and hand the state on.

        Args:
            hidden: [batch, time, width], one segment; or [batch, segment, time, width], segments one after another,
                which gives what the calls one by one give.
            state: the state before the first segment.
            mask: True where a token exists.

        Returns:
            The read-out, to be added to the residual stream (zero where no token exists), and the state afterwards.

        Raises:
            ValueError: a shape does not fit, or the mask is not boolean.
        """
        check_input(hidden, mask, len(state), self.width)
        if hidden.numel() == 0:
            return torch.zeros_like(hidden), state
        packed = Packed.pack(hidden, mask)
        segments = packed.hidden.unbind(1)
        masks = [None] * len(segments) if packed.present is None else packed.present.unbind(1)
        ys = []
        for segment, present in zip(segments, masks, strict=True):
            y, state = self._segment(segment, state, present)
            ys.append(y)
        return packed.restore(torch.stack(ys, dim=1)), state


class Views(nn.Module):
    r"""Look at the tokens of a segment in several roles, each through a causal filter of its own.

    $$v_{r,t} = \sum_l f_{r,l} \odot x_{t-l}$$   Ours: what our memory's heads have, given to the baselines.

    Without it a memory can only bind a token to the one before once the trunk's attention has learned to put both into
    one hidden state, which takes thousands of steps.

    Args:
        width: of the tokens.
        starts: for each role, how many steps back it looks at the start.
        num_lags: tokens that a filter spans; 1 leaves every role at the token itself.
    """

    def __init__(self, width: int, starts: tuple[int, ...], num_lags: int) -> None:
        super().__init__()
        self.num_lags, self.num_roles = num_lags, len(starts)
        if num_lags == 1:
            return
        filters = torch.zeros(len(starts), num_lags, width)
        for role, start in enumerate(starts):
            filters[role, start] = 1.0
        self.filters = nn.Parameter(filters)

    def forward(self, hidden: Hidden) -> Float[Tensor, "role batch time width"]:
        """Return every role's view; before the segment there is nothing."""
        if self.num_lags == 1:
            return hidden.expand(self.num_roles, *hidden.shape)
        pattern = "batch time width lag, role lag width -> role batch time width"
        return einsum(windows(hidden, self.num_lags), self.filters, pattern)


def windows(hidden: Hidden, num_lags: int) -> Float[Tensor, "batch time width lag"]:
    """Return each token and those before it, the newest first; before the segment there are zeros."""
    history = nn.functional.pad(hidden, (0, 0, num_lags - 1, 0))
    return history.unfold(1, num_lags, 1).flip(-1)


def feed_forward(width: int, inner: int) -> nn.Sequential:
    """Return a pre-norm layer with one hidden layer, of (2 inner + 2) width + inner parameters."""
    return nn.Sequential(nn.RMSNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class AttentionBlock(nn.Module):
    """Pre-norm multi-head attention, and optionally a feed-forward behind it, without the residual.

    Args:
        width: width of the hidden states, a multiple of ``num_heads``.
        num_heads: attention heads.
        inner: width of the feed-forward's hidden layer; 0 leaves the feed-forward out.
        num_lags: of the views that queries (starting at the token), keys (at the one before) and values (at the token)
            are taken from; 1 takes all three from the token.
    """

    def __init__(self, width: int, num_heads: int, inner: int, num_lags: int = 1) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.RMSNorm(width)
        self.views = Views(width, (0, 1, 0), num_lags)
        self.to_parts = nn.Linear(width, 3 * width, bias=False)
        if num_lags > 1:
            # A key starts as its query, so that from the start a token finds its own earlier place.
            with torch.no_grad():
                self.to_parts.weight[width : 2 * width] = self.to_parts.weight[:width]
        self.merge = nn.Linear(width, width, bias=False)
        self.feed = feed_forward(width, inner) if inner else None

    def project(self, hidden: Hidden) -> tuple[Hidden, Hidden, Hidden]:
        """Return queries, keys and values, heads side by side."""
        maps = self.to_parts.weight.chunk(3)
        views = self.views(self.norm(hidden)).unbind(0)
        queries, keys, values = (view @ m.mT for view, m in zip(views, maps, strict=True))
        return queries, keys, values

    def forward(
        self,
        hidden: Hidden,
        queries: Hidden,
        keys: Float[Tensor, "batch token width"],
        values: Float[Tensor, "batch token width"],
        visible: Bool[Tensor, "#batch time token"],
    ) -> Hidden:
        """Return what the block adds to ``hidden``. Every query must see at least one key."""
        split = "batch time (head part) -> batch head time part"
        query, key, value = (rearrange(part, split, head=self.num_heads) for part in (queries, keys, values))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None])
        change = self.merge(rearrange(mixed, "batch head time part -> batch time (head part)"))
        return change if self.feed is None else change + self.feed(hidden + change)
