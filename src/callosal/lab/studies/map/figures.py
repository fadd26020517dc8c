"""The figures of the map: planes and strips of cells, the predicted threshold, W_s as it learns, length."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure

from callosal.lab.report.claims import SMALLEST_LOSS
from callosal.lab.report.curves import eigenvalues, training_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import AMOUNT, BLUE, GREEN, INK, ORANGE, RED, SIDES, SKY, Heat, Line, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, Reference, draw, words
from callosal.lab.report.study import LATERALIZED, Quantity, Study, of
from callosal.lab.studies.map.cells import DEFAULT, ENDS, SIGNS, VARIANTS, cell_name
from callosal.lab.studies.map.measures import SATURATION, predict_separation

# From inhibition to excitation, in the colours of the arms.
SIGN_COLOURS = {-1.0: BLUE, -0.5: SKY, 0.0: GREEN, 0.5: ORANGE, 1.0: RED}
MODE_COLOURS = ("#8a8a8a", BLUE)
# Where the axis of x = g w^2 ends: a logarithmic axis has no zero.
LEAST_STRENGTH = 0.05
_SMALLER = of("smaller |D_sep|")


def summary(study: Study) -> str:
    """Say in one sentence how many cells of the plane lateralize."""
    cells = dict.fromkeys(_plane(study)["arm"])
    values = [study.values(_SMALLER, study.where(arm=cell)) for cell in cells]
    found = [[value >= LATERALIZED for value in of_cell] for of_cell in values]
    if not found:
        return "The plane of sign and gain has no runs yet"
    every, none = sum(map(all, found)), sum(not any(cell) for cell in found)
    return (
        f"Of {len(found)} cells of sign and gain, {every} lateralize in every seed and "
        f"{none} in none (|D_sep| at least {LATERALIZED:g} in both domains, on opposite sides)"
    )


@figure("Sign and gain")
def plane(study: Study) -> Figure | None:
    """Means over seeds by the sign that W_s starts from and the gain of the competition; colours repeat the numbers,
    brighter is more (the cipher loss on a logarithmic scale). First panel: blue is sides of their own, the smaller
    |D_sep| of the two domains, negative where both are on one side; below it the seeds that lateralized, at least 0.99
    in both domains on opposite sides.
    """
    plane = _plane(study)
    if not len(plane):
        return None
    signs = sorted(plane["sign"].unique())
    gains = sorted(plane["gain"].unique(), reverse=True)
    rows = [{"gain": gain} for gain in gains]
    panels = []
    for title, quantity, heat in _measures(study):
        notes = None
        if quantity == _SMALLER:
            notes = [[_lateralized(study, sign, row) for sign in signs] for row in rows]
        table = _table(study, quantity, rows, signs)
        panels.append(_heat_panel(title, heat(table, notes), signs, [f"{gain:g}" for gain in gains]))
    panels = [[*panels[:3]], [*panels[3:]]]
    return draw(panels, (11.0, 6.6), share=(True, True))


@figure("What else could matter")
def strips(study: Study) -> Figure | None:
    """Means over seeds with one thing changed, at gain 4 and with segments of 16 tokens unless the row says otherwise.
    Red is one bank for both domains. Hatched: not run.
    """
    rows = [variant for variant in VARIANTS.values() if len(_variant(study, variant.factors))]
    if len(rows) < 2:
        return None
    signs = sorted(study.runs["sign"].unique())
    shown = [measure for n, measure in enumerate(_measures(study)) if n in (0, 1, 5)]
    labels = [variant.label for variant in rows]
    panels = [
        _heat_panel(title, heat(_table(study, quantity, [v.factors for v in rows], signs), None), signs, labels, "")
        for title, quantity, heat in shown
    ]
    return draw([panels], (11.0, 0.8 + 0.46 * len(rows)), share=(True, True))


@figure("A predicted threshold")
def threshold(study: Study) -> Figure | None:
    """Every run of the plane of sign and gain, and the runs with W_s frozen: half the difference of the two D_sep,
    which is their mean size where the domains are on opposite sides. The line is not fitted: it is what the equations
    give for two domains whose contexts do not spread, D = tanh(x D), 0 up to x = 1 and at least 0.99 from x = 2.67 on;
    with a spread a run may lie below it. Left, x is that of the sign; right, that of the W_s which training ended
    with.
    """
    learned, frozen = _plane(study), _variant(study, {"learn_crosstalk": False})
    if not len(learned) and not len(frozen):
        return None
    grid = np.unique(np.append(np.geomspace(LEAST_STRENGTH, 40.0, 400), [1.0, 1.001, 1.01]))
    predicted = Points(x=grid.tolist(), y=[predict_separation(float(x)) for x in grid], marker="")
    ticks = [LEAST_STRENGTH, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    names = [f"\N{LESS-THAN OR EQUAL TO} {LEAST_STRENGTH:g}", *(f"{tick:g}" for tick in ticks[1:])]
    panels = []
    for condition, title, label in (
        ("start", "$W_s$ as the sign starts it:  $x = g\\,(1 - s)^2$", "$x$ at the start of training"),
        ("learned", "$W_s$ as it was learned:  $x = g\\,w^2$", "$x$, with $w$ the differential mode of the last $W_s$"),
    ):
        marks: list[Mark] = [predicted]
        for runs, is_filled in ((learned, True), (frozen, False)):
            for sign in sorted(set(runs["sign"])):
                of_sign = study.where(runs, sign=sign)
                x = study.series(of("strength", condition=condition))
                y = study.series(of("opposite D_sep"))
                both = [n for n in of_sign.index if n in x.index and n in y.index]
                marks.append(
                    Points(
                        x=np.maximum(x[both], LEAST_STRENGTH).tolist(),
                        y=y[both].tolist(),
                        colour=_colour(sign),
                        marker="o" if is_filled else "D",
                        is_filled=is_filled,
                    )
                )
        panels.append(
            Panel(
                marks=marks,
                title=title,
                x=Axis(label=label, scale="log", limits=(LEAST_STRENGTH * 0.85, 40.0), ticks=ticks, names=names),
                y=Axis(label="|$D_{sep}$|, mean of both domains", limits=(-0.03, 1.08)),
                references=[
                    Reference(at=1.0, text="threshold", is_vertical=True, on_right=True),
                    Reference(at=SATURATION, text=f"D = {LATERALIZED:g}", is_vertical=True, on_right=True),
                ],
            )
        )
    signs = sorted({*learned["sign"], *frozen["sign"]})
    keys = [Key(name=f"s = {signed(sign)}", colour=_colour(sign), marker="o") for sign in signs]
    keys += [Key(name="$W_s$ frozen", marker="D", is_filled=False)] * bool(len(frozen))
    return draw([panels], (11.0, 4.6), legend=[*keys, Key(name="predicted, $D=\\tanh(xD)$")], share=(False, True))


@figure("W_s as it learns")
def modes(study: Study) -> Figure | None:
    """The two eigenvalues of W_s at gain 4.

    The common mode passes what the banks share; it has no gradient, since shares add up to one. The differential mode
    passes what sets the banks apart. Thin lines are seeds, thick lines their mean.
    """
    panels = []
    for sign in SIGNS:
        marks = [
            line
            for n, colour in enumerate(MODE_COLOURS)
            for line in training_lines(
                study, [cell_name(sign)], "coupling", lambda w, n=n: eigenvalues(w)[n], colour=colour
            )
        ]
        if marks:
            panels.append(
                Panel(
                    marks=marks,
                    title=f"s = {signed(sign)}",
                    colour=_colour(sign),
                    x=Axis(label="training step", ticks=(0, 200, 400)),
                    y=Axis(label="eigenvalue of $W_s$"),
                    references=[Reference(at=0.0)],
                )
            )
    names = ("common mode, $1 + s$ at the start", "differential mode $w$, $1 - s$ at the start")
    keys = [Key(name=name, colour=colour) for name, colour in zip(names, MODE_COLOURS, strict=True)]
    return draw([panels], (2.2 * max(len(panels), 3), 3.6), legend=keys, share=(False, True))


@figure("How long a segment must be")
def lengths(study: Study) -> Figure | None:
    """A segment shows its domain the better the longer it is; as many pairs are shown in all.

    Points are seeds, lines their means.
    """
    runs = _variant(study, {"pairs_per_segment": [2, 4, 8]})
    several = [s for s in ENDS if len(set(study.where(runs, sign=s)["pairs_per_segment"])) > 1]
    if not several:
        return None
    most = study.marks()[-1]
    panels = []
    for quantity, title in (
        (_SMALLER, "smaller |$D_{sep}$| of the two domains"),
        (of("recall", after=most), f"recall after {most:,} segments"),
    ):
        marks: list[Mark] = []
        for sign in several:
            own = study.where(runs, sign=sign)
            table = own.assign(value=study.series(quantity)).pivot_table(
                index="seed", columns="pairs_per_segment", values="value"
            )
            marks.append(
                Line(
                    x=[2 * int(pairs) for pairs in table.columns],
                    seeds=table.to_numpy(),
                    name=f"s = {signed(sign)}",
                    colour=_colour(sign),
                    marker="o",
                )
            )
        panels.append(
            Panel(
                marks=marks,
                title=title,
                x=Axis(label="tokens in a segment", ticks=(4, 8, 16)),
                y=Axis(limits=(-0.15, 1.04), has_grid=True),
                is_labelled=True,
            )
        )
    return draw([panels], (9.0, 3.9), share=(True, False))


def signed(sign: float) -> str:
    """Write a sign as figures do, with a true minus and none before 0."""
    return f"{sign:+g}".replace("-", "\N{MINUS SIGN}") if sign else "0"


def _plane(study: Study) -> pd.DataFrame:
    """Return the runs of the plane of sign and gain."""
    return study.where(None, **{name: value for name, value in DEFAULT.items() if name != "gain"})


def _variant(study: Study, factors: Mapping[str, Any]) -> pd.DataFrame:
    return study.where(None, **{**DEFAULT, **factors})


def _table(study: Study, quantity: Quantity, rows: Sequence[Mapping[str, Any]], signs: Sequence[float]) -> np.ndarray:
    """Return the mean over seeds of each row's cell at each sign; NaN without runs."""
    found = np.full((len(rows), len(signs)), np.nan)
    for n, factors in enumerate(rows):
        for m, sign in enumerate(signs):
            values = study.values(quantity, _variant(study, {**factors, "sign": sign}))
            if values:
                found[n, m] = np.mean(values)
    return found


