"""The bars that were set for speed, and what the records say of each."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Records = Mapping[str, Record]
NOT_MEASURED = "not measured"
Figures = Callable[[Record], Iterable[Mapping[str, float]]]
# What a ratio to the multiplications is where nothing but these takes time.
ITSELF = {"median": 1.0, "low": 1.0, "high": 1.0}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar and where its figure comes from.

    Attributes:
        what: is asked for.
        at_least: the least that meets it; None where there is a most.
        at_most: the most that meets it.
        part: whose record is looked into; "" where no part measures it.
        figures: the spreads that it is about; the worst of them counts.
        at_floor: the same if ours took exactly its multiplications' time. Where the worst of these misses the bar too,
            it is out of reach. None where no such floor was measured.
    """

    what: str
    part: str = ""
    at_least: float | None = None
    at_most: float | None = None
    figures: Figures = lambda record: ()
    at_floor: Figures = lambda record: ()

    def worst(self, records: Records, figures: Figures | None = None) -> Mapping[str, float] | None:
        """Return which of its spreads, or of others, is furthest from meeting it; None where none was measured."""
        found = list((figures or self.figures)(records[self.part])) if self.part in records else []
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


def titans(key: str) -> Figures:
    """Return how many times as long titans-pytorch takes, at every shape."""
    return lambda record: [r[key] for r in record["rows"] if r["name"] == "titans-pytorch" and key in r]


def floor(passes: str, fits: Callable[[int], bool]) -> Figures:
    """Return how many times its multiplications the layer takes, at the widths that fit."""
    return lambda record: [
        stage["ratio"]
        for cell in record["rows"]
        if fits(cell["width"])
        for stage in cell["stages"]
        if (stage["stage"], stage["pass"]) == ("layer", passes)
    ]


def session(users: int) -> Figures:
    """Return what a session with one memory costs a further token."""
    return lambda record: [
        row["ratio"] for row in record["rows"] if (row["variant"], row["users"]) == ("1 layer", users)
    ]


def compiled(record: Record) -> Iterable[Mapping[str, float]]:
    """Return the same of compiled models."""
    # Older records say False.
    rows = (record.get("compiled") or {}).get("rows", ())
    return [row["ratio"] for row in rows if row["variant"] == "1 layer"]


def segments(key: str, fits: Callable[[int], bool]) -> Figures:
    """Return what one segment a call takes over something, at the batches that fit."""
    return lambda record: [row[key] for row in record["rows"] if fits(row["batch"]) and key in row]


def step(side: str) -> Figures:
    """Return what a side of the part quick takes over the step of before."""
    return lambda record: [row["over_before"] for row in record["rows"] if row["side"] == side and row["over_before"]]


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
        figures=titans("forward_ratio"),
        at_floor=titans("forward_over_floor"),
    ),
    Bar(
        what="the same, training",
        part="peers",
        at_least=10.0,
        figures=titans("training_ratio"),
        at_floor=titans("training_over_floor"),
    ),
    *(
        Bar(what=what, part="floor", at_most=most, figures=floor(passes, fits), at_floor=lambda record: [ITSELF])
        for what, most, passes, fits in (
            (
                "the layer's time over its multiplications', widths of 256 and more, forward, the most of the grid",
                1.3,
                "forward",
                wide,
            ),
            ("the same, training", 1.3, "training", wide),
            ("the same at width 64, forward", 2.0, "forward", narrow),
            ("the same at width 64, training", 2.0, "training", narrow),
        )
    ),
    Bar(
        what="a further token of SmolLM2 in a session with one memory, over the model alone, 1 user",
        part="host",
        at_most=1.05,
        figures=session(1),
    ),
    Bar(what="the same, 16 users", part="host", at_most=1.05, figures=session(16)),
    Bar(what="the same, 1 user, both compiled", part="host", at_most=1.05, figures=compiled),
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
        figures=segments("ratio", lambda batch: batch == 1),
        at_floor=segments("most", lambda batch: batch == 1),
    ),
    Bar(
        what="the same, the least of all batches: never slower",
        part="segments",
        at_least=1.0,
        figures=segments("ratio", lambda batch: True),
        at_floor=segments("most", lambda batch: True),
    ),
    Bar(
        what="time of `make reproduce` over that of the commit before the work on speed: of its training steps, "
        "inhibitory arm",
        part="quick",
        at_most=0.75,
        figures=step("step"),
        at_floor=step("multiplications"),
    ),
    Bar(what="GPU: eager, compiled, one kernel for reading and writing"),
)


def times(spread: Mapping[str, float]) -> str:
    """Write how many times as much, with the quartiles."""
    return f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"


def verdict(bar: Bar, records: Records) -> tuple[str, str, str]:
    """Return what was measured, what it would be at the floor, and whether that meets the bar or can."""
    worst, least = bar.worst(records), bar.worst(records, bar.at_floor)
    floor = "-" if least is None else f"{least['median']:.2f}" if least is ITSELF else times(least)
    if worst is None:
        return NOT_MEASURED, floor, NOT_MEASURED
    if bar.meets(worst["median"]):
        return times(worst), floor, "met"
    return times(worst), floor, "not met" if least is None or bar.meets(least["median"]) else "out of reach"
