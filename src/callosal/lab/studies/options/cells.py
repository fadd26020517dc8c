"""The cells of the options' study by name: which option of a memory, on which task. Imports no torch."""

from typing import Any

PAPER = "paper"
# What a cell sets beside the paper's form; widths are those of the small benchmark, 32.
_FIRST: dict[str, dict[str, Any]] = {
    PAPER: {},
    "observe": {"observe": True},
    "lagged": {"writers": "lagged"},
    "observe-lagged": {"observe": True, "writers": "lagged"},
    "learned-salience": {"salience": "learned"},
    "retrieved-salience": {"salience": "retrieved"},
    "narrow": {"inner_width": 16},
    "output-gate": {"output_gate": True},
    "frozen-coupling": {"learn_crosstalk": False},
    "normalised": {"normalised": "retrieved"},
    "observe-normalised": {"observe": True, "normalised": "retrieved"},
    "narrow-gate": {"inner_width": 16, "output_gate": True},
    "narrow-gate-hidden": {"inner_width": 16, "output_gate": True, "gates": "hidden"},
}
OPTIONS = _FIRST | {
    "observe-lagged-learned": {"observe": True, "writers": "lagged", "salience": "learned"},
    "observe-lagged-retrieved": {"observe": True, "writers": "lagged", "salience": "retrieved"},
    "calibrated": {"calibrated": True},
    "observe-calibrated": {"observe": True, "calibrated": True},
    # Behind two layers as one; see READ.
    "shared": {},
}
# The small benchmark: a cipher, and arithmetic in other tokens.
APART = tuple(_FIRST)
# The same where both are written in the same tokens, so that what comes in between is said in the cipher's own words.
SHARED = (PAPER, "observe", "observe-lagged", "observe-lagged-learned", "observe-lagged-retrieved")
# Users of a small language model, who state facts, chat and ask later: what was run first, then every other option
# alone, then two of them beside observe.
USERS = (
    *(PAPER, "observe", "learned-salience", "observe-lagged-learned", "frozen-coupling"),
    *("lagged", "retrieved-salience", "narrow", "output-gate", "normalised", "calibrated", "shared"),
    *("observe-normalised", "observe-calibrated"),
)
# Behind which of the host's layers a memory is read, where it is more than one; it is written from the last.
READ: dict[str, tuple[int, ...]] = {"shared": (1, 2)}


def shared_cell(option: str) -> str:
    """Return the name of an option's cell where both domains have one alphabet."""
    return f"one alphabet, {option}"


def users_cell(option: str) -> str:
    """Return the name of an option's cell on the persona task."""
    return f"persona, {option}"


CELLS = (*APART, *map(shared_cell, SHARED), *map(users_cell, USERS))
