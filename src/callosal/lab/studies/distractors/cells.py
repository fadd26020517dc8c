"""The cells of the distractors' study by name, for its recipe and its report. Imports no torch."""

BASELINE, OURS = "no memory", "inhibitory"
# In the order in which each seed is run.
CONTENDERS = (
    OURS,
    "DeltaNet",
    "Gated DeltaNet, equal state",
    "one bank",
    "delta write",
    "Gated DeltaNet",
    "titans-pytorch",
    "uncoupled",
    "memory network",
    "full history",
    BASELINE,
)
# Segments of arithmetic between statement and question, in training.
BETWEEN = (0, 8, 32)


def cell_name(name: str, between: int) -> str:
    """Return the name of a cell.

    >>> cell_name("inhibitory", 8)
    'inhibitory, 8 between'
    """
    return f"{name}, {between} between"


# In the order of every table.
CELLS = tuple(cell_name(name, between) for between in BETWEEN for name in CONTENDERS)
