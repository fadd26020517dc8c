"""Clearly synthetic runs of the benchmark: records that no model ever made, for tests of the report."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from callosal.lab.report.records import ARMS, KEYS, RunRecord, Value
from callosal.lab.report.study import Quantity, Study, make_study, of
from callosal.lab.report.upgrade import retention_values

LETTERS = 8
CHANCE = math.log(LETTERS)
MARKS = (0, 10, 100, 1000)
SIGNS = {"inhibitory": -1.0, "uncoupled": 0.0, "excitatory": 1.0}
# What a made-up arm ends at: |D_sep|, cipher loss, recall after the most further segments.
ENDS = {
    "no-memory": (None, CHANCE, 1 / LETTERS),
    "inhibitory": (0.998, 0.004, 0.99),
    "uncoupled": (0.85, 0.01, 0.45),
    "excitatory": (0.01, 0.003, 0.13),
}
SHORT = {of("recall", after=mark): None for mark in MARKS[1:]}


def run(arm: str, seed: int, values: Mapping[Quantity, float | None] | None = None, /, **fields: Any) -> RunRecord:
    """Make up a run of an arm, then change some of its values (None takes one away) and fields."""
    size, loss, kept = ENDS[arm]
    # No two seeds are alike, and which bank is the cipher's changes.
    loss, side = loss * (1 + 1e-4 * seed), 1.0 if seed % 2 else -1.0
    first = kept if size is None else 1.0
    recall = [first + (kept - first) * n / 3 for n in range(len(MARKS))]
    retention = {"distractors": MARKS, "recall": recall, "loss": [1.0 - r for r in recall]}
    found = {
        of("loss", "episodic"): loss,
        of("loss", "rule"): 1e-4,
        of("accuracy", "episodic"): recall[0],
        of("accuracy", "rule"): 1.0,
        of("train_seconds"): 80.0,
    }
    if size is not None:
        for sign, domain in ((side, "cipher"), (-side, "arithmetic")):
            for bank, share in enumerate(((1 + sign * size) / 2, (1 - sign * size) / 2)):
                found[of("share", domain, bank=bank)] = share
            found[of("D_sep", domain)] = sign * size
        found |= {of("P_ct"): (1 - size) / 2, of("dominance"): 0.5, of("information"): size**2}
    record = RunRecord(
        fingerprint=f"{arm}{seed}",
        recipe="synthetic",
        arm=arm,
        seed=seed,
        changed=[],
        factors={"sign": SIGNS[arm]} if arm in SIGNS else {},
        config={
            "seed": seed,
            "episodes": {"num_letters": LETTERS, "pairs_per_segment": 8},
            "training": {"num_steps": 1000, "batch_size": 32},
            "evaluation_episodes": 2048,
        },
        values=[*map(_row, found, found.values()), *retention_values(retention)],
        curve=[_point(arm, step / 100, loss, side) for step in range(0, 101, 20)],
        num_parameters=120_000,
        wall_seconds=90.0 + seed,
        versions={"python": "0", "torch": "0", "callosal": "0"},
        extras={} if size is None else {"snapshot": SNAPSHOT},
    )
    return replace(with_values(record, values or {}), **fields)


def runs(num_seeds: int = 3) -> list[RunRecord]:
    return [run(arm, seed) for arm in ARMS for seed in range(num_seeds)]


def study(*records: RunRecord) -> Study:
    return make_study("made-up", records)


def with_values(record: RunRecord, values: Mapping[Quantity, float | None]) -> RunRecord:
    """Change some values of any run; None takes one away."""
    kept = [row for row in record.values if quantity_of(row) not in values]
    added = [_row(q, value) for q, value in values.items() if value is not None]
    return replace(record, values=[*kept, *added])


def quantity_of(row: Value) -> Quantity:
    return Quantity(**{key: row[key] for key in KEYS if key in row})


def _row(quantity: Quantity, value: float) -> Value:
    return {k: v for k, v in asdict(quantity).items() if v is not None} | {"value": value}


def _point(arm: str, done: float, loss: float, side: float) -> dict[str, Any]:
    size = ENDS[arm][0]
    falling = CHANCE * (loss / CHANCE) ** done
    point = {"step": int(1000 * done), "episodic_loss": falling, "rule_loss": 2.4 * 1e-4**done}
    if size is None:
        return point
    own, other = 1.0 + 0.3 * done, SIGNS[arm] + 0.1 * done
    return point | {
        "separation": [side * size * done, -side * size * done],
        "cross_talk": (1 - size * done) / 2,
        "coupling": [[own, other], [other, own]],
    }


SNAPSHOT = {
    "norms": [[[0.1 * n * slot for slot in range(4)]] * 2 for n in range(5)],
    "domains": [0, 1, 0, 1],
    "bound": 32.0,
}
