"""The cells of the capacity study by name and by what they change, for its recipe and its report. Imports no torch."""

from typing import NamedTuple

# Of the host.
WIDTH = 32
FEWEST = 8


class Cell(NamedTuple):
    """How much is to be held, and by what.

    Attributes:
        pairs: letters of the cipher, K.
        slots: of a bank.
        observed: whether what the tokens are is written too.
        banks: two, which inhibit one another, or one.
        width: of a slot.
    """

    pairs: int
    slots: int
    observed: bool = False
    banks: int = 2
    width: int = WIDTH

    @property
    def name(self) -> str:
        """What the cell is called.

        >>> Cell(8, 16).name, Cell(8, 4, observed=True, banks=1).name
        ('8 pairs, 16 slots', '8 pairs, 4 slots, observed, one bank')
        """
        return ", ".join([f"{self.pairs} pairs", f"{self.slots} slots", *self.notes])

    @property
    def notes(self) -> list[str]:
        """What the name says besides, where the cell is not as most are."""
        said = {"observed": self.observed, "one bank": self.banks == 1, f"{self.width} wide": self.width < WIDTH}
        return [note for note, holds in said.items() if holds]

    @property
    def cycles(self) -> int:
        """Cycles of training at most: one more where few runs were decided after three (LOG.md)."""
        return 4 if self.pairs == FEWEST and self.plain and not self.observed and self.slots > 4 else 3

    @property
    def plain(self) -> bool:
        """Whether it has two banks of wide slots, as most have."""
        return self.banks == 2 and self.width == WIDTH


# At the counts of ``measures``, below and beyond. In the order of every table.
CELLS = (
    *(Cell(FEWEST, slots) for slots in (4, 8, 16)),
    *(Cell(FEWEST, slots, observed=True) for slots in (4, 8)),
    # As many slots in all as two banks of four have.
    Cell(8, 8, banks=1),
    # Neither slots nor width are as many as the pairs.
    Cell(8, 4, observed=True, width=4),
    # More than eight fit where eight do.
    *(Cell(16, slots, observed=True) for slots in (4, 8, 16)),
    Cell(24, 8, observed=True),
    *(Cell(16, slots) for slots in (16, 32)),
)
NAMED = {cell.name: cell for cell in CELLS}
