"""The figures of the sequel's setting and of domains that are harder to tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callosal.lab.report.claims import cross_talk
from callosal.lab.report.drawing import INK
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study, domains_of
from callosal.lab.report.tables import Table, marks_of, number, recall_after
from callosal.lab.report.training_figures import has_series
from callosal.lab.studies.study_claims import LATERALIZED, is_lateralized

# P_ct below this counts as the jump having happened.
JUMPED = 0.05
# Apart under every common colour blindness, one for each seed.
SEED_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#6e6e6e")
DOMAIN_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
DOMAIN_MARKERS = ("o", "^", "s", "D")


@dataclass(frozen=True, kw_only=True)
class Jump:
    """When a run's P_ct fell.

    Attributes:
        step: the first logged step at which it was below JUMPED.
        width: steps from the last time above 90 % of the fall to the first time below 10 % of it; the
            fall is from the largest P_ct up to the jump to the smallest from then on. None where it
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


def jump_of(run: RunRecord) -> Jump | None:
    """Return the jump of a run's recorded curve."""
    points = [(p["step"], p["cross_talk"]) for p in run.curve if "cross_talk" in p]
    steps, values = zip(*points, strict=True) if points else ((), ())
    return find_jump(steps, values)


def jumps_table(study: Study) -> Table:
    """Give when P_ct fell in every cell, seed by seed."""
    rows = []
    for cell in study.arms:
        runs = study.of(cell)
        jumps = [jump_of(run) for run in runs]
        rows.append(
            [
                cell,
                f"{sum(jump is not None for jump in jumps)} of {len(runs)}",
                ", ".join(number(None) if jump is None else str(jump.step) for jump in jumps),
                ", ".join(
                    number(None) if jump is None or jump.width is None else str(jump.width)
                    for jump in jumps
                ),
                ", ".join(number(cross_talk(run)) for run in runs),
            ]
        )
    return Table(
        title="The jump",
        headers=["cell", "fell", "at step", "steps it took", "P_ct in the end"],
        rows=rows,
        note=(
            f"P_ct on the training stream, logged every few steps; fell: below {JUMPED:g}. At step: "
            "the first logged one, seed by seed. Steps it took: from 90 to 10 % of the fall. A P_ct "
            "that rises again shows in the end, which is on held-out episodes."
        ),
    )


def lateralized_sentence(study: Study) -> str:
    """Say in one sentence which cells lateralize in every seed."""
    found = [cell for cell in study.arms if all(map(is_lateralized, study.of(cell)))]
    which = ", ".join(found) if found else "none"
    return (
        f"Lateralized in every seed (|D_sep| at least {LATERALIZED:g} in both domains, on opposite "
        f"sides): {which} ({len(found)} of {len(study.arms)} cells)"
    )


