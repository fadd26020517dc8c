"""The figures of what is held: beside the counts, and cell by cell."""

from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, GREY, INK, ORANGE, SHARE, Heat, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, draw
from callosal.lab.report.study import Study
from callosal.lab.studies.capacity.cells import CELLS, Cell
from callosal.lab.studies.capacity.measures import asked_alone, slot_each, state
from callosal.lab.studies.capacity.tables import HELD, RECALL

COLOURS = {8: GREEN, 16: BLUE, 24: ORANGE}
MARKERS = {8: "o", 16: "s", 24: "^"}
TITLES = {False: "the paper's form", True: "with the payload"}
# What could be held, and how it is drawn.
COUNTS = {"a slot each": (slot_each, INK), "asked slots alone": (asked_alone, GREY)}


def summary(study: Study) -> str:
    """Say in one sentence how many pairs of sixteen are held, from the means over seeds."""
    parts = []
    for observed, title in TITLES.items():
        held = [
            (cell.slots, study.values(HELD, study.where(arm=cell.name)))
            for cell in CELLS
            if cell.plain and cell.pairs == 16 and cell.observed == observed
        ]
        found = [f"{np.mean(values):.1f} in {slots}" for slots, values in held if values]
        if found:
            parts.append(f"{title}, {', '.join(found)}")
    return f"Pairs held of 16, by slots a bank: {'; '.join(parts)}"


@figure("Pairs held beside what slots could hold")
def held(study: Study) -> Figure | None:
    """Pairs that recall stands for once right guesses are taken away, by the slots of the cipher's bank; a point for
    each seed, hollow where training was cut off while it still learned. Lines are counts: a slot for each letter as it
    is asked and, in the paper's form, one as it answers; slots of its own only for what is asked.
    """
    panels = []
    for observed, title in TITLES.items():
        marks = list(_points(study, lambda cell, observed=observed: cell.plain and cell.observed == observed))
        if not marks:
            continue
        slots = np.arange(2, 51, 2)
        # With the payload both are the same; the first lies on top.
        for count, colour in reversed(COUNTS.values()):
            counted = [count(int(n), observed=observed) for n in slots]
            marks.append(Points(x=slots.tolist(), y=counted, colour=colour, marker=""))
        panels.append(
            Panel(
                marks=marks,
                title=title,
                x=Axis(label="slots of the cipher's bank", limits=(0, 50), ticks=(4, 8, 16, 32, 48)),
                y=Axis(label="pairs held", limits=(0, 25), ticks=(0, 4, 8, 16, 24), has_grid=True),
            )
        )
    keys = [Key(name=f"{pairs} pairs", colour=COLOURS[pairs], marker=MARKERS[pairs]) for pairs in COLOURS]
    keys += [Key(name=name, colour=colour) for name, (_, colour) in COUNTS.items()]
    return draw([panels], (10.0, 4.4), legend=keys, share=(False, True)) if panels else None


def _points(study: Study, wanted: Callable[[Cell], bool]) -> Iterator[Mark]:
    """Give the seeds of the cells, side by side."""
    for cell in filter(wanted, CELLS):
        runs = study.where(arm=cell.name)
        values = study.values(HELD, runs)
        middle = (len(values) - 1) / 2
        for place, (value, run) in enumerate(zip(values, study.records_of(runs), strict=True)):
            yield Points(
                x=[cell.slots + 0.4 * (place - middle)],
                y=[value],
                colour=COLOURS[cell.pairs],
                marker=MARKERS[cell.pairs],
                is_filled=state(run) != "open",
            )


@figure("Recall, and where training ended")
def capacity(study: Study) -> Figure | None:
    """Recall of the cipher, mean over seeds; below it each seed's memory: all, it holds everything; full, a cycle of
    training twice as long as the one before added nothing; open, it was cut off while it still learned.
    """
    panels = []
    for observed, title in TITLES.items():
        cells = {
            (cell.pairs, cell.slots): study.where(arm=cell.name)
            for cell in CELLS
            if cell.plain and cell.observed == observed
        }
        cells = {place: runs for place, runs in cells.items() if len(runs)}
        if not cells:
            continue
        rows, columns = (sorted(set(numbers)) for numbers in zip(*cells, strict=True))
        table = np.full((len(rows), len(columns)), np.nan)
        notes = [[""] * len(columns) for _ in rows]
        for (pairs, slots), runs in cells.items():
            row, column = rows[::-1].index(pairs), columns.index(slots)
            table[row, column] = np.mean(study.values(RECALL, runs))
            notes[row][column] = " ".join(state(run) for run in study.records_of(runs))
        heat = Heat(
            table=table, colours=SHARE, text=lambda value: f"{100 * value:.0f} %", notes=notes, bar="letters recalled"
        )
        panels.append(
            Panel(
                marks=[heat],
                title=title,
                x=Axis(label="slots a bank", ticks=range(len(columns)), names=[*map(str, columns)]),
                y=Axis(label="" if panels else "pairs", ticks=range(len(rows)), names=[*map(str, rows[::-1])]),
            )
        )
    widths = [panel.marks[0].table.shape[1] for panel in panels if isinstance(panel.marks[0], Heat)]
    return draw([panels], (12.0, 3.6), ratios=(widths, [1.0])) if panels else None


FIGURES = (held, capacity)
