"""The figures of what is held: beside the counts, and as training goes on."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.measures.finished import checks_of
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, draw, percent
from callosal.lab.report.study import Study
from callosal.lab.studies.capacity_decided.cells import CELLS, WIDTH, Cell
from callosal.lab.studies.capacity_decided.measures import slot_each, state, told_apart
from callosal.lab.studies.capacity_decided.tables import HELD

TITLES = {False: "the paper's form", True: "with the payload"}
# What could be held, and how it is drawn.
COUNTS = {
    "a slot each": (INK, lambda slots, observed: slot_each(slots, observed=observed)),
    "told apart": (GREY, lambda slots, observed: told_apart(slots, observed=observed, width=WIDTH)),
}
COLOURS = (GREEN, BLUE, ORANGE, PINK, RED, SKY)


def summary(study: Study) -> str:
    """Say in one sentence how many pairs are held in two banks, from the means over seeds."""
    parts = []
    for observed, title in TITLES.items():
        held = [(cell, study.values(HELD, study.where(arm=cell.name))) for cell in CELLS if cell.observed == observed]
        found = [f"{np.mean(values):.1f} of {c.pairs} in {c.slots}" for c, values in held if values and c.plain]
        if found:
            parts.append(f"{title}, {', '.join(found)}")
    return f"Pairs held, by slots a bank: {'; '.join(parts)}"


@figure("Pairs held beside what slots could hold")
def held(study: Study) -> Figure | None:
    """Pairs that recall stands for once right guesses are taken away, by slots of a bank; a mark for each seed, hollow
    where training was cut off while it still learned. Lines are numbers that surely fit: with a slot for each letter as
    it is asked and, in the paper's form, one as it answers; and where the right answer has only to score highest. Of
    one bank the slots are as many as of two banks of half as many.
    """
    shown = _shown(study)
    most = max((cell.pairs for cell in shown), default=0)
    slots = sorted({cell.slots for cell in shown})
    panels = []
    for observed, title in TITLES.items():
        marks = [mark for cell in shown if cell.observed == observed for mark in _seeds(study, cell)]
        if not marks:
            continue
        along = np.arange(2, max(slots) + 2, 2)
        # Where both are the same the first lies on top.
        for colour, count in reversed(COUNTS.values()):
            counted = [min(count(int(n), observed), most) for n in along]
            marks.append(Points(x=along.tolist(), y=counted, colour=colour, marker=""))
        panels.append(
            Panel(
                marks=marks,
                title=title,
                x=Axis(label="slots of a bank", limits=(0, max(slots) + 2), ticks=slots),
                y=Axis(label="pairs held", limits=(0, 1.05 * most), has_grid=True),
            )
        )
    keys = [*_kinds(shown), *(Key(name=name, colour=colour) for name, (colour, _) in COUNTS.items())]
    return draw([panels], (10.0, 4.4), legend=keys, share=(False, True)) if panels else None


@figure("Recall as training goes on")
def learning(study: Study) -> Figure | None:
    """Recall of held-out ciphers at the end of each cycle, where the learning rate is low; a line for each seed. A line
    that ends early has reached all, or a cycle twice as long as the one before added nothing.
    """
    shown = _shown(study)
    slots = sorted({cell.slots for cell in shown})
    colours = dict(zip(slots, COLOURS, strict=False))
    steps = sorted({check.step for run in study.records for check in checks_of(run.curve)})
    panels = []
    for observed, title in TITLES.items():
        marks: list[Mark] = []
        for cell in (cell for cell in shown if cell.observed == observed):
            for run in study.records_of(study.where(arm=cell.name)):
                checks = checks_of(run.curve)
                x, y = [check.step for check in checks], [check.recall for check in checks]
                marks += [Points(x=x, y=y, colour=colours[cell.slots], marker=m) for m in ("", _marker(cell))]
        if marks:
            x = Axis(label="training step", scale="log", ticks=steps, names=[f"{step:,}" for step in steps])
            panels.append(Panel(marks=marks, title=title, x=x, y=percent("letters recalled")))
    keys = [Key(name=f"{number} slots a bank", colour=colour) for number, colour in colours.items()]
    keys += _kinds(shown)
    return draw([panels], (10.0, 4.8), legend=keys, share=(True, True)) if panels else None


def _shown(study: Study) -> list[Cell]:
    return [cell for cell in CELLS if len(study.where(arm=cell.name))]


def _kinds(cells: list[Cell]) -> list[Key]:
    """Say what the marks stand for."""
    kinds = {", ".join(cell.notes[cell.observed :]) or "two banks": _marker(cell) for cell in cells}
    return [Key(name=name, marker=marker) for name, marker in kinds.items()]


def _marker(cell: Cell) -> str:
    return "s" if cell.banks == 1 else "o" if cell.width == WIDTH else "^"


def _seeds(study: Study, cell: Cell) -> Iterator[Mark]:
    """Give the seeds of a cell, side by side."""
    runs = study.where(arm=cell.name)
    values = study.values(HELD, runs)
    middle = (len(values) - 1) / 2
    for place, (value, run) in enumerate(zip(values, study.records_of(runs), strict=True)):
        x, look = [cell.slots + 0.25 * (place - middle)], {"colour": BLUE, "marker": _marker(cell)}
        yield Points(x=x, y=[value], **look, is_filled=state(run) != "open")


FIGURES = (held, learning)
