"""The map: when do the banks lateralize? Planes through the default, each a pair of questions.

A cell changes some fields of the small benchmark's memory or episodes. Not a full factorial: the planes share the
default cell and the signs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.map.cells import GAINS, SIGNS, VARIANTS, cell_name, plane_cell
from callosal.lab.tasks import EpisodeConfig


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the map's runs, seed by seed, so that a map that is not finished is even; every cell once."""
    cells: dict[str, dict[str, Any]] = {}
    for name, changes in _planes():
        cells.setdefault(name, changes)
    return [_run(name, seed, **changes) for seed in seeds for name, changes in cells.items()]


def _run(name: str, seed: int, pairs_per_segment: int | None = None, **memory: Any) -> RunConfig:
    episodes = EpisodeConfig()
    if pairs_per_segment is not None:
        # As many pairs are shown in all, however many a segment has.
        episodes = EpisodeConfig(pairs_per_segment=pairs_per_segment, num_rounds=16 // pairs_per_segment)
    return small("map", name, seed, memory=small_memory(**memory), episodes=episodes)


def _planes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name of every cell, such as "s=+0.5 gain=2", and the fields it changes; the most telling ones first."""
    # Sign against gain. Gain 4 is the default: its cells belong to every plane.
    for sign in SIGNS:
        for gain in GAINS:
            yield plane_cell(sign, gain), {"sign": sign, "gain": gain}
    # W_s frozen where the sign put it; what moves the banks; homeostasis off; the context; how well one segment shows
    # its domain.
    for note, variant in VARIANTS.items():
        for sign in variant.signs if note else ():
            yield cell_name(sign, note), {"sign": sign, **variant.factors}
