"""The memory and its peers behind one interface: a stream at once, token by token, and what is held meanwhile."""

import warnings
from abc import ABC, abstractmethod
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from callosal import LateralMemory, MemoryConfig
from callosal.lab.models.baselines.gated_delta import GatedDelta, GatedDeltaConfig

SEGMENT, HEAD = 64, 64


class Contender(nn.Module, ABC):
    """One layer that takes a stream; its state is None at the start."""

    @abstractmethod
    def forward(self, hidden: Tensor) -> Tensor:
        """Take [batch, time, width] from the start, at once."""

    @abstractmethod
    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take the next [batch, 1, width] of a stream."""

    @abstractmethod
    def state_floats(self, num_tokens: int) -> int:
        """Return how many floats a row holds after so many tokens."""


class Ours(Contender):
    """The lateralized memory, which writes every 64 tokens."""

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.memory = LateralMemory(MemoryConfig(width=width, num_slots=slots))

    def forward(self, hidden: Tensor) -> Tensor:
        """Take it as segments."""
        segments = rearrange(hidden, "batch (seg time) width -> batch seg time width", time=SEGMENT)
        return self.memory(segments)[0].flatten(1, 2)

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take a token, and write behind the last of a segment."""
        count, held = state or (0, None)
        y, held = self.memory(token, held, commit=(count + 1) % SEGMENT == 0)
        return y, (count + 1, held)

    def state_floats(self, num_tokens: int) -> int:  # noqa: ARG002
        """Return what is held between segments."""
        return self.memory.state_floats


class Titans(Contender):
    """NeuralMemory of titans-pytorch as it is: the package's defaults, or linear heads for an equal state."""

    def __init__(self, width: int, slots: int | None) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from titans_pytorch import NeuralMemory  # noqa: PLC0415 - an extra  # pyright: ignore[reportMissingImports]
        options: dict[str, Any] = {}
        if slots is not None:
            heads = width // slots
            options = {"heads": heads, "dim_head": width // heads, "default_model_kwargs": {"depth": 1}}
        self.neural = NeuralMemory(width, chunk_size=SEGMENT, **options)

    def forward(self, hidden: Tensor) -> Tensor:
        """Take it in chunks of its own."""
        return self.neural(hidden)[0]

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take a token; every 64th makes a chunk full."""
        return self.neural(token, state=state)

    def state_floats(self, num_tokens: int) -> int:  # noqa: ARG002
        """Return the memory's weights and their momentum."""
        return 2 * sum(p.numel() for p in self.neural.memory_model_parameters)


class Delta(Contender):
    """Gated DeltaNet, chunked, in plain torch."""

    def __init__(self, width: int, heads: int, value_width: int) -> None:
        super().__init__()
        config = GatedDeltaConfig(
            width=width, num_heads=heads, key_width=width // heads, value_width=value_width, chunk_size=SEGMENT
        )
        self.delta = GatedDelta(config)

    def forward(self, hidden: Tensor) -> Tensor:
        """Take it as one segment."""
        return self.delta(hidden, self.delta.blank(len(hidden)))[0]

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take a token as a segment."""
        return self.delta(token, state or self.delta.blank(len(token)))

    def state_floats(self, num_tokens: int) -> int:  # noqa: ARG002
        """Return the matrices and the filters' last inputs."""
        return self.delta.state_floats or 0


class Lstm(Contender):
    """nn.LSTM as wide as the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """Take it at once."""
        return self.lstm(hidden)[0]

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take a token."""
        return self.lstm(token, state)

    def state_floats(self, num_tokens: int) -> int:  # noqa: ARG002
        """Return its cells and their outputs."""
        return 2 * self.lstm.hidden_size


class Attention(Contender):
    """Causal scaled_dot_product_attention over all, or over the last ``window`` tokens, with its four maps."""

    def __init__(self, width: int, window: int | None) -> None:
        super().__init__()
        self.width, self.window, self.heads = width, window, max(1, width // HEAD)
        self.to_parts, self.merge = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Take it at once; a window in blocks, each of which sees itself and the one before."""
        query, key, value = self._parts(hidden)
        if self.window is None:
            mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            size, num_tokens = self.window, hidden.shape[1]
            missing = -num_tokens % size
            blocks = "batch head (block time) part -> batch block head time part"
            query = rearrange(pad(query, (0, 0, 0, missing)), blocks, time=size)
            # A zero block before the first, which the mask shuts.
            key, value = (rearrange(pad(part, (0, 0, size, missing)), blocks, time=size) for part in (key, value))
            key, value = (torch.cat([part[:, :-1], part[:, 1:]], dim=-2) for part in (key, value))
            place = torch.arange(size)[:, None] + size - torch.arange(2 * size)
            sees = ((place >= 0) & (place < size)).expand(query.shape[1], -1, -1).clone()
            sees[0, :, :size] = False
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=sees[:, None])
            mixed = rearrange(mixed, "batch block head time part -> batch head (block time) part")[:, :, :num_tokens]
        return self.merge(rearrange(mixed, "batch head time part -> batch time (head part)"))

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take a token, with keys and values of the others as a cache."""
        query, key, value = self._parts(token)
        if state is not None:
            keep = slice(None) if self.window is None else slice(1 - self.window, None)
            key, value = (
                torch.cat([old[:, :, keep] if self.window != 1 else old[:, :, :0], new], dim=2)
                for old, new in zip(state, (key, value), strict=True)
            )
        mixed = scaled_dot_product_attention(query, key, value)
        return self.merge(rearrange(mixed, "batch head time part -> batch time (head part)")), (key, value)

    def state_floats(self, num_tokens: int) -> int:
        """Return a key and a value for every token that is still seen."""
        return 2 * self.width * (num_tokens if self.window is None else min(num_tokens, self.window))

    def _parts(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        split = "batch time (role head part) -> role batch head time part"
        query, key, value = rearrange(self.to_parts(hidden), split, role=3, head=self.heads)
        return query, key, value


# By name: whether its state is as large as ours, and how it is built from our width and slots. Ours holds two banks.
CONTENDERS: dict[str, tuple[bool, Any]] = {
    "callosal": (True, Ours),
    "titans-pytorch": (False, lambda width, slots: Titans(width, None)),
    "titans-pytorch, equal state": (True, Titans),
    "Gated DeltaNet": (False, lambda width, slots: Delta(width, max(1, width // HEAD), min(width, HEAD))),
    "Gated DeltaNet, equal state": (True, lambda width, slots: Delta(width, width // slots, 2 * slots)),
    "nn.LSTM": (False, lambda width, slots: Lstm(width)),
    "attention, window": (True, Attention),
    "attention, full": (False, lambda width, slots: Attention(width, None)),
}
