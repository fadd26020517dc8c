"""Every rival at its smallest, and inputs for it."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from callosal.lab.models.baselines import (
    FeedForward,
    FeedForwardConfig,
    FullHistory,
    FullHistoryConfig,
    MemoryNetwork,
    MemoryNetworkConfig,
    RecurrentConfig,
    RecurrentTokens,
    SwitchConfig,
    SwitchMixture,
    TitansConfig,
    TitansMemory,
    TuringConfig,
    TuringMemory,
)

WIDTH = 6


def titans(config: TitansConfig) -> TitansMemory:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pytest.importorskip("titans_pytorch")
    return TitansMemory(config)


RIVALS: dict[str, Callable[[], Any]] = {
    "feed_forward": lambda: FeedForward(FeedForwardConfig(width=WIDTH, hidden_width=5)),
    "full_history": lambda: FullHistory(FullHistoryConfig(width=WIDTH, num_heads=2)),
    "full_history_feed": lambda: FullHistory(
        FullHistoryConfig(width=WIDTH, num_heads=3, feed_forward=2)
    ),
    "memory_network": lambda: MemoryNetwork(MemoryNetworkConfig(width=WIDTH, capacity=7)),
    "turing": lambda: TuringMemory(TuringConfig(width=WIDTH, num_slots=3, controller_width=5)),
    "switch": lambda: SwitchMixture(SwitchConfig(width=WIDTH, num_experts=3, hidden_width=4)),
    "recurrent": lambda: RecurrentTokens(RecurrentConfig(width=WIDTH, num_tokens=3, num_heads=2)),
    "full_history_lags": lambda: FullHistory(
        FullHistoryConfig(width=WIDTH, num_heads=1, num_lags=3)
    ),
    "memory_network_lags": lambda: MemoryNetwork(
        MemoryNetworkConfig(width=WIDTH, capacity=7, num_lags=2)
    ),
    "turing_lags": lambda: TuringMemory(
        TuringConfig(width=WIDTH, num_slots=3, controller_width=5, num_lags=3)
    ),
    "recurrent_lags": lambda: RecurrentTokens(
        RecurrentConfig(width=WIDTH, num_tokens=3, num_heads=2, num_lags=3)
    ),
    "titans": lambda: titans(TitansConfig(width=WIDTH, num_heads=2, head_width=4)),
    "titans_lags": lambda: titans(TitansConfig(width=WIDTH, num_heads=2, head_width=4, num_lags=3)),
    "titans_deep": lambda: titans(
        TitansConfig(width=WIDTH, num_heads=1, head_width=WIDTH, depth=2, chunk_size=2)
    ),
}
EVERY = pytest.mark.parametrize("name", RIVALS)
MASKABLE = [name for name in RIVALS if not name.startswith("titans")]
REMEMBERING = [name for name in RIVALS if name not in {"feed_forward", "switch"}]


def build(name: str, seed: int = 0) -> Any:
    """Build a rival in float64, with no parameter at a special value."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        memory = RIVALS[name]().double().eval()
        with torch.no_grad():
            for parameter in memory.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return memory


def draw(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, WIDTH, generator=generator, dtype=torch.float64)


def lived(memory: Any, num_rows: int) -> Any:
    """Return a state with something in it."""
    with torch.no_grad():
        return memory(draw(num_rows, 2, 4, seed=7), memory.blank(num_rows))[1]
