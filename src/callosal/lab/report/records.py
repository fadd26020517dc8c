"""Runs on record: one line of JSON each, appended and never rewritten. Imports no torch."""

import json
import os
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

FILE_NAME = "runs.jsonl"

# What is compared, in the order of every table.
Arm = Literal["no-memory", "inhibitory", "uncoupled", "excitatory"]
ARMS: tuple[Arm, ...] = get_args(Arm)


class RecordError(ValueError):
    """A file of runs is missing or damaged."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is kept of a finished run: everything that a report needs.

    Attributes:
        fingerprint: hash of the complete configuration.
        recipe: its name.
        arm: which of the compared models.
        seed: of the run.
        changed: what was set by hand; if anything, the run is off its recipe and not evidence.
        config: the complete configuration.
        evaluation: see ``training.evaluation.Evaluation``.
        retention: see ``measures.retention.Retention``.
        curve: points of the training curve.
        snapshot: one memory before and after a write; None for a model without memory.
        num_parameters: of the model, those that are trained.
        wall_seconds: training and measuring, this session's part.
        versions: of python, torch and callosal.
        probes: what else was measured: ``train_seconds``, wall time of the training alone; ``state_floats``,
            numbers in a row's state, None without bound; what ``RunConfig.extras`` asked for, by its name.
    """

    fingerprint: str
    recipe: str
    arm: str
    seed: int
    changed: list[str]
    config: dict[str, Any]
    evaluation: dict[str, Any]
    retention: dict[str, Any]
    curve: list[dict[str, Any]]
    snapshot: dict[str, Any] | None
    num_parameters: int
    wall_seconds: float
    versions: dict[str, str]
    probes: dict[str, Any] = field(default_factory=dict)


def read_records(folder: Path) -> list[RunRecord]:
    """Read all runs of a folder; a last line that a kill cut short is not a run yet.

    Raises:
        RecordError: no file, or a line that is not a run.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise RecordError(f"there is no {FILE_NAME} in {folder}; make one with callosal reproduce")
    names = {item.name for item in fields(RunRecord)}
    needed = {item.name for item in fields(RunRecord) if item.default_factory is MISSING}
    records = []
    for number, line in enumerate(_whole_lines(path.read_bytes()), start=1):
        try:
            content = json.loads(line)
        except ValueError:
            content = None
        if not isinstance(content, dict) or not needed <= set(content) <= names:
            raise RecordError(
                f"line {number} of {path} is not a run; delete that line and run again"
            )
        records.append(RunRecord(**content))
    return records


def append_record(folder: Path, record: RunRecord) -> None:
    """Append a run, first removing a line that a kill cut short."""
    path = folder / FILE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write(json.dumps(asdict(record)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(content: bytes) -> list[bytes]:
    return content[: content.rfind(b"\n") + 1].splitlines()
