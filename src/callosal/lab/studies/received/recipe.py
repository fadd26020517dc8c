"""The runs of the second reading of the cross-talk, under which it acts on what banks receive."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.received.cells import (
    ALL_SEEDS,
    BASELINE,
    CONFIGURATIONS,
    FEW,
    MAIN_SIGNS,
    OTHER_SIGNS,
    cell_name,
)

# Long enough for most seeds to learn the cipher; the map's 400 are not.
NUM_STEPS = 1000


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the baseline and both ends of the sign at two gains for all seeds, the other cells for the first few.

    Seed by seed, so that a study that is not finished is even.
    """
    runs = []
    for place, seed in enumerate(seeds):
        runs += [_baseline(seed), *(_cell(sign, note, seed) for note in ALL_SEEDS for sign in MAIN_SIGNS)]
        if place < FEW:
            runs += [_cell(sign, "", seed) for sign in OTHER_SIGNS]
            others = [note for note in CONFIGURATIONS if note not in ALL_SEEDS]
            runs += [_cell(sign, note, seed) for note in others for sign in MAIN_SIGNS]
    return runs


def _cell(sign: float, note: str, seed: int) -> RunConfig:
    fields: dict[str, Any] = {
        "crosstalk": "received",
        "sign": sign,
        "gain": 8.0,
        "homeostasis": False,
        "learn_crosstalk": False,
    }
    memory = small_memory(**(fields | CONFIGURATIONS[note].factors))
    return small("received", cell_name(sign, note), seed, memory=memory, num_steps=NUM_STEPS)


def _baseline(seed: int) -> RunConfig:
    return replace(small("received", BASELINE, seed, num_steps=NUM_STEPS), memory=None)
