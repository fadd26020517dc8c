"""The cells of the second reading by name and by what they change, for its recipe and its report. Imports no torch."""

from typing import Any, NamedTuple

BASELINE = "no memory"
# So many of the seeds have cells other than the baseline and both ends of the sign in the configurations of ALL_SEEDS.
FEW = 5
# The second since five seeds of it had been seen (LOG.md); the third is the paper's size of alphabet.
LETTERS = "26 letters"
ALL_SEEDS = ("", "gain=16", LETTERS)
MAIN_SIGNS, OTHER_SIGNS = (-1.0, 1.0), (-0.5, 0.0, 0.5)


class Configuration(NamedTuple):
    """What is equal in the cells of one configuration, in which only the sign differs.

    Attributes:
        label: in tables and figures.
        factors: of the memory, where they differ from the main configuration's.
        letters: of the cipher.
    """

    label: str
    factors: dict[str, Any]
    letters: int = 8


# By the note in the name of a cell; the first is the one that the bars are about.
CONFIGURATIONS = {
    "": Configuration("gain 8", {}),
    "gain=4": Configuration("gain 4", {"gain": 4.0}),
    "gain=16": Configuration("gain 16", {"gain": 16.0}),
    "detached": Configuration("gain 8, context detached", {"detach_context": True}),
    "detached gain=4": Configuration("gain 4, context detached", {"detach_context": True, "gain": 4.0}),
    "learned": Configuration("gain 8, $W_s$ learned", {"learn_crosstalk": True}),
    LETTERS: Configuration("gain 8, 26 letters", {"num_slots": 128}, letters=26),
}


def cell_name(sign: float, note: str = "") -> str:
    """Return the name of a cell.

    >>> cell_name(-1.0), cell_name(0.5, "gain=4")
    ('s=-1', 's=+0.5 gain=4')
    """
    return f"s={sign:+g} {note}".strip()


def baseline_name(note: str = "") -> str:
    """Return the name of the cell without a memory that a configuration is set against.

    >>> baseline_name("gain=16"), baseline_name("26 letters")
    ('no memory', 'no memory, 26 letters')
    """
    return f"{BASELINE}, {note}" if CONFIGURATIONS[note].letters != CONFIGURATIONS[""].letters else BASELINE


# In the order of every table: the main configuration by sign, then the others, after a baseline of their own if any.
CELLS = tuple(
    dict.fromkeys(
        (
            BASELINE,
            *map(cell_name, sorted((*MAIN_SIGNS, *OTHER_SIGNS))),
            *(
                cell
                for note in CONFIGURATIONS
                for cell in (baseline_name(note), *(cell_name(sign, note) for sign in MAIN_SIGNS))
            ),
        )
    )
)
