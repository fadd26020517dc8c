"""The five kinds of mark that every figure is made of, and their colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.patches import Rectangle

from callosal.lab.measures.intervals import Scale, seed_interval

INK, FAINT = "#222222", "#dddddd"
# Okabe and Ito's palette, which stays apart under every common colour blindness.
BLUE, RED, GREEN, SKY, ORANGE, PINK, GREY = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#56b4e9",
    "#e69f00",
    "#cc79a7",
    "#6e6e6e",
)
ARM_COLOURS = {"no-memory": GREY, "inhibitory": BLUE, "uncoupled": GREEN, "excitatory": RED}
ARM_MARKERS = {"no-memory": "x", "inhibitory": "o", "uncoupled": "s", "excitatory": "^"}
BANK_COLOURS = ("#2f4b7c", "#f0c05a", "#8fb8a8", "#b07aa1")
# In steps, since a figure's file has 256 colours in all.
AMOUNT = matplotlib.colormaps["cividis"].resampled(25)
SHARE = matplotlib.colormaps["Blues"].resampled(25)
# Sides of their own are blue, one side for both domains is red, neither is grey.
SIDES = LinearSegmentedColormap.from_list("sides", ["#b5380a", "#f3f3f3", "#0b5394"], N=25)


@runtime_checkable
class Mark(Protocol):
    """What a panel can hold."""

    def draw(self, axes: Axes) -> None:
        """Draw it."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One thin line per seed and a thick mean; where the mean has markers, every seed has its points.

    Attributes:
        x: of the points.
        seeds: a line each.
        name: written at the end of the line, if the panel is labelled.
        colour: of all of it.
        mean: how seeds are averaged; None draws them alone.
        marker: at the points of the mean, or "" where there are many.
        dash: matplotlib's line style.
        is_main: drawn thicker and above the others.
        shows_seeds: whether the thin lines are drawn; points are in any case.
    """

    x: Sequence[float]
    seeds: Float[np.ndarray, "seed point"]
    name: str = ""
    colour: str = INK
    mean: Literal["linear", "geometric"] | None = "linear"
    marker: str = ""
    dash: str = "-"
    is_main: bool = False
    shows_seeds: bool = True

    @property
    def middle(self) -> Float[np.ndarray, "point"]:
        """The mean; NaN where a seed's number is none."""
        if self.mean == "geometric":
            return np.exp(np.log(self.seeds).mean(0))
        return self.seeds.mean(0)

    @property
    def end(self) -> float:
        """Where the line ends on average, of the seeds that do; NaN if none does."""
        last = self.seeds[:, -1][np.isfinite(self.seeds[:, -1])]
        if not len(last):
            return np.nan
        return float(np.exp(np.log(last).mean()) if self.mean == "geometric" else last.mean())

    def draw(self, axes: Axes) -> None:
        """Draw it."""
        alone = self.mean is None or len(self.seeds) == 1
        look: dict[str, Any] = {"color": self.colour, "linestyle": self.dash}
        for seed in self.seeds if self.shows_seeds or alone else ():
            width, alpha = (1.2, 0.8) if alone else (0.8, 0.45)
            axes.plot(self.x, seed, **look, linewidth=width, alpha=alpha)
        if self.marker:
            points = {"markersize": 3.5, "mew": 0, "alpha": 0.45, "clip_on": False}
            axes.plot(self.x, self.seeds.T, "o", color=self.colour, **points)
        if self.mean is not None:
            order = 3 if self.is_main else 2
            axes.plot(
                self.x,
                self.middle,
                **look,
                linewidth=3.0 if self.is_main else 2.0,
                marker=self.marker,
                markersize=8.0 if self.is_main else 5.0,
                zorder=order,
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dots:
    """The seeds of one row as dots, with their mean and, if asked, its 95 % interval.

    Attributes:
        place: of the row on the vertical axis, or of the column on the horizontal one.
        values: a number per seed.
        colour: of all of it.
        marker: of the mean: a bar across the row by default.
        within: what the numbers can be, to draw the interval of their mean; None draws none.
        is_column: whether the numbers run upwards.
        reach: the largest possible number, drawn as a grey band; None draws none.
    """

    place: float
    values: Sequence[float]
    colour: str = BLUE
    marker: str = "|"
    within: Scale | None = None
    is_column: bool = False
    reach: float | None = None

    def draw(self, axes: Axes) -> None:
        """Draw it."""

        def put(along: Any, across: Any, style: str, **look: Any) -> None:
            both = (across, along) if self.is_column else (along, across)
            axes.plot(*both, style, clip_on=False, **look)

        values = np.array(self.values, dtype=float)
        if self.reach is not None:
            put([0.0, self.reach], [self.place] * 2, "-", color=FAINT, linewidth=7)
        if not len(values):
            return
        wiggle = np.linspace(-0.07, 0.07, len(values)) if len(values) > 1 else np.zeros(1)
        put(values, self.place + wiggle, "o", color=self.colour, alpha=0.5, markersize=4.5, mew=0)
        if self.within is not None:
            interval = seed_interval(values.tolist(), self.within)
            # An end that is NaN draws nothing.
            put([interval.low, interval.high], [self.place] * 2, "-", color=self.colour, linewidth=1.6)
        is_bar = self.marker == "|"
        bar = "_" if is_bar and self.is_column else self.marker
        look = {"color": INK, "markersize": 14, "mew": 2.2} if is_bar else {"markersize": 7, "mec": "white"}
        put([values.mean()], [self.place], bar, **{"color": self.colour, **look})


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """Bars of one colour at some places, with the seeds they average as dots.

    Attributes:
        places: of the bars.
        heights: of each.
        bottoms: where each starts; None at zero.
        colour: of all.
        width: of each.
        seeds: for each bar the numbers that it averages; None shows none.
    """

    places: Sequence[float]
    heights: Float[np.ndarray, "bar"]
    bottoms: Float[np.ndarray, "bar"] | None = None
    colour: str = BLUE
    width: float = 0.86
    seeds: Float[np.ndarray, "bar seed"] | None = None

    def draw(self, axes: Axes) -> None:
        """Draw them."""
        bottoms = 0.0 if self.bottoms is None else self.bottoms
        axes.bar(self.places, self.heights, self.width, bottom=bottoms, color=self.colour)
        for place, seeds in zip(self.places, () if self.seeds is None else self.seeds, strict=False):
            wiggle = np.linspace(-0.08, 0.08, len(seeds))
            axes.plot(place + wiggle, seeds, ".", color=INK, markersize=5, clip_on=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Points of two numbers each, or the curve through them.

    Attributes:
        x: of the points.
        y: of the points.
        colour: of all.
        marker: of each; "" draws a curve instead.
        is_filled: whether markers are.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: str = INK
    marker: str = "o"
    is_filled: bool = True

    def draw(self, axes: Axes) -> None:
        """Draw them."""
        if not self.marker:
            axes.plot(self.x, self.y, color=self.colour, linewidth=1.6, zorder=2)
            return
        look = {"mew": 0.0, "ms": 6} if self.is_filled else {"mfc": "none", "mew": 1.5, "ms": 9}
        alpha = 0.6 if self.is_filled else 1.0
        axes.plot(self.x, self.y, self.marker, color=self.colour, alpha=alpha, clip_on=False, zorder=3, **look)


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """A table as colours, with its numbers if they are to be read; what is NaN is hatched.

    Attributes:
        table: first row at the top.
        colours: of the numbers.
        norm: from numbers to colours.
        text: writes a number; None writes none.
        notes: what stands below each number.
        bar: names the bar of colours beside the panels; "" draws none.
        gaps: whether white lines part the cells.
    """

    table: Float[np.ndarray, "row column"]
    colours: Colormap = field(default_factory=lambda: AMOUNT)
    norm: Normalize = field(default_factory=lambda: Normalize(0.0, 1.0))
    text: Callable[[float], str] | None = None
    notes: Sequence[Sequence[str]] | None = None
    bar: str = ""
    gaps: bool = True

    def draw(self, axes: Axes) -> None:
        """Draw it."""
        masked = np.ma.masked_invalid(self.table)
        image = axes.imshow(masked, cmap=self.colours, norm=self.norm, aspect="auto", interpolation="nearest")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for (row, column), value in np.ndenumerate(self.table):
            if np.isnan(value):
                corner = (column - 0.5, row - 0.5)
                look = {"facecolor": "#f2f2f2", "edgecolor": "#c4c4c4", "linewidth": 0.0}
                axes.add_patch(Rectangle(corner, 1.0, 1.0, hatch="///", **look))
            elif self.text is not None:
                red, green, blue, _ = image.cmap(float(self.norm(value)))
                is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                text = self.text(value)
                text += "" if self.notes is None else f"\n{self.notes[row][column]}"
                look = {"ha": "center", "va": "center", "fontsize": 9, "linespacing": 1.25}
                axes.text(column, row, text, color="white" if is_dark else INK, **look)
        if self.gaps:
            axes.set_xticks(np.arange(self.table.shape[1] + 1) - 0.5, minor=True)
            axes.set_yticks(np.arange(self.table.shape[0] + 1) - 0.5, minor=True)
            axes.grid(which="minor", color="white", linewidth=1.5)
            axes.tick_params(which="minor", length=0)
