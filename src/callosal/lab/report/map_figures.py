"""The figures of the map: the predicted threshold, W_s as it learns, segment length."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callosal.lab.report.claims import signed_separation
from callosal.lab.report.drawing import INK, draw_seeds, label_ends
from callosal.lab.report.map_data import (
    cell_name,
    initial_strength,
    learned_strength,
    opposite_separation,
    plane_runs,
    predict_separation,
    signed_number,
    signs_of,
    variant_of,
)
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.plane_figures import PLANE, STRIPS
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study
from callosal.lab.report.tables import marks_of, recall_after
from callosal.lab.report.training_figures import has_series, modes_of, series
from callosal.lab.studies.study_claims import LATERALIZED, SATURATION

# From inhibition to excitation, in the colours of the arms.
SIGN_COLOURS = {-1.0: "#0072b2", -0.5: "#56b4e9", 0.0: "#009e73", 0.5: "#e69f00", 1.0: "#d55e00"}
SIGN_MARKERS = {-1.0: "o", 0.0: "s", 1.0: "^"}
MODE_COLOURS = ("#8a8a8a", "#0072b2")
# Where the axis of x = g w^2 ends: a logarithmic axis has no zero.
LEAST_STRENGTH = 0.05


def draw_threshold(study: Study) -> Figure | None:
    """Draw |D_sep| against the predicted strength of the competition."""
    learned = plane_runs(study)
    frozen = [run for run in study.records if variant_of(run) == "frozen"]
    if not learned and not frozen:
        return None
    figure = Figure(figsize=(11.0, 4.6))
    panels = figure.subplots(1, 2, sharey=True)
    strengths: list[tuple[str, Callable[[RunRecord], float | None]]] = [
        ("$W_s$ as the sign starts it:  $x = g\\,(1 - s)^2$", initial_strength),
        ("$W_s$ as it was learned:  $x = g\\,w^2$", learned_strength),
    ]
    for axes, (title, strength) in zip(panels, strengths, strict=True):
        for runs, is_learned in ((learned, True), (frozen, False)):
            for sign in signs_of(runs):
                _draw_strengths(axes, runs, sign, strength, is_learned=is_learned)
        axes.set_title(title)
        _draw_prediction(axes)
    panels[0].set_ylabel("|$D_{sep}$|, mean of both domains")
    panels[1].set_xlabel("$x$, with $w$ the differential mode of the last $W_s$")
    panels[0].set_xlabel("$x$ at the start of training")
    handles = [
        panels[0].plot([], [], "o", color=_colour(sign), label=f"s = {signed_number(sign)}")[0]
        for sign in signs_of([*learned, *frozen])
    ]
    if frozen:
        handles += panels[0].plot(
            [], [], "D", color=INK, markerfacecolor="none", markersize=8, label="$W_s$ frozen"
        )
    handles += panels[0].plot([], [], color=INK, linewidth=1.6, label="predicted, $D=\\tanh(xD)$")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def draw_modes(study: Study) -> Figure | None:
    """Draw the common and the differential mode of W_s as they are learned, a panel for each sign."""
    cells = {
        sign: study.of(cell_name(sign))
        for sign in signs_of(plane_runs(study))
        if study.of(cell_name(sign)) and has_series(study.of(cell_name(sign)), "coupling")
    }
    if not cells:
        return None
    figure = Figure(figsize=(2.2 * max(len(cells), 3), 3.6))
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for axes, (sign, runs) in zip(panels, cells.items(), strict=True):
        steps, coupling = series(runs, "coupling")
        for lines, colour in zip(modes_of(coupling), MODE_COLOURS, strict=True):
            draw_seeds(axes, steps, lines, colour, mean=lines.mean(0))
        axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(f"s = {signed_number(sign)}", color=_colour(sign), fontweight="bold")
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.set_xlabel("training step")
    panels[0].set_ylabel("eigenvalue of $W_s$")
    names = ("common mode, $1 + s$ at the start", "differential mode $w$, $1 - s$ at the start")
    handles = [
        panels[0].plot([], [], color=colour, linewidth=2.4, label=name)[0]
        for name, colour in zip(names, MODE_COLOURS, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def draw_lengths(study: Study) -> Figure | None:
    """Draw lateralization and recall against the tokens of a segment."""
    runs = [run for run in study.records if variant_of(run) in ("", "pairs=2", "pairs=4")]
    signs = [
        sign
        for sign in signs_of(runs)
        if len({_tokens(run) for run in runs if run.config["memory"]["sign"] == sign}) > 1
    ]
    if not signs:
        return None
    figure = Figure(figsize=(9.0, 3.9))
    panels = figure.subplots(1, 2, sharex=True)
    most = marks_of(study)[-1]
    values = (signed_separation, recall_after(most, "").value)
    titles = ("smaller |$D_{sep}$| of the two domains", f"recall after {most:,} segments")
    lengths = sorted({_tokens(run) for run in runs})
    for axes, value, title in zip(panels, values, titles, strict=True):
        ends = []
        for sign in signs:
            own = [run for run in runs if run.config["memory"]["sign"] == sign]
            points = [(_tokens(run), value(run)) for run in own]
            points = [(length, number) for length, number in points if number is not None]
            colour = _colour(sign)
            marker = SIGN_MARKERS.get(sign, ".")
            axes.plot(*zip(*points, strict=True), marker, color=colour, alpha=0.55, markersize=5)
            means_ = [np.mean([n for length, n in points if length == at]) for at in lengths]
            axes.plot(lengths, means_, color=colour, linewidth=2.2)
            ends.append((float(means_[-1]), f"s = {signed_number(sign)}", colour))
        axes.set_title(title)
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
        axes.set_xlabel("tokens in a segment")
        axes.set_ylim(min(-0.04, axes.get_ylim()[0]), 1.04)
        label_ends(axes, ends, 0.075)
    return figure


def _draw_strengths(
    axes: Axes,
    runs: Sequence[RunRecord],
    sign: float,
    strength: Callable[[RunRecord], float | None],
    *,
    is_learned: bool,
) -> None:
    points = [
        (max(x, LEAST_STRENGTH), y)
        for run in runs
        if run.config["memory"]["sign"] == sign
        and (x := strength(run)) is not None
        and (y := opposite_separation(run)) is not None
    ]
    if not points:
        return
    colour = _colour(sign)
    axes.plot(
        *zip(*points, strict=True),
        "o" if is_learned else "D",
        color=colour,
        markerfacecolor=colour if is_learned else "none",
        markersize=6 if is_learned else 9,
        markeredgewidth=0.0 if is_learned else 1.5,
        alpha=0.6 if is_learned else 1.0,
        clip_on=False,
        zorder=3,
    )


def _draw_prediction(axes: Axes) -> None:
    strengths = np.unique(np.append(np.geomspace(LEAST_STRENGTH, 40.0, 400), [1.0, 1.001, 1.01]))
    predicted = [predict_separation(float(strength)) for strength in strengths]
    axes.plot(strengths, predicted, color=INK, linewidth=1.6, zorder=2)
    axes.set_xscale("log")
    ticks = [LEAST_STRENGTH, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    labels = [f"\N{LESS-THAN OR EQUAL TO} {LEAST_STRENGTH:g}", *(f"{tick:g}" for tick in ticks[1:])]
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()
    axes.set_xlim(LEAST_STRENGTH * 0.85, 40.0)
    axes.set_ylim(-0.03, 1.03)
    for place, name in ((1.0, "threshold, 1"), (SATURATION, f"D = {LATERALIZED:g}")):
        axes.axvline(place, color=INK, linewidth=0.8, linestyle=":", zorder=1)
        axes.annotate(
            name,
            xy=(place, 0.02 if place > 1.0 else 0.98),
            xytext=(4 if place > 1.0 else -4, 0),
            textcoords="offset points",
            ha="left" if place > 1.0 else "right",
            va="bottom" if place > 1.0 else "top",
            fontsize=9,
        )


def _colour(sign: float) -> str:
    return SIGN_COLOURS.get(sign, INK)


def _tokens(run: RunRecord) -> int:
    return 2 * run.config["episodes"]["pairs_per_segment"]


KINDS: tuple[FigureKind, ...] = (
    PLANE,
    STRIPS,
    FigureKind(
        name="threshold",
        title="A predicted threshold",
        caption=(
            "Every run of the plane of sign and gain, and the runs with W_s frozen: half the difference "
            "of the two D_sep, which is their mean size where the domains are on opposite sides. The "
            "line is not fitted: it is what the equations give for two domains whose contexts do not "
            "spread, D = tanh(x D), 0 up to x = 1 and at least 0.99 from x = 2.67 on; with a spread a "
            "run may lie below it. Left, x is that of the sign; right, that of the W_s which training "
            "ended with."
        ),
        draw=draw_threshold,
    ),
    FigureKind(
        name="modes",
        title="W_s as it learns",
        caption=(
            "The two eigenvalues of W_s at gain 4. The common mode passes what the banks share; it has "
            "no gradient, since shares add up to one. The differential mode passes what sets the banks "
            "apart. Thin lines are seeds, thick lines their mean."
        ),
        draw=draw_modes,
    ),
    FigureKind(
        name="lengths",
        title="How long a segment must be",
        caption=(
            "A segment shows its domain the better the longer it is; as many pairs are shown in all. "
            "Points are seeds, lines their means."
        ),
        draw=draw_lengths,
    ),
)
