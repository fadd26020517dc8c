"""The runs of the grid that the learning rates of the distractors' study are chosen from."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig
from callosal.lab.studies.distractors.cells import BASELINE, CONTENDERS, cell_name
from callosal.lab.studies.distractors.recipe import run_at

# Every memory is tried at these; and at more, where the best of them is at an end of what it was tried at.
RATES = (8e-3, 1.6e-2)
FURTHER: dict[str, tuple[float, ...]] = {"inhibitory, 8 between": (4e-3,)}
# The bound that holds all and the ring that cannot hold it so long keep the rate of the rivals' grid with 8 in between.
TRIED = {
    8: tuple(name for name in CONTENDERS if name not in (BASELINE, "memory network", "full history")),
    0: tuple(name for name in CONTENDERS if name != BASELINE),
}


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender at its learning rates."""
    cells = {cell_name(name, between): (name, between) for between, names in TRIED.items() for name in names}
    tried = [(cell, rate) for between in TRIED for rate in RATES for cell, (_, b) in cells.items() if b == between]
    tried += [(cell, rate) for cell, rates in FURTHER.items() for rate in rates]
    return [_run(cell, *cells[cell], rate, seed) for seed in seeds for cell, rate in tried]


def _run(cell: str, name: str, between: int, rate: float, seed: int) -> RunConfig:
    measured = {"distractors": (0, 100), "labels": {"memory": cell}}
    return run_at("distractor_rates", f"{cell}, at {rate:g}", seed, name, between, rate, **measured)
