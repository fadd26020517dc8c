"""The rivals: other memories in the same trunk, on the same streams, each at its own learning rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callosal.models.rivals import (
    FeedForwardConfig,
    FullHistoryConfig,
    MemoryNetworkConfig,
    RecurrentConfig,
    SwitchConfig,
    TitansConfig,
    TuringConfig,
)
from callosal.studies.recipes import SMALL_WIDTH as WIDTH
from callosal.studies.recipes import RunConfig, small, small_memory

# The learning rates that every memory is tried at, on a seed that no result is reported of.
RATES = (2e-3, 4e-3, 8e-3)
RATE_SEED = 100
DISTRACTORS = (0, 1, 3, 10, 30, 100, 300, 1000)
NUM_STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A memory to compare.

    Attributes:
        memory: its configuration, of about as many parameters as two banks of 32 slots.
        kind: see ``recipes.KINDS``.
        learning_rate: the best of RATES by the total loss of the recorded grid (``study rates``).
    """

    memory: Any
    kind: str = "lateral"
    learning_rate: float = 4e-3


CONTENDERS: dict[str, Contender] = {
    "no memory": Contender(
        memory=FeedForwardConfig(width=WIDTH, hidden_width=145), kind="feed-forward"
    ),
    "full history": Contender(
        memory=FullHistoryConfig(width=WIDTH, feed_forward=2), kind="history"
    ),
    "inhibitory": Contender(memory=small_memory(sign=-1.0)),
    "uncoupled": Contender(memory=small_memory(sign=0.0)),
    "excitatory": Contender(memory=small_memory(sign=1.0)),
    # A bank has a map of its own: one bank with as many slots in all lacks the second map.
    "one bank": Contender(memory=small_memory(num_banks=1, num_slots=64)),
    "additive write": Contender(memory=small_memory(write="additive")),
    "delta write": Contender(memory=small_memory(write="delta")),
    "memory network": Contender(
        memory=MemoryNetworkConfig(width=WIDTH, capacity=64), kind="memory-network"
    ),
    "Turing machine": Contender(
        memory=TuringConfig(width=WIDTH, num_slots=64, controller_width=37), kind="turing"
    ),
    "mixture of experts": Contender(
        memory=SwitchConfig(width=WIDTH, num_experts=2, hidden_width=71), kind="mixture"
    ),
    "recurrent tokens": Contender(memory=RecurrentConfig(width=WIDTH), kind="recurrent"),
    "titans-pytorch": Contender(memory=TitansConfig(width=WIDTH, chunk_size=16), kind="titans"),
}


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender's runs at its own learning rate, seed by seed."""
    return [
        _run("rivals", name, seed, contender, contender.learning_rate)
        for seed in seeds
        for name, contender in CONTENDERS.items()
    ]


def rate_configs(seeds: Sequence[int] = (RATE_SEED,)) -> list[RunConfig]:
    """Return the grid that the learning rates are chosen from."""
    return [
        _run("rates", f"{name} at {rate:g}", seed, contender, rate)
        for seed in seeds
        for name, contender in CONTENDERS.items()
        for rate in RATES
    ]


def _run(study: str, cell: str, seed: int, contender: Contender, rate: float) -> RunConfig:
    return small(
        study,
        cell,
        seed,
        memory=contender.memory,
        memory_kind=contender.kind,
        num_steps=NUM_STEPS,
        learning_rate=rate,
        distractors=DISTRACTORS if study == "rivals" else (0,),
        extras=("interventions",) if study == "rivals" else (),
    )
