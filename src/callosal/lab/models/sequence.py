"""Mixers in a row between an embedding and itself: the model that the field's recall benchmarks are run with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from callosal.checks import require_counts


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """Sizes of a :class:`SequenceModel`.

    Attributes:
        num_tokens: size of the vocabulary.
        width: width of the residual stream and of the embedding.
    """

    num_tokens: int
    width: int = 64

    def __post_init__(self) -> None:
        require_counts(self, "num_tokens", "width")


class SequenceModel(nn.Module):
    """Nothing but mixers of tokens, added to the residual stream; the unembedding is the embedding.

    So are the models of the benchmark zoology (github HazyResearch/zoology): no feed-forward, tied weights. Without
    positions: what a mixer knows of order it has from filters of its own.

    Args:
        config: sizes.
        mixers: in their order, each of which keeps the contract of :class:`~callosal.memory.Memory`.
        within_call: places of mixers that see nothing but the call: their states are dropped at its end.

    Raises:
        ValueError: a place without a mixer.

    >>> import torch
    >>> from callosal.memory import LateralMemory, MemoryConfig
    >>> model = SequenceModel(SequenceConfig(num_tokens=10, width=8), [LateralMemory(MemoryConfig(width=8))])
    >>> hidden, states = model(torch.randint(10, (3, 6)), model.blank(3))
    >>> model.logits(hidden[:, -1]).shape
    torch.Size([3, 10])
    """

    def __init__(self, config: SequenceConfig, mixers: Sequence[nn.Module], within_call: Sequence[int] = ()) -> None:
        super().__init__()
        if not set(within_call) <= set(range(len(mixers))):
            raise ValueError(f"within_call is {tuple(within_call)}; mixers stand at 0 to {len(mixers) - 1}")
        self.config = config
        self.within_call = tuple(within_call)
        self.embedding = nn.Embedding(config.num_tokens, config.width)
        self.mixers = nn.ModuleList(mixers)
        self.final_norm = nn.RMSNorm(config.width)

    @property
    def state_floats(self) -> int:
        """Number of floats that a row carries from call to call."""
        mixers: Any = self.mixers
        return sum(mixer.state_floats for place, mixer in enumerate(mixers) if place not in self.within_call)

    def blank(self, batch_size: int) -> list[Any]:
        """Return a blank state for every mixer."""
        return [self._blank(place, batch_size) for place in range(len(self.mixers))]

    def _blank(self, place: int, batch_size: int) -> Any:
        mixer: Any = self.mixers[place]
        return mixer.blank(batch_size)

    def forward(
        self, tokens: Int[Tensor, "batch time"], states: Sequence[Any]
    ) -> tuple[Float[Tensor, "batch time width"], list[Any]]:
        """See one call's tokens and hand the states on; :meth:`logits` says what comes of the hidden states.

        Raises:
            ValueError: the states are not one for each mixer.
        """
        if len(states) != len(self.mixers):
            raise ValueError(f"{len(states)} states for {len(self.mixers)} mixers; start from model.blank(batch_size)")
        hidden, left = self.embedding(tokens), []
        for place, (mixer, state) in enumerate(zip(self.mixers, states, strict=True)):
            read, after = mixer(hidden, state)
            hidden = hidden + read
            left.append(self._blank(place, len(tokens)) if place in self.within_call else after)
        return hidden, left

    def logits(self, hidden: Float[Tensor, "*place width"]) -> Float[Tensor, "*place token"]:
        """Predict at some places; asked for those that are scored alone, since a vocabulary is much wider than they.

        Logits are divided by the root of the width, so that none starts far off though each coordinate of an embedding
        starts with a deviation of one: with small embeddings in its place, a few hundred steps of Adam at the rates
        that are tried would move all tokens together by more than what tells them apart.
        """
        scale = self.config.width**-0.5
        return nn.functional.linear(self.final_norm(hidden), scale * self.embedding.weight)
