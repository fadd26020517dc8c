"""When P_ct fell in the course of training, and how abruptly: as a table and as a figure."""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import has_curve
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, GREY, INK, PINK, RED, SKY, Line, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, Reference, draw
from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Table, by_arm, each, each_count, grid, tally

# P_ct below this counts as the jump having happened.
JUMPED = 0.05
LONGEST_LINE = 26
# Apart under every common colour blindness, one for each seed.
SEED_COLOURS = (BLUE, RED, GREEN, PINK, "#8a6d00", SKY, GREY)


class Jump(NamedTuple):
    """The first logged step at which P_ct was below JUMPED, and the steps that the fall took, from 90 to 10 % of it.

    The fall is from the largest P_ct up to the jump to the smallest from then on; it took no steps (None) where P_ct
    was low from the first logged step on.
    """

    step: int
    width: int | None


def find_jump(steps: Sequence[int], values: Sequence[float]) -> Jump | None:
    """Return when P_ct fell below JUMPED and how abruptly; None if it never did.

    >>> find_jump([20, 40, 60, 80], [0.5, 0.5, 0.01, 0.0])
    Jump(step=60, width=20)
    """
    place = next((i for i, value in enumerate(values) if value < JUMPED), None)
    if place is None:
        return None
    if place == 0:
        return Jump(step=steps[0], width=None)
    top, bottom = max(values[:place]), min(values[place:])
    start = max(i for i in range(place) if values[i] >= top - 0.1 * (top - bottom))
    end = next(i for i in range(start, len(values)) if values[i] <= bottom + 0.1 * (top - bottom))
    return Jump(step=steps[place], width=steps[end] - steps[start])


def derive(run: RunRecord) -> Iterator[Value]:
    """Give the step of a run's jump and the steps that it took."""
    steps, values = _outside(run)
    jump = find_jump(steps, values)
    if jump is not None:
        yield {"measure": "jump step", "value": jump.step}
        if jump.width is not None:
            yield {"measure": "jump width", "value": jump.width}


def jumps_table(study: Study) -> Table:
    """Give when P_ct fell in every cell, seed by seed."""
    return grid(
        study,
        "The jump",
        ["cell"],
        by_arm(study),
        {
            "fell": lambda s, runs: tally(runs.index.isin(s.having(of("jump step"), runs).index).tolist()),
            "at step": each_count(of("jump step")),
            "steps it took": each_count(of("jump width")),
            "P_ct in the end": each(of("P_ct")),
        },
    )


@figure("Does it jump?")
def jumps(study: Study) -> Figure | None:
    """P_ct over training, one line per seed; a mark where it first fell below 0.05.

    Dotted: 0.5, no bank of its own. The sequel's D_sep and P_ct (0.25, falling to 0.002) live on other scales than
    ours, where 0.5 is an even split.
    """
    cells = [cell for cell in study.arms if has_curve(study, cell, "cross_talk")]
    if not cells:
        return None
    num_columns = min(4, len(cells))
    colours = {s: SEED_COLOURS[n % len(SEED_COLOURS)] for n, s in enumerate(study.seeds)}
    panels: list[list[Panel | None]] = []
    for number_, cell in enumerate(cells):
        marks: list[Mark] = []
        for run in study.records_of(study.where(arm=cell)):
            steps, values = _outside(run)
            colour = colours[run.seed]
            marks.append(Line(x=steps, seeds=np.array([values]), colour=colour, mean=None))
            step = run.get("jump step")
            if step is not None:
                marks.append(Points(x=[step], y=[JUMPED + 0.02], colour=colour, marker="v"))
        if number_ % num_columns == 0:
            panels.append([])
        panels[-1].append(
            Panel(
                marks=marks,
                # Over the panel, not over its neighbour's.
                title=fill(cell, LONGEST_LINE),
                x=Axis(label="training step" if number_ >= len(cells) - num_columns else ""),
                y=Axis(label="" if panels[-1] else "$P_{ct}$", limits=(-0.02, 0.56)),
                references=[Reference(at=0.5), Reference(at=JUMPED, dash="-")],
            )
        )
    keys = [Key(name=f"seed {seed}", colour=colour) for seed, colour in colours.items()]
    keys.append(Key(name=f"first below {JUMPED:g}", colour=INK, marker="v"))
    size = (max(2.75 * num_columns, 5.0), 2.5 * len(panels) + 0.4)
    return draw(panels, size, legend=keys, share=(True, True))


def _outside(run: RunRecord) -> tuple[list[int], list[float]]:
    points = [(p["step"], p["cross_talk"]) for p in run.curve if "cross_talk" in p]
    return [step for step, _ in points], [value for _, value in points]
