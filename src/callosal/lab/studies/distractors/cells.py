"""The cells of the distractors' study by name, for its recipe and its report. Imports no torch."""

OURS = "inhibitory"
# This memory otherwise coupled, in one bank, or with another rule to write by.
VARIANTS = (OURS, "uncoupled", "one bank", "delta write")
CONTENDERS = (*VARIANTS, "DeltaNet", "Gated DeltaNet, equal state", "Gated DeltaNet")
# Segments of arithmetic between statement and question, in training; the one that the study is about comes first.
TOLD, FAR = 8, 32
# Who is trained with so many; with other numbers than the main one fewer are, for the time that it takes.
_TRAINED: dict[int, tuple[str, ...]] = {
    TOLD: CONTENDERS,
    0: CONTENDERS[:-1],
    FAR: (OURS, "one bank", "delta write", "DeltaNet", "Gated DeltaNet, equal state"),
}
BETWEEN = tuple(_TRAINED)


def cell_name(name: str, between: int) -> str:
    """Return the name of a cell.

    >>> cell_name("inhibitory", 8)
    'inhibitory, 8 between'
    """
    return f"{name}, {between} between"


def names(between: int) -> tuple[str, ...]:
    """Return who is trained with so many segments in between."""
    return _TRAINED[between]


# In the order of every table.
CELLS = tuple(cell_name(name, between) for between in BETWEEN for name in names(between))
