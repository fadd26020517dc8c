"""What all figures share: one colour per arm, sizes that survive a README, stable files."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from PIL import Image

# Okabe and Ito's palette, which stays apart under every common colour blindness.
ARM_COLOURS = {
    "no-memory": "#6e6e6e",
    "inhibitory": "#0072b2",
    "uncoupled": "#009e73",
    "excitatory": "#d55e00",
}
# Where arms coincide, dashes and a smaller mark let the one below be seen.
ARM_STYLES = {"uncoupled": "--"}
ARM_MARK_SIZES = {"inhibitory": 9.0}
ARM_MARKERS = {"no-memory": "x", "inhibitory": "o", "uncoupled": "s", "excitatory": "^"}
BANK_COLOURS = ("#2f4b7c", "#f0c05a", "#8fb8a8", "#b07aa1")
INK = "#222222"
# A label's height on an axis from 0 to 1, and how far beyond it labels may stand.
LABEL_GAP = 0.066
FLOOR, CEILING = -0.03, 1.06
DOTS_PER_INCH = 150

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


@contextmanager
def drawing_style() -> Iterator[None]:
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


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move labels apart until neighbours are ``gap`` apart, around where they were, order kept.

    >>> spread([0.1, 0.1, 0.9], 0.2)
    [0.0, 0.2, 0.9]
    """
    order = np.argsort(positions, kind="stable")
    groups: list[list[float]] = []  # wanted positions of labels that touch
    for place in order:
        groups.append([float(positions[place])])
        while len(groups) > 1 and _first(groups[-1], gap) - _last(groups[-2], gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [_first(group, gap) + gap * index for group in groups for index in range(len(group))]
    moved = [0.0] * len(placed)
    for place, position in zip(order, placed, strict=True):
        moved[int(place)] = position
    return moved


def keep_inside(heights: Sequence[float]) -> list[float]:
    """Push labels that ran over the floor or the ceiling back, with the others in front of them.

    Labels that were ``LABEL_GAP`` apart still are, and their order is kept, as long as all of them
    fit one above the other.
    """
    order = np.argsort(heights, kind="stable")
    steps = LABEL_GAP * np.arange(len(heights))
    risen = np.maximum.accumulate(np.maximum(np.array(heights)[order], FLOOR) - steps) + steps
    sunk = np.minimum.accumulate((np.minimum(risen, CEILING) - steps)[::-1])[::-1] + steps
    moved = np.empty(len(heights))
    moved[order] = sunk
    return moved.tolist()


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], gap: float) -> None:
    """Write (height, text, colour) at the right edge instead of a legend."""
    if not ends:
        return
    heights = spread([height for height, _, _ in ends], gap)
    for height, (_, text, colour) in zip(heights, ends, strict=True):
        axes.annotate(
            text,
            xy=(1.0, height),
            xycoords=axes.get_yaxis_transform(),
            xytext=(7, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )


def mark_retention(axes: Axes, num_letters: int, most: int) -> None:
    """Draw the chance of recalling a letter, and ticks for numbers of segments up to ``most``."""
    mark_chance(axes, 1.0 / num_letters, f"chance, 1/{num_letters}")
    mark_counts(axes, most)


def mark_chance(axes: Axes, chance: float, text: str, *, is_above: bool = False) -> None:
    """Draw a line at chance, with its name below it, or above where it is near the floor."""
    axes.axhline(chance, color=INK, linewidth=1.0, linestyle=":", zorder=0)
    axes.annotate(
        text,
        xy=(0.01, chance),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 4 if is_above else -5),
        textcoords="offset points",
        va="bottom" if is_above else "top",
        fontsize=9,
    )


def mark_counts(axes: Axes, most: int) -> None:
    """Set ticks at zero and the powers of ten up to ``most``."""
    ticks = [0, *(10**power for power in range(8) if 10**power <= most)]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()


def draw_seeds(
    axes: Axes,
    x: Sequence[float],
    lines: Float[np.ndarray, "seed point"],
    colour: str,
    *,
    style: str = "-",
    mean: Float[np.ndarray, "point"] | None = None,
) -> None:
    """Draw one thin line per seed and, if it is given, a thick mean."""
    alone = mean is None or len(lines) == 1
    for line in lines:
        axes.plot(
            x,
            line,
            style,
            color=colour,
            linewidth=1.2 if alone else 0.8,
            alpha=0.8 if alone else 0.45,
        )
    if mean is not None:
        axes.plot(x, mean, style, color=colour, linewidth=2.4)


def _first(group: list[float], gap: float) -> float:
    return round(sum(group) / len(group) - gap * (len(group) - 1) / 2, 12)


def _last(group: list[float], gap: float) -> float:
    return _first(group, gap) + gap * (len(group) - 1)
