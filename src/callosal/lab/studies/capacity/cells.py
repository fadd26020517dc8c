"""The cells of the capacity study by name and by what they change, for its recipe and its report. Imports no torch."""

from typing import NamedTuple

# Of the host.
WIDTH = 32


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
        notes = {"observed": self.observed, "one bank": self.banks == 1, f"{self.width} wide": self.width < WIDTH}
        return ", ".join(
            [f"{self.pairs} pairs", f"{self.slots} slots", *(note for note, holds in notes.items() if holds)]
        )

    @property
    def plain(self) -> bool:
        """Whether it has two banks of wide slots, as most have."""
        return self.banks == 2 and self.width == WIDTH


# Around the counts of ``measures``: at them, below and beyond. In the order of every table.
CELLS = (
    *(Cell(pairs, slots) for pairs, slots in ((8, 4), (8, 8), (8, 16), (16, 8), (16, 16), (16, 32))),
    *(Cell(24, slots) for slots in (16, 32, 48)),
    *(Cell(pairs, slots, observed=True) for pairs, slots in ((8, 4), (8, 8), (16, 8), (16, 16), (24, 16))),
    # As many slots in all as two banks of half the slots have.
    Cell(8, 8, banks=1),
    Cell(16, 32, banks=1),
    # So that neither slots nor width are as many as the pairs.
    Cell(8, 4, observed=True, width=4),
    Cell(16, 8, observed=True, width=8),
)
NAMED = {cell.name: cell for cell in CELLS}
