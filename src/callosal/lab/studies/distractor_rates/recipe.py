"""The runs of the grid that the learning rates of the distractors' study are chosen from."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig
from callosal.lab.studies.distractors.cells import CONTENDERS, cell_name
from callosal.lab.studies.distractors.recipe import run_at

# The learning rates that every memory is tried at; and how many segments are in between, the telling number first.
RATES = (4e-3, 8e-3, 1.6e-2, 3.2e-2)
BETWEEN = (8, 0)


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender at every learning rate."""
    runs = []
    for seed in seeds:
        for between in BETWEEN:
            for name in CONTENDERS:
                cell = cell_name(name, between)
                runs += [
                    run_at(
                        "distractor_rates",
                        f"{cell}, at {rate:g}",
                        seed,
                        name,
                        between,
                        rate,
                        distractors=(0, 100),
                        labels={"memory": cell},
                    )
                    for rate in RATES
                ]
    return runs
