"""A memory matrix with a read head and a write head, moved token by token."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from callosal.checks import require_counts
from callosal.lab.models.baselines.base import Hidden, Mask, SegmentMemory, windows
from callosal.memory import RowState
from callosal.ops.address import unit_norm


@dataclass(frozen=True, kw_only=True)
class TuringConfig:
    """Sizes of a :class:`TuringMemory`.

    Attributes:
        width: width of the hidden states, and of a slot.
        num_slots: slots of the memory matrix.
        controller_width: hidden width of the controller.
        num_lags: tokens that the controller sees side by side, the newest first; 1 is the token alone.
    """

    width: int
    num_slots: int = 64
    controller_width: int = 64
    num_lags: int = 1

    def __post_init__(self) -> None:
        require_counts(self, "width", "num_slots", "controller_width", "num_lags")


@dataclass(frozen=True, kw_only=True, eq=False)
class TuringState(RowState):
    """The memory matrix and where the heads stand.

    Attributes:
        memory: what the slots hold.
        weights: where the read head (first) and the write head (second) stand; sum to one.
    """

    memory: Float[Tensor, "batch slot width"]
    weights: Float[Tensor, "batch 2 slot"]


class TuringMemory(SegmentMemory[TuringState]):
    r"""Address slots by content, read one blend of them, erase and add to another, at every token.

    $$w_t = g_t\,\mathrm{softmax}\big(\beta_t \cos(k_t, M_{t-1})\big) + (1 - g_t)\,w_{t-1}$$
    $$r_t = w^{r\top}_t M_{t-1}, \qquad
    M_t = M_{t-1} \odot (1 - w^w_t e_t^\top) + w^w_t a_t^\top, \qquad y_t = W_o\,r_t$$

    Source: arXiv 1410.5401. Left out: the shift by location and the sharpening after it. Ours: the controller is
    feed-forward and does not see the last read-out, so that one call gives all tokens' heads; a token reads before it
    writes; where memory and heads start is learned.

    >>> memory = TuringMemory(TuringConfig(width=8, num_slots=6))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, state.memory.shape
    (torch.Size([3, 2, 5, 8]), torch.Size([3, 6, 8]))
    """

    def __init__(self, config: TuringConfig) -> None:
        super().__init__(config.width)
        self.config = config
        width, slots, inner = config.width, config.num_slots, config.controller_width
        # Two keys, an eraser and an addition; a strength and a gate for each head.
        self.norm = nn.RMSNorm(width)
        self.controller = nn.Sequential(
            nn.Linear(config.num_lags * width, inner), nn.GELU(), nn.Linear(inner, 4 * width + 4)
        )
        self.output = nn.Linear(width, width)
        # Random, because equal slots would be addressed alike and stay equal.
        self.start = nn.Parameter(torch.randn(slots, width))
        self.start_logits = nn.Parameter(torch.zeros(2, slots))

    def blank(self, batch_size: int) -> TuringState:
        """Return the learned start for every row."""
        weights = torch.softmax(self.start_logits, dim=-1)
        # Copied, so that an optimiser step does not move a state that exists.
        return TuringState(memory=self.start.repeat(batch_size, 1, 1), weights=weights.repeat(batch_size, 1, 1))

    def _segment(self, hidden: Hidden, state: TuringState, mask: Mask) -> tuple[Hidden, TuringState]:
        keys, gates, erase, add = self._heads(hidden)
        # Under autocast they come in a lower precision than the state's, and lerp wants one.
        gates = gates.to(state.weights.dtype)
        if mask is not None:
            # A head whose gate is shut stays; a write that erases and adds nothing is none.
            there = mask[..., None, None]
            gates, erase, add = gates * there, erase * there, add * there
        memory, weights, reads = state.memory, state.weights, []
        for key, gate, eraser, addition in zip(
            keys.unbind(1), gates.unbind(1), erase.unbind(1), add.unbind(1), strict=True
        ):
            # The slots' norms divide the logits rather than the slots: fewer numbers to touch.
            scale = torch.rsqrt(memory.square().sum(-1)[:, None] + 1e-6)
            content = torch.softmax(key @ memory.mT * scale, dim=-1)
            weights = torch.lerp(weights, content, gate)
            reads.append(weights[:, 0, None] @ memory)
            memory = memory + weights[:, 1, :, None] * (addition - eraser * memory)
        return self.output(torch.cat(reads, dim=1)), TuringState(memory=memory, weights=weights)

    def _heads(
        self, hidden: Hidden
    ) -> tuple[
        Float[Tensor, "batch time 2 width"],
        Float[Tensor, "batch time 2 1"],
        Float[Tensor, "batch time 1 width"],
        Float[Tensor, "batch time 1 width"],
    ]:
        """Return keys as long as their strength, gates, erasers and additions of all tokens."""
        width, lagged = self.width, windows(self.norm(hidden), self.config.num_lags)
        seen = rearrange(lagged, "batch time width lag -> batch time (lag width)")
        keys, erase, add, strength, gates = self.controller(seen).split([2 * width, width, width, 2, 2], dim=-1)
        keys = rearrange(keys, "batch time (head width) -> batch time head width", head=2)
        keys = unit_norm(keys) * softplus(strength)[..., None]
        return keys, gates.sigmoid()[..., None], erase.sigmoid()[:, :, None], add[:, :, None]
