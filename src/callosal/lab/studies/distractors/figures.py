"""The figures of the distractors' study: recall over what came in between, and by the size of the state."""

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_by_size, recall_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import GREY, PINK, RED, Points
from callosal.lab.report.plots import Axis, Key, Panel, counts, draw, percent
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.studies.benchmark.figures import chance_line
from callosal.lab.studies.distractors.cells import OURS, TOLD, VARIANTS, cell_name
from callosal.lab.studies.distractors.tables import HELD, having_runs, ranked, trained
from callosal.lab.studies.rivals.figures import COLOURS as RIVALS_COLOURS
from callosal.lab.studies.rivals.figures import MARKERS as RIVALS_MARKERS

# Ours and its variants look as they do beside the rivals.
COLOURS = {name: RIVALS_COLOURS[name] for name in VARIANTS}
COLOURS |= {"DeltaNet": PINK, "Gated DeltaNet, equal state": RED, "Gated DeltaNet": "#882255"}
MARKERS = {name: RIVALS_MARKERS[name] for name in VARIANTS}
MARKERS |= {"DeltaNet": "P", "Gated DeltaNet, equal state": "^", "Gated DeltaNet": "v"}
# The smaller first.
GATED = ("Gated DeltaNet, equal state", "Gated DeltaNet")


def summary(study: Study) -> str:
    """Say in one sentence what is recalled after the most segments, of what was trained with some in between."""
    most = max(study.marks(), default=0)
    kept = {
        name: study.values(of("recall", after=most), study.where(arm=cell_name(name, TOLD)))
        for name in ranked(study, TOLD)
    }
    found = [f"{name} {percentage(float(np.mean(values)))}" for name, values in kept.items() if values]
    return f"Trained with {TOLD} segments in between, recall after {most:,} further ones: {', '.join(found)}"


@figure("What is kept, by what stood in between in training")
def retention(study: Study) -> Figure | None:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which writes to the
    same memory, and is asked for every letter. Above this memory and its variants, below the others and this one again.
    Lines are means over seeds, points the seeds; thin lines join those of the inhibitory memory.
    """
    rows = []
    for wanted in (lambda name: name in VARIANTS, lambda name: name not in VARIANTS or name == OURS):
        panels = []
        for between in sorted(trained(study)):
            shown = [name for name in ranked(study, between) if wanted(name)]
            runs = {name: study.where(arm=cell_name(name, between)) for name in shown}
            panels.append(
                Panel(
                    marks=recall_lines(study, runs, COLOURS, MARKERS, main=OURS),
                    title=f"trained with {between or 'nothing'} in between",
                    x=counts("further segments read and written", study.marks()[-1]),
                    y=percent("letters recalled"),
                    references=[chance_line(study)],
                    is_labelled=True,
                )
            )
        rows.append(panels)
    return draw(rows, (6.6 * len(trained(study)), 8.8), share=(True, True)) if trained(study) else None


@figure("What is kept, by the size of the state")
def sizes(study: Study) -> Figure | None:
    """Recall after 100 segments (above) and after 1,000 (below) by the floats that a row's state holds; a point for
    each seed. Those of nearly equal size stand side by side. A grey line joins the means of the two Gated DeltaNets.
    """
    ticks, drawn, rows = (1000, 2000, 4000), dict[str, Key](), []
    for after in HELD:
        panels = []
        for between in sorted(trained(study)):
            runs = {
                name: study.where(arm=cell_name(name, between))
                for name in COLOURS
                if name in having_runs(study, between)
            }
            found = recall_by_size(study, runs, after, COLOURS, MARKERS)
            pair = [found[name] for name in GATED if name in found]
            joined = Points(
                x=[marks.x[0] for marks in pair], y=[float(np.mean(marks.y)) for marks in pair], colour=GREY, marker=""
            )
            drawn |= {name: Key(name=name, colour=COLOURS[name], marker=MARKERS[name]) for name in found}
            names = [f"{tick:,}" for tick in ticks]
            panels.append(
                Panel(
                    marks=[joined, *found.values()],
                    title=f"trained with {between or 'nothing'} in between",
                    x=Axis(label="floats of state", scale="log", ticks=ticks, names=names, limits=(850, 6000)),
                    y=percent(f"recalled after {after:,}"),
                    references=[chance_line(study)],
                )
            )
        rows.append(panels)
    return draw(rows, (11.8, 8.0), legend=list(drawn.values()), share=(True, True)) if drawn else None


FIGURES = (retention, sizes)
