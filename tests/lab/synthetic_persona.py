"""Clearly synthetic runs of the persona study, some good and some bad: no model ever gave these numbers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from callosal.lab.studies.persona.claims import CELLS, LAYER, LAYERS, MAIN
from tests.lab.synthetic_rivals import measures_of

from callosal.lab.report.records import RunRecord

CHANCE = 1 / 24
MARKS = [0, 2, 10, 30, 100]
# The study's own; its seed 0 is no evidence.
SEEDS = (1, 2, 3)
# Recall at once, after the most turns of rules and of chatter, and a bank's share of telling, asking
# and rules.
Plan = tuple[float, float, float, tuple[float, float, float]]
PLANS: dict[str, Plan] = {
    **dict.fromkeys(CELLS, (0.98, 0.97, 0.97, (0.98, 0.99, 0.02))),
    LAYERS[0]: (0.55, 0.4, 0.1, (0.6, 0.7, 0.4)),
    LAYERS[1]: (0.93, 0.9, 0.2, (0.93, 0.94, 0.05)),
    LAYERS[2]: (0.95, 0.94, 0.15, (0.98, 0.99, 0.02)),
    LAYERS[3]: (0.9, 0.88, 0.1, (0.97, 0.96, 0.03)),
    "Llama, excitatory": (0.9, 0.3, 0.2, (0.51, 0.5, 0.5)),
    "Llama, one bank": (0.93, 0.35, 0.25, (1.0, 1.0, 1.0)),
    "Llama, apart": (0.4, 0.3, 0.1, (0.97, 0.05, 0.6)),
}


def persona_run(cell: str, seed: int, **changes: Any) -> RunRecord:
    """Make up a run of a cell; in even seeds the left bank serves the facts, in odd the right one."""
    rng = np.random.default_rng([CELLS.index(cell), seed])
    *recall, shares = PLANS[cell]
    soon, *late = (float(np.clip(v + rng.normal(0, 0.008), 0, 1)) for v in recall)
    shares = tuple(float(np.clip(s + rng.normal(0, 0.004), 0, 1)) for s in shares)
    rules, chatter = (_kept(soon, end) for end in late)
    num_steps = _steps_of(cell)
    steps = range(20, num_steps + 1, 20)
    decay = [CHANCE + 3.0 * math.exp(-step / 60) + rng.uniform(0, 0.02) for step in steps]
    fields = {
        "evaluation": evaluation(seed, soon, shares, num_banks=1 if "one bank" in cell else 2),
        "retention": rules,
        "curve": [
            {"step": s, "loss": v, "learning_rate": 3e-3, "gradient_norm": 1.0, "num_scored": 900}
            for s, v in zip(steps, decay, strict=True)
        ],
        "config": config(cell, seed),
        "probes": {
            "train_seconds": 300.0 + seed,
            "state_floats": 4096,
            "host_parameters": 262_464 if cell.startswith("Llama") else 268_800,
            "vocabulary": 521,
            "pretraining": [{"step": 20, "text_loss": 1.2, "answer_loss": 0.1}],
            "chance": CHANCE,
            "after_chatter": chatter,
            "coupling": [[[1.0, -0.5], [-0.25, 0.75]]],
        },
    }
    known = {
        "fingerprint": f"persona {cell} {seed}",
        "recipe": "persona",
        "arm": cell,
        "seed": seed,
        "changed": [],
        "snapshot": None,
        "num_parameters": 33_414,
        "wall_seconds": 400.0,
        "versions": {"python": "0", "torch": "0", "callosal": "0"},
    }
    return RunRecord(**(known | fields | changes))


def evaluation(
    seed: int, memory: float, shares: tuple[float, ...], num_banks: int
) -> dict[str, Any]:
    """Make up answers that come out of the bank that was told, as far as the banks took sides."""
    telling, asking, rules = shares
    facts = (telling + asking) / 2
    table = np.array([[facts, 1 - facts], [rules, 1 - rules]])
    lesioned = [[CHANCE + (memory - CHANCE) * (1 - facts), 0.99], [memory, 0.97]]
    if seed % 2:
        table, lesioned = table[:, ::-1], lesioned[::-1]
    left = [1 - share for share in shares] if seed % 2 else list(shares)
    if num_banks == 1:
        table, lesioned, left = np.ones((2, 1)), [[CHANCE, 0.97]], [1.0, 1.0, 1.0]
    return {
        "num_conversations": 512,
        "no_memory": CHANCE + 0.005 * seed,
        "memory": memory,
        "reset": CHANCE + 0.004 * seed,
        "others": CHANCE - 0.003 * seed,
        "as_others": memory - 0.01,
        "in_context": 0.985 + 0.004 * seed,
        "rule_before": 0.992,
        "rule": 0.991 + 0.001 * seed,
        "lesioned": lesioned,
        "specialization": [measures_of(table)],
        "shares": [left],
        "by_attribute": {
            "food": [min(1.0, memory + 0.05), 0.97],
            "name": [memory - 0.2, 0.9 + 0.01 * seed],
        },
    }


def config(cell: str, seed: int) -> dict[str, Any]:
    """Make up what a report reads of a configuration."""
    layers = {name: layer for layer, name in LAYERS.items()}
    kind = cell.partition(",")[0]
    return {
        "recipe": "persona",
        "arm": cell,
        "seed": seed,
        "episodes": {"num_facts": 4, "facts_per_turn": 2, "mixed": "apart" not in cell},
        "host": {"kind": kind, "width": 64, "num_layers": 4},
        "pretraining": {"num_steps": 1500 if kind == "GPT-2" else 1000, "batch_size": 32},
        "layers": [layers.get(cell, LAYER)],
        "memory": {"num_banks": 1 if "one bank" in cell else 2, "num_slots": 32},
        "training": {"num_steps": _steps_of(cell)},
        "batch_size": 16,
        "evaluation_conversations": 512,
    }


def persona_runs(num_seeds: int = 3) -> list[RunRecord]:
    return [persona_run(cell, seed) for cell in CELLS for seed in SEEDS[:num_seeds]]


def answering(run: RunRecord, **changes: Any) -> RunRecord:
    """Return the run with other answers."""
    return replace(run, evaluation=run.evaluation | changes)


def recalling(run: RunRecord, soon: float, late: float) -> RunRecord:
    """Return the run with other recall after turns of rules."""
    recall = [soon] + [late] * (len(MARKS) - 1)
    return replace(run, retention=run.retention | {"recall": recall})


def chatting(run: RunRecord, soon: float, late: float) -> RunRecord:
    """Return the run with other recall after turns of chatter."""
    recall = [soon] + [late] * (len(MARKS) - 1)
    found = run.probes["after_chatter"] | {"recall": recall}
    return replace(run, probes=run.probes | {"after_chatter": found})


def without_chatter(run: RunRecord) -> RunRecord:
    """Return the run as if it had not been asked after chatter."""
    probes = {name: value for name, value in run.probes.items() if name != "after_chatter"}
    return replace(run, probes=probes)


def talking(run: RunRecord, cross_talk: float) -> RunRecord:
    """Return the run with other cross-talk between its banks."""
    measures = [found | {"cross_talk": cross_talk} for found in run.evaluation["specialization"]]
    return answering(run, specialization=measures)


def _kept(soon: float, late: float) -> dict[str, list]:
    recall = [late + (soon - late) / (1 + (mark / 12) ** 1.4) for mark in MARKS]
    return {"distractors": MARKS, "recall": recall, "loss": [1 - value for value in recall]}


def _steps_of(cell: str) -> int:
    return 2000 if cell in MAIN.values() else 400
