"""Runs on record: one line of JSON each, appended and never rewritten. Imports no torch."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from callosal.lab.report.upgrade import upgrade

FILE_NAME = "runs.jsonl"

# What the benchmark compares, in the order of every table.
Arm = Literal["no-memory", "inhibitory", "uncoupled", "excitatory"]
ARMS: tuple[Arm, ...] = get_args(Arm)
# A measured value: its measure and number, and what else of KEYS says which of its kind it is.
Value = Mapping[str, Any]
# What tells the values of one measure apart.
KEYS = ("measure", "domain", "condition", "after", "bank", "place", "fact")


class RecordError(ValueError):
    """A file of runs is missing or damaged."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is kept of a finished run: everything that a report needs.

    Attributes:
        fingerprint: hash of the complete configuration.
        recipe: its name.
        arm: which of the compared models, or the name of a study's cell.
        seed: of the run.
        changed: what was set by hand; if anything, the run is off its recipe and not evidence.
        factors: what the runs of a study may differ in, by name (see ``upgrade.factors_of``).
        config: the complete configuration.
        values: what was measured, one tidy row each: ``measure``, ``value``, and of the other ``KEYS``
            those that apply: ``domain`` (or the kind of domain that is averaged over: "episodic", "rule"),
            ``condition``, ``after`` (further segments or turns), ``bank``, ``place`` (which memory
            of several), ``fact``.
        curve: points of the training curve.
        extras: what is no number: "snapshot", one memory before and after a write; "pretraining", a curve.
        num_parameters: of the model, those that are trained.
        wall_seconds: training and measuring, this session's part.
        versions: of python, torch and callosal.
    """

    fingerprint: str
    recipe: str
    arm: str
    seed: int
    changed: list[str]
    factors: dict[str, Any]
    config: dict[str, Any]
    values: list[Value]
    curve: list[dict[str, Any]]
    num_parameters: int
    wall_seconds: float
    versions: dict[str, str]
    extras: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _found(self) -> dict[tuple[Any, ...], float]:
        return {tuple(row.get(key) for key in KEYS): row["value"] for row in self.values}

    def get(self, measure: str, **where: Any) -> float | None:
        """Return a measured value, whose other keys are exactly ``where``; None if it was not measured."""
        return self._found.get((measure, *(where.get(key) for key in KEYS[1:])))

    def rows(self, measure: str) -> list[Value]:
        """Return all values of a measure, in the order of the record."""
        return [row for row in self.values if row["measure"] == measure]


def read_records(folder: Path) -> list[RunRecord]:
    """Read all runs of a folder; a last line that a kill cut short is not a run yet.

    Such a line has no end and does not parse. One without an end that does is a whole run.

    Raises:
        RecordError: no file, or a line that is not a run.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise RecordError(f"there is no {FILE_NAME} in {folder}; make one with callosal reproduce")
    records = []
    *lines, last = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines + [last] * _parses(last), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise RecordError(f"line {number} of {path} is not a run; delete that line and run again") from error
    return records


def append_record(folder: Path, record: RunRecord) -> None:
    """Append a run, first removing a last line that a kill cut short."""
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        is_whole = _parses(content[end:])
        if not is_whole:
            file.truncate(end)
        file.write(b"\n" * is_whole + json.dumps(asdict(record)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


# What each field of a record and each key of a value has to be, or the report would fail far from the cause.
_KINDS = {
    "fingerprint": str,
    "recipe": str,
    "arm": str,
    "seed": int,
    "changed": list,
    "factors": dict,
    "config": dict,
    "values": list,
    "curve": list,
    "num_parameters": int,
    "wall_seconds": (int, float),
    "versions": dict,
    "extras": dict,
}
_NUMBERS = {"after": int, "bank": int, "place": int, "value": (int, float)}
_KINDS_OF_KEYS: dict[str, Any] = {**dict.fromkeys(KEYS, str), **_NUMBERS}


def _record(content: Any) -> RunRecord:
    content = upgrade(content)
    if set(content) != {item.name for item in fields(RunRecord)}:
        raise ValueError(f"fields {sorted(content)}")
    wrong = [name for name, kind in _KINDS.items() if not _is_a(kind, content[name])]
    wrong += ["changed"] * any(not isinstance(change, str) for change in content["changed"])
    wrong += ["curve"] * any(not _is_a(int, point["step"]) for point in content["curve"])
    rows = content["values"]
    for row in rows:
        # A key that is missing or unknown is an error by itself.
        keys = ("measure", "value", *row)
        wrong += [key for key in keys if not _is_a(_KINDS_OF_KEYS[key], row[key])]
    if wrong:
        raise TypeError(f"{', '.join(wrong)} of another type")
    if len({tuple(map(row.get, KEYS)) for row in rows}) < len(rows):
        raise ValueError("a value is there twice")
    return RunRecord(**content)


def _is_a(kind: Any, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _parses(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