def draw_jumps(study: Study) -> Figure | None:
    """Draw P_ct over training, a panel for each cell, a line for each seed, and where it fell."""
    cells = [cell for cell in study.arms if has_series(study.of(cell), "cross_talk")]
    if not cells:
        return None
    num_columns = min(4, len(cells))
    num_rows = -(-len(cells) // num_columns)
    figure = Figure(figsize=(max(2.75 * num_columns, 5.0), 2.5 * num_rows + 0.4))
    grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for axes, cell in zip(grid.flat, cells, strict=False):
        _draw_cell_jumps(axes, study, cell)
    for axes in grid.flat[len(cells) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("$P_{ct}$")
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    handles = [
        grid.flat[0].plot([], [], color=_seed_colour(study, seed), label=f"seed {seed}")[0]
        for seed in study.seeds
    ]
    handles += grid.flat[0].plot([], [], "v", color=INK, label=f"first below {JUMPED:g}")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def draw_cells(study: Study) -> Figure | None:
    """Draw D_sep of each domain, P_ct and recall of every run, a row for each cell."""
    cells = [
        cell
        for cell in study.arms
        if all(run.evaluation["specialization"] is not None for run in study.of(cell))
    ]
    if not cells:
        return None
    figure = Figure(figsize=(11.0, 1.3 + 0.42 * len(cells)))
    panels = figure.subplots(1, 3, sharey=True)
    most = marks_of(study)[-1]
    recall = recall_after(most, "").value
    shown: set[int] = set()
    for row, cell in enumerate(cells):
        runs = study.of(cell)
        separation = np.array([_turned(run) for run in runs])
        num_domains = separation.shape[1]
        shown.update(range(num_domains))
        for domain in range(num_domains):
            # Apart, or the marks of one domain would hide the other's.
            height = row + 0.24 * (domain - (num_domains - 1) / 2)
            _draw_marks(panels[0], separation[:, domain], height, domain)
        _draw_marks(panels[1], [cross_talk(run) for run in runs], row)
        _draw_marks(panels[2], [recall(run) for run in runs], row)
    panels[0].set_title("$D_{sep}$ of each domain")
    panels[1].set_title("$P_{ct}$")
    panels[2].set_title(f"recall after {most:,} segments")
    panels[0].set_yticks(range(len(cells)), cells)
    panels[0].set_ylim(len(cells) - 0.4, -0.6)
    panels[0].axvline(0.0, color=INK, linewidth=0.8, zorder=1)
    for axes, (low, high) in zip(panels, ((-1.0, 1.0), (0.0, 0.5), (0.0, 1.0)), strict=True):
        margin = 0.03 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        for row in range(1, len(cells)):
            axes.axhline(row - 0.5, color="#eeeeee", linewidth=0.8, zorder=0)
    names = domains_of(study.records[0])
    handles = [
        panels[0].plot([], [], DOMAIN_MARKERS[d % 4], color=DOMAIN_COLOURS[d % 4], label=names[d])[
            0
        ]
        for d in sorted(shown & set(range(len(names))))
    ]
    handles += panels[0].plot(
        [], [], "|", color=INK, markersize=13, markeredgewidth=2, label="mean"
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _draw_cell_jumps(axes: Axes, study: Study, cell: str) -> None:
    for run in study.of(cell):
        points = [(p["step"], p["cross_talk"]) for p in run.curve if "cross_talk" in p]
        colour = _seed_colour(study, run.seed)
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.3, alpha=0.85)
        jump = jump_of(run)
        if jump is not None:
            axes.plot(jump.step, JUMPED + 0.02, "v", color=colour, markersize=6, zorder=3)
    axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    axes.axhline(JUMPED, color=INK, linewidth=0.6, alpha=0.4)
    axes.set_title(cell, fontsize=11)
    axes.set_ylim(-0.02, 0.56)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _draw_marks(
    axes: Axes,
    values: Sequence[float | None] | np.ndarray,
    height: float,
    domain: int | None = None,
) -> None:
    found = [value for value in values if value is not None]
    if not found:
        return
    colour = INK if domain is None else DOMAIN_COLOURS[domain % 4]
    marker = "o" if domain is None else DOMAIN_MARKERS[domain % 4]
    axes.plot(found, [height] * len(found), marker, color=colour, alpha=0.55, markersize=5.5)
    axes.plot(np.mean(found), height, "|", color=INK, markersize=13, markeredgewidth=2.0)


def _turned(run: RunRecord) -> list[float]:
    """Return D_sep of each domain; of two, so turned that the first one's side is positive."""
    separation = run.evaluation["specialization"]["separation"]
    is_turned = len(separation) == 2 and separation[0] < 0.0
    return [-value for value in separation] if is_turned else list(separation)


def _seed_colour(study: Study, seed: int) -> str:
    return SEED_COLOURS[study.seeds.index(seed) % len(SEED_COLOURS)]


SCALES = (
    "The sequel's D_sep and P_ct (0.25, falling to 0.002) live on other scales than ours, where 0.5 is "
    "an even split."
)

JUMPS = FigureKind(
    name="jumps",
    title="Does it jump?",
    caption=(
        "P_ct over training, one line per seed; a mark where it first fell below "
        f"{JUMPED:g}. Dotted: 0.5, no bank of its own. {SCALES}"
    ),
    draw=draw_jumps,
)

CELLS = FigureKind(
    name="cells",
    title="Every cell and seed",
    caption=(
        "On held-out episodes; a mark for each seed, a bar for their mean. D_sep is turned so that the "
        "first domain's side is positive: +1 and -1 are a bank each, twice +1 is one bank for both."
    ),
    draw=draw_cells,
)
