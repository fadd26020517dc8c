"""The runs of the field's recall benchmarks: multi-query associative recall, induction heads, selective copying."""

from collections.abc import Sequence
from typing import Any

from callosal.lab.models.baselines import FullHistoryConfig, GatedDeltaConfig
from callosal.lab.studies.field.cells import (
    ATTENTION,
    BOTH,
    COPYING,
    DELTA,
    FURTHER,
    GATED,
    INDUCTION,
    MQAR,
    OURS,
    PAPER,
    SEEN,
    TASKS,
    TOKENWISE,
    TWO_BANKS,
    UNCOUPLED,
    cell_name,
)
from callosal.lab.studies.field.run import FieldRun, run
from callosal.lab.tasks.induction_heads import InductionHeads
from callosal.lab.tasks.mqar import Mqar
from callosal.lab.tasks.selective_copying import SelectiveCopying
from callosal.memory import MemoryConfig
from callosal.training.loop import TrainingConfig

__all__ = ["FieldRun", "configs", "run", "run_at"]

# The smallest that zoology trains.
WIDTH = 64
_ATTENTION = FullHistoryConfig(width=WIDTH, num_heads=1, num_lags=3)
# All memories hold about 4,096 floats, the filters' last inputs counted.
_DELTA: dict[str, Any] = {"width": WIDTH, "key_width": 48, "value_width": 78, "num_lags": 3, "chunk_size": 32}
# Everything is told once, so a slot has to be easy to move.
_ONE: dict[str, Any] = {"width": WIDTH, "num_banks": 1, "num_slots": 64, "inertia": 0.3}
_OPEN: dict[str, Any] = {"observe": True, "writers": "lagged"}
_TWO: dict[str, Any] = _ONE | {"num_banks": 2, "num_slots": 32}
_OURS = MemoryConfig(**_ONE, **_OPEN)
MIXERS: dict[str, dict[str, Any]] = {
    ATTENTION: {"attention": _ATTENTION},
    OURS: {"memory": _OURS},
    TWO_BANKS: {"memory": MemoryConfig(**_TWO, **_OPEN)},
    UNCOUPLED: {"memory": MemoryConfig(**_TWO, **_OPEN, sign=0.0)},
    TOKENWISE: {"memory": MemoryConfig(**_TWO, **_OPEN, context="token")},
    PAPER: {"memory": MemoryConfig(**_ONE)},
    BOTH: {"attention": _ATTENTION, "memory": _OURS},
    GATED: {"memory": GatedDeltaConfig(**_DELTA)},
    DELTA: {"memory": GatedDeltaConfig(**_DELTA, decays=False)},
}

_MQAR = Mqar()
_INDUCTION = InductionHeads()
_COPYING = SelectiveCopying(num_noise=24, num_data=4)
DRAWN: dict[str, Any] = {MQAR: _MQAR, INDUCTION: _INDUCTION, COPYING: _COPYING}
# A mixer with filters before it does what two layers of zoology do; copying has two, as in its paper, to count with.
NUM_LAYERS: dict[str, int] = {MQAR: 1, INDUCTION: 1, COPYING: 2}
NUM_STEPS: dict[str, int] = {MQAR: 250, INDUCTION: 150, COPYING: 400}
BATCH_SIZE: dict[str, int] = {MQAR: 32, INDUCTION: 8, COPYING: 32}
# Each asks for all of its pairs or data, or for one token.
NUM_EVALUATED: dict[str, int] = {MQAR: 512, INDUCTION: 256, COPYING: 512}
# The best of the recorded grid (results/field_rates), for each task.
LEARNING_RATES: dict[str, dict[str, float]] = {
    MQAR: dict.fromkeys((OURS, TWO_BANKS, UNCOUPLED, TOKENWISE, PAPER, BOTH), 0.032)
    | {ATTENTION: 0.01, GATED: 0.1, DELTA: 0.1},
    INDUCTION: dict.fromkeys((ATTENTION, OURS, TWO_BANKS, UNCOUPLED, TOKENWISE, GATED), 0.032) | {PAPER: 0.0032},
    COPYING: {ATTENTION: 0.0032, OURS: 0.032, GATED: 0.032},
}


def configs(seeds: Sequence[int]) -> list[FieldRun]:
    """Return every cell: first those that most hangs on, and of each part seed by seed, so that it is even."""
    parts = [
        [(MQAR, 2, OURS), (MQAR, 2, GATED), (MQAR, 2, TWO_BANKS), (MQAR, 1, ATTENTION)],
        [(INDUCTION, calls, model) for calls, models in SEEN[INDUCTION].items() for model in models],
    ]
    named = [cell for part in parts for cell in part]
    every = [(task, calls, model) for task in TASKS for calls, models in SEEN[task].items() for model in models]
    parts += [[cell for cell in every if cell not in named and cell[0] == task] for task in TASKS]
    return [
        run_at("field", task, calls, model, seed, LEARNING_RATES[task][model])
        for part in parts
        for seed in seeds
        for task, calls, model in part
    ]


def run_at(
    study: str, task: str, calls: int, model: str, seed: int, rate: float, cell: str = "", **changes: Any
) -> FieldRun:
    """Return a model's run on a task at a learning rate."""
    steps = NUM_STEPS[task]
    return FieldRun(
        recipe=study,
        arm=cell or cell_name(task, calls, model),
        seed=seed,
        task=DRAWN[task],
        calls=calls,
        width=WIDTH,
        **MIXERS[model],
        num_layers=NUM_LAYERS[task],
        training=TrainingConfig(
            num_steps=steps, checkpoint_every=steps, log_every=25, batch_size=BATCH_SIZE[task], learning_rate=rate
        ),
        **(
            {
                "num_evaluated": NUM_EVALUATED[task],
                "further": FURTHER[task],
                "labels": {"task": task, "calls": calls, "model": model},
            }
            | changes
        ),
    )
