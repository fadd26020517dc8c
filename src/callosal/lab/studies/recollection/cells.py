"""The cells of the sequel as its readers describe it, by name and by what they change. Imports no torch."""

from itertools import product
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """What a cell has.

    Attributes:
        memory: fields of the memory, where they differ from the small studies'.
        label_weight: of the loss that tells the banks each token's domain.
    """

    memory: dict[str, Any]
    label_weight: float = 0.0


# Slow: a tenth of each new segment, as the carried context of the study `sequel` keeps nine tenths of the old ones.
BUFFER = {"recollection": 0.1}
SALIENCE = {"salience": "retrieved"}
# As near as our memory comes to a routing that labels teach: the gradient alone moves the axes.
LEARNED = {"drive": "gradient", "homeostasis": False}
LABEL_WEIGHT = 1.0


def cell_name(*, learned: bool = False, buffer: bool = False, labels: bool = False, salience: bool = False) -> str:
    """Return the name of a cell.

    >>> cell_name(), cell_name(learned=True, buffer=True, labels=True)
    ('our rule', 'by gradient + buffer + labels')
    """
    has = {"buffer": buffer, "labels": labels, "salience": salience}
    return " + ".join(["by gradient" if learned else "our rule", *(name for name, there in has.items() if there)])


def _cells() -> dict[str, Cell]:
    cells = {}
    for learned in (False, True):
        for salience, labels, buffer in product((False, True), repeat=3):
            if learned and salience:
                continue
            memory = (LEARNED if learned else {}) | (BUFFER if buffer else {}) | (SALIENCE if salience else {})
            name = cell_name(learned=learned, buffer=buffer, labels=labels, salience=salience)
            cells[name] = Cell(memory, LABEL_WEIGHT if labels else 0.0)
    return cells


# In the order of every table.
CELLS = _cells()
