"""Clearly synthetic runs: records that no model ever made, for tests of claims and report."""

import math
from dataclasses import replace

import numpy as np

from callosal.lab.report.records import ARMS, RunRecord

LETTERS = 8
MARKS = [0, 1, 3, 10, 30, 100, 300, 1000]
SIGNS = {"inhibitory": -1.0, "uncoupled": 0.0, "excitatory": 1.0}
# What a made-up arm ends at: D_sep, cipher loss, recall after the most distractors.
ENDS = {
    "no-memory": (None, math.log(LETTERS), 1 / LETTERS),
    "inhibitory": (0.998, 0.004, 0.99),
    "uncoupled": (0.85, 0.02, 0.45),
    "excitatory": (0.01, 0.003, 0.13),
}


def synthetic_run(arm: str, seed: int, **changes) -> RunRecord:
    """Make up a run that no model ever made."""
    rng = np.random.default_rng([ARMS.index(arm), seed])
    separation, loss, kept = ENDS[arm]
    has_memory = separation is not None
    side = 1.0 if seed % 2 else -1.0

    def measures(size: float) -> dict:
        half = side * size / 2
        shares = [[0.5 + half, 0.5 - half], [0.5 - half, 0.5 + half]]
        information = 1 + sum(p * math.log2(p) for p in shares[0] if p > 0) if has_memory else 0.0
        return {
            "shares": shares,
            "separation": [2 * half, -2 * half],
            "cross_talk": (1 - size) / 2,
            "dominance": 0.5,
            "information": information,
        }

    curve = []
    for step in range(10, 1010, 10):
        done = step / 1000
        chance = math.log(LETTERS)
        noise = float(np.exp(rng.normal(0, 0.12)))
        fall = loss * (chance / loss) ** (1 - done) if has_memory else chance
        point = {
            "step": step,
            "cipher_loss": fall * noise,
            "arithmetic_loss": 2.4 * math.exp(-9 * done) * noise + 1e-4,
        }
        if has_memory:
            size = separation / (1 + math.exp(-20 * (done - 0.15 - 0.05 * rng.random())))
            sign = SIGNS[arm] + 0.1 * done
            point |= {
                "separation": measures(size)["separation"],
                "cross_talk": measures(size)["cross_talk"],
                "coupling": [[1 + 0.3 * done, sign], [sign, 1 + 0.3 * done]],
            }
        curve.append(point)
    recall_at_start = 1.0 if has_memory else kept
    spoil = rng.uniform(0.97, 1.0)
    recall = [
        spoil * (kept + (recall_at_start - kept) / (1 + (mark / 60) ** 1.4)) for mark in MARKS
    ]
    norms = np.zeros((5, 2, 32))
    for point_index, domain in enumerate([0, 1, 0, 1], start=1):
        norms[point_index] = norms[point_index - 1]
        for bank in range(2):
            share = measures(separation or 0)["shares"][domain][bank]
            norms[point_index, bank] += 2.0 * share * rng.random(32) ** 2
    fields = {
        "fingerprint": f"{arm}{seed}",
        "recipe": "synthetic",
        "arm": arm,
        "seed": seed,
        "changed": [],
        "config": {
            "recipe": "synthetic",
            "arm": arm,
            "seed": seed,
            "episodes": {"num_letters": LETTERS, "pairs_per_segment": 8},
            "training": {"num_steps": 1000, "batch_size": 32},
            "evaluation_episodes": 2048,
        },
        "evaluation": {
            "num_episodes": 2048,
            "cipher_loss": loss * float(np.exp(rng.normal(0, 0.05 if has_memory else 1e-3))),
            "arithmetic_loss": 1e-4,
            "cipher_recall": recall[0],
            "arithmetic_accuracy": 1.0,
            "specialization": measures(separation) if has_memory else None,
        },
        "retention": {
            "distractors": MARKS,
            "recall": recall,
            "loss": [-math.log(value) for value in recall],
        },
        "curve": curve,
        "snapshot": {"norms": norms.tolist(), "domains": [0, 1, 0, 1], "bound": 32.0}
        if has_memory
        else None,
        "num_parameters": 120_000,
        "wall_seconds": 90.0 + seed,
        "versions": {"python": "0", "torch": "0", "callosal": "0"},
    }
    return RunRecord(**(fields | changes))


def synthetic_runs(num_seeds: int = 3) -> list[RunRecord]:
    return [synthetic_run(arm, seed) for arm in ARMS for seed in range(num_seeds)]


def synthetic_cell(
    study: str,
    cell: str,
    seed: int,
    *,
    sides: tuple[float, float] = (1.0, -1.0),
    memory: dict | None = None,
    episodes: dict | None = None,
    kept: float = 0.9,
    **changes,
) -> RunRecord:
    """Make up a run of a study, with the D_sep that it is to have in both domains."""
    run = synthetic_run("inhibitory", seed)
    sign = (memory or {}).get("sign", -1.0)
    apart = abs(sides[0] - sides[1]) / 2
    measures = {
        "shares": [[(1 + side) / 2, (1 - side) / 2] for side in sides],
        "separation": list(sides),
        "cross_talk": (1 - apart) / 2,
        "dominance": 0.5 + abs(sum(sides)) / 4,
        "information": apart**2,
    }
    # The last coupling has another differential mode than the sign gives, by 0.2.
    curve = [
        {
            "step": step,
            "cipher_loss": 2.0 - step / 100,
            "arithmetic_loss": 1.0,
            "separation": [side * step / 100 for side in sides],
            "cross_talk": (1 - apart * step / 100) / 2,
            "coupling": [
                [1.0 + step / 1000, sign - step / 1000],
                [sign - step / 1000, 1.0 + step / 1000],
            ],
        }
        for step in (20, 40, 60, 80, 100)
    ]
    config = run.config | {
        "recipe": study,
        "arm": cell,
        "memory": {"sign": sign, "gain": 4.0, "num_banks": 2} | (memory or {}),
        "episodes": run.config["episodes"] | (episodes or {}),
    }
    fields = {
        "fingerprint": f"{study}{cell}{seed}",
        "recipe": study,
        "arm": cell,
        "config": config,
        "evaluation": run.evaluation | {"specialization": measures},
        "retention": {"distractors": [0, 30, 300], "recall": [1.0, 0.95, kept], "loss": [0.0] * 3},
        "curve": curve,
    }
    return replace(run, **(fields | changes))
