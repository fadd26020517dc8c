"""No memory at all, with as many parameters: the baseline of every claim that a memory helps."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from callosal.checks import require_counts
from callosal.lab.models.baselines.base import Hidden, Mask, SegmentMemory, feed_forward
from callosal.memory import RowState


@dataclass(frozen=True, kw_only=True)
class FeedForwardConfig:
    """Sizes of a :class:`FeedForward`.

    Attributes:
        width: width of the hidden states.
        hidden_width: width of the hidden layer; (2 width + 1) parameters for each unit.
    """

    width: int
    hidden_width: int

    def __post_init__(self) -> None:
        require_counts(self, "width", "hidden_width")


@dataclass(frozen=True, kw_only=True, eq=False)
class NoState(RowState):
    """Nothing, for a number of rows.

    Attributes:
        nothing: a tensor without entries, which knows the number of rows.
    """

    nothing: Float[Tensor, "batch zero"]


class FeedForward(SegmentMemory[NoState]):
    r"""Transform each token by itself where a memory would stand, and remember nothing.

    $$y = W_2\,\mathrm{gelu}(W_1\,\mathrm{norm}(x) + b_1) + b_2$$   Ours, as a control.

    Hidden states are [batch, segment, time, width]; the state is empty.

    >>> import torch
    >>> memory = FeedForward(FeedForwardConfig(width=8, hidden_width=16))
    >>> y, state = memory(torch.randn(3, 2, 5, 8), memory.blank(3))
    >>> y.shape, memory.state_floats
    (torch.Size([3, 2, 5, 8]), 0)
    """

    def __init__(self, config: FeedForwardConfig) -> None:
        super().__init__(config.width)
        self.config = config
        self.feed = feed_forward(config.width, config.hidden_width)

    def blank(self, batch_size: int) -> NoState:
        """Return nothing, for that many rows."""
        return NoState(nothing=next(self.parameters()).new_zeros(batch_size, 0))

    def _segment(self, hidden: Hidden, state: NoState, mask: Mask) -> tuple[Hidden, NoState]:  # noqa: ARG002
        return self.feed(hidden), state
