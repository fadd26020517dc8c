"""Means and 95 % intervals over seeds that cannot leave what a quantity can be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Which numbers a quantity can be, and how seeds are averaged.

    Attributes:
        low: the smallest possible number.
        high: the largest.
        is_ratio: whether it is a ratio of what two runs of a seed have: its mean is geometric.
    """

    low: float = -math.inf
    high: float = math.inf
    is_ratio: bool = False

    @property
    def of_sizes(self) -> "Scale":
        """The scale of its absolute values."""
        return Scale(low=0.0, high=max(abs(self.low), abs(self.high)))

    @property
    def of_differences(self) -> "Scale":
        """The scale of the difference of two numbers on it."""
        return Scale(low=self.low - self.high, high=self.high - self.low)


NUMBER = Scale()
AMOUNT = Scale(low=0.0)
SHARE = Scale(low=0.0, high=1.0)
SIGNED_SHARE = Scale(low=-1.0, high=1.0)
RATIO = Scale(low=0.0, is_ratio=True)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its 95 % interval; NaN where there is none, as of one seed."""

    estimate: float
    low: float
    high: float


def seed_interval(values: Sequence[float], scale: Scale = NUMBER) -> Interval:
    r"""Return the mean over seeds with a 95 % interval that stays on the quantity's scale.

    Student's interval is taken where the scale has no ends, and carried back by the delta method:

    $$h^{-1}\left(h(\bar x) \pm t_{n-1}\, h'(\bar x)\, s / \sqrt n\right),$$

    with $h$ the identity (no ends), the logarithm of the distance to the only end, or the logit (two ends). Single
    seeds may lie on an end: $h$ is asked for the mean alone. Of ratios it is the interval of the logarithms, so that
    the ratio turned upside down has the interval turned upside down. Ours; the logit form is that of surveys (Korn and
    Graubard, 1998). Equal seeds give a point, since they show no spread; that does not make them certain.

    Args:
        values: a number per seed.
        scale: what they can be.

    Raises:
        ValueError: no value, one that is not on the scale, or a scale with an upper end only.

    >>> seed_interval([1.0, 2.0, 3.0]).estimate
    2.0
    >>> seed_interval([1.0, 1.0, 1.0, 1.0, 0.5], SHARE).high < 1.0
    True
    """
    if not len(values):
        raise ValueError("an interval over no seeds; at least one value is needed")
    found = np.asarray(values, dtype=float)
    off = found[(found < scale.low) | (found > scale.high)]
    if len(off):
        raise ValueError(f"{off[0]:g} is no number from {scale.low:g} to {scale.high:g}, which is what it can be")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if scale.is_ratio:
            logs = seed_interval(np.log(found).tolist())
            low, estimate, high = np.exp([logs.low, logs.estimate, logs.high]).tolist()
            return Interval(estimate=estimate, low=low, high=high)
        mean = float(np.mean(found))
        if len(found) == 1 or not math.isfinite(mean):
            return Interval(estimate=mean, low=math.nan, high=math.nan)
        if found.min() == found.max():
            # What rounding does to the mean of equal numbers is no spread.
            return Interval(estimate=float(found[0]), low=float(found[0]), high=float(found[0]))
        error = float(np.std(found, ddof=1)) / math.sqrt(len(found))
        reach = error * float(special.stdtrit(len(found) - 1, 0.5 + LEVEL / 2))
        low, high = (_moved(mean, way * reach, scale) for way in (-1.0, 1.0))
        return Interval(estimate=mean, low=low, high=high)


def share_interval(successes: int, trials: int) -> Interval:
    """Return a share of seeds with Wilson's interval, which stays inside [0, 1] and is never a point."""
    result = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Interval(estimate=successes / trials, low=float(result.low), high=float(result.high))


def _moved(mean: float, by: float, scale: Scale) -> float:
    """Move a mean by a distance, as measured where it stands, on the scale's own line without ends."""
    below, above = mean - scale.low, scale.high - mean
    if math.isinf(below) and math.isinf(above):
        return mean + by
    if math.isinf(below):
        raise ValueError(f"a scale up to {scale.high:g} without a lower end; turn the sign of the quantity")
    if not (below > 0.0 < above):
        # The seeds are nearer to an end than floats can say.
        return mean
    if math.isinf(above):
        return scale.low + below * float(np.exp(by / below))
    # The weight of the far end: the logistic function of a logit that has moved.
    weight = 1.0 / (1.0 + above / below * float(np.exp(-(by / below + by / above))))
    return min(scale.low + (scale.high - scale.low) * weight, scale.high)
