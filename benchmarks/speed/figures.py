"""Pictures of the records, drawn as all others of this repository are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from benchmarks.speed.bars import Record
from matplotlib.figure import Figure

from callosal.lab.report.marks import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Bars, Line, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, Reference, draw, words

PASSES = {"forward": BLUE, "training": RED}
STAGES = ("query", "address", "softmax", "read", "consolidate", "transform", "write")
PEERS = (BLUE, ORANGE, ORANGE, GREEN, GREEN, GREY, PINK, PINK)
CENTRE = {"width": 256, "slots": 64, "banks": 2}


def spreads(
    x: Sequence[float], found: Sequence[Mapping[str, float]], colour: str, name: str = "", dash: str = "-"
) -> Iterable[Mark]:
    """Return a line through medians, and an upright one from quartile to quartile at each."""
    yield Line(x=x, seeds=np.array([[one["median"] for one in found]]), colour=colour, name=name, dash=dash)
    for place, one in zip(x, found, strict=True):
        yield Points(x=[place, place], y=[one["low"], one["high"]], colour=colour, marker="")
    yield Points(x=x, y=[one["median"] for one in found], colour=colour)


def floor(record: Record) -> Figure | None:
    """How many times its own multiplications the layer takes, and where the rest of its time goes."""
    panels = []
    for axis in CENTRE:
        others = {name: value for name, value in CENTRE.items() if name != axis}
        cells = [c for c in record["rows"] if all(c[name] == value for name, value in others.items())]
        cells = sorted(cells, key=lambda cell: cell[axis])
        if not cells:
            return None
        x = [cell[axis] for cell in cells]
        marks: list[Mark] = []
        for passes, colour in PASSES.items():
            ratios = [stage_of(cell, "layer", passes)["ratio"] for cell in cells]
            marks += spreads(x, ratios, colour)
        panels.append(
            Panel(
                marks=marks,
                title=f"{axis} ({', '.join(f'{value} {name}' for name, value in others.items())})",
                x=Axis(scale="log", ticks=x, label=axis),
                y=Axis(label="time over multiplications'", has_grid=True),
                references=[Reference(at=1.0, text="floor", on_right=True, is_above=True)],
            )
        )
    legend = [Key(name=name, colour=colour) for name, colour in PASSES.items()]
    return draw([panels], (11.0, 3.9), legend=legend, share=(False, "row"))


def stages(record: Record) -> Figure | None:
    """Milliseconds of each stage and of its multiplications, at the centre of the grid."""
    cells = [c for c in record["rows"] if all(c[name] == value for name, value in CENTRE.items())]
    if not cells:
        return None
    panels = []
    for passes, colour in PASSES.items():
        rows = [stage_of(cells[0], stage, passes) for stage in STAGES]
        taken = np.array([1e3 * row["seconds"]["median"] for row in rows])
        least = np.array([0.0 if row["floor"] is None else 1e3 * row["floor"]["median"] for row in rows])
        places = range(len(STAGES))
        panels.append(
            Panel(
                marks=[
                    Bars(places=[p - 0.2 for p in places], heights=taken, colour=colour, width=0.38),
                    Bars(places=[p + 0.2 for p in places], heights=least, colour=GREY, width=0.38),
                ],
                title=passes if passes == "forward" else "forward and backward",
                x=words(STAGES, angle=35.0),
                y=Axis(label="milliseconds", has_grid=True),
            )
        )
    legend = [
        Key(name="stage", colour=BLUE, marker="patch"),
        Key(name="stage, backward too", colour=RED, marker="patch"),
        Key(name="its multiplications alone", colour=GREY, marker="patch"),
    ]
    return draw([panels], (11.0, 4.3), legend=legend)


def peers(record: Record) -> Figure | None:
    """Tokens a second of all, shape by shape."""
    shapes = list(dict.fromkeys((row["width"], row["slots"]) for row in record["rows"]))
    grid = []
    for place, (width, slots) in enumerate(shapes):
        rows = [row for row in record["rows"] if (row["width"], row["slots"]) == (width, slots)]
        names = [row["name"] for row in rows]
        marks: list[Mark] = []
        for n, row in enumerate(rows):
            colour = PEERS[n % len(PEERS)]
            # Right of one another, so that none hides another.
            marks += [
                Points(x=[n - 0.18], y=[row["forward"]["median"]], colour=colour),
                Points(x=[n], y=[row["training"]["median"]], colour=colour, is_filled=False),
                Points(x=[n + 0.18], y=[row["streaming"]], colour=colour, marker="^"),
            ]
        shown = names if place + 2 >= len(shapes) else [""] * len(names)
        grid.append(
            Panel(
                marks=marks,
                title=f"width {width}, {slots} slots a bank",
                x=words(shown, angle=40.0, limits=(-0.6, len(names) - 0.4)),
                y=Axis(scale="log", label="tokens a second", has_grid=True),
            )
        )
    legend = [
        Key(name="forward", marker="o"),
        Key(name="training", marker="o", is_filled=False),
        Key(name="token by token", marker="^"),
    ]
    lines = [[*grid[n : n + 2], *[None] * (2 - len(grid[n : n + 2]))] for n in range(0, len(grid), 2)]
    return draw(lines, (11.0, 8.4), legend=legend)


def scale(record: Record) -> Figure | None:
    """A token's time and what is held, against how much came before; and tokens a second against users."""
    stream, attention, users = record["stream"], record["attention"], record["users"]
    x, over = [row["tokens"] for row in stream], [row["tokens"] for row in attention]
    time: list[Mark] = [
        *spreads(x, [_scaled(row["seconds_a_token"], 1e6) for row in stream], BLUE, "callosal"),
        *spreads(over, [_scaled(row["seconds_a_token"], 1e6) for row in attention], PINK, "attention"),
    ]
    held: list[Mark] = [
        *_plain(x, [row["state_floats"] * 4 / 1024**2 for row in stream], BLUE),
        *_plain(over, [row["state_floats"] * 4 / 1024**2 for row in attention], PINK),
    ]
    rates: list[Mark] = []
    for passes, colour in PASSES.items():
        rates += spreads([row["users"] for row in users], [_scaled(row[passes], 1e-3) for row in users], colour)
    before = Axis(scale="log", label="tokens before")
    count = [row["users"] for row in users]
    panels = [
        Panel(marks=time, title="time of a token", x=before, y=Axis(scale="log", label="microseconds", has_grid=True)),
        Panel(marks=held, title="state of a row", x=before, y=Axis(scale="log", label="MiB", has_grid=True)),
        Panel(
            marks=rates,
            title="users at once",
            x=Axis(scale="log", label="users", ticks=count),
            y=Axis(label="thousand tokens a second", has_grid=True),
        ),
    ]
    legend = [
        Key(name="callosal", colour=BLUE),
        Key(name="full attention", colour=PINK),
        Key(name="callosal, training", colour=RED),
    ]
    return draw([panels], (11.0, 4.0), legend=legend)


