"""The figure of the distractors' study: recall over what came in between."""

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, ORANGE, PINK
from callosal.lab.report.plots import Panel, counts, draw, percent
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.studies.benchmark.figures import chance_line
from callosal.lab.studies.distractors.cells import OURS, cell_name
from callosal.lab.studies.distractors.tables import ranked, trained

COLOURS = {OURS: BLUE, "DeltaNet": PINK, "Gated DeltaNet, equal state": ORANGE}
MARKERS = dict(zip(COLOURS, "oP^", strict=True))


def summary(study: Study) -> str:
    """Say in one sentence what is recalled after the most segments."""
    most = max(study.marks(), default=0)
    parts = []
    for between in trained(study):
        kept = {
            name: study.values(of("recall", after=most), study.where(arm=cell_name(name, between)))
            for name in ranked(study, between)
        }
        found = [f"{name} {percentage(float(np.mean(values)))}" for name, values in kept.items() if values]
        parts.append(f"trained with {between} segments in between {', '.join(found)}")
    return f"Recall of the cipher after {most:,} further segments: {'; '.join(parts)}"


@figure("What is kept, by what stood in between in training")
def retention(study: Study) -> Figure | None:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which writes to the
    same memory, and is asked for every letter. Lines are means over seeds, points the seeds. All hold about 2,048
    floats between segments.
    """
    panels = []
    for between in trained(study):
        runs = {name: study.where(arm=cell_name(name, between)) for name in ranked(study, between)}
        panels.append(
            Panel(
                marks=recall_lines(study, runs, COLOURS, MARKERS, main=OURS),
                title=f"trained with {between} in between",
                x=counts("further segments read and written", study.marks()[-1]),
                y=percent("letters recalled"),
                references=[chance_line(study)],
                is_labelled=True,
            )
        )
    return draw([panels], (8.6 * max(len(panels), 1), 4.8), share=(False, True)) if panels else None


FIGURES = (retention,)
