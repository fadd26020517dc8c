"""How far the runs of a study are and how long the rest takes: bars on a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

# Between two lines of a log, unless a run ends before.
SECONDS_BETWEEN_LINES = 30.0


@dataclass(kw_only=True)
class Heard:
    """What a run said of itself.

    Attributes:
        first: the share done when it was first heard of; more than a little where it goes on from a checkpoint.
        since: when that was.
        share: done by now.
        at: when it was last heard of, or ended.
        text: what it said last.
        is_ended: whether it is done, in whichever way.
    """

    first: float
    since: float
    share: float
    at: float
    text: str
    is_ended: bool = False


class Tally:
    """What was heard of all runs.

    Args:
        steps: that each run takes, by its name.
        num_workers: how many run side by side.
        clock: tells seconds.
    """

    def __init__(self, steps: Mapping[str, int], num_workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.steps, self.num_workers, self.clock = dict(steps), num_workers, clock
        self.heard: dict[str, Heard] = {}
        self.begun = clock()

    def hear(self, name: str, share: float, text: str) -> None:
        """Note what a run says of itself; what comes in after its end is old."""
        now = self.clock()
        run = self.heard.setdefault(name, Heard(first=share, since=now, share=share, at=now, text=text))
        if not run.is_ended:
            run.share, run.at, run.text = share, now, text

    def end(self, name: str) -> None:
        """Note that a run is done, even if nothing was ever heard of it."""
        self.hear(name, 1.0, "")
        self.heard[name].is_ended = True

    @property
    def running(self) -> dict[str, Heard]:
        """The runs that were heard of and are not done."""
        return {name: run for name, run in self.heard.items() if not run.is_ended}

    @property
    def num_ended(self) -> int:
        """How many runs are done."""
        return len(self.heard) - len(self.running)

    @property
    def steps_left(self) -> float:
        """The steps that are still to be taken."""
        shares = {name: run.share for name, run in self.heard.items()}
        return sum(steps * (1.0 - shares.get(name, 0.0)) for name, steps in self.steps.items())

    @property
    def share(self) -> float:
        """The share of all steps that is done."""
        total = sum(self.steps.values())
        return 1.0 - self.steps_left / total if total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest takes; None while there is nothing to go by, or no step left.

        The steps that are left, at the pace of those that were seen, among the workers that will be busy with them.
        What a run does after its last step is in that pace once one has ended.
        """
        taken = sum(self.steps[name] * (run.share - run.first) for name, run in self.heard.items())
        if taken <= 0.0 or self.steps_left <= 0.0:
            return None
        seconds = sum(run.at - run.since for run in self.heard.values())
        busy = min(self.num_workers, len(self.steps) - self.num_ended)
        return seconds / taken * self.steps_left / busy

    def __str__(self) -> str:
        """Say how far all runs are."""
        text = f"{self.num_ended} of {len(self.steps)} runs done, {100 * self.share:.0f} % of the steps"
        left = self.seconds_left
        return text if left is None else f"{text}, about {in_words(left)} left"


class Bars:
    """A bar for all runs and one for each that is running."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.all = progress.add_task("all runs", total=1.0, text="")
        self.bars: dict[str, TaskID] = {}

    def show(self, tally: Tally) -> None:
        """Draw."""
        self.progress.update(self.all, completed=tally.share, text=str(tally))
        running = tally.running
        for name in self.bars.keys() - running.keys():
            self.progress.remove_task(self.bars.pop(name))
        for name, run in running.items():
            if name not in self.bars:
                self.bars[name] = self.progress.add_task(name, total=1.0, text="")
            self.progress.update(self.bars[name], completed=run.share, text=run.text)


class Lines:
    """A line at the start, at every end of a run, and every so often; each is written at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.said: tuple[int, float] | None = None

    def show(self, tally: Tally) -> None:
        """Write a line if one is due."""
        now = tally.clock()
        if self.said is not None:
            ended, at = self.said
            if ended == tally.num_ended and now - at < SECONDS_BETWEEN_LINES:
                return
        self.said = tally.num_ended, now
        parts = [f"{name} {100 * run.share:.0f} % {run.text}".rstrip() for name, run in tally.running.items()]
        line = "; ".join([f"after {in_words(now - tally.begun)}: {tally}", *parts])
        # Rich flushes what it prints.
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def displays(console: Console | None = None) -> Iterator[Callable[[Tally], None]]:
    """Open what shows a tally: on a terminal bars, elsewhere lines; it is called with the tally as often as one likes.

    Args:
        console: where to; by default bars go to standard error if that is a terminal, and lines to standard output
            unless both are terminals, so that a log file has them whatever else is watched.
    """
    screen, log = (Console(stderr=True), Console()) if console is None else (console, console)
    shown: list[Bars | Lines] = []

    def show(tally: Tally) -> None:
        for display in shown:
            display.show(tally)

    with ExitStack() as stack:
        if screen.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%")]
            progress = Progress(*columns, TextColumn("{task.fields[text]}"), console=screen)
            shown.append(Bars(stack.enter_context(progress)))
        if not (screen.is_terminal and log.is_terminal):
            shown.append(Lines(log))
        yield show


def in_words(seconds: float) -> str:
    """Write a duration with the digits that matter.

    >>> [in_words(s) for s in (4.4, 59.6, 61, 3599, 3660, 90000)]
    ['4 s', '1 min', '1 min', '1 h 00 min', '1 h 01 min', '25 h 00 min']
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60.0)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
