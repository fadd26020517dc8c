"""The rivals: other memories in the same trunk, on the same streams, each at its own learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callosal.contract import ContractReport, check_memory
from callosal.lab.models.baselines import (
    FeedForwardConfig,
    FullHistoryConfig,
    MemoryNetworkConfig,
    RecurrentConfig,
    SwitchConfig,
    TitansConfig,
    TuringConfig,
)
from callosal.lab.runs import KINDS, RunConfig, small, small_memory
from callosal.lab.runs import SMALL_WIDTH as WIDTH
from callosal.training.seeding import seeded

# Our heads start out looking one token back. Without the same, a rival binds no letter to its answer until the trunk
# has learned to: in 500 steps none of them did (results/rates-as-published).
LAGS = 3

DISTRACTORS = (0, 1, 3, 10, 30, 100, 300, 1000)
NUM_STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A memory to compare.

    Attributes:
        memory: its configuration, of about as many parameters as two banks of 32 slots.
        kind: see ``recipes.KINDS``.
    """

    memory: Any
    kind: str = "lateral"


CONTENDERS: dict[str, Contender] = {
    "no memory": Contender(memory=FeedForwardConfig(width=WIDTH, hidden_width=145), kind="feed-forward"),
    "full history": Contender(
        memory=FullHistoryConfig(width=WIDTH, num_heads=1, feed_forward=2, num_lags=LAGS), kind="history"
    ),
    "inhibitory": Contender(memory=small_memory(sign=-1.0)),
    "uncoupled": Contender(memory=small_memory(sign=0.0)),
    "excitatory": Contender(memory=small_memory(sign=1.0)),
    # A bank has a map of its own: one bank with as many slots in all lacks the second map.
    "one bank": Contender(memory=small_memory(num_banks=1, num_slots=64)),
    "additive write": Contender(memory=small_memory(write="additive")),
    "delta write": Contender(memory=small_memory(write="delta")),
    "memory network": Contender(
        memory=MemoryNetworkConfig(width=WIDTH, capacity=64, num_lags=LAGS), kind="memory-network"
    ),
    "Turing machine": Contender(
        memory=TuringConfig(width=WIDTH, num_slots=64, controller_width=30, num_lags=LAGS), kind="turing"
    ),
    "mixture of experts": Contender(memory=SwitchConfig(width=WIDTH, num_experts=2, hidden_width=71), kind="mixture"),
    "recurrent tokens": Contender(memory=RecurrentConfig(width=WIDTH, num_heads=1, num_lags=LAGS), kind="recurrent"),
    "titans-pytorch": Contender(
        memory=TitansConfig(width=WIDTH, num_heads=2, head_width=32, chunk_size=16, num_lags=LAGS), kind="titans"
    ),
}

# The best for each by the total loss of the recorded grid (results/rates).
LEARNING_RATES: dict[str, float] = {
    "no memory": 0.008,
    "full history": 0.008,
    "inhibitory": 0.008,
    "uncoupled": 0.008,
    "excitatory": 0.008,
    "one bank": 0.008,
    "additive write": 0.008,
    "delta write": 0.008,
    "memory network": 0.008,
    "Turing machine": 0.008,
    "mixture of experts": 0.008,
    "recurrent tokens": 0.008,
    "titans-pytorch": 0.008,
}


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender's runs at its own learning rate, seed by seed."""
    return [
        run_at("rivals", name, seed, name, LEARNING_RATES[name], distractors=DISTRACTORS, extras=("interventions",))
        for seed in seeds
        for name in CONTENDERS
    ]


def run_at(study: str, cell: str, seed: int, name: str, rate: float, **measured: Any) -> RunConfig:
    """Return a contender's run at a learning rate; ``measured`` says what is measured of it."""
    contender = CONTENDERS[name]
    return small(
        study,
        cell,
        seed,
        memory=contender.memory,
        memory_kind=contender.kind,
        num_steps=NUM_STEPS,
        learning_rate=rate,
        labels={"memory": name},
        **measured,
    )


def check_contenders() -> dict[str, ContractReport]:
    """Run the contract kit against every contender, at its size in the study, untrained."""
    reports = {}
    for name, contender in CONTENDERS.items():
        with seeded(0, name):
            memory = KINDS[contender.kind][1](contender.memory)
        # Segments as long as the study's: titans-pytorch takes whole chunks only.
        reports[name] = check_memory(memory, width=WIDTH, num_segments=2, num_tokens=16)
    return reports
