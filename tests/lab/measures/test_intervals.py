"""Intervals over seeds, against formulas, tables and simulations that owe nothing to the functions they check."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosal.lab.measures.intervals import (
    AMOUNT,
    NUMBER,
    RATIO,
    SHARE,
    SIGNED_SHARE,
    Scale,
    seed_interval,
    share_interval,
)

# 97.5 % points of Student's t, from a printed table, by degrees of freedom.
STUDENT = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622}
VALUES = st.floats(-1e3, 1e3)
RATIOS = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6)
SCALES = st.sampled_from([SHARE, SIGNED_SHARE, AMOUNT, NUMBER, SHARE.of_differences, Scale(low=0.1, high=0.3)])


@st.composite
def seeds_on(draw: st.DrawFn, scale: Scale, num: int | None = None) -> list[float]:
    """Draw the numbers of some seeds, often on the very ends of the scale and as near to them as floats go."""
    low, high = max(scale.low, -1e6), min(scale.high, 1e6)
    value = st.one_of(st.floats(low, high), st.sampled_from([low, high, math.nextafter(low, high)]))
    return draw(st.lists(value, min_size=num or 2, max_size=num or 8))


@given(SCALES, st.data())
def test_an_interval_holds_the_mean_and_never_leaves_the_scale(scale: Scale, data: st.DataObject) -> None:
    values = data.draw(seeds_on(scale))
    interval = seed_interval(values, scale)
    rounding = 1e-9 * max(map(abs, values))
    assert interval.estimate == pytest.approx(sum(values) / len(values), abs=rounding)
    assert scale.low <= interval.low <= interval.estimate + rounding
    assert interval.estimate - rounding <= interval.high <= scale.high


@given(SCALES, st.data(), st.integers(1, 6))
def test_equal_seeds_give_a_point_and_one_seed_gives_none(scale: Scale, data: st.DataObject, count: int) -> None:
    (value,) = data.draw(seeds_on(scale, 1))
    interval = seed_interval([value] * count, scale)
    assert interval.estimate == value
    if count == 1:
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
    else:
        assert (interval.low, interval.high) == (value, value)


@given(st.sampled_from(sorted(STUDENT)), st.data())
def test_without_ends_it_is_students_interval_and_far_ends_do_not_matter(freedom: int, data: st.DataObject) -> None:
    n = freedom + 1
    values = data.draw(st.lists(VALUES, min_size=n, max_size=n))
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    reach = STUDENT[n - 1] * math.sqrt(variance / n)
    # The table has four decimals: half of one, in units of the smallest of its entries, is 2.3e-5.
    close = 2.3e-5 * reach + 1e-9
    for scale, tolerance in ((NUMBER, close), (Scale(low=-1e9, high=1e9), close + reach**2 * 1e-8)):
        interval = seed_interval(values, scale)
        assert interval.estimate == pytest.approx(mean, abs=1e-9)
        assert interval.low == pytest.approx(mean - reach, rel=1e-9, abs=tolerance)
        assert interval.high == pytest.approx(mean + reach, rel=1e-9, abs=tolerance)


@given(st.lists(st.floats(0.01, 0.99), min_size=5, max_size=5))
def test_with_two_ends_it_is_students_interval_of_the_logit(values: list[float]) -> None:
    mean = sum(values) / 5
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 4 / 5)
    # The slope of the logit at the mean is 1 / (m (1 - m)).
    reach = STUDENT[4] * error / (mean * (1.0 - mean))
    low, high = (1.0 / (1.0 + math.exp(way * reach) * (1.0 - mean) / mean) for way in (1, -1))
    interval = seed_interval(values, SHARE)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-3)
    # Neither the unit nor which end is called which matters.
    turned = seed_interval([1.0 - value for value in values], SHARE)
    assert (1.0 - turned.high, 1.0 - turned.low) == pytest.approx((interval.low, interval.high), abs=1e-9)
    signed = seed_interval([2.0 * value - 1.0 for value in values], SIGNED_SHARE)
    ends = (2.0 * interval.low - 1.0, 2.0 * interval.high - 1.0)
    assert (signed.low, signed.high) == pytest.approx(ends, abs=1e-9)


@given(RATIOS, st.floats(1e-3, 1e3))
def test_amounts_scale_and_are_symmetric_on_logarithms(values: list[float], unit: float) -> None:
    interval = seed_interval(values, AMOUNT)
    assert interval.low * interval.high == pytest.approx(interval.estimate**2)
    scaled = seed_interval([unit * value for value in values], AMOUNT)
    assert (scaled.low, scaled.high) == pytest.approx((unit * interval.low, unit * interval.high))


@given(RATIOS)
def test_ratios_are_averaged_on_logarithms_and_turn_upside_down(ratios: list[float]) -> None:
    interval = seed_interval(ratios, RATIO)
    assert interval.estimate == pytest.approx(math.exp(sum(map(math.log, ratios)) / len(ratios)))
    logs = seed_interval([math.log(ratio) for ratio in ratios])
    assert (interval.low, interval.high) == pytest.approx((math.exp(logs.low), math.exp(logs.high)), rel=1e-6)
    inverse = seed_interval([1.0 / ratio for ratio in ratios], RATIO)
    assert inverse.estimate == pytest.approx(1.0 / interval.estimate)
    assert inverse.low * interval.high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("draw", "mean", "scale", "least"),
    [
        # Student's interval covers 0.919, 0.855 and 0.835 of the first three; the bootstrap's percentiles 0.81 to 0.73.
        (lambda rng, size: rng.beta(18.0, 2.0, size), 0.9, SHARE, 0.93),
        (lambda rng, size: rng.beta(5.0, 0.5, size), 10 / 11, SHARE, 0.90),
        (lambda rng, size: np.exp(rng.standard_normal(size)), math.exp(0.5), AMOUNT, 0.87),
        # A ratio's own mean is geometric.
        (lambda rng, size: np.exp(rng.standard_normal(size)), 1.0, RATIO, 0.93),
    ],
)
def test_five_seeds_cover_their_mean_nearly_as_often_as_said(draw, mean: float, scale: Scale, least: float) -> None:
    samples = draw(np.random.default_rng(0), (2000, 5))
    found = [seed_interval(sample.tolist(), scale) for sample in samples]
    share = sum(interval.low <= mean <= interval.high for interval in found) / len(found)
    # An interval that always held the mean would be too wide.
    assert least <= share <= 0.97


@pytest.mark.parametrize(
    ("ratios", "expected"),
    # The second is too far apart for a float.
    [([10.0, 10.0, 10.0], (10.0, 10.0, 10.0)), ([1e-60, 1e60], (1.0, 0.0, math.inf))],
)
def test_ratios_worked_out_by_hand(ratios: list[float], expected: tuple[float, ...]) -> None:
    interval = seed_interval(ratios, RATIO)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_seed_that_is_no_number_leaves_no_interval(value: float) -> None:
    interval = seed_interval([1.0, value], AMOUNT)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize(
    ("values", "scale", "message"),
    [
        ([], NUMBER, "at least one value"),
        ([0.5, 1.2], SHARE, "1.2 is no number from 0 to 1"),
        ([-0.1], RATIO, "-0.1 is no number from 0 to inf"),
        ([-3.0, -1.0], Scale(high=0.0), "turn the sign"),
    ],
)
def test_what_has_no_interval_is_refused(values: list[float], scale: Scale, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        seed_interval(values, scale)


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
