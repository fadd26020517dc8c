"""The bars that were set for speed, and what the records say of each."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Records = Mapping[str, Record]
NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar and where its figure comes from.

    Attributes:
        what: is asked for.
        at_least: the least that meets it; None where there is a most.
        at_most: the most that meets it.
        part: whose record is looked into; "" where no part measures it.
        figures: the spreads that it is about; the worst of them counts.
    """

    what: str
    part: str = ""
    at_least: float | None = None
    at_most: float | None = None
    figures: Callable[[Record], Iterable[Mapping[str, float]]] = lambda record: ()

    def worst(self, records: Records) -> Mapping[str, float] | None:
        """Return the spread that is furthest from meeting it; None where nothing was measured."""
        found = list(self.figures(records[self.part])) if self.part in records else []
        if not found:
            return None
        choose = min if self.at_least is not None else max
        return choose(found, key=lambda spread: spread["median"])

    @property
    def wanted(self) -> str:
        """The bar in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    def meets(self, median: float) -> bool:
        """Whether a median meets it."""
        least = self.at_least is None or median >= self.at_least
        return least and (self.at_most is None or median <= self.at_most)


def titans(passes: str) -> Callable[[Record], Iterable[Mapping[str, float]]]:
    """Return how many times as long titans-pytorch takes, at every shape."""
    return lambda record: [r[f"{passes}_ratio"] for r in record["rows"] if r["name"] == "titans-pytorch"]


def floor(passes: str, fits: Callable[[int], bool]) -> Callable[[Record], Iterable[Mapping[str, float]]]:
    """Return how many times its multiplications the layer takes, at the widths that fit."""
    return lambda record: [
        stage["ratio"]
        for cell in record["rows"]
        if fits(cell["width"])
        for stage in cell["stages"]
        if (stage["stage"], stage["pass"]) == ("layer", passes)
    ]


def session(users: int) -> Callable[[Record], Iterable[Mapping[str, float]]]:
    """Return what a session with one memory costs a further token."""
    return lambda record: [
        row["ratio"] for row in record["rows"] if (row["variant"], row["users"]) == ("1 layer", users)
    ]


def memory_growth(record: Record) -> Iterable[Mapping[str, float]]:
    """Return what the process holds at every tenth of the stream, over what it held at the first."""
    first = record["stream"][0]["held_mib"]
    for row in record["stream"]:
        grown = row["held_mib"] / first
        yield {"median": grown, "low": grown, "high": grown, "rounds": 1}


def wide(width: int) -> bool:
    """Whether the bar of wide layers is for this width."""
    return width >= 256


def narrow(width: int) -> bool:
    """Whether the bar of narrow layers is for this width."""
    return width == 64


BARS = (
    Bar(
        what="titans-pytorch's time over ours, forward, the least of four shapes",
        part="peers",
        at_least=10.0,
        figures=titans("forward"),
    ),
    Bar(what="the same, training", part="peers", at_least=10.0, figures=titans("training")),
    Bar(
        what="the layer's time over its multiplications', widths of 256 and more, forward, the most of the grid",
        part="floor",
        at_most=1.3,
        figures=floor("forward", wide),
    ),
    Bar(what="the same, training", part="floor", at_most=1.3, figures=floor("training", wide)),
    Bar(what="the same at width 64, forward", part="floor", at_most=2.0, figures=floor("forward", narrow)),
    Bar(what="the same at width 64, training", part="floor", at_most=2.0, figures=floor("training", narrow)),
    Bar(
        what="a further token of SmolLM2 in a session with one memory, over the model alone, 1 user",
        part="host",
        at_most=1.05,
        figures=session(1),
    ),
    Bar(what="the same, 16 users", part="host", at_most=1.05, figures=session(16)),
    Bar(
        what="a token's time in a stream of a million over a new stream's, the most of ten places",
        part="scale",
        at_most=1.1,
        figures=lambda record: [row["ratio"] for row in record["stream"]],
    ),
    Bar(
        what="the process's memory there over that at the first place", part="scale", at_most=1.1, figures=memory_growth
    ),
    Bar(
        what="training one segment a call over all at once, batch 1",
        part="segments",
        at_least=4.0,
        figures=lambda record: [row["ratio"] for row in record["rows"] if row["batch"] == 1],
    ),
    Bar(
        what="the same, the least of all batches: never slower",
        part="segments",
        at_least=1.0,
        figures=lambda record: [row["ratio"] for row in record["rows"]],
    ),
    Bar(what="time of `make reproduce` over that of the commit before the work on speed", at_most=0.75),
    Bar(what="GPU: eager, compiled, one kernel for reading and writing"),
)


def times(spread: Mapping[str, float]) -> str:
    """Write how many times as much, with the quartiles."""
    return f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"


def verdict(bar: Bar, records: Records) -> tuple[str, str]:
    """Return what was measured, with its quartiles, and whether that meets the bar."""
    worst = bar.worst(records)
    if worst is None:
        return NOT_MEASURED, NOT_MEASURED
    return times(worst), "met" if bar.meets(worst["median"]) else "not met"
