"""The runs of the grid that the learning rates of the distractors' study are chosen from."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig
from callosal.lab.studies.distractors.cells import OURS, cell_name
from callosal.lab.studies.distractors.recipe import run_at

# The first is where the grid of the rivals ended.
RATE = 8e-3
BETWEEN = 8
TRIED = (
    OURS,
    "DeltaNet",
    "Gated DeltaNet, equal state",
    "one bank",
    "uncoupled",
    "delta write",
    "Gated DeltaNet",
    "titans-pytorch",
)
# A higher one for all but titans-pytorch, which had not learned at the first nor, cut off, at a higher one (LOG.md) and
# is tried at lower ones; a third for who kept more at the second than at the first and forgets, or had not learned.
FURTHER: dict[str, tuple[float, ...]] = dict.fromkeys(TRIED, (1.6e-2,)) | {
    OURS: (4e-3, 1.6e-2),
    "Gated DeltaNet, equal state": (1.6e-2, 3.2e-2),
    "titans-pytorch": (4e-3, 2e-3),
}


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender at its learning rates."""
    tried = [(name, rate) for name in TRIED for rate in (RATE, *FURTHER[name])]
    return [_run(name, rate, seed) for seed in seeds for name, rate in tried]


def _run(name: str, rate: float, seed: int) -> RunConfig:
    cell = cell_name(name, BETWEEN)
    measured = {"distractors": (0, 100), "labels": {"memory": cell}}
    return run_at("distractor_rates", f"{cell}, at {rate:g}", seed, name, BETWEEN, rate, **measured)
