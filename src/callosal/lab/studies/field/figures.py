"""The figure of the field's benchmarks: who answers in one call, and who in two."""

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREY, ORANGE, Mark, Points
from callosal.lab.report.plots import Axis, Panel, draw, percent
from callosal.lab.report.study import Study
from callosal.lab.report.tables import percentage
from callosal.lab.studies.field.cells import ATTENTION, CALLS, DELTA, GATED, MQAR, SEEN, TASKS, cell_name
from callosal.lab.studies.field.tables import RIGHT, models_of

COLOURS = {ATTENTION: GREY, GATED: ORANGE, DELTA: ORANGE}


def summary(study: Study) -> str:
    """Say in one sentence who answers MQAR in two calls, from the means over seeds."""
    found = {model: study.values(RIGHT, study.where(arm=cell_name(MQAR, 2, model))) for model in SEEN[MQAR][2]}
    parts = [f"{model} {percentage(float(np.mean(values)))}" for model, values in found.items() if values]
    return f"MQAR, pairs told in one call and asked in the next: {', '.join(parts)}"


@figure("One call, and two")
def calls(study: Study) -> Figure | None:
    """Right answers on held-out sequences, a point for each seed. Left: told and asked in one
    call. Right: the same sequences cut in two, so that only a state carries what was told. Orange are rivals, grey is
    attention over the call, blue are memories of ours. No point: not run.
    """
    panels: list[list[Panel | None]] = []
    heights = []
    for task in (task for task in TASKS if len(study.where(task=task))):
        models = models_of(task)
        line: list[Panel | None] = []
        for number, name in CALLS.items():
            cells = {place: cell_name(task, number, model) for place, model in enumerate(models)}
            # Points of which there are none have no place either, and would spoil the layout.
            marks: list[Mark] = [_seeds(study, cell, n) for n, cell in cells.items() if len(study.where(arm=cell))]
            rows = Axis(
                ticks=range(len(models)), names=[""] * len(models) if line else models, limits=(len(models) - 0.4, -0.6)
            )
            line.append(Panel(marks=marks, title=f"{task}, {name}", x=percent("right answers"), y=rows))
        panels.append(line)
        heights.append(0.34 * len(models) + 0.7)
    return draw(panels, (10.0, sum(heights) + 0.6), ratios=([1.0] * len(CALLS), heights)) if panels else None


def _seeds(study: Study, cell: str, place: int) -> Points:
    """Return a point for each seed of a cell, one below the other."""
    values = study.values(RIGHT, study.where(arm=cell))
    middle = (len(values) - 1) / 2
    colour = COLOURS.get(cell.partition(": ")[2], BLUE)
    return Points(x=values, y=[place + 0.2 * (n - middle) for n in range(len(values))], colour=colour)


FIGURES = (calls,)
