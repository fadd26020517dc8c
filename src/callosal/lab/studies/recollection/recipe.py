"""The runs of the sequel as its readers describe it."""

from collections.abc import Sequence
from dataclasses import replace

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.recollection.cells import CELLS
from callosal.lab.tasks import EpisodeConfig

# The sequel's domains, in turn, as in the study `sequel`.
EPISODES = EpisodeConfig(domains=("recall", "counting"), modulus=10)
# How closely a fall of P_ct can be told, in steps.
LOG_EVERY = 10


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every cell of every seed, seed by seed, so that a study that is not finished is even."""
    return [_run(name, seed) for seed in seeds for name in CELLS]


def _run(name: str, seed: int) -> RunConfig:
    cell = CELLS[name]
    memory = small_memory(**cell.memory)
    run = small("recollection", name, seed, memory=memory, episodes=EPISODES, label_weight=cell.label_weight)
    return replace(run, training=replace(run.training, log_every=LOG_EVERY))