def host(record: Record) -> Figure | None:
    """Milliseconds of a further token, alone and in sessions."""
    if not record["rows"]:
        return None
    variants = list(dict.fromkeys(row["variant"] for row in record["rows"]))
    panels = []
    for users in dict.fromkeys(row["users"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["users"] == users]
        marks: list[Mark] = []
        for place, (row, colour) in enumerate(zip(rows, (GREY, BLUE, SKY), strict=False)):
            times = {name: 1e3 * row["seconds_a_token"][name] for name in ("median", "low", "high")}
            marks.append(Bars(places=[place], heights=np.array([times["median"]]), colour=colour, width=0.6))
            marks.append(Points(x=[place, place], y=[times["low"], times["high"]], marker=""))
        panels.append(
            Panel(
                marks=marks,
                title=f"{users} user{'s' if users > 1 else ''}",
                x=words(variants, limits=(-0.6, len(variants) - 0.4)),
                y=Axis(label="milliseconds a step", has_grid=True),
            )
        )
    return draw([panels], (9.0, 3.6))


def stage_of(cell: Mapping[str, Any], stage: str, passes: str) -> Mapping[str, Any]:
    """Return a stage's row of a cell."""
    return next(row for row in cell["stages"] if (row["stage"], row["pass"]) == (stage, passes))


# By the name of the file: whose record it shows, and how it is drawn.
FIGURES: dict[str, tuple[str, Callable[[Record], Figure | None]]] = {
    "floor": ("floor", floor),
    "stages": ("floor", stages),
    "peers": ("peers", peers),
    "scale": ("scale", scale),
    "host": ("host", host),
}


def _scaled(spread: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: factor * spread[name] for name in ("median", "low", "high")}


def _plain(x: Sequence[float], y: Sequence[float], colour: str) -> Iterable[Mark]:
    return spreads(x, [{"median": value, "low": value, "high": value} for value in y], colour)
