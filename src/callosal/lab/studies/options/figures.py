"""The figure of the options: what is recalled after how much was said in between."""

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY
from callosal.lab.report.plots import Panel, counts, draw, percent
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.studies.options.cells import APART, PAPER, SHARED, USERS, shared_cell, users_cell

# One meaning a colour in each panel: what shares one is never drawn in the same.
COLOURS = {
    PAPER: INK,
    "observe": BLUE,
    "lagged": SKY,
    "observe-lagged": GREEN,
    "learned-salience": ORANGE,
    "retrieved-salience": PINK,
    "narrow": GREY,
    "output-gate": "#8a6d00",
    "frozen-coupling": RED,
    "observe-lagged-learned": "#44aa99",
    "observe-lagged-retrieved": RED,
    "normalised": "#7f3fbf",
    "observe-normalised": "#1b7a5a",
    "narrow-gate": "#b5b5b5",
    "narrow-gate-hidden": "#5a2d0c",
    "calibrated": "#332288",
    "observe-calibrated": "#999933",
    "shared": "#882255",
}


def summary(study: Study) -> str:
    """Say in one sentence what the telling options do to recall at once."""
    parts = []
    for name in (PAPER, "observe", "observe-lagged"):
        values = study.values(of("accuracy", "episodic"), study.where(arm=name))
        if values:
            parts.append(f"{name} {percentage(float(np.mean(values)))}")
    return f"Recall of the cipher in the steps given: {', '.join(parts)}"


@figure("What is kept, by option")
def kept(study: Study) -> Figure | None:
    """Recall after further segments, or turns of chatter, each of which writes: a cipher beside arithmetic in tokens of
    its own, the same in one alphabet, and what users said. Points are seeds, lines their mean.
    """
    tasks = (
        ("a cipher, arithmetic between", APART, str, None),
        ("one alphabet, arithmetic between", SHARED, shared_cell, None),
        ("users, chatter between", USERS, users_cell, "chatter"),
    )
    panels = []
    for title, options, cell, condition in tasks:
        runs = {option: study.where(arm=cell(option)) for option in options}
        lines = recall_lines(study, runs, COLOURS, dict.fromkeys(runs, "o"), condition=condition)
        if lines:
            panels.append(
                Panel(
                    marks=lines,
                    title=title,
                    x=counts("segments or turns between", study.marks(condition=condition)[-1]),
                    y=percent("recalled"),
                    is_labelled=True,
                )
            )
    return draw([panels], (5.4 * max(len(panels), 1), 4.6), share=(False, True)) if panels else None


FIGURES = (kept,)
