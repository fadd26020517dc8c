"""The attention block of the baselines that attend; the caller says what may be seen."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from callosal.lab.models.baselines.base import Hidden, Views, feed_forward


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
