"""A mixture of experts: tokens are divided among specialists, and nothing is remembered."""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor, nn

from callosal.checks import require, require_counts
from callosal.lab.models.baselines.base import Hidden, Mask, SegmentMemory, feed_forward
from callosal.memory import RowState
from callosal.memory.packing import Packed, check_input


@dataclass(frozen=True, kw_only=True)
class SwitchConfig:
    """Sizes of a :class:`SwitchMixture`.

    Attributes:
        width: width of the hidden states.
        num_experts: experts, of which each token gets one.
        hidden_width: width of an expert's hidden layer.
        alpha: weight of the load-balancing loss, at least 0.
    """

    width: int
    num_experts: int = 2
    hidden_width: int = 64
    alpha: float = 0.01

    def __post_init__(self) -> None:
        require_counts(self, "width", "num_experts", "hidden_width")
        require(self, "alpha", self.alpha >= 0.0, "it must be at least 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class RoutingState(RowState):
    """How the tokens so far were routed: no memory, only what the load-balancing loss needs.

    Attributes:
        chosen: number of tokens that went to each expert.
        probability: sum of the router's probabilities; the gradient goes through here.
        num_tokens: number of tokens, as a float.
        alpha: weight of the loss, the same in every row.
    """

    chosen: Float[Tensor, "batch expert"]
    probability: Float[Tensor, "batch expert"]
    num_tokens: Float[Tensor, "batch"]
    alpha: Float[Tensor, "batch"]

    @property
    def penalty(self) -> Float[Tensor, ""]:
        r"""The load-balancing loss over the tokens of all rows since they were blank.

        $$\alpha\, E \sum_i f_i P_i$$   arXiv 2101.03961, equation 4.

        Least, alpha, when all experts get the same. Start from blank rows at each training step, or old tokens, whose
        gradient is gone, count too.
        """
        num_tokens = self.num_tokens.sum().clamp_min(1.0)
        fractions, probabilities = (self.chosen.sum(0) / num_tokens, self.probability.sum(0) / num_tokens)
        alpha = self.alpha.sum() / max(len(self), 1)
        return alpha * len(fractions) * (fractions * probabilities).sum()


class SwitchMixture(SegmentMemory[RoutingState]):
    r"""Send each token to the one expert that the router finds likeliest.

    $$p = \mathrm{softmax}(W_r\,\mathrm{norm}(x)), \qquad i = \arg\max_j p_j, \qquad y = p_i\,E_i(x)$$

    Source: arXiv 2101.03961. Left out: the capacity of an expert (no token is dropped), the jitter on the router's
    input, and sparse computing (all experts see all tokens, and one is kept). Add ``state.penalty`` to the loss of a
    training step to balance the load.

    >>> memory = SwitchMixture(SwitchConfig(width=8, num_experts=3))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, state.penalty.shape
    (torch.Size([3, 2, 5, 8]), torch.Size([]))
    """

    def __init__(self, config: SwitchConfig) -> None:
        super().__init__(config.width)
        self.config = config
        width, inner = config.width, config.hidden_width
        self.router = nn.Sequential(nn.RMSNorm(width), nn.Linear(width, config.num_experts, bias=False))
        self.experts = nn.ModuleList([feed_forward(width, inner) for _ in range(config.num_experts)])

    def blank(self, batch_size: int) -> RoutingState:
        """Return the sums over no tokens."""
        weight = next(self.router.parameters())
        # In float32 at least, since bfloat16 cannot count past 256.
        dtype = torch.promote_types(weight.dtype, torch.float32)
        zeros = weight.new_zeros(batch_size, self.config.num_experts, dtype=dtype)
        alpha = torch.full_like(zeros[:, 0], self.config.alpha)
        return RoutingState(chosen=zeros, probability=zeros, num_tokens=zeros[:, 0], alpha=alpha)

    def bank_share(
        self,
        hidden: Float[Tensor, "batch *segment time width"],
        state: RoutingState | None = None,
        mask: Bool[Tensor, "batch *segment time"] | None = None,
    ) -> Float[Tensor, "batch *segment time expert"]:
        """Return where each token goes: one for its expert and zero for the others.

        It is what happens to the token, not the router's probabilities. A masked token goes nowhere: its shares are
        zero. ``state`` does not matter.

        Raises:
            ValueError: a shape does not fit, or the mask is not boolean.
        """
        check_input(hidden, mask, len(hidden) if state is None else len(state), self.width)
        packed = Packed.pack(hidden, mask)
        return packed.restore(self._route(packed.hidden)[1])

    def _route(
        self, hidden: Float[Tensor, "batch *segment time width"]
    ) -> tuple[Float[Tensor, "batch *segment time expert"], Float[Tensor, "batch *segment time expert"]]:
        """Return the router's probabilities and the dispatch."""
        probability = torch.softmax(self.router(hidden), dim=-1)
        expert = probability.argmax(-1, keepdim=True)
        return probability, torch.zeros_like(probability).scatter(-1, expert, 1.0)

    def _segment(self, hidden: Hidden, state: RoutingState, mask: Mask) -> tuple[Hidden, RoutingState]:
        probability, chosen = self._route(hidden)
        answers = torch.stack([expert(hidden) for expert in self.experts], dim=-2)
        y = einsum(chosen * probability, answers, "batch time expert, batch time expert width -> batch time width")
        probability, chosen = probability.to(state.chosen.dtype), chosen.to(state.chosen.dtype)
        if mask is not None:
            probability, chosen = probability * mask[..., None], chosen * mask[..., None]
        return y, RoutingState(
            chosen=state.chosen + chosen.sum(1),
            probability=state.probability + probability.sum(1),
            num_tokens=state.num_tokens + chosen.sum((1, 2)),
            alpha=state.alpha,
        )
