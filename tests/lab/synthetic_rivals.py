"""Clearly synthetic runs of the rivals, the learning rates, the banks and the capacity.

Made up so that a report has something of every kind to show: no model ever gave these numbers.
"""

import math
from typing import Any

import numpy as np

from callosal.lab.measures.specialization import cross_talk, dominance, information, separation
from callosal.lab.report.records import RunRecord

LETTERS, MODULUS = 8, 11
MARKS = [0, 1, 3, 10, 30, 100, 300, 1000]
RATES = (0.002, 0.004, 0.008)
# Recall at once and after the most distractors, cipher loss, training seconds, floats, shares' size.
RIVALS: dict[str, tuple[float, float, float, float, int | None, float | None]] = {
    "no memory": (0.125, 0.125, math.log(LETTERS), 10.0, 0, None),
    "full history": (1.0, 0.997, 0.0004, 31.0, None, None),
    "inhibitory": (1.0, 0.995, 0.004, 21.0, 2048, 0.999),
    "uncoupled": (1.0, 0.71, 0.006, 21.0, 2048, 0.9),
    "excitatory": (1.0, 0.14, 0.003, 21.0, 2048, 0.01),
    "one bank": (0.98, 0.16, 0.02, 17.0, 2048, None),
    "additive write": (0.99, 0.62, 0.01, 19.0, 2048, 0.99),
    "delta write": (1.0, 0.93, 0.005, 23.0, 2048, 0.99),
    "memory network": (0.6, 0.12, 0.9, 26.0, 4160, None),
    "Turing machine": (0.91, 0.13, 0.2, 84.0, 2112, None),
    "mixture of experts": (0.125, 0.13, math.log(LETTERS), 13.0, 6, 0.4),
    "recurrent tokens": (0.44, 0.125, 1.4, 24.0, 256, None),
    "titans-pytorch": (0.83, 0.2, 0.3, 160.0, 8192, None),
}
BANKED = ("inhibitory", "uncoupled", "excitatory", "additive write", "delta write")
SHAPES = ((3, 3), (4, 4), (8, 8), (2, 4), (4, 2), (4, 3), (8, 4))
DOMAINS = {
    2: ["cipher", "arithmetic"],
    3: ["cipher", "arithmetic", "reversal"],
    4: ["cipher", "cipher", "arithmetic", "reversal"],
    8: [
        "cipher",
        "cipher",
        "arithmetic",
        "multiplication",
        "reversal",
        "copying",
        "parity",
        "counting",
    ],
}


def measures_of(shares: np.ndarray) -> dict[str, Any]:
    """Compute what a record holds of a table of shares."""
    return {
        "shares": shares.tolist(),
        "separation": separation(shares),
        "cross_talk": cross_talk(shares),
        "dominance": dominance(shares),
        "information": information(shares),
    }


def rival_run(arm: str, seed: int, **changes: Any) -> RunRecord:
    """Make up a run of a contender; in even seeds the cipher has the first bank, in odd the second."""
    rng = np.random.default_rng([list(RIVALS).index(arm), seed])
    soon, late, loss, seconds, floats, size = RIVALS[arm]
    soon, late = (float(np.clip(v + rng.normal(0, 0.01), 0, 1)) for v in (soon, late))
    recall = [late + (soon - late) / (1 + (mark / 60) ** 1.4) for mark in MARKS]
    shares = None
    if arm == "one bank":
        shares = np.ones((2, 1))
    elif size is not None:
        half = (-1) ** seed * size / 2
        shares = np.array([[0.5 + half, 0.5 - half], [0.5 - half, 0.5 + half]])
    specialization = None if shares is None else measures_of(shares)
    fields = {
        "arm": arm,
        "evaluation": _evaluation([loss, 1e-4], [soon, 1.0], ["cipher", "arithmetic"])
        | {"specialization": specialization},
        "retention": _retention(MARKS, recall),
        "num_parameters": 30_000 + 100 * list(RIVALS).index(arm),
        "probes": {
            "state_floats": floats,
            "train_seconds": seconds * float(np.exp(rng.normal(0, 0.03))),
            "interventions": interventions(arm, seed, soon, size),
        },
    }
    return _record("rivals", seed, **(fields | changes))


def interventions(arm: str, seed: int, warm: float, size: float | None) -> dict[str, Any]:
    """Make up what lesions and swaps do: as much as the banks have taken sides."""
    guess = 1 / LETTERS
    remembers = arm not in {"no memory", "mixture of experts"}
    own_bank = seed % 2
    of_bank: dict[str, list[list[float]]] = {"lesioned": [], "silenced": [], "swapped_banks": []}
    for bank in range(2 if arm in BANKED else 0):
        part = (1 + (size or 0)) / 2 if bank == own_bank else (1 - (size or 0)) / 2
        of_bank["lesioned"].append([guess + (warm - guess) * (1 - part), 1.0])
        of_bank["silenced"].append([guess + (warm - guess) * (1 - part), 0.99])
        theirs = guess + (warm - guess) * part
        of_bank["swapped_banks"].append([guess + (warm - guess) * (1 - part), theirs])
    return {
        "domains": ["cipher", "arithmetic"],
        "warm": [warm, 1.0],
        "fresh": [guess, 1.0],
        "frozen": [guess, 1.0],
        "swapped": [guess, warm] if remembers else [guess, guess],
        **of_bank,
    }


def rival_runs(num_seeds: int = 3) -> list[RunRecord]:
    return [rival_run(arm, seed) for arm in RIVALS for seed in range(num_seeds)]


