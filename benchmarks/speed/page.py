"""Fill the tables of docs/speed.md and draw its pictures from the records: `python -m benchmarks.speed.page`."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.bars import BARS, NOT_MEASURED, Record, Records, times, verdict
from benchmarks.speed.figures import FIGURES
from benchmarks.speed.timing import RECORDS, ROOT

from callosal.lab.report.plots import style, to_png
from callosal.lab.report.render import markdown_rows
from callosal.lab.report.tables import Table

PAGE = ROOT / "docs" / "speed.md"
PICTURES = RECORDS / "figures"
PARTS = ("floor", "peers", "scale", "segments", "quick", "host", "precision")
MARKS = re.compile(r"(<!-- speed: (\w+) -->\n).*?(<!-- end of table -->)", flags=re.DOTALL)


def read(folder: Path = RECORDS) -> dict[str, Any]:
    """Return the records that there are of this suite, by part; older forms and quick runs are none."""
    found = {}
    for part in (*PARTS, "store"):
        path = folder / f"{part}.json"
        record = json.loads(path.read_text()) if path.exists() else None
        is_ours = isinstance(record, dict) and record.get("part") == part and not record["quick"]
        if is_ours or (part == "store" and record):
            found[part] = record
    return found


def filled(page: str, records: Records) -> str:
    """Return a page with what the records say between its marks.

    Raises:
        KeyError: a mark names no table.
    """
    return MARKS.sub(lambda found: f"{found[1]}{TABLES[found[2]](records)}{found[3]}", page)


def draw(records: Records, folder: Path = PICTURES) -> list[Path]:
    """Draw the pictures that there are records for; the same records give the same bytes."""
    drawn = []
    with style():
        for name, (part, make) in FIGURES.items():
            figure = make(records[part]) if part in records else None
            (folder / f"{name}.png").unlink(missing_ok=True)
            if figure is not None:
                folder.mkdir(parents=True, exist_ok=True)
                drawn.append(folder / f"{name}.png")
                drawn[-1].write_bytes(to_png(figure))
    return drawn


def bars(records: Records) -> str:
    """Every bar and its verdict."""
    rows = [[bar.what, bar.wanted or "-", *verdict(bar, records)] for bar in BARS]
    return table(["bar", "wanted", "measured", "at the floor", "verdict"], rows, 1)


def machines(records: Records) -> str:
    """What was measured where."""
    rows = []
    for part in PARTS:
        if part in records:
            at = records[part]["machine"]
            seconds = f"{records[part]['seconds']:,.0f}"
            rows.append([part, at["cpu"], str(at["threads"]), at["torch"], f"{at['load']:.1f}", seconds])
        else:
            rows.append([part, *[NOT_MEASURED] * 2, *["-"] * 3])
    return table(["part", "processor", "threads", "torch", "load before", "seconds"], rows, 2)


def floor(record: Record) -> str:
    """Every stage's time over its multiplications', cell by cell."""
    names = list(dict.fromkeys(row["stage"] for row in record["rows"][0]["stages"]))
    rows = []
    for cell in record["rows"]:
        for passes in ("forward", "training"):
            found = {row["stage"]: row for row in cell["stages"] if row["pass"] == passes}
            cells = [_stage(found[name]) for name in names]
            rows.append([str(cell["width"]), str(cell["slots"]), str(cell["banks"]), passes, *cells])
    text = table(["width", "slots", "banks", "pass", *names], rows, 4)
    return picture("floor", "The layer's time over its multiplications'", "stages", "Milliseconds of each stage") + text


def peers(record: Record) -> str:
    """All contenders, shape by shape."""
    rows = [
        [
            f"{row['width']}, {row['slots']}",
            row["name"],
            f"{row['state_floats']:,}",
            *(_thousands(row[passes]) for passes in ("forward", "training")),
            f"{row['streaming'] / 1000:.2f}",
            *(times(row[f"{passes}_ratio"]) for passes in ("forward", "training")),
            f"{row['training_mib']:,.0f}",
        ]
        for row in record["rows"]
    ]
    heads = ["width, slots", "layer", "state floats", "forward", "training", "token by token"]
    text = table([*heads, "time over ours, forward", "training", "peak MiB, training"], rows, 2)
    return picture("peers", "Tokens a second of the memory and its peers") + text


def scale(record: Record) -> str:
    """The stream, attention beside it, users and banks."""
    stream = [
        [f"{r['tokens']:,}", _micro(r["seconds_a_token"]), times(r["ratio"]), _mib(r), f"{r['held_mib']:,.0f}"]
        for r in record["stream"]
    ]
    attention = [
        [f"{r['tokens']:,}", _micro(r["seconds_a_token"]), times(r["ratio"]), _mib(r)] for r in record["attention"]
    ]
    parts = [
        picture("scale", "Time of a token, state, and users at once"),
        table(["tokens before", "µs a token", "over a new stream", "state, MiB", "process, MiB"], stream, 0),
        "\nFull attention:\n\n",
        table(["tokens before", "µs a token", "over ours", "keys and values, MiB"], attention, 0),
    ]
    for name in ("users", "banks"):
        rows = [
            [str(r[name]), _thousands(r["forward"]), _thousands(r["training"]), _mib(r), f"{r['peak_mib']:,.0f}"]
            for r in record[name]
        ]
        heads = [name, "forward, thousand tokens a second", "training", "state, MiB", "process's peak so far, MiB"]
        parts += [f"\n{name.capitalize()}:\n\n", table(heads, rows, 0)]
    return "".join(parts)


def segments(record: Record) -> str:
    """All segments at once against one by one."""
    rows = [
        [
            str(row["batch"]),
            *(_milli(row[name]) for name in ("at_once", "one_by_one")),
            times(row["ratio"]),
            *((_milli(row["multiplications"]), times(row["most"])) if "most" in row else ("-", "-")),
        ]
        for row in record["rows"]
    ]
    heads = [
        "batch",
        "at once, ms",
        "one by one, ms",
        "ratio",
        "multiplications of all at once, ms",
        "one by one over these",
    ]
    return table(heads, rows, 0)


def quick(record: Record) -> str:
    """What a training step of the recipe ``quick`` is made of."""
    before = record["commit_before"]
    names = {
        "step": "inhibitory arm",
        "before": f"the same, at commit {before}",
        "without memory": "arm without memory",
        "trunk": "the trunk's multiplications",
        "memory": "the memory's multiplications",
        "multiplications": "all multiplications",
    }
    rows = [
        [names[r["side"]], _milli(r["seconds_a_step"]), times(r["over_step"]), _times_if_any(r["over_before"])]
        for r in sorted(record["rows"], key=lambda row: list(names).index(row["side"]))
    ]
    return table(["a step", "ms", "over the inhibitory arm's", f"over that of {before}"], rows, 1)


def host(record: Record) -> str:
    """What a session costs."""
    if not record["rows"]:
        return f"Not measured: {record['skipped']}.\n"
    heads = ["users", "memories", "ms a step", "over alone", "prefill and one token, ms", "over alone"]
    text = picture("host", "Milliseconds of a step, alone and in a session")
    rows = [
        [*_hosted(row), f"{row['generating_mib']:,.0f}" if "generating_mib" in row else "-"] for row in record["rows"]
    ]
    text += table([*heads, "peak above load, MiB"], rows, 2) + "\nCompiled:\n\n"
    compiled = record.get("compiled")
    if not compiled or "skipped" in compiled:
        return f"{text}Not measured: {compiled['skipped'] if compiled else 'the record is older'}.\n"
    return text + table(heads, [_hosted(row) for row in compiled["rows"]], 2)


def precision(record: Record) -> str:
    """What products in bfloat16 save, and what they cost."""
    shapes = list(dict.fromkeys((row["width"], row["slots"]) for row in record["rows"]))
    rows = []
    for shape in shapes:
        found = [row for row in record["rows"] if (row["width"], row["slots"]) == shape]
        rows.append([*map(str, shape), *(times(row["ratio"]) for row in found)])
    text = table(["width", "slots", "forward", "training", "token by token"], rows, 2)
    distances = [
        [f"{row['segments']:,}", *(f"{row[name]:.1e}" for name in ("float32", "bfloat16"))]
        for row in record["distances"]
    ]
    heads = ["segments", "distance in float32", "with products in bfloat16"]
    where = f"({record['width']}, {record['slots']})"
    told = f"\nDistance of the memory from float64's, as a share of its norm, at {where}:\n\n"
    return text + told + table(heads, distances, 0)


def store(record: Record) -> str:
    """Loads and saves a second."""
    rows = [
        [name, f"{r['saves_per_second']:,}", f"{r['loads_per_second']:,}", f"{r['list_seconds']:g}", f"{r['users']:,}"]
        for name, r in record.items()
        if r
    ]
    return table(["store", "saves a second", "loads a second", "seconds to list all", "users"], rows, 1)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], num_labels: int) -> str:
    """Write a table as Markdown."""
    return markdown_rows(Table(title="", headers=list(headers), rows=[*map(list, rows)], num_labels=num_labels))


def picture(*names: str) -> str:
    """Write pictures: name, title, name, title, ..."""
    pairs = zip(names[::2], names[1::2], strict=True)
    return "".join(f"![{title}](../results/benchmarks/figures/{name}.png)\n\n" for name, title in pairs)


def of(part: str, write: Callable[[Record], str]) -> Callable[[Records], str]:
    """Return what fills a mark: what is written of a part's record, or that there is none."""
    return lambda records: write(records[part]) if part in records else f"Not measured: no `{part}.json`.\n"


