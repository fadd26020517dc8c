"""The runs of the grid that the learning rates of the field's benchmarks are chosen from."""

from collections.abc import Sequence
from dataclasses import replace

from callosal.lab.studies.field.cells import ATTENTION, DELTA, GATED, INDUCTION, MQAR, SEEN, TASKS, cell_name
from callosal.lab.studies.field.recipe import FieldRun, run, run_at

__all__ = ["configs", "run"]

# Those of zoology's sweep over the newer mixers: four from 1e-3 to 10^-1.5, evenly in their logarithm.
RATES = (1e-3, 3.2e-3, 1e-2, 3.2e-2)
# Where the largest was the best of a rival on the main task, one more.
_FURTHER = {(MQAR, GATED): (1e-1,), (MQAR, DELTA): (1e-1,)}


def rates_of(task: str, model: str) -> tuple[float, ...]:
    """Return the learning rates that a model is tried at on a task."""
    return (*RATES, *_FURTHER.get((task, model), ()))


def configs(seeds: Sequence[int]) -> list[FieldRun]:
    """Return every model at every learning rate, on the calls that it can solve: two, and of attention one."""
    return [
        _run(task, 1 if model == ATTENTION else 2, model, seed, rate)
        for task in TASKS
        for seed in seeds
        for model in SEEN[task][2]
        for rate in rates_of(task, model)
    ]


def _run(task: str, calls: int, model: str, seed: int, rate: float) -> FieldRun:
    name = cell_name(task, calls, model)
    found = run_at(
        "field_rates",
        task,
        calls,
        model,
        seed,
        rate,
        cell=f"{name}, at {rate:g}",
        further=(),
        num_evaluated=1024,
        labels={"task": task, "calls": calls, "model": model, "memory": name},
    )
    if task != INDUCTION:
        return found
    # Tried before the study took the published length and batch.
    training = replace(found.training, num_steps=200, checkpoint_every=200, batch_size=32)
    return replace(found, task=found.task.sized(64), training=training)
