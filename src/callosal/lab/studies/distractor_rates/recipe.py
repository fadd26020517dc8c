"""The runs of the grid that the learning rates of the distractors' study are chosen from."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig
from callosal.lab.studies.distractors.cells import BASELINE, CONTENDERS, cell_name
from callosal.lab.studies.distractors.recipe import run_at

# The learning rates that every memory is tried at, by how many segments are in between. With none the grid of the
# rivals (results/rates) has those up to 0.008, which was the best of all.
RATES = {8: (4e-3, 8e-3, 1.6e-2, 3.2e-2), 0: (8e-3, 1.6e-2, 3.2e-2)}


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender at every learning rate."""
    runs = []
    for seed in seeds:
        for between, rates in RATES.items():
            for name in (name for name in CONTENDERS if name != BASELINE):
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
                    for rate in rates
                ]
    return runs
