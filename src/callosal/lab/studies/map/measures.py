"""What the map's report derives from its runs, and what the mean field predicts.

The mean field, ours: two domains, equally frequent, whose centred contexts are +m and -m with |m| = 1, and two banks
with W_s = [[a, b], [c, d]]. Let w be its differential mode, (a + d - b - c) / 2, which is 1 - s at the start, and D
the D_sep of one domain, minus that of the other. Signed plasticity draws the banks' axes to c_left = w D m = -c_right,
so the banks' drives differ by 2 w D, what the coupling makes of them by 2 w^2 D, and the shares of a softmax with the
gain g by

    D = tanh(x D), x = g w^2.

Below x = 1 only D = 0 solves it; above, two domains on opposite sides do.
"""

import math
from collections.abc import Iterator

from scipy.optimize import root_scalar

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.studies.map.cells import initial_strength

# From here on the mean field has |D_sep| at 0.99 or above.
SATURATION = 2.674


def derive(run: RunRecord) -> Iterator[Value]:
    """Give the strength of the competition, and how far the domains lie on opposite sides."""
    memory = run.config["memory"]
    start = initial_strength(memory["sign"], memory["gain"])
    yield {"measure": "strength", "condition": "start", "value": start}
    couplings = [point["coupling"] for point in run.curve if "coupling" in point]
    if couplings:
        (a, b), (c, d) = couplings[-1]
        learned = memory["gain"] * ((a + d - b - c) / 2) ** 2
        yield {"measure": "strength", "condition": "learned", "value": learned}
    sides = [row["value"] for row in run.rows("D_sep")]
    if len(sides) == 2:
        # Their mean |D_sep| where they lie on opposite sides; 0 where one bank takes both.
        yield {"measure": "opposite D_sep", "value": abs(sides[0] - sides[1]) / 2}


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
