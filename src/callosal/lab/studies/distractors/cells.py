"""The cells of the distractors' study by name, for its recipe and its report. Imports no torch."""

OURS = "inhibitory"
# In the order in which each seed is run.
CONTENDERS = (OURS, "DeltaNet", "Gated DeltaNet, equal state")
# Segments of arithmetic between statement and question, in training.
BETWEEN = (8,)


def cell_name(name: str, between: int) -> str:
    """Return the name of a cell.

    >>> cell_name("inhibitory", 8)
    'inhibitory, 8 between'
    """
    return f"{name}, {between} between"


# In the order of every table.
CELLS = tuple(cell_name(name, between) for between in BETWEEN for name in CONTENDERS)