TABLES: dict[str, Callable[[Records], str]] = {
    "bars": bars,
    "machines": machines,
    "floor": of("floor", floor),
    "peers": of("peers", peers),
    "scale": of("scale", scale),
    "segments": of("segments", segments),
    "quick": of("quick", quick),
    "host": of("host", host),
    "precision": of("precision", precision),
    "store": of("store", store),
}


def main() -> None:
    """Fill the page and draw its pictures."""
    records = read()
    draw(records)
    PAGE.write_text(filled(PAGE.read_text(), records))


def _stage(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return f"{1e3 * row['seconds']['median']:.2f} ms"
    return times(row["ratio"])


def _times_if_any(spread: Mapping[str, float] | None) -> str:
    return "-" if spread is None else times(spread)


def _hosted(row: Mapping[str, Any]) -> list[str]:
    step, prefill = _milli(row["seconds_a_token"]), _milli(row["prefill_seconds"])
    return [str(row["users"]), row["variant"], step, times(row["ratio"]), prefill, times(row["prefill_ratio"])]


def _scaled(spread: Mapping[str, float], factor: float) -> str:
    median, low, high = (f"{factor * spread[name]:.3g}" for name in ("median", "low", "high"))
    return f"{_plain(median)} [{_plain(low)}, {_plain(high)}]"


def _plain(number: str) -> str:
    return f"{float(number):,.0f}" if "e" in number else number


def _micro(spread: Mapping[str, float]) -> str:
    return _scaled(spread, 1e6)


def _milli(spread: Mapping[str, float]) -> str:
    return _scaled(spread, 1e3)


def _thousands(spread: Mapping[str, float]) -> str:
    return _scaled(spread, 1e-3)


def _mib(row: Mapping[str, Any]) -> str:
    return f"{row['state_floats'] * 4 / 1024**2:.3g}"


if __name__ == "__main__":
    main()
