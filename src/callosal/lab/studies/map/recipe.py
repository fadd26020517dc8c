"""The map: when do the banks lateralize? Planes through the default, each a pair of questions.

A cell changes some fields of the small benchmark's memory or episodes. Not a full factorial: the
planes share the default cell and the signs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.tasks import EpisodeConfig

SIGNS = (-1.0, -0.5, 0.0, 0.5, 1.0)
ENDS = (-1.0, 0.0, 1.0)
GAINS = (0.5, 1.0, 2.0, 4.0, 8.0)


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
    return small(
        "map",
        cell.name,
        seed,
        memory=small_memory(**cell.memory),
        episodes=EpisodeConfig(**cell.episodes),
    )


def _cell(sign: float, note: str = "", *, episodes: dict | None = None, **memory: Any) -> Cell:
    name = f"s={sign:+g} {note}".strip()
    return Cell(name=name, memory={"sign": sign, **memory}, episodes=episodes or {})


def _planes() -> Iterator[Cell]:
    # Sign against gain. Gain 4 is the default: its cells belong to every plane.
    for sign in SIGNS:
        for gain in GAINS:
            yield _cell(sign, "" if gain == 4.0 else f"gain={gain:g}", gain=gain)
    # W_s frozen where the sign put it, against learned.
    for sign in SIGNS:
        yield _cell(sign, "frozen", learn_crosstalk=False)
    # What moves the banks: signed plasticity (the default), the gradient, or the slots.
    for drive in ("gradient", "slots"):
        for sign in SIGNS:
            yield _cell(sign, drive, drive=drive)
    for sign in ENDS:
        yield _cell(sign, "slots gain=8", drive="slots", gain=8.0)
    # Homeostasis off, at the default gain and at a low one.
    for sign in SIGNS:
        yield _cell(sign, "no-homeostasis", homeostasis=False)
    for sign in ENDS:
        yield _cell(sign, "no-homeostasis gain=1", homeostasis=False, gain=1.0)
    # Context: the token alone; the slow buffer, at two speeds.
    for sign in ENDS:
        yield _cell(sign, "token", context="token")
        for carry in (0.5, 0.9):
            yield _cell(sign, f"carry={carry:g}", carry=carry)
    # Segment length: how well one segment shows its domain. As many pairs are shown in all.
    for pairs in (2, 4):
        for sign in ENDS:
            episodes = {"pairs_per_segment": pairs, "num_rounds": 16 // pairs}
            yield _cell(sign, f"pairs={pairs}", episodes=episodes)
