"""The numbers behind the map's figures: means by cell, and what the mean field predicts.

The mean field, ours: two domains, equally frequent, whose centred contexts are +m and -m with
|m| = 1, and two banks with W_s = [[a, b], [c, d]]. Let w be its differential mode,
(a + d - b - c) / 2, which is 1 - s at the start, and D the D_sep of one domain, minus that of the
other. Signed plasticity draws the banks' axes to c_left = w D m = -c_right, so the banks' drives
differ by 2 w D, what the coupling makes of them by 2 w^2 D, and the shares of a softmax with the
gain g by

    D = tanh(x D), x = g w^2.

Below x = 1 only D = 0 solves it; above, two domains on opposite sides do.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar

from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study

DEFAULT_GAIN = 4.0
# What is changed in each row of the strips; the first is the default cell.
VARIANTS = {
    "": "default",
    "frozen": "$W_s$ frozen",
    "gradient": "axes by gradient",
    "slots": "slots drive",
    "slots gain=8": "slots drive, gain 8",
    "no-homeostasis": "no homeostasis",
    "no-homeostasis gain=1": "no homeostasis, gain 1",
    "token": "token as context",
    "carry=0.5": "context carried, 0.5",
    "carry=0.9": "context carried, 0.9",
    "pairs=2": "segments of 4 tokens",
    "pairs=4": "segments of 8 tokens",
}

Value = Callable[[RunRecord], float | None]


def cell_name(sign: float, variant: str = "") -> str:
    """Return the name that the map has for a cell.

    >>> cell_name(-1.0), cell_name(0.5, "gain=2")
    ('s=-1', 's=+0.5 gain=2')
    """
    return f"s={sign:+g} {variant}".strip()


def signed_number(sign: float) -> str:
    """Write a sign as figures do, with a true minus and none before 0."""
    return f"{sign:+g}".replace("-", "\N{MINUS SIGN}") if sign else "0"


def variant_of(run: RunRecord) -> str:
    """Return what a run's cell changes beside the sign."""
    return run.arm.partition(" ")[2]


def plane_runs(study: Study) -> list[RunRecord]:
    """Return the runs of the plane of sign and gain."""
    return [run for run in study.records if _gain_variant(run) == variant_of(run)]


def signs_of(runs: Sequence[RunRecord]) -> list[float]:
    """Return the signs that runs start from, inhibition first."""
    return sorted({run.config["memory"]["sign"] for run in runs})


def gains_of(runs: Sequence[RunRecord]) -> list[float]:
    """Return the gains of runs, the smallest first."""
    return sorted({run.config["memory"]["gain"] for run in runs})


def plane(study: Study, value: Value) -> Float[np.ndarray, "gain sign"]:
    """Return the mean over seeds of each cell of the plane of sign and gain; NaN without runs."""
    runs = plane_runs(study)
    rows = ["" if gain == DEFAULT_GAIN else f"gain={gain:g}" for gain in gains_of(runs)]
    return means(study, rows, signs_of(runs), value)


def means(
    study: Study, variants: Sequence[str], signs: Sequence[float], value: Value
) -> Float[np.ndarray, "variant sign"]:
    """Return the mean over seeds of each variant's cell at each sign; NaN without runs."""
    table = np.full((len(variants), len(signs)), np.nan)
    for row, variant in enumerate(variants):
        for column, sign in enumerate(signs):
            found = [value(run) for run in study.of(cell_name(sign, variant))]
            numbers = [number for number in found if number is not None]
            if numbers:
                table[row, column] = np.mean(numbers)
    return table


def opposite_separation(run: RunRecord) -> float | None:
    """Return half the difference of two domains' D_sep, in size.

    Their mean |D_sep| where they lie on opposite sides; 0 where one bank takes both.
    """
    measures = run.evaluation["specialization"]
    if measures is None or len(measures["separation"]) != 2:
        return None
    first, second = measures["separation"]
    return abs(first - second) / 2


def initial_strength(run: RunRecord) -> float:
    """Return x = g w^2 with the differential mode that the sign gives."""
    memory = run.config["memory"]
    return memory["gain"] * (1.0 - memory["sign"]) ** 2


def learned_strength(run: RunRecord) -> float | None:
    """Return x = g w^2 with the differential mode that training ended with; None if not logged."""
    couplings = [point["coupling"] for point in run.curve if "coupling" in point]
    if not couplings:
        return None
    (a, b), (c, d) = couplings[-1]
    return run.config["memory"]["gain"] * ((a + d - b - c) / 2) ** 2


def predict_separation(strength: float) -> float:
    """Solve D = tanh(x D) for the largest D.

    >>> [round(predict_separation(x), 3) for x in (0.5, 1.0, 1.5, 2.674, 8.0)]
    [0.0, 0.0, 0.859, 0.99, 1.0]
    """
    small = 1e-9

    def excess(separation: float) -> float:
        return math.tanh(strength * separation) - separation

    if excess(small) <= 0.0:
        return 0.0
    return float(root_scalar(excess, bracket=(small, 1.0), xtol=1e-13).root)


def _gain_variant(run: RunRecord) -> str:
    gain = run.config["memory"]["gain"]
    return "" if gain == DEFAULT_GAIN else f"gain={gain:g}"
