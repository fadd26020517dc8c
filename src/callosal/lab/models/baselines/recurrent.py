"""A recurrent memory transformer as one block: memory tokens before and behind each segment."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosal.checks import require_counts, require_heads
from callosal.lab.models.baselines.base import AttentionBlock, Hidden, Mask, SegmentMemory
from callosal.memory import RowState


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Sizes of a :class:`RecurrentTokens`.

    Attributes:
        width: width of the hidden states and of a memory token, a multiple of ``num_heads``.
        num_tokens: memory tokens. Where they start is learned, so each costs ``width`` parameters.
        num_heads: attention heads.
        feed_forward: width of the feed-forward's hidden layer, as a multiple of ``width``.
        num_lags: tokens that the filters of its roles span (see :class:`.Views`); 1 is the memory as it was published.
    """

    width: int
    num_tokens: int = 64
    num_heads: int = 4
    feed_forward: int = 2
    num_lags: int = 1

    def __post_init__(self) -> None:
        require_heads(self)
        require_counts(self, "num_tokens", "feed_forward", "num_lags")


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenState(RowState):
    """What a segment left for the next.

    Attributes:
        tokens: the memory tokens.
    """

    tokens: Float[Tensor, "batch token width"]


class RecurrentTokens(SegmentMemory[TokenState]):
    r"""Put memory tokens before a segment to be read, and again behind it to be written.

    $$[\cdot\,;\; x + y\,;\; M'] = \mathrm{block}([M;\; x;\; M])$$   arXiv 2207.06881.

    Tokens of the segment see the memory before it and the segment up to themselves; those behind it see everything.
    Ours: it is one block in place of a whole transformer, whose read tokens' outputs are then nobody's input and are
    not computed; the written tokens are normalised, as by a transformer's last layer, so that they do not grow from
    segment to segment; a row whose segment is empty keeps its tokens as they are.

    >>> memory = RecurrentTokens(RecurrentConfig(width=8, num_tokens=3))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, state.tokens.shape
    (torch.Size([3, 2, 5, 8]), torch.Size([3, 3, 8]))
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config.width)
        self.config = config
        inner = config.feed_forward * config.width
        self.block = AttentionBlock(config.width, config.num_heads, inner, config.num_lags)
        self.last_norm = nn.RMSNorm(config.width)
        self.start = nn.Parameter(torch.randn(config.num_tokens, config.width))

    def blank(self, batch_size: int) -> TokenState:
        """Return the learned start for every row."""
        # Copied, so that an optimiser step does not move a state that exists.
        return TokenState(tokens=self.start.repeat(batch_size, 1, 1))

    def _segment(self, hidden: Hidden, state: TokenState, mask: Mask) -> tuple[Hidden, TokenState]:
        num_steps, num_tokens = hidden.shape[1], self.config.num_tokens
        # The same tokens stand in both places: projected once.
        queries, keys, values = self.block.project(torch.cat([state.tokens, hidden], dim=1))
        queries = queries.roll(-num_tokens, dims=1)
        keys = torch.cat([keys, keys[:, :num_tokens]], dim=1)
        values = torch.cat([values, values[:, :num_tokens]], dim=1)
        behind = torch.cat([hidden, state.tokens], dim=1)

        ones = torch.ones(num_steps + num_tokens, 2 * num_tokens + num_steps, device=hidden.device)
        # The token at step t sees the tokens to be read and t + 1 of the segment.
        visible = ones.bool().tril(num_tokens)
        visible[num_steps:] = True
        visible = visible[None]
        if mask is not None:
            always = mask.new_ones(len(mask), num_tokens)
            visible = visible & torch.cat([always, mask, always], dim=1)[:, None]

        change = self.block(behind, queries, keys, values, visible)
        written = self.last_norm(state.tokens + change[:, num_steps:])
        if mask is not None:
            written = torch.where(mask.any(-1)[:, None, None], written, state.tokens)
        return change[:, :num_steps], TokenState(tokens=written)
