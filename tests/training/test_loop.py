"""The loop's learning rate, and settings that are refused."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosal.training.loop import TrainingConfig, cycle_ends, is_logged, learning_rate_at
from callosal.training.stateful import StatefulConfig


@given(num_steps=st.integers(1, 300), warmup=st.integers(0, 50), peak=st.floats(1e-5, 1.0), floor=st.floats(0.0, 1.0))
def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine(
    num_steps: int, warmup: int, peak: float, floor: float
) -> None:
    config = TrainingConfig(num_steps=num_steps, learning_rate=peak, warmup_steps=warmup, final_fraction=floor)
    rates = [learning_rate_at(step, config) for step in range(num_steps)]
    assert all(0.0 < rate <= peak * (1 + 1e-12) for rate in rates)
    for step, rate in enumerate(rates):
        # The half-angle form of the cosine.
        fall = math.cos(math.pi * step / (2 * num_steps)) ** 2
        full = peak * (floor + (1 - floor) * fall)
        assert rate == pytest.approx(full * min(1.0, (step + 1) / max(1, warmup)))
    after = rates[max(warmup, 1) - 1 :]
    assert all(one >= other for one, other in pairwise(after))
    if warmup <= 1:
        assert rates[0] == pytest.approx(peak)


@given(first=st.integers(1, 40), cycles=st.integers(1, 4), floor=st.floats(0.0, 1.0))
def test_each_cycle_is_a_whole_fall_and_twice_as_long_as_the_one_before(first: int, cycles: int, floor: float) -> None:
    settings = {"learning_rate": 0.5, "warmup_steps": 0, "final_fraction": floor}
    config = TrainingConfig(num_steps=first * (2**cycles - 1), cycles=cycles, **settings)
    ends = cycle_ends(config)
    lengths = [end - begun for begun, end in pairwise((0, *ends))]
    assert lengths == [first * 2**number for number in range(cycles)]
    assert ends[-1] == config.num_steps
    falls = [learning_rate_at(step, TrainingConfig(num_steps=n, **settings)) for n in lengths for step in range(n)]
    assert [learning_rate_at(step, config) for step in range(config.num_steps)] == falls
    assert all(is_logged(end, config) for end in ends)


COUNTS = ("num_steps", "log_every", "checkpoint_every", "cycles")
WRONG = [
    *((TrainingConfig, name, 0, "at least 1") for name in (*COUNTS, "batch_size", "num_threads")),
    *((StatefulConfig, name, -1, "at least 1") for name in (*COUNTS, "truncate")),
    *((kind, "learning_rate", 0.0, "above 0 and finite") for kind in (TrainingConfig, StatefulConfig)),
    (TrainingConfig, "learning_rate", math.nan, "above 0 and finite"),
    (TrainingConfig, "clip_norm", -1.0, "above 0"),
    (StatefulConfig, "clip_norm", math.nan, "above 0"),
    (StatefulConfig, "truncate", 0, "at least 1"),
    (TrainingConfig, "cycles", 2, r"must be a multiple of 2\*\*cycles - 1, 3"),
]


@pytest.mark.parametrize(("kind", "name", "value", "allowed"), WRONG)
def test_a_wrong_setting_is_refused_with_what_is_allowed(kind: type, name: str, value: float, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{name} is {value}; .* {allowed}$"):
        kind(**({"num_steps": 1} | {name: value}))
