"""How far runs are: what is left at the pace that was seen, and lines in a log while it is being written."""

import io
import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from callosal.lab.progress import SECONDS_BETWEEN_LINES, Lines, Tally, displays


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tally_of(num_workers: int, **steps: int) -> tuple[Tally, Clock]:
    clock = Clock()
    return Tally(steps, num_workers, clock), clock


def test_the_rest_takes_as_long_as_the_pace_says() -> None:
    tally, clock = tally_of(2, a=100, b=100, c=100, d=100)
    assert (tally.share, tally.seconds_left, str(tally)) == (0.0, None, "0 of 4 runs done, 0 % of the steps")
    # The first word of a run counts for no time: it may go on from a checkpoint, and starting it took a while.
    clock.now += 50.0
    tally.hear("a", 0.5, "")
    tally.hear("b", 0.0, "")
    assert tally.seconds_left is None
    # 20 steps in 10 seconds by each of two: half a second a step, and 270 steps for two workers.
    clock.now += 10.0
    tally.hear("a", 0.7, "")
    tally.hear("b", 0.2, "loss 1")
    assert tally.seconds_left == pytest.approx(0.5 * 310 / 2)
    assert str(tally) == "0 of 4 runs done, 22 % of the steps, about 1 min left"
    # What a run does after its last step counts too: 50 steps in 40 seconds, 20 in 10.
    clock.now += 30.0
    tally.hear("a", 1.0, "evaluating")
    tally.end("a")
    assert tally.seconds_left == pytest.approx(50 / 70 * 280 / 2)
    # What was said before the end and is read after it is old.
    tally.hear("a", 0.9, "")
    assert (tally.num_ended, round(tally.share, 9), list(tally.running)) == (1, 0.3, ["b"])
    # One that was never heard of has ended as well.
    tally.end("c")
    tally.hear("b", 1.0, "")
    tally.hear("d", 0.5, "")
    clock.now += 1.0
    # The last run keeps one of the two workers busy.
    pace = sum(run.at - run.since for run in tally.heard.values()) / (50 + 100)
    assert tally.seconds_left == pytest.approx(pace * 50 / 2)
    tally.end("b")
    assert tally.seconds_left == pytest.approx((pace * 150 + 1.0) / 150 * 50)
    tally.end("d")
    assert (str(tally), tally.seconds_left) == ("4 of 4 runs done, 100 % of the steps", None)


EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0.0, 1.0), st.floats(0.0, 1e4), st.booleans()), max_size=20
)


@given(st.integers(1, 4), EVENTS)
def test_whatever_runs_say_the_shares_and_seconds_are_possible(num_workers: int, events: list) -> None:
    """Shares may fall, as where a run has two trainings."""
    tally, clock = tally_of(num_workers, a=1, b=1000, c=10)
    for name, share, seconds, is_end in events:
        clock.now += seconds
        if is_end:
            tally.end(name)
        else:
            tally.hear(name, share, "")
        assert 0.0 <= tally.share <= 1.0 + 1e-9
        assert 0 <= tally.num_ended <= 3
        left = tally.seconds_left
        assert left is None or (left >= 0.0 and math.isfinite(left))
        assert str(tally)


def test_a_line_is_written_at_the_start_at_ends_and_every_so_often() -> None:
    tally, clock = tally_of(2, a=100, b=100)
    lines = Lines(Console(file=(said := io.StringIO()), width=20))

    def written() -> list[str]:
        lines.show(tally)
        text = said.getvalue()
        said.truncate(0)
        said.seek(0)
        return text.splitlines()

    assert written() == ["after 0 s: 0 of 2 runs done, 0 % of the steps"]
    tally.hear("a", 0.0, "[b]loss")
    assert written() == []
    clock.now += SECONDS_BETWEEN_LINES
    tally.hear("a", 0.5, "[b]loss")
    # However narrow the console, one line; and what a run says is no markup.
    assert written() == ["after 30 s: 0 of 2 runs done, 25 % of the steps, about 45 s left; a 50 % [b]loss"]
    assert written() == []
    tally.end("b")
    (line,) = written()
    assert line.startswith("after 30 s: 1 of 2 runs done, 75 % of the steps")


@pytest.fixture
def written() -> Iterator[str]:
    """What a process has written into a pipe while it still runs, waiting for more input."""
    code = """
from callosal.lab.progress import Tally, displays
with displays() as show:
    show(Tally({"a": 1}, 1))
    input()
"""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline()
        _, errors = process.communicate("\n")
        assert errors == ""


def test_a_log_file_has_its_lines_at_once(written: str) -> None:
    assert written == "after 0 s: 0 of 1 runs done, 0 % of the steps\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_has_bars_and_a_file_has_lines(is_terminal: bool) -> None:
    console = Console(file=(said := io.StringIO()), force_terminal=is_terminal, width=100)
    tally, clock = tally_of(1, a=100, b=100)
    with displays(console) as show:
        show(tally)
        tally.hear("a", 0.0, "starts")
        clock.now += SECONDS_BETWEEN_LINES
        tally.hear("a", 0.5, "loss 1.0")
        show(tally)
        tally.end("a")
        show(tally)
    text = said.getvalue()
    assert ("\N{BOX DRAWINGS HEAVY HORIZONTAL}" in text) is is_terminal
    assert "1 of 2 runs done" in text
    assert "about" in text