def _measures(study: Study) -> list[tuple[str, Quantity, Callable[..., Heat]]]:
    """Return title, quantity and colours of the six panels."""
    most = study.marks()[-1]

    def heat(low: float, high: float, colours: Colormap = AMOUNT) -> Callable[..., Heat]:
        return lambda table, notes: Heat(
            table=table, colours=colours, norm=Normalize(low, high), text=_short, notes=notes
        )

    def losses(table: np.ndarray, _: object) -> Heat:
        table = np.maximum(table, SMALLEST_LOSS)
        least, most = float(np.nanmin(table)), float(np.nanmax(table))
        return Heat(table=table, norm=LogNorm(least, max(most, 1.01 * least)), text=_short)

    return [
        ("smaller |$D_{sep}$|, both domains", _SMALLER, heat(-1.0, 1.0, SIDES)),
        ("$P_{ct}$", of("P_ct"), heat(0.0, 0.5)),
        ("dominance", of("dominance"), heat(0.5, 1.0)),
        ("I(bank; domain)", of("information"), heat(0.0, 1.0)),
        ("cipher loss, nats", of("loss", "episodic"), losses),
        (f"recall after {most:,} segments", of("recall", after=most), heat(0.0, 1.0)),
    ]


def _heat_panel(title: str, heat: Heat, signs: Sequence[float], rows: Sequence[str], label: str = "gain $g$") -> Panel:
    columns = words([signed(sign) for sign in signs])
    return Panel(
        marks=[heat],
        title=title,
        x=Axis(label="sign $s$ at the start", ticks=columns.ticks, names=columns.names),
        y=Axis(label=label, ticks=range(len(rows)), names=rows),
    )


def _lateralized(study: Study, sign: float, row: Mapping[str, Any]) -> str:
    values = study.values(_SMALLER, _variant(study, {**row, "sign": sign}))
    return f"{sum(value >= LATERALIZED for value in values)}/{len(values)}"


def _short(value: float) -> str:
    """Write two decimals, three close to one, without a minus before nothing."""
    text = f"{value:.3f}" if 0.985 <= value < 0.9995 else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0.0 else text.replace("-", "\N{MINUS SIGN}")


def _colour(sign: float) -> str:
    return SIGN_COLOURS.get(sign, INK)


FIGURES = (plane, strips, threshold, modes, lengths)
