"""Planes and strips of cells as colours with their numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from callosal.lab.report.claims import SMALLEST_LOSS, cross_talk, dominance, signed_separation
from callosal.lab.report.drawing import INK
from callosal.lab.report.map_data import (
    VARIANTS,
    Value,
    gains_of,
    means,
    plane,
    plane_runs,
    signed_number,
    signs_of,
    variant_of,
)
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.study import Study
from callosal.lab.report.tables import marks_of, recall_after, specialization
from callosal.lab.studies.study_claims import LATERALIZED, is_lateralized

# Sides of their own are blue, one side for both domains is red, neither is grey.
# In steps, since a figure's file has 256 colours in all.
STEPS = 25
SIDES = LinearSegmentedColormap.from_list("sides", ["#b5380a", "#f3f3f3", "#0b5394"], N=STEPS)
AMOUNT = colormaps["cividis"].resampled(STEPS)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A measure of cells as colours.

    Attributes:
        title: what it shows.
        value: of a run.
        colours: of the values.
        norm: from values to colours; without limits it takes those of the values.
    """

    title: str
    value: Value
    colours: Colormap
    norm: Callable[[], Normalize]


def map_sentence(study: Study) -> str:
    """Say in one sentence how many cells of the plane lateralize."""
    cells = dict.fromkeys(run.arm for run in plane_runs(study))
    seeds = [[is_lateralized(run) for run in study.of(cell)] for cell in cells]
    if not seeds:
        return "The plane of sign and gain has no runs yet"
    every, none = (sum(map(rule, seeds)) for rule in (all, lambda found: not any(found)))
    return (
        f"Of {len(seeds)} cells of sign and gain, {every} lateralize in every seed and "
        f"{none} in none (|D_sep| at least {LATERALIZED:g} in both domains, on opposite sides)"
    )


def draw_plane(study: Study) -> Figure | None:
    """Draw six measures over the plane of sign and gain."""
    runs = plane_runs(study)
    if not runs:
        return None
    panels = [*_lateral_panels(), *_other_panels(study)]
    signs, gains = signs_of(runs), gains_of(runs)
    figure = Figure(figsize=(11.0, 6.6))
    grid = figure.subplots(2, 3, sharex=True, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=True):
        table = plane(study, panel.value)[::-1]
        notes = None
        if panel.value is signed_separation:
            notes = [[_lateralized(study, sign, gain) for sign in signs] for gain in gains[::-1]]
        _draw_table(axes, table, panel, notes)
        axes.set_xticks(range(len(signs)), [signed_number(sign) for sign in signs])
        axes.set_yticks(range(len(gains)), [f"{gain:g}" for gain in gains[::-1]])
    for axes in grid[-1]:
        axes.set_xlabel("sign $s$ at the start")
    for axes in grid[:, 0]:
        axes.set_ylabel("gain $g$")
    return figure


def draw_strips(study: Study) -> Figure | None:
    """Draw the other planes of the map: a row for what is changed, a column for the sign."""
    rows = [name for name in VARIANTS if any(variant_of(run) == name for run in study.records)]
    if not any(rows):
        return None
    runs = [run for run in study.records if variant_of(run) in rows]
    signs = signs_of(runs)
    panels = [*_lateral_panels()[:2], _other_panels(study)[-1]]
    figure = Figure(figsize=(11.0, 0.8 + 0.46 * len(rows)))
    grid = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=True):
        _draw_table(axes, means(study, rows, signs, panel.value), panel)
        axes.set_xticks(range(len(signs)), [signed_number(sign) for sign in signs])
        axes.set_yticks(range(len(rows)), [VARIANTS[name] for name in rows])
        axes.set_xlabel("sign $s$ at the start")
    return figure


def _lateral_panels() -> list[Panel]:
    return [
        Panel(
            title="smaller |$D_{sep}$|, both domains",
            value=signed_separation,
            colours=SIDES,
            norm=lambda: Normalize(-1.0, 1.0),
        ),
        Panel(
            title="$P_{ct}$",
            value=cross_talk,
            colours=AMOUNT,
            norm=lambda: Normalize(0.0, 0.5),
        ),
        Panel(
            title="dominance",
            value=dominance,
            colours=AMOUNT,
            norm=lambda: Normalize(0.5, 1.0),
        ),
        Panel(
            title="I(bank; domain)",
            value=specialization("information"),
            colours=AMOUNT,
            norm=lambda: Normalize(0.0, 1.0),
        ),
    ]


def _other_panels(study: Study) -> list[Panel]:
    most = marks_of(study)[-1]
    return [
        Panel(
            title="cipher loss, nats",
            value=lambda run: max(run.evaluation["cipher_loss"], SMALLEST_LOSS),
            colours=AMOUNT,
            norm=LogNorm,
        ),
        Panel(
            title=f"recall after {most:,} segments",
            value=recall_after(most, "").value,
            colours=AMOUNT,
            norm=lambda: Normalize(0.0, 1.0),
        ),
    ]


def _draw_table(
    axes: Axes,
    table: Float[np.ndarray, "row column"],
    panel: Panel,
    notes: Sequence[Sequence[str]] | None = None,
) -> None:
    """Draw a table as colours with its numbers; what was not run is hatched."""
    norm = panel.norm()
    if norm.vmin is None and np.isfinite(table).any():
        least, most = float(np.nanmin(table)), float(np.nanmax(table))
        norm.vmin, norm.vmax = least, max(most, least * 1.01)
    image = axes.imshow(np.ma.masked_invalid(table), cmap=panel.colours, norm=norm, aspect="auto")
    axes.set_title(panel.title, fontsize=11)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            axes.add_patch(
                Rectangle(
                    (column - 0.5, row - 0.5),
                    1.0,
                    1.0,
                    facecolor="#f2f2f2",
                    edgecolor="#c4c4c4",
                    hatch="///",
                    linewidth=0.0,
                )
            )
            continue
        red, green, blue, _ = image.cmap(float(norm(value)))
        is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = _short_number(value)
        if notes is not None:
            text += f"\n{notes[row][column]}"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=9,
            linespacing=1.25,
            color="white" if is_dark else INK,
        )
    axes.set_xticks(np.arange(table.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(table.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def _short_number(value: float) -> str:
    """Write two decimals, three close to one, without a minus before nothing."""
    text = f"{value:.3f}" if 0.985 <= value < 0.9995 else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0.0 else text.replace("-", "\N{MINUS SIGN}")


def _lateralized(study: Study, sign: float, gain: float) -> str:
    runs = [
        run
        for run in plane_runs(study)
        if (run.config["memory"]["sign"], run.config["memory"]["gain"]) == (sign, gain)
    ]
    return f"{sum(map(is_lateralized, runs))}/{len(runs)}"


PLANE = FigureKind(
    name="plane",
    title="Sign and gain",
    caption=(
        "Means over seeds by the sign that W_s starts from and the gain of the competition; "
        "colours repeat the numbers, brighter is more (the cipher loss on a logarithmic scale). "
        "First panel: blue is sides of their own, the smaller |D_sep| of the two domains, negative "
        "where both are on one side; below it the seeds that lateralized, at least 0.99 in both "
        "domains on opposite sides."
    ),
    draw=draw_plane,
)

STRIPS = FigureKind(
    name="strips",
    title="What else could matter",
    caption=(
        "Means over seeds with one thing changed, at gain 4 and with segments of 16 tokens "
        "unless the row says otherwise. Red is one bank for both domains. Hatched: not run."
    ),
    draw=draw_strips,
)
