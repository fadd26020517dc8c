"""The cells of the map by name and by what they change, for its recipe and its report. Imports no torch."""

from typing import Any, NamedTuple

SIGNS = (-1.0, -0.5, 0.0, 0.5, 1.0)
ENDS = (-1.0, 0.0, 1.0)
GAINS = (0.5, 1.0, 2.0, 4.0, 8.0)
# The factors of the cell that everything is changed around; the sign is always named.
DEFAULT: dict[str, Any] = {
    "gain": 4.0,
    "drive": "axis",
    "homeostasis": True,
    "learn_crosstalk": True,
    "context": "segment",
    "carry": 0.0,
    "pairs_per_segment": 8,
}


class Variant(NamedTuple):
    """What a cell changes beside the sign: how figures call it, its signs, and the factors."""

    label: str
    signs: tuple[float, ...]
    factors: dict[str, Any]


# By the note in the name of a cell, in the order of the strips; the first is the default cell.
VARIANTS = {
    "": Variant("default", SIGNS, {}),
    "frozen": Variant("$W_s$ frozen", SIGNS, {"learn_crosstalk": False}),
    "gradient": Variant("axes by gradient", SIGNS, {"drive": "gradient"}),
    "slots": Variant("slots drive", SIGNS, {"drive": "slots"}),
    "slots gain=8": Variant("slots drive, gain 8", ENDS, {"drive": "slots", "gain": 8.0}),
    "no-homeostasis": Variant("no homeostasis", SIGNS, {"homeostasis": False}),
    "no-homeostasis gain=1": Variant("no homeostasis, gain 1", ENDS, {"homeostasis": False, "gain": 1.0}),
    "token": Variant("token as context", ENDS, {"context": "token"}),
    "carry=0.5": Variant("context carried, 0.5", ENDS, {"carry": 0.5}),
    "carry=0.9": Variant("context carried, 0.9", ENDS, {"carry": 0.9}),
    "pairs=2": Variant("segments of 4 tokens", ENDS, {"pairs_per_segment": 2}),
    "pairs=4": Variant("segments of 8 tokens", ENDS, {"pairs_per_segment": 4}),
}


def cell_name(sign: float, note: str = "") -> str:
    """Return the name that the map has for a cell.

    >>> cell_name(-1.0), cell_name(0.5, "gain=2")
    ('s=-1', 's=+0.5 gain=2')
    """
    return f"s={sign:+g} {note}".strip()


def plane_cell(sign: float, gain: float) -> str:
    """Return the name of a cell of the plane of sign and gain."""
    return cell_name(sign, "" if gain == DEFAULT["gain"] else f"gain={gain:g}")


def initial_strength(sign: float, gain: float) -> float:
    """Return x = g w^2 with the differential mode w = 1 - s that the sign gives."""
    return gain * (1.0 - sign) ** 2
