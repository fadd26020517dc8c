"""When a training is at its end: everything is held, or a cycle twice as long adds nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosal.lab.measures.finished import ALL, BEGUN, LEAST_FALL, LEAST_GAIN, Check, checks_of, state_of

LETTERS = 8
CHANCE = math.log(LETTERS)


@pytest.mark.parametrize(
    ("checks", "state"),
    [
        ([], "open"),
        ([(0.5, 1.0)], "open"),
        ([(ALL, 0.1)], "all"),
        ([(0.5, 1.0), (ALL, 0.1)], "all"),
        ([(0.5, 1.0), (0.5, 1.0)], "full"),
        # Either gain is enough to go on.
        ([(0.5, 1.0), (0.5 + 1.01 * LEAST_GAIN, 1.0)], "open"),
        ([(0.5, 1.0), (0.5, 1.0 - 1.01 * LEAST_FALL)], "open"),
        # The last cycle counts; what it unlearns is no gain.
        ([(0.3, 1.5), (0.5, 1.0), (0.45, 1.1)], "full"),
        ([(0.5, 1.0), (0.5, 1.0), (0.6, 0.8)], "open"),
        # Nothing has been learned yet.
        ([(0.125, CHANCE), (0.125, CHANCE)], "open"),
        ([(0.2, BEGUN * CHANCE), (0.2, BEGUN * CHANCE)], "open"),
    ],
)
def test_a_memory_is_full_where_more_training_adds_nothing(checks: list[tuple[float, float]], state: str) -> None:
    assert state_of([Check(step, *check) for step, check in enumerate(checks)], LETTERS) == state


@given(
    st.lists(st.tuples(st.integers(1, 999), st.floats(0.0, 1.0), st.floats(0.0, 9.0)), max_size=4), st.integers(0, 3)
)
def test_a_curve_keeps_what_was_checked(values: list[tuple[int, float, float]], between: int) -> None:
    checks = [Check(*value) for value in values]
    plain = [{"step": 5, "episodic_loss": 1.0}] * between
    curve = [point for check in checks for point in (*plain, {"step": check.step} | check.point)]
    assert checks_of(curve) == checks
