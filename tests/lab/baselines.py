"""Every baseline memory at its smallest, and inputs for it."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from callosal.lab.models import baselines as b
from callosal.lab.runs import KINDS

WIDTH = 6
MODULES = dict(KINDS.values())
TURING = {"width": WIDTH, "num_slots": 3, "controller_width": 5}
TOKENS = {"width": WIDTH, "num_tokens": 3, "num_heads": 2}
TITANS: dict[str, Any] = {"width": WIDTH, "num_heads": 2, "head_width": 4}
DEEP: dict[str, Any] = {"width": WIDTH, "num_heads": 1, "head_width": WIDTH, "depth": 2, "chunk_size": 2}

BASELINES: dict[str, Any] = {
    "feed_forward": b.FeedForwardConfig(width=WIDTH, hidden_width=5),
    "full_history": b.FullHistoryConfig(width=WIDTH, num_heads=2),
    "full_history_feed": b.FullHistoryConfig(width=WIDTH, num_heads=3, feed_forward=2),
    "full_history_lags": b.FullHistoryConfig(width=WIDTH, num_heads=1, num_lags=3),
    "memory_network": b.MemoryNetworkConfig(width=WIDTH, capacity=7),
    "memory_network_lags": b.MemoryNetworkConfig(width=WIDTH, capacity=7, num_lags=2),
    "turing": b.TuringConfig(**TURING),
    "turing_lags": b.TuringConfig(**TURING, num_lags=3),
    "switch": b.SwitchConfig(width=WIDTH, num_experts=3, hidden_width=4),
    "recurrent": b.RecurrentConfig(**TOKENS),
    "recurrent_lags": b.RecurrentConfig(**TOKENS, num_lags=3),
    "titans": b.TitansConfig(**TITANS),
    "titans_lags": b.TitansConfig(**TITANS, num_lags=3),
    "titans_deep": b.TitansConfig(**DEEP),
    "gated_delta": b.GatedDeltaConfig(width=WIDTH, num_heads=2, key_width=3, value_width=4, chunk_size=3),
    "gated_delta_alone": b.GatedDeltaConfig(width=WIDTH, key_width=4, value_width=5, num_lags=1),
    "delta": b.GatedDeltaConfig(width=WIDTH, num_heads=2, key_width=3, value_width=4, chunk_size=3, decays=False),
}
EVERY = pytest.mark.parametrize("name", BASELINES)
# The package titans-pytorch forgets at masked tokens too, so its memory takes no mask.
MASKABLE = [name for name in BASELINES if not name.startswith("titans")]
REMEMBERING = [name for name in BASELINES if name not in {"feed_forward", "switch"}]


def make(config: Any) -> Any:
    """Build the memory of a config as a user would, or skip where its package is missing."""
    if isinstance(config, b.TitansConfig):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pytest.importorskip("titans_pytorch")
    return MODULES[type(config)](config)


def build(name: str, seed: int = 0) -> Any:
    """Build a baseline in float64, with no parameter at a special value."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        memory = make(BASELINES[name]).double().eval()
        with torch.no_grad():
            for parameter in memory.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return memory


def draw(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, WIDTH, generator=generator, dtype=torch.float64)


def written_state(memory: Any, num_rows: int) -> Any:
    """Return a state with something in it."""
    with torch.no_grad():
        return memory(draw(num_rows, 2, 4, seed=7), memory.blank(num_rows))[1]
