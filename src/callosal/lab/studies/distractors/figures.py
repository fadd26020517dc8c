"""The figures of the distractors' study: recall over what came in between, and beside the size of the state."""

import math

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, counts, draw, percent
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.studies.benchmark.figures import chance_line
from callosal.lab.studies.distractors.cells import BASELINE, BETWEEN, OURS, cell_name
from callosal.lab.studies.distractors.tables import HELD, ranked

COLOURS = {
    OURS: BLUE,
    "uncoupled": GREEN,
    "one bank": "#b8860b",
    "delta write": SKY,
    "Gated DeltaNet": RED,
    "Gated DeltaNet, equal state": ORANGE,
    "DeltaNet": PINK,
    "titans-pytorch": "#44aa99",
    "memory network": "#882255",
    "full history": INK,
    BASELINE: GREY,
}
MARKERS = dict(zip(COLOURS, "osDv^<P*X>x", strict=True))
# The rows of the first figure; ours stands in both.
VARIANTS = (OURS, "uncoupled", "one bank", "delta write")


def summary(study: Study) -> str:
    """Say in one sentence what is recalled after the most segments of what was trained with 8 in between."""
    most = max(study.marks(), default=0)
    parts = []
    for name in ranked(study, BETWEEN[1]):
        values = study.values(of("recall", after=most), study.where(arm=cell_name(name, BETWEEN[1])))
        if values:
            parts.append(f"{name} {percentage(float(np.mean(values)))}")
    return f"Trained with {BETWEEN[1]} segments in between, recall after {most:,}: {'; '.join(parts)}"


@figure("What is kept, by what stood in between in training")
def retention(study: Study) -> Figure | None:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which writes to the
    same memory, and is asked for every letter. Above this memory and its variants, below the others and this one again.
    Lines are means over seeds, points the seeds.
    """
    shown = [between for between in BETWEEN if ranked(study, between)]
    rows = []
    for wanted in (lambda name: name in VARIANTS, lambda name: name not in VARIANTS or name == OURS):
        panels = []
        for between in shown:
            names = [name for name in ranked(study, between) if wanted(name)]
            runs = {name: study.where(arm=cell_name(name, between)) for name in names}
            panels.append(
                Panel(
                    marks=recall_lines(study, runs, COLOURS, MARKERS, main=OURS),
                    title=f"trained with {between} in between",
                    x=counts("further segments read and written", study.marks()[-1]),
                    y=percent("letters recalled"),
                    references=[chance_line(study)],
                )
            )
        rows.append(panels)
    keys = [Key(name=name, colour=colour, marker=MARKERS[name]) for name, colour in COLOURS.items()]
    return draw(rows, (4.6 * len(shown), 8.4), legend=keys, share=(True, True)) if shown else None


@figure("What is kept, by the size of the state")
def sizes(study: Study) -> Figure | None:
    """Recall after 100 segments (above) and after 1,000 (below) beside the floats that a row's state holds; a point for
    each seed. What grows without bound, full history, is left out, and so is the baseline, which holds nothing.
    """
    shown = [between for between in BETWEEN if ranked(study, between)]
    rows, drawn = [], {}
    for after in HELD:
        panels = []
        for between in shown:
            marks: list[Mark] = []
            for name in ranked(study, between):
                runs = study.having(of("recall", after=after), study.where(arm=cell_name(name, between)))
                floats = study.values(of("state_floats"), runs)
                if not floats or not math.isfinite(floats[0]) or not floats[0]:
                    continue
                drawn[name] = COLOURS[name]
                found = study.values(of("recall", after=after), runs)
                marks.append(Points(x=floats, y=found, colour=COLOURS[name], marker=MARKERS[name]))
            panels.append(
                Panel(
                    marks=marks,
                    title=f"trained with {between} in between",
                    x=Axis(
                        label="floats of state",
                        scale="log",
                        ticks=(2000, 3000, 4000, 5000),
                        names=("2,000", "3,000", "4,000", "5,000"),
                        limits=(1800, 5200),
                    ),
                    y=percent(f"recalled after {after:,}"),
                    references=[chance_line(study)],
                )
            )
        rows.append(panels)
    keys = [Key(name=name, colour=colour, marker=MARKERS[name]) for name, colour in drawn.items()]
    return draw(rows, (4.2 * len(shown), 7.4), legend=keys, share=(True, True)) if drawn else None


FIGURES = (retention, sizes)
