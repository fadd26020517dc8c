"""Panels that hold marks, and one function that draws them: every figure is data.

Studies declare figures as panels with lines, dots, bars, points or a heat map (``report.marks``); how they look is
decided here, once.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import RcKeyType
from PIL import Image

from callosal.lab.report.marks import FAINT, INK, Heat, Line, Mark

Share = bool | Literal["none", "all", "row", "col"]
# A label's height as a part of the axes, and how far beyond them labels may stand.
LABEL_GAP, FLOOR, CEILING = 0.066, 0.0, 1.03
DOTS_PER_INCH = 150
# Of a legend, side by side.
MOST_KEYS = 8

_SETTINGS: dict[RcKeyType, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # shipped with matplotlib, so alike on every machine
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.edgecolor": INK,
    "axes.titlelocation": "left",
    "axes.unicode_minus": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel.

    Attributes:
        label: what it shows.
        scale: "linear", "log", or "counts": linear up to one and logarithmic from there, for 0, 1, 10, ...
        limits: of the axis; None leaves them to the data.
        ticks: where; None leaves them to matplotlib, with few of them.
        names: of the ticks; None writes their numbers.
        has_grid: whether faint lines go through the ticks.
        angle: of the names.
    """

    label: str = ""
    scale: Literal["linear", "log", "counts"] = "linear"
    limits: tuple[float, float] | None = None
    ticks: Sequence[float] | None = None
    names: Sequence[str] | None = None
    has_grid: bool = False
    angle: float = 0.0


def percent(label: str = "", *, limits: tuple[float, float] = (-0.03, 1.04)) -> Axis:
    """Return an axis from nothing to all."""
    ticks, names = (0.0, 0.25, 0.5, 0.75, 1.0), ("0", "25 %", "50 %", "75 %", "100 %")
    return Axis(label=label, limits=limits, ticks=ticks, names=names, has_grid=True)


def counts(label: str, most: float) -> Axis:
    """Return an axis of counts from 0 to ``most``."""
    ticks = [0, *(10**power for power in range(8) if 10**power <= most)]
    limits = (-0.08, most * 1.15 if most else 1.0)
    return Axis(label=label, scale="counts", limits=limits, ticks=ticks, names=[f"{t:,}" for t in ticks])


