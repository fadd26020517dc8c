"""The rivals: other memories in the same trunk, on the same streams, each at its own learning rate."""

from collections.abc import Sequence
from typing import Any

from callosal.contract import ContractReport, check_memory
from callosal.lab.models import baselines
from callosal.lab.runs import KINDS, RunConfig, small, small_memory
from callosal.lab.runs import SMALL_WIDTH as WIDTH
from callosal.training.seeding import seeded

# Our heads start out looking one token back. Without the same, a rival binds no letter to its answer until the trunk
# has learned to: in 500 steps none of them did (results/rates-as-published).
LAGS = 3

DISTRACTORS = (0, 1, 3, 10, 30, 100, 300, 1000)
NUM_STEPS = 500


# The memories to compare, each of about as many parameters as two banks of 32 slots.
CONTENDERS: dict[str, Any] = {
    "no memory": baselines.FeedForwardConfig(width=WIDTH, hidden_width=145),
    "full history": baselines.FullHistoryConfig(width=WIDTH, num_heads=1, feed_forward=2, num_lags=LAGS),
    "inhibitory": small_memory(sign=-1.0),
    "uncoupled": small_memory(sign=0.0),
    "excitatory": small_memory(sign=1.0),
    # A bank has a map of its own: one bank with as many slots in all lacks the second map.
    "one bank": small_memory(num_banks=1, num_slots=64),
    "additive write": small_memory(write="additive"),
    "delta write": small_memory(write="delta"),
    "memory network": baselines.MemoryNetworkConfig(width=WIDTH, capacity=64, num_lags=LAGS),
    "Turing machine": baselines.TuringConfig(width=WIDTH, num_slots=64, controller_width=30, num_lags=LAGS),
    "mixture of experts": baselines.SwitchConfig(width=WIDTH, num_experts=2, hidden_width=71),
    "recurrent tokens": baselines.RecurrentConfig(width=WIDTH, num_heads=1, num_lags=LAGS),
    "titans-pytorch": baselines.TitansConfig(width=WIDTH, num_heads=2, head_width=32, chunk_size=16, num_lags=LAGS),
}

# The best for each by the total loss of the recorded grid (results/rates): it is the same for all.
LEARNING_RATES: dict[str, float] = dict.fromkeys(CONTENDERS, 8e-3)


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender's runs at its own learning rate, seed by seed."""
    return [
        run_at("rivals", name, seed, name, LEARNING_RATES[name], distractors=DISTRACTORS, extras=("interventions",))
        for seed in seeds
        for name in CONTENDERS
    ]


def run_at(study: str, cell: str, seed: int, name: str, rate: float, **measured: Any) -> RunConfig:
    """Return a contender's run at a learning rate; ``measured`` says what is measured of it."""
    fields = {"memory": CONTENDERS[name], "labels": {"memory": name}, **measured}
    return small(study, cell, seed, num_steps=NUM_STEPS, learning_rate=rate, **fields)


def check_contenders() -> dict[str, ContractReport]:
    """Run the contract kit against every contender, at its size in the study, untrained."""
    reports = {}
    modules = dict(KINDS.values())
    for name, config in CONTENDERS.items():
        with seeded(0, name):
            memory = modules[type(config)](config)
        # Segments as long as the study's: titans-pytorch takes whole chunks only.
        reports[name] = check_memory(memory, width=WIDTH, num_segments=2, num_tokens=16)
    return reports