def rate_run(name: str, rate: float, losses: tuple[float, float], seed: int = 100) -> RunRecord:
    """Make up a run of the grid of learning rates."""
    return _record(
        "rates",
        seed,
        arm=f"{name} at {rate:g}",
        evaluation=_evaluation(list(losses), [0.5, 1.0], ["cipher", "arithmetic"]),
        retention=_retention([0], [0.5]),
        learning_rate=rate,
    )


def rate_runs() -> list[RunRecord]:
    return [
        rate_run(name, rate, (loss * (1 + abs(math.log2(rate / RATES[place % 3]))), 1e-3))
        for place, (name, (_, _, loss, *_)) in enumerate(RIVALS.items())
        for rate in RATES
    ]


def bank_run(banks: int, domains: int, seed: int, own: float = 0.98, **changes: Any) -> RunRecord:
    """Make up a run of banks against domains, whose own banks are shuffled by the seed."""
    rng = np.random.default_rng([banks, domains, seed])
    order = rng.permutation(max(banks, domains)) % banks
    shares = np.full((domains, banks), (1 - own) / max(banks - 1, 1))
    for domain in range(domains):
        shares[domain, order[domain]] = own
    shares = shares + 0.02 * rng.random(shares.shape)
    shares /= shares.sum(1, keepdims=True)
    names = DOMAINS[domains]
    losses = [0.05 if name == "cipher" else 0.001 for name in names]
    accuracies = [0.97 - 0.01 * seed if name == "cipher" else 1.0 for name in names]
    fields = {
        "arm": f"{banks} banks, {domains} domains",
        "evaluation": _evaluation(losses, accuracies, names)
        | {"specialization": measures_of(shares)},
        "retention": _retention([0, 30, 300], [0.97, 0.96, 0.95]),
        "episodes": {"domains": names} if domains != 2 else {},
        "memory": {"num_banks": banks, "num_slots": 32 if banks < 8 else 16},
    }
    return _record("banks", seed, **(fields | changes))


def bank_runs(num_seeds: int = 5) -> list[RunRecord]:
    return [
        bank_run(banks, domains, seed, own=0.98 if seed or banks < 8 else 0.7)
        for seed in range(num_seeds)
        for banks, domains in SHAPES
    ]


def capacity_run(pairs: int, slots: int, seed: int, **changes: Any) -> RunRecord:
    """Make up a run of pairs by slots, which recalls what fits."""
    rng = np.random.default_rng([pairs, slots, seed])
    fits = min(1.0, slots / (2.5 * pairs)) * rng.uniform(0.97, 1.0)
    loss = 0.01 + 2.0 * (1 - fits)
    fields = {
        "arm": f"{pairs} pairs, {slots} slots",
        "evaluation": _evaluation([loss, 1e-3], [fits, 1.0], ["cipher", "arithmetic"]),
        "retention": _retention([0, 30, 300], [fits, 0.97 * fits, 0.9 * fits]),
        "episodes": {"num_letters": pairs, "pairs_per_segment": min(pairs, 8)},
        "memory": {"num_banks": 2, "num_slots": slots},
    }
    return _record("capacity", seed, **(fields | changes))


def capacity_runs(num_seeds: int = 3) -> list[RunRecord]:
    return [
        capacity_run(pairs, slots, seed)
        for seed in range(num_seeds)
        for pairs in (4, 8, 16)
        for slots in (8, 16, 32, 64)
    ]


def _evaluation(losses: list[float], accuracies: list[float], names: list[str]) -> dict[str, Any]:
    told = [place for place, name in enumerate(names) if name == "cipher"]
    rules = [place for place, name in enumerate(names) if name != "cipher"]

    def mean(values: list[float], places: list[int]) -> float:
        return sum(values[place] for place in places) / len(places)

    return {
        "num_episodes": 512,
        "cipher_loss": mean(losses, told),
        "arithmetic_loss": mean(losses, rules),
        "cipher_recall": mean(accuracies, told),
        "arithmetic_accuracy": mean(accuracies, rules),
        "losses": losses,
        "accuracies": accuracies,
        "specialization": None,
    }


def _retention(marks: list[int], recall: list[float]) -> dict[str, Any]:
    loss = [-math.log(max(value, 1e-9)) for value in recall]
    return {"distractors": marks, "recall": recall, "loss": loss}


def _record(recipe: str, seed: int, *, arm: str, **fields: Any) -> RunRecord:
    config = {
        "recipe": recipe,
        "arm": arm,
        "seed": seed,
        "episodes": {
            "num_letters": LETTERS,
            "pairs_per_segment": 8,
            "num_rounds": 2,
            "modulus": MODULUS,
        }
        | fields.pop("episodes", {}),
        "memory": fields.pop("memory", {"num_banks": 2, "num_slots": 32}),
        "training": {
            "num_steps": 500,
            "batch_size": 16,
            "learning_rate": fields.pop("learning_rate", 0.004),
        },
        "evaluation_episodes": 512,
    }
    known = {
        "fingerprint": f"{recipe} {arm} {seed}",
        "recipe": recipe,
        "arm": arm,
        "seed": seed,
        "changed": [],
        "config": config,
        "curve": [],
        "snapshot": None,
        "num_parameters": 30_000,
        "wall_seconds": 40.0 + seed,
        "versions": {"python": "0", "torch": "0", "callosal": "0"},
    }
    return RunRecord(**(known | fields))