def words(names: Sequence[str], *, angle: float = 0.0, limits: tuple[float, float] | None = None) -> Axis:
    """Return an axis of words at 0, 1, 2, ..."""
    return Axis(ticks=range(len(names)), names=names, angle=angle, limits=limits)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A line to compare with, such as chance.

    Attributes:
        at: where.
        text: beside it.
        is_vertical: whether it is a number of the horizontal axis.
        dash: matplotlib's line style.
        is_above: whether the text stands above the line.
        on_right: whether the text stands at the line's right end, or right of a vertical line's foot.
    """

    at: float
    text: str = ""
    is_vertical: bool = False
    dash: str = ":"
    is_above: bool = False
    on_right: bool = False

    def draw(self, axes: Axes) -> None:
        """Draw it."""
        line = axes.axvline if self.is_vertical else axes.axhline
        line(self.at, color=INK, linewidth=1.0, linestyle=self.dash, zorder=0)
        if self.is_vertical:
            where, across, offset = (self.at, 1.0), axes.get_xaxis_transform(), (0, 3)
            sides = "center", "bottom"
            if self.on_right:
                where, offset, sides = (self.at, 0.03), (4, 0), ("left", "bottom")
        else:
            place = 0.99 if self.on_right else 0.01
            where, across = (place, self.at), axes.get_yaxis_transform()
            offset = (0, 4 if self.is_above else -5)
            sides = "right" if self.on_right else "left", "bottom" if self.is_above else "top"
        axes.annotate(
            self.text,
            xy=where,
            xycoords=across,
            xytext=offset,
            textcoords="offset points",
            fontsize=9,
            ha=sides[0],
            va=sides[1],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Marks on one pair of axes.

    Attributes:
        marks: what it holds.
        title: above it.
        colour: of the title.
        x: horizontal axis.
        y: vertical axis.
        references: lines to compare with.
        is_labelled: whether lines have their names at their ends.
    """

    marks: Sequence[Mark]
    title: str = ""
    colour: str = INK
    x: Axis = Axis()
    y: Axis = Axis()
    references: Sequence[Reference] = ()
    is_labelled: bool = False

    def draw(self, axes: Axes) -> None:
        """Draw it."""
        if self.title:
            axes.set_title(self.title, color=self.colour, fontweight="bold")
        for axis, which in ((self.x, "x"), (self.y, "y")):
            if axis.scale != "linear":
                how = {"linthresh": 1.0, "linscale": 0.5} if axis.scale == "counts" else {}
                scale = "symlog" if axis.scale == "counts" else "log"
                getattr(axes, f"set_{which}scale")(scale, **how)
        for mark in (*self.marks, *self.references):
            mark.draw(axes)
        for axis, which in ((self.x, "x"), (self.y, "y")):
            _dress(axes, axis, which)

    def label(self, axes: Axes) -> None:
        """Write the lines' names, once all that shares an axis is drawn."""
        if self.is_labelled:
            _label(axes, [mark for mark in self.marks if isinstance(mark, Line) and mark.name])


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of a legend: a patch, a line or a mark.

    Attributes:
        name: what it stands for.
        colour: of it.
        marker: "" for a line, "patch" for a patch.
        dash: of a line.
        is_filled: whether a marker is.
    """

    name: str
    colour: str = INK
    marker: str = ""
    dash: str = "-"
    is_filled: bool = True


def draw(
    panels: Sequence[Sequence[Panel | None]],
    size: tuple[float, float],
    *,
    legend: Sequence[Key] = (),
    share: tuple[Share, Share] = (False, False),
    ratios: tuple[Sequence[float], Sequence[float]] | None = None,
    place: Literal["outside lower center", "outside upper left"] = "outside lower center",
) -> Figure | None:
    """Draw rows of panels; None where there is no panel. Of a shared axis the outer label alone is shown.

    Args:
        panels: row by row; None leaves a place free.
        size: width and height, in inches.
        legend: below the panels, or where ``place`` says.
        share: what panels share of the horizontal and of the vertical axis, as in ``Figure.subplots``.
        ratios: widths of the columns and heights of the rows.
        place: of the legend.
    """
    panels = [line for line in panels if any(panel is not None for panel in line)]
    if not panels:
        return None
    figure = Figure(figsize=size)
    widths, heights = ratios or ([1.0] * max(map(len, panels)), [1.0] * len(panels))
    subplots: Any = figure.subplots
    grid = subplots(
        len(panels),
        len(widths),
        squeeze=False,
        sharex=share[0],
        sharey=share[1],
        gridspec_kw={"width_ratios": widths, "height_ratios": heights},
    )
    for axes in grid.flat:
        axes.set_visible(False)
    places = [
        (axes, panel)
        for row, line in zip(grid, panels, strict=True)
        for axes, panel in zip(row, line, strict=False)
        if panel is not None
    ]
    for axes, panel in places:
        axes.set_visible(True)
        panel.draw(axes)
    for axes, panel in places:
        panel.label(axes)
        where = axes.get_subplotspec()
        if share[0] and not where.is_last_row():
            axes.set_xlabel("")
        if share[1] and not where.is_first_col():
            axes.set_ylabel("")
    shown = [panel for _, panel in places]
    bars = [mark for panel in shown for mark in panel.marks if isinstance(mark, Heat) and mark.bar]
    if bars:
        images = [axes.images[0] for axes in grid.flat if axes.images]
        figure.colorbar(images[0], ax=grid.ravel().tolist(), fraction=0.04, pad=0.02).set_label(bars[0].bar)
    if legend:
        handles = [_handle(key) for key in legend]
        # Rows as even as they can be, so that the last is not alone.
        num_columns = -(-len(handles) // -(-len(handles) // MOST_KEYS))
        figure.legend(handles=handles, loc=place, ncols=num_columns, frameon=False, fontsize=10)
    return figure


@contextmanager
def style() -> Iterator[None]:
    """Draw alike whatever the reader's own matplotlib settings are."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def to_png(figure: Figure) -> bytes:
    """Render a figure; equal figures give equal bytes with one version of matplotlib."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    # A palette of 256 colours is enough for lines and halves what the repository has to carry.
    image = Image.open(buffer).convert("RGB")
    image = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def spread(heights: Sequence[float], gap: float = LABEL_GAP) -> list[float]:
    """Move labels apart until neighbours are ``gap`` apart, order kept, and inside the axes where they fit.

    >>> spread([0.1, 0.12, 0.9], 0.2)
    [0.01, 0.21, 0.9]
    """
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []  # wanted positions of labels that touch
    for place in order:
        groups.append([float(heights[place])])
        while len(groups) > 1 and _first(groups[-1], gap) - _last(groups[-2], gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [_first(group, gap) + gap * index for group in groups for index in range(len(group))]
    # Those that ran over the floor or the ceiling push the others back.
    steps = gap * np.arange(len(placed))
    risen = np.maximum.accumulate(np.maximum(np.array(placed), FLOOR) - steps) + steps
    sunk = np.minimum.accumulate((np.minimum(risen, CEILING) - steps)[::-1])[::-1] + steps
    moved = np.empty(len(placed))
    moved[order] = sunk
    return moved.round(12).tolist()


def _dress(axes: Axes, axis: Axis, which: str) -> None:
    along = axes.xaxis if which == "x" else axes.yaxis
    if axis.limits is not None:
        getattr(axes, f"set_{which}lim")(axis.limits)
    if axis.ticks is not None:
        names = [f"{tick:g}" for tick in axis.ticks] if axis.names is None else list(axis.names)
        turned = {"rotation": axis.angle, "ha": "right", "rotation_mode": "anchor"} if axis.angle else {}
        along.set_ticks(list(axis.ticks), names, **turned)
        if axis.scale != "linear":
            axes.minorticks_off()
    elif axis.scale == "linear":
        along.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    if axis.label:
        along.set_label_text(axis.label)
    if axis.has_grid:
        along.grid(visible=True, color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)


def _label(axes: Axes, lines: Sequence[Line]) -> None:
    """Write every line's name at its end, with a hair line to it where names had to make room."""
    lines = [line for line in lines if np.isfinite(line.end)]
    if not lines:
        return
    axes.get_ylim()  # limits that are left to the data are settled when somebody asks for them
    to_part = axes.transLimits.transform(axes.transScale.transform([(1.0, line.end) for line in lines]))
    ends = to_part[:, 1].tolist()
    for end, height, line in zip(ends, spread(ends), lines, strict=True):
        look: dict[str, Any] = {"color": line.colour, "transform": axes.transAxes, "clip_on": False}
        axes.plot([1.0, 1.03], [end, height], linewidth=0.8, **look)
        weight = "bold" if line.is_main or len(lines) < 6 else "normal"
        axes.text(1.035, height, line.name, va="center", fontsize=10, fontweight=weight, **look)


def _handle(key: Key) -> Any:
    if key.marker == "patch":
        return Rectangle((0, 0), 1, 1, color=key.colour, label=key.name)
    fill = key.colour if key.is_filled else "none"
    style = {"linestyle": key.dash if not key.marker else "", "marker": key.marker or None}
    return Line2D([], [], color=key.colour, mfc=fill, markersize=8, linewidth=2.0, label=key.name, **style)


def _first(group: list[float], gap: float) -> float:
    return round(sum(group) / len(group) - gap * (len(group) - 1) / 2, 12)


def _last(group: list[float], gap: float) -> float:
    return _first(group, gap) + gap * (len(group) - 1)
