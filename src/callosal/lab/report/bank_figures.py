"""The figures of more than two banks, and of how many pairs how many slots hold."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from callosal.lab.report.bank_tables import (
    cells_by_shape,
    domain_names,
    pairs_and_slots,
    shape_of,
    sorted_shares,
)
from callosal.lab.report.drawing import INK
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study
from callosal.lab.report.tables import marks_of, recall_after
from callosal.lab.studies.rivals.claims import A_BANK_EACH, own_share

COLOUR = "#0072b2"
# One hue from light to dark: readable in grey, and under every colour blindness.
COLOURMAP = "Blues"
_PERCENT = "\N{NO-BREAK SPACE}%"


def banks_sentence(study: Study) -> str:
    """Say in one sentence what the figure of own banks shows, from the means over seeds."""
    found = {cell: _own_shares(study.of(cell)) for cell in cells_by_shape(study)}
    parts = [
        f"{cell} {100 * values.mean():.0f}{_PERCENT}"
        for cell, values in found.items()
        if len(values)
    ]
    return f"Mean share of a domain's own bank: {'; '.join(parts)}"


def draw_own_shares(study: Study) -> Figure | None:
    """Draw the share of a domain's own bank, one row per cell and one dot per seed."""
    cells = [cell for cell in cells_by_shape(study)[::-1] if len(_own_shares(study.of(cell)))]
    if not cells:
        return None
    figure = Figure(figsize=(9.0, 0.42 * len(cells) + 1.3))
    axes = figure.subplots()
    for place, cell in enumerate(cells):
        values = _own_shares(study.of(cell))
        banks, domains = shape_of(study.of(cell)[0])
        most = min(banks, domains) / domains
        axes.plot([0.0, most], [place, place], color="#dddddd", linewidth=7, solid_capstyle="butt")
        wiggle = np.linspace(-0.16, 0.16, len(values))
        axes.plot(values, place + wiggle, "o", color=COLOUR, markersize=5, alpha=0.6, clip_on=False)
        axes.plot([values.mean()], [place], "|", color=INK, markersize=16, mew=2.5, clip_on=False)
    axes.axvline(A_BANK_EACH, color=INK, linewidth=1.0, linestyle=":")
    axes.set_yticks(range(len(cells)), cells)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0.0, 1.0)
    axes.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_ylim(-0.6, len(cells) - 0.4)
    axes.set_xlabel("share of a domain's tokens that its own bank takes, mean over domains")
    return figure


