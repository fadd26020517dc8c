"""The runs of the second reading of the cross-talk, under which it acts on what banks receive."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.received.cells import (
    ALL_SEEDS,
    CONFIGURATIONS,
    FEW,
    LETTERS,
    MAIN_SIGNS,
    OTHER_SIGNS,
    baseline_name,
    cell_name,
)
from callosal.lab.tasks import EpisodeConfig

# By letters: how long, long enough for most seeds to learn the cipher (the map's 400 steps are not); at which rate;
# and how many of the letters a segment shows.
LEARNED: dict[int, tuple[int, float, int]] = {8: (1000, 4e-3, 8), 26: (1400, 8e-3, 13)}


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the baseline and both ends of the sign at two gains for all seeds, the other cells for the first few.

    Seed by seed, so that a study that is not finished is even; the larger alphabet, the dearest, comes last.
    """
    runs = []
    for place, seed in enumerate(seeds):
        several = [note for note in ALL_SEEDS if note != LETTERS]
        runs += [_baseline("", seed), *(_cell(sign, note, seed) for note in several for sign in MAIN_SIGNS)]
        if place < FEW:
            runs += [_cell(sign, "", seed) for sign in OTHER_SIGNS]
            others = [note for note in CONFIGURATIONS if note not in ALL_SEEDS]
            runs += [_cell(sign, note, seed) for note in others for sign in MAIN_SIGNS]
    return runs + [
        run
        for seed in seeds
        for run in (_baseline(LETTERS, seed), *(_cell(sign, LETTERS, seed) for sign in MAIN_SIGNS))
    ]


def _cell(sign: float, note: str, seed: int) -> RunConfig:
    fields: dict[str, Any] = {
        "crosstalk": "received",
        "sign": sign,
        "gain": 8.0,
        "homeostasis": False,
        "learn_crosstalk": False,
    }
    return _run(cell_name(sign, note), note, seed, **(fields | CONFIGURATIONS[note].factors))


def _baseline(note: str, seed: int) -> RunConfig:
    return replace(_run(baseline_name(note), note, seed), memory=None)


def _run(cell: str, note: str, seed: int, **memory: Any) -> RunConfig:
    letters = CONFIGURATIONS[note].letters
    steps, rate, pairs = LEARNED[letters]
    return small(
        "received",
        cell,
        seed,
        episodes=EpisodeConfig(num_letters=letters, pairs_per_segment=pairs),
        memory=small_memory(**memory),
        num_steps=steps,
        learning_rate=rate,
    )
