"""Intervals over seeds, against formulas and tables that owe nothing to the functions they check."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosal.lab.measures.intervals import log_ratio_interval, mean_interval, share_interval

# 97.5 % points of Student's t, from a printed table, by degrees of freedom.
STUDENT = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622}
VALUES = st.floats(-1e3, 1e3)
LOSSES = st.floats(1e-6, 1e3)


@given(st.sampled_from(sorted(STUDENT)), st.data())
def test_the_mean_has_students_interval(freedom: int, data: st.DataObject) -> None:
    n = freedom + 1
    values = data.draw(st.lists(VALUES, min_size=n, max_size=n))
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    reach = STUDENT[n - 1] * math.sqrt(variance / n)
    interval = mean_interval(values)
    assert interval.estimate == pytest.approx(mean, abs=1e-9)
    # The table has four decimals: half of one, in units of the smallest of its entries, is 2.3e-5.
    for edge, expected in ((interval.low, mean - reach), (interval.high, mean + reach)):
        assert edge == pytest.approx(expected, rel=1e-9, abs=2.3e-5 * reach + 1e-9)


@given(VALUES, st.integers(1, 6))
def test_equal_values_leave_no_doubt_and_one_says_nothing(value: float, count: int) -> None:
    interval = mean_interval([value] * count)
    assert interval.estimate == pytest.approx(value, rel=1e-9)
    edges = (interval.low, interval.high)
    expected = (-math.inf, math.inf) if count == 1 else (value, value)
    assert edges == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.tuples(LOSSES, LOSSES), min_size=2, max_size=6))
def test_ratios_are_averaged_on_the_scale_of_logarithms(pairs: list[tuple[float, float]]) -> None:
    numerators, denominators = map(list, zip(*pairs, strict=True))
    interval = log_ratio_interval(numerators, denominators)
    product = sum(math.log(a / b) for a, b in pairs)
    assert interval.estimate == pytest.approx(math.exp(product / len(pairs)))
    logs = mean_interval([math.log(a / b) for a, b in pairs])
    assert interval.low == pytest.approx(math.exp(logs.low), rel=1e-6)
    assert interval.high == pytest.approx(math.exp(logs.high), rel=1e-6)
    # Turned upside down, the ratio and its interval turn upside down.
    inverse = log_ratio_interval(denominators, numerators)
    assert inverse.estimate == pytest.approx(1.0 / interval.estimate)
    assert inverse.low * interval.high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("numerators", "denominators", "expected"),
    [
        # Paired by seed: a constant ratio leaves no doubt, however much the losses themselves spread.
        ([1.0, 10.0, 500.0], [0.1, 1.0, 50.0], (10.0, 10.0, 10.0)),
        ([6.0], [2.0], (3.0, 0.0, math.inf)),
        # Too far apart for a float.
        ([1e-60, 1e60], [1.0, 1.0], (1.0, 0.0, math.inf)),
    ],
)
def test_ratios_worked_out_by_hand(numerators: list, denominators: list, expected: tuple) -> None:
    interval = log_ratio_interval(numerators, denominators)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("numerators", "denominators", "message"),
    [
        ([1.0], [1.0, 2.0], "1 numerators meet 2 denominators"),
        ([0.0], [1.0], "above zero"),
        ([1.0], [-1.0], "above zero"),
        ([], [], "above zero"),
    ],
)
def test_values_without_an_interval_are_refused(numerators: list, denominators: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_ratio_interval(numerators, denominators)
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])


@given(st.integers(1, 50), st.data())
def test_a_share_has_wilsons_interval(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    share, z = successes / trials, 1.959963984540054
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials)
    reach *= math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    interval = share_interval(successes, trials)
    assert interval.estimate == share
    assert interval.low == pytest.approx(centre - reach, abs=1e-9)
    assert interval.high == pytest.approx(centre + reach, abs=1e-9)
    assert 0.0 <= interval.low <= share <= interval.high <= 1.0