def draw_bank_shares(study: Study) -> Figure | None:
    """Draw the shares of every seed of the cells with as many banks as domains."""
    cells = [
        cell
        for cell in cells_by_shape(study)
        if len(set(shape_of(study.of(cell)[0]))) == 1
        and any(sorted_shares(run) is not None for run in study.of(cell))
    ]
    if not cells:
        return None
    sizes = [shape_of(study.of(cell)[0])[0] for cell in cells]
    heights = [0.9 + 0.2 * size for size in sizes]
    figure = Figure(figsize=(1.9 * max(len(study.seeds), 2) + 2.6, sum(heights) + 0.9))
    panels = figure.subplots(
        len(cells), len(study.seeds), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    image: AxesImage | None = None
    for row, cell in enumerate(cells):
        runs = {run.seed: run for run in study.of(cell)}
        for column, seed in enumerate(study.seeds):
            axes = panels[row, column]
            table = sorted_shares(runs[seed]) if seed in runs else None
            if table is None:
                axes.set_visible(False)
                continue
            image = axes.imshow(table, cmap=COLOURMAP, vmin=0.0, vmax=1.0, aspect="auto")
            _plain(axes)
            if row == 0:
                axes.set_title(f"seed {seed}", fontsize=11)
            if column == 0:
                axes.set_yticks(range(len(table)), domain_names(runs[seed]), fontsize=9)
            axes.set_xlabel(f"own bank {100 * (own_share(runs[seed]) or 0):.0f} %", fontsize=9)
    assert image is not None
    bar = figure.colorbar(image, ax=panels, fraction=0.03, pad=0.02, shrink=0.6)
    bar.set_label("mean share of a bank")
    return figure


def capacity_sentence(study: Study) -> str:
    """Say in one sentence where recall falls, from the means over seeds."""
    pairs, slots, table = _recall_grid(study, None)
    parts = []
    for row, count in enumerate(pairs):
        known = [c for c in range(len(slots)) if np.isfinite(table[row, c])]
        if known:
            parts.append(
                f"{count} pairs, {100 * table[row, known[0]]:.0f}{_PERCENT} in {slots[known[0]]} slots "
                f"and {100 * table[row, known[-1]]:.0f}{_PERCENT} in {slots[known[-1]]}"
            )
    return f"Recall of the cipher: {'; '.join(parts)}"


def draw_capacity(study: Study) -> Figure | None:
    """Draw recall by pairs and slots, at once and after the most further segments."""
    most = max(marks_of(study), default=0)
    shown: dict[str, int | None] = {"asked at once": None}
    if most:
        shown[f"after {most:,} further segments"] = most
    figure = Figure(figsize=(4.8 * len(shown) + 0.6, 3.6))
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    image: AxesImage | None = None
    for axes, (title, mark) in zip(panels, shown.items(), strict=True):
        pairs, slots, table = _recall_grid(study, mark)
        image = axes.imshow(
            table, cmap=COLOURMAP, vmin=0.0, vmax=1.0, aspect="auto", origin="lower"
        )
        _plain(axes)
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                axes.text(
                    column,
                    row,
                    f"{100 * value:.0f} %",
                    ha="center",
                    va="center",
                    color="white" if value > 0.55 else INK,
                )
        axes.set_title(title, fontweight="bold")
        axes.set_xticks(range(len(slots)), [str(count) for count in slots])
        axes.set_yticks(range(len(pairs)), [f"{c}\n(chance {100 / c:.3g} %)" for c in pairs])
        axes.tick_params(length=0)
        axes.set_xlabel("slots a bank")
    panels[0].set_ylabel("pairs")
    assert image is not None
    figure.colorbar(image, ax=panels.tolist(), fraction=0.05, pad=0.02).set_label(
        "letters recalled"
    )
    return figure


def _own_shares(runs: list[RunRecord]) -> Float[np.ndarray, "seed"]:
    return np.array([share for share in map(own_share, runs) if share is not None])


def _recall_grid(
    study: Study, mark: int | None
) -> tuple[list[int], list[int], Float[np.ndarray, "pairs slots"]]:
    """Return the pairs, the slots, and the mean recall of each; NaN where nothing was run."""
    found: dict[tuple[int, int], list[float]] = {}
    for run in study.records:
        value = (
            run.evaluation["cipher_recall"] if mark is None else recall_after(mark, "").value(run)
        )
        if value is not None:
            found.setdefault(pairs_and_slots(run), []).append(value)
    pairs = sorted({pair for pair, _ in found})
    slots = sorted({slot for _, slot in found})
    table = [[np.mean(found.get((pair, slot), [np.nan])) for slot in slots] for pair in pairs]
    return pairs, slots, np.array(table, dtype=float)


def _plain(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


BANK_KINDS: tuple[FigureKind, ...] = (
    FigureKind(
        name="own-banks",
        title="A bank each?",
        caption=(
            "One dot per seed, the bar is their mean; the grey band ends where no more is possible, "
            "since with fewer banks than domains some domains have no bank of their own. Dotted: what "
            "is wanted where there are as many banks as domains."
        ),
        draw=draw_own_shares,
    ),
    FigureKind(
        name="shares",
        title="Who serves what, every seed",
        caption=(
            "Mean share of each bank (columns) over each domain's tokens (rows) on held-out episodes. "
            "The banks of a seed are put in the order of the best matching, so a bank each is a dark "
            "diagonal and nothing else. Below each: the mean of its diagonal."
        ),
        draw=draw_bank_shares,
    ),
)

CAPACITY_KINDS: tuple[FigureKind, ...] = (
    FigureKind(
        name="capacity",
        title="How much it holds",
        caption=(
            "Recall of the cipher, mean over seeds, by the number of pairs and of slots in each of two "
            "banks. A letter needs a slot where it is asked and one where it answers."
        ),
        draw=draw_capacity,
    ),
)
