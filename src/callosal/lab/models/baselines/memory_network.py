"""An end-to-end memory network: the newest hidden states, attended to in several hops."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from callosal.checks import require_counts
from callosal.lab.models.baselines.base import Hidden, Mask, SegmentMemory, Views
from callosal.memory import RowState


@dataclass(frozen=True, kw_only=True)
class MemoryNetworkConfig:
    """Sizes of a :class:`MemoryNetwork`.

    Attributes:
        width: width of the hidden states, and of a stored item.
        capacity: items that the memory holds; the oldest leave.
        num_hops: attention steps between a token's query and its read-out.
        num_lags: tokens that the filters of its roles span (see :class:`.Views`); 1 is the memory as it was published.
            With more, an item is two views of its token, one for keys and one for values.
    """

    width: int
    capacity: int = 64
    num_hops: int = 2
    num_lags: int = 1

    def __post_init__(self) -> None:
        require_counts(self, "width", "capacity", "num_hops", "num_lags")


@dataclass(frozen=True, kw_only=True, eq=False)
class RingState(RowState):
    """The newest tokens of each row, oldest first, so that an item's place is its age.

    Attributes:
        items: normalised hidden states (two views side by side with lags); zero where none is held.
        held: 1 where there is an item, 0 where there is none yet.
    """

    items: Float[Tensor, "batch item view"]
    # A float, because ``state.to(dtype)`` casts every tensor of a state.
    held: Float[Tensor, "batch item"]


class MemoryNetwork(SegmentMemory[RingState]):
    r"""Attend to the newest items in several hops, each with the answer of the one before.

    $$o_k = \sum_i \mathrm{softmax}_i\big(u_k^\top (A_k x_i + T_A(i))\big)\,(A_{k+1} x_i + T_C(i)),
    \qquad u_{k+1} = H u_k + o_k, \qquad u_1 = A_1 x, \qquad y = W u_{K+1}$$

    Source: arXiv 1503.08895. From its adjacent tying come C_k = A_{k+1} and the query map A_1; from its layer-wise
    tying come H and age embeddings T_A, T_C that all hops share. Ours: the items are the tokens of earlier segments
    (``capacity`` newest, normalised), and y is a linear map of the last query where the paper has a softmax over
    answers.

    A token reads the memory as it stood when its segment began, and nothing of its own segment. Where nothing is held
    yet, o is zero.

    >>> memory = MemoryNetwork(MemoryNetworkConfig(width=8, capacity=6))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, state.items.shape
    (torch.Size([3, 2, 5, 8]), torch.Size([3, 6, 8]))
    """

    def __init__(self, config: MemoryNetworkConfig) -> None:
        super().__init__(config.width)
        self.config = config
        width, hops = config.width, config.num_hops
        self.norm = nn.RMSNorm(width)
        self.views = Views(width, (0, 1, 0), config.num_lags)
        self.maps = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(hops + 1)])
        self.between = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        # A standard deviation of 0.1, as in the paper.
        self.key_ages = nn.Parameter(0.1 * torch.randn(config.capacity, width))
        self.value_ages = nn.Parameter(0.1 * torch.randn(config.capacity, width))

    def blank(self, batch_size: int) -> RingState:
        """Return a memory without items."""
        new, capacity = self.key_ages.new_zeros, self.config.capacity
        views = 1 if self.config.num_lags == 1 else 2
        return RingState(items=new(batch_size, capacity, views * self.width), held=new(batch_size, capacity))

    def _segment(self, hidden: Hidden, state: RingState, mask: Mask) -> tuple[Hidden, RingState]:
        for_query, for_key, for_value = self.views(self.norm(hidden)).unbind(0)
        query, there = self.maps[0](for_query), state.held[:, None] > 0
        by_key = state.items[..., : self.width]
        by_value = state.items[..., -self.width :]
        for find, answer in pairwise(self.maps):
            key, value = find(by_key), answer(by_value)
            logits = query @ (key + self.key_ages).mT
            # Not minus infinity: with nothing held, a softmax of it is NaN.
            logits = logits.masked_fill(~there, torch.finfo(logits.dtype).min)
            weights = torch.softmax(logits, dim=-1) * there
            query = self.between(query) + weights @ (value + self.value_ages)
        item = for_key if self.config.num_lags == 1 else torch.cat([for_key, for_value], dim=-1)
        return self.output(query), self._store(state, item, mask)

    def _store(self, state: RingState, seen: Float[Tensor, "batch time view"], mask: Mask) -> RingState:
        new = torch.ones_like(seen[..., 0]) if mask is None else mask.to(seen.dtype)
        items = torch.cat([state.items, seen], dim=1)
        held = torch.cat([state.held, new], dim=1)
        # Existing tokens are first in the segment, so the newest end where their count says.
        count = new.sum(-1, dtype=torch.float32).long()
        newest = count[:, None] + torch.arange(self.config.capacity, device=seen.device)
        return RingState(items=items.take_along_dim(newest[..., None], dim=1), held=held.take_along_dim(newest, dim=1))
