"""A small decoder-only transformer that takes its memories as an argument."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from callosal.checks import require_counts, require_heads
from callosal.memory import Memory

# Each memory has a state of its own kind.
States = dict[int, Any]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes of a :class:`Transformer`.

    Attributes:
        num_tokens: size of the vocabulary.
        max_time: longest segment, in tokens.
        width: width of the residual stream, a multiple of ``num_heads``.
        num_blocks: attention and feed-forward blocks.
        num_heads: attention heads per block.
        feed_forward: width of the hidden layer, as a multiple of ``width``.
    """

    num_tokens: int
    max_time: int
    width: int = 64
    num_blocks: int = 2
    num_heads: int = 4
    feed_forward: int = 4

    def __post_init__(self) -> None:
        require_heads(self)
        require_counts(self, "num_tokens", "max_time", "num_blocks", "feed_forward")


class Block(nn.Module):
    """Pre-norm causal self-attention and feed-forward, both added to the residual stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, config.feed_forward * config.width
        self.num_heads = config.num_heads
        self.attention_norm = nn.RMSNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.merge = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.RMSNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, hidden: Float[Tensor, "row time width"]) -> Float[Tensor, "row time width"]:
        """Mix the tokens of each row, then transform each token."""
        query, key, value = rearrange(
            self.project(self.attention_norm(hidden)),
            "row time (three head part) -> three row head time part",
            three=3,
            head=self.num_heads,
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.merge(rearrange(mixed, "row head time part -> row time (head part)"))
        return hidden + self.feed(self.feed_norm(hidden))


class Transformer(nn.Module):
    """Blocks over segments, with memories between them: attention sees a segment, a memory sees all.

    Without memories it is the baseline: the same code and sizes, and nothing crosses a segment.

    Args:
        config: sizes.
        memories: a memory for some of the blocks, which reads and writes right behind its block: any module that keeps
            the contract of :class:`~callosal.memory.Memory`.

    Raises:
        ValueError: a memory stands behind a block that does not exist, or is of another width.

    >>> from callosal.memory import LateralMemory, MemoryConfig
    >>> config = TransformerConfig(num_tokens=10, max_time=6, width=8)
    >>> model = Transformer(config, memories={0: LateralMemory(MemoryConfig(width=8))})
    >>> logits, states = model(torch.randint(10, (3, 4, 6)), model.blank(3))
    >>> logits.shape
    torch.Size([3, 4, 6, 10])
    """

    def __init__(self, config: TransformerConfig, memories: Mapping[int, nn.Module] | None = None) -> None:
        super().__init__()
        memories = dict(memories or {})
        for place, memory in memories.items():
            if not 0 <= place < config.num_blocks:
                raise ValueError(f"a memory behind block {place}; blocks are 0 to {config.num_blocks - 1}")
            width = getattr(getattr(memory, "config", None), "width", config.width)
            if width != config.width:
                raise ValueError(f"a memory of width {width} in a transformer of width {config.width}; make them equal")
        self.config = config
        self.embedding = nn.Embedding(config.num_tokens, config.width)
        # Small beside the tokens' embedding: a memory is to find a token again wherever it stands.
        self.positions = nn.Embedding(config.max_time, config.width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_blocks)])
        self.memories = nn.ModuleDict({str(place): m for place, m in memories.items()})
        self.final_norm = nn.RMSNorm(config.width)
        self.unembedding = nn.Linear(config.width, config.num_tokens, bias=False)

    def memory_at(self, place: int) -> Memory | None:
        """Return the memory behind a block, or None."""
        return cast(Memory | None, dict(self.memories.items()).get(str(place)))

    def blank(self, batch_size: int) -> States:
        """Return blank states, by place."""
        memories = {place: self.memory_at(place) for place in range(self.config.num_blocks)}
        return {place: memory.blank(batch_size) for place, memory in memories.items() if memory is not None}

    def forward(
        self, tokens: Int[Tensor, "batch segment time"], states: States
    ) -> tuple[Float[Tensor, "batch segment time token"], States]:
        """Predict, segment by segment; memories carry over from segment to segment, attention does not.

        Raises:
            ValueError: a segment is longer than ``max_time``, the tokens lack an axis, or the states are not those of
                this model's memories.
        """
        hidden, states = self._through(tokens, states, self.config.num_blocks)
        logits = self.unembedding(self.final_norm(hidden))
        return rearrange(logits, "(batch segment) time token -> batch segment time token", batch=len(tokens)), states

    def remember(self, tokens: Int[Tensor, "batch segment time"], states: States) -> States:
        """Return the states after these segments, bit for bit those of :meth:`forward`, and predict nothing.

        What stands behind the last memory is not computed: of two blocks with a memory behind the first, half.

        Raises:
            ValueError: as there.
        """
        last = max((int(place) for place in self.memories), default=-1)
        return self._through(tokens, states, last + 1)[1]

    def _through(self, tokens: Tensor, states: States, num_blocks: int) -> tuple[Tensor, States]:
        """Return the hidden states behind so many blocks, with all segments as rows, and the memories' states."""
        if tokens.ndim != 3:
            raise ValueError(
                f"tokens of shape {tuple(tokens.shape)}; a transformer takes [batch, segment, time], "
                "also when there is one segment: tokens[:, None]"
            )
        places = sorted(int(place) for place in self.memories)
        if sorted(states) != places:
            raise ValueError(
                f"states for places {sorted(states)}; the memories stand at {places}: "
                "start from model.blank(batch_size)"
            )
        num_rows, _, num_steps = tokens.shape
        if num_steps > self.config.max_time:
            raise ValueError(
                f"segments of {num_steps} tokens; this transformer takes at most "
                f"{self.config.max_time} (TransformerConfig.max_time)"
            )
        rows = rearrange(tokens, "batch segment time -> (batch segment) time")
        steps = torch.arange(num_steps, device=tokens.device)
        hidden = self.embedding(rows) + self.positions(steps)
        states = dict(states)
        for place, block in enumerate(list(self.blocks)[:num_blocks]):
            hidden = block(hidden)
            memory = self.memory_at(place)
            if memory is not None:
                split = rearrange(hidden, "(batch seg) time width -> batch seg time width", batch=num_rows)
                recalled, states[place] = memory(split, states[place])
                hidden = hidden + rearrange(recalled, "batch seg time width -> (batch seg) time width")
        return hidden, states
