"""The runs of memories that are trained with segments between statement and question, so that they learn to keep."""

from collections.abc import Sequence
from typing import Any

from callosal.lab.models import baselines
from callosal.lab.runs import SMALL_WIDTH as WIDTH
from callosal.lab.runs import RunConfig, small
from callosal.lab.studies.distractors.cells import BETWEEN, CONTENDERS, TOLD, cell_name, names
from callosal.lab.studies.rivals.recipe import CONTENDERS as RIVALS
from callosal.lab.studies.rivals.recipe import DISTRACTORS, LAGS, NUM_STEPS
from callosal.lab.tasks import EpisodeConfig

# As wide as the others allow, with the paper's filters over four tokens; and with as many floats of state as ours, the
# filters' last inputs counted.
GATED = baselines.GatedDeltaConfig(width=WIDTH, key_width=64, value_width=64, chunk_size=16)
SMALLER: dict[str, Any] = {"width": WIDTH, "key_width": 32, "value_width": 56, "num_lags": LAGS, "chunk_size": 16}
MEMORIES: dict[str, Any] = RIVALS | {
    "Gated DeltaNet": GATED,
    "Gated DeltaNet, equal state": baselines.GatedDeltaConfig(**SMALLER),
    "DeltaNet": baselines.GatedDeltaConfig(**SMALLER, decays=False),
}

# At which each kept most after 100 segments in the recorded grid (results/distractor_rates).
LEARNING_RATES: dict[str, float] = dict.fromkeys(CONTENDERS, 1.6e-2) | {"uncoupled": 8e-3}
# Trained with another number in between: the first few seeds.
FEW = 3


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every contender's runs, seed by seed, so that a study that is not finished is even."""
    first, rest = seeds[:FEW], seeds[FEW:]
    runs = [_run(name, TOLD, seed) for some in (first, rest) for seed in some for name in CONTENDERS]
    others = [between for between in BETWEEN if between != TOLD]
    return [*runs, *(_run(name, between, seed) for between in others for seed in first for name in names(between))]


def _run(name: str, between: int, seed: int) -> RunConfig:
    cell, labels = cell_name(name, between), {"memory": name, "between": between}
    measured = {"distractors": DISTRACTORS, "labels": labels}
    return run_at("distractors", cell, seed, name, between, LEARNING_RATES[name], **measured)


def run_at(study: str, cell: str, seed: int, name: str, between: int, rate: float, **measured: Any) -> RunConfig:
    """Return a contender's run with so many segments in between; ``measured`` says what is measured of it."""
    return small(
        study,
        cell,
        seed,
        episodes=EpisodeConfig(num_distractors=between),
        memory=MEMORIES[name],
        num_steps=NUM_STEPS,
        learning_rate=rate,
        **measured,
    )
