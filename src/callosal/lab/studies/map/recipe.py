"""The map: when do the banks lateralize? Planes through the default, each a pair of questions.

A cell changes some fields of the small benchmark's memory or episodes. Not a full factorial: the planes share the
default cell and the signs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.map.cells import GAINS, SIGNS, VARIANTS, cell_name, plane_cell
from callosal.lab.tasks import EpisodeConfig


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of the map.

    Attributes:
        name: what is not at its default, such as "s=+0.5 gain=2".
        memory: changed fields of the memory.
        episodes: changed fields of the episodes.
    """

    name: str
    memory: dict[str, Any] = field(default_factory=dict)
    episodes: dict[str, Any] = field(default_factory=dict)


def cells() -> list[Cell]:
    """Return every cell once, plane by plane, the most telling ones first."""
    found: dict[str, Cell] = {}
    for cell in _planes():
        found.setdefault(cell.name, cell)
    return list(found.values())


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the map's runs, seed by seed, so that a map that is not finished is even."""
    return [run_of(cell, seed) for seed in seeds for cell in cells()]


def run_of(cell: Cell, seed: int) -> RunConfig:
    """Return a cell's run."""
    return small("map", cell.name, seed, memory=small_memory(**cell.memory), episodes=EpisodeConfig(**cell.episodes))


def _cell(sign: float, note: str = "", **factors: Any) -> Cell:
    pairs = factors.pop("pairs_per_segment", None)
    # As many pairs are shown in all, however many a segment has.
    episodes = {} if pairs is None else {"pairs_per_segment": pairs, "num_rounds": 16 // pairs}
    return Cell(name=cell_name(sign, note), memory={"sign": sign, **factors}, episodes=episodes)


def _planes() -> Iterator[Cell]:
    # Sign against gain. Gain 4 is the default: its cells belong to every plane.
    for sign in SIGNS:
        for gain in GAINS:
            yield Cell(name=plane_cell(sign, gain), memory={"sign": sign, "gain": gain})
    # W_s frozen where the sign put it; what moves the banks; homeostasis off; the context; how well one segment shows
    # its domain.
    for note, variant in VARIANTS.items():
        for sign in variant.signs if note else ():
            yield _cell(sign, note, **variant.factors)
