"""Means and 95 % intervals over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its 95 % interval; one seed leaves low and high infinite."""

    estimate: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean with Student's t interval over seeds.

    Raises:
        ValueError: no value.

    >>> mean_interval([1.0, 2.0, 3.0]).estimate
    2.0
    """
    if not len(values):
        raise ValueError("an interval over no seeds; at least one value is needed")
    # The seeds of a run that diverged are infinite, and their spread is no number.
    with np.errstate(invalid="ignore"):
        mean = float(np.mean(values))
        if len(values) == 1:
            return Interval(estimate=mean, low=-math.inf, high=math.inf)
        error = float(stats.sem(values))
    reach = error * float(stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1))
    return Interval(estimate=mean, low=mean - reach, high=mean + reach)


def log_ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Return the geometric mean of ratios paired by seed, with t's interval on their logarithms.

    Raises:
        ValueError: the lists differ in length, or a value is not above zero.
    """
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} numerators meet {len(denominators)} denominators")
    if min([*numerators, *denominators], default=0.0) <= 0.0:
        raise ValueError("a ratio of losses needs values above zero")
    logs = np.log(numerators) - np.log(denominators)
    interval = mean_interval(logs.tolist())
    # numpy's exp, unlike math's, goes on to infinity where seeds are too far apart for a float.
    with np.errstate(over="ignore"):
        low, estimate, high = np.exp([interval.low, interval.estimate, interval.high]).tolist()
    return Interval(estimate=estimate, low=low, high=high)


def share_interval(successes: int, trials: int) -> Interval:
    """Return a share of seeds with Wilson's interval, which stays inside [0, 1]."""
    result = stats.binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    return Interval(estimate=successes / trials, low=float(result.low), high=float(result.high))
