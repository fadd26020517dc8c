"""The runs of the grid that the rivals' learning rates are chosen from."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig
from callosal.lab.studies.rivals.recipe import CONTENDERS, run_at

# The learning rates that every memory is tried at.
RATES = (2e-3, 4e-3, 8e-3)


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender at every learning rate."""
    return [
        run_at("rates", f"{name} at {rate:g}", seed, name, rate, distractors=(0,))
        for seed in seeds
        for name in CONTENDERS
        for rate in RATES
    ]
