"""The tables of the rivals: who remembers what, at what cost, and whether the memory is doing it."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import (
    NOTHING,
    Table,
    by_arm,
    columns,
    every_run,
    grid,
    mean,
    num_parameters,
    recall_columns,
    retention_table,
)
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS
from callosal.lab.studies.benchmark.attribution import attribution_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.rivals.measures import ANSWERS, BANKS, CIPHER

BASELINE = "no memory"
SIGNED_ARMS = ("inhibitory", "uncoupled", "excitatory")
LONG = 1000
MARKS = (0, 30, LONG)
# Stayed at chance with every rate and filter that we tried, left out parts of what was published among them: no result.
UNTRAINED = ("recurrent tokens", "Turing machine")
# Divide tokens and hold nothing between segments: no memory to rank, but their routing is one to measure.
ROUTERS = ("mixture of experts",)
# Recalls that are printed alike count as a tie.
DIGITS = 3
_LOSS = of("loss", "episodic")


def by_recall(study: Study) -> list[str]:
    """Order the memories by recall after 1,000 distractors, best first, and ties by cipher loss.

    Those that were not measured, or are not a number, stand last.
    """

    def place(arm: str) -> tuple[float, float]:
        runs = study.where(arm=arm)
        recall, loss = (mean_of(study, q, runs) for q in (of("recall", after=LONG), _LOSS))
        return (
            -round(recall, DIGITS) if recall is not None and math.isfinite(recall) else math.inf,
            loss if loss is not None and math.isfinite(loss) else math.inf,
        )

    return sorted(study.arms, key=place)


def compared(study: Study) -> list[str]:
    """Return the memories that can be held against one another, in the order of :func:`by_recall`."""
    return [arm for arm in by_recall(study) if arm not in (*UNTRAINED, *ROUTERS)]


def mean_of(study: Study, quantity: Quantity, runs: pd.DataFrame) -> float | None:
    """Average a number over the runs that have it; None if none has."""
    values = study.values(quantity, runs)
    return float(np.mean(values)) if values else None


def time_ratio(study: Study, runs: pd.DataFrame) -> float | None:
    """Return the mean training time of runs as a multiple of that without a memory."""
    both = [runs, study.where(arm=BASELINE)]
    own, base = (mean_of(study, of("train_seconds"), some) for some in both)
    return own / base if own is not None and base else None


def state_size(study: Study, runs: pd.DataFrame) -> str:
    """Write how many floats a row's state holds."""
    sizes = study.values(of("state_floats"), runs)
    if not sizes:
        return NOTHING
    return f"{sizes[0]:,.0f}" if math.isfinite(sizes[0]) else "grows"


def tables(study: Study) -> list[Table]:
    """Return what is kept at what cost, then whether the memory is doing it, then every seed."""
    arms, ranked = by_recall(study), compared(study)
    kept = recall_columns(study, mean, "recall after {:,}", MARKS) | {
        "cipher loss": mean(_LOSS),
        "state floats": state_size,
        "training time": _time,
    }
    order = {arm: place for place, arm in enumerate(arms)}
    ordered = study.runs.sort_values(["arm", "seed"], key=lambda c: c.map(order) if c.name == "arm" else c)
    made = [
        grid(study, "The memories", ["memory"], by_arm(study, ranked), kept),
        grid(
            study,
            "Could not be trained by us",
            ["memory"],
            by_arm(study, [arm for arm in arms if arm in UNTRAINED]),
            kept,
        ),
        grid(
            study,
            "The memories: size, arithmetic, banks",
            ["memory"],
            by_arm(study, arms),
            {"parameters": num_parameters, "learning rate": _rate}
            | columns(
                mean,
                {
                    "arithm. loss": of("loss", "rule"),
                    "smaller |D_sep|": of("smaller |D_sep|", condition="of several banks"),
                    "P_ct": of("P_ct", condition="of several banks"),
                },
            ),
        ),
        *attribution_tables(
            study, by_arm(study, [arm for arm in ranked if arm != BASELINE]), baseline=BASELINE, ours=SIGNED_ARMS[0]
        ),
        _doing_table(study, arms),
        _by_lesion(
            study,
            "Double dissociation",
            "lesion",
            {"none": "intact"} | {f"{b} {how}": f"{b} {how}" for how in ("zeroed", "silenced") for b in BANKS},
            {"cipher accuracy": ("accuracy", CIPHER), "arithm. accuracy": ("accuracy", BENCHMARK_DOMAINS[1])},
        ),
        _by_lesion(
            study,
            "Swapped memories",
            "what is swapped",
            {"the whole memory": "swapped"} | {bank: f"{bank} swapped" for bank in BANKS},
            {"own answers": (ANSWERS[0], None), "the neighbour's answers": (ANSWERS[1], None)},
        ),
        grid(
            study,
            "Every seed: losses and banks",
            ["memory", "seed"],
            every_run(study, ordered),
            RUN_COLUMNS,
            num_labels=1,
        ),
        retention_table(study, "memory", runs=ordered),
    ]
    return [table for table in made if table.rows]


def _doing_table(study: Study, arms: list[str]) -> Table:
    """Ask of every memory that has a state whether the answers come out of it."""
    rows = []
    for arm in arms:
        runs = study.where(arm=arm)
        if not study.values(of("accuracy", CIPHER, "intact"), runs) or state_size(study, runs) == "0":
            continue
        for domain in BENCHMARK_DOMAINS:
            kept = [of("accuracy", domain, how) for how in ("intact", "reset", "unwritten")]
            swaps = [of(measure, condition="swapped") for measure in ANSWERS]
            cells = [mean(quantity)(study, runs) for quantity in (*kept, *swaps)]
            # Only what must be remembered can be the neighbour's.
            rows.append([arm, domain, *(cells if domain == CIPHER else [*cells[:3], NOTHING, NOTHING])])
    return Table(
        title="Is the memory doing it?",
        headers=["memory", "domain", "intact", "reset", "unwritten", "swapped, own", "swapped, neighbour's"],
        rows=rows,
        num_labels=2,
    )


def _by_lesion(
    study: Study, title: str, label: str, conditions: Mapping[str, str], measures: Mapping[str, tuple[str, str | None]]
) -> Table:
    """Give a row for each signed arm and condition, of the runs of which lesions are recorded."""
    rows = []
    for arm in SIGNED_ARMS:
        runs = study.having(of("accuracy", CIPHER, f"{BANKS[0]} zeroed"), study.where(arm=arm))
        for name, condition in conditions.items() if len(runs) else ():
            quantities = [of(measure, domain, condition) for measure, domain in measures.values()]
            rows.append([arm, name, *(mean(quantity)(study, runs) for quantity in quantities)])
    return Table(title=title, headers=["arm", label, *measures], rows=rows, num_labels=2)


def _time(study: Study, runs: pd.DataFrame) -> str:
    ratio = time_ratio(study, runs)
    return NOTHING if ratio is None else f"{ratio:.1f}x"


def _rate(_: Study, runs: pd.DataFrame) -> str:
    return f"{runs['learning_rate'].iloc[0]:g}"
