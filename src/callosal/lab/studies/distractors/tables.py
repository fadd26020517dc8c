"""The tables of the distractors' study: what is kept by what each memory was trained with, and what that bought."""

import math

from callosal.lab.report.layout import episode_facts
from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import (
    NOTHING,
    Row,
    Table,
    averaged,
    columns,
    count,
    each,
    each_count,
    every_run,
    grid,
    mean,
    num_parameters,
    recall_columns,
    retention_table,
)
from callosal.lab.studies.benchmark.attribution import STEPS, paired
from callosal.lab.studies.distractors.cells import BASELINE, BETWEEN, CONTENDERS, OURS, cell_name
from callosal.lab.studies.rivals.tables import DIGITS, mean_of, state_size

MARKS = (0, 10, 100, 1000)
# After how many segments memories are held against one another.
HELD = (100, 1000)
LOSS = of("loss", "episodic")


def facts(study: Study) -> dict[str, str]:
    """Say what was run; parameters stand in a table."""
    found = episode_facts(study)
    found.pop("parameters")
    return found


def ranked(study: Study, between: int) -> list[str]:
    """Order the contenders of one training by the last recall that each was asked for, then by recall after 100.

    Of those alike, the one with the lower cipher loss comes first; those without runs are left out.
    """

    def place(name: str) -> tuple[float, float, float]:
        runs = study.where(arm=cell_name(name, between))
        found = {mark: mean_of(study, of("recall", after=mark), runs) for mark in study.marks()}
        known = {mark: round(value, DIGITS) for mark, value in found.items() if value is not None}
        loss = mean_of(study, LOSS, runs)
        return (-known[max(known)], -known.get(HELD[0], 0.0), loss if loss is not None else math.inf)

    return sorted((name for name in CONTENDERS if len(study.where(arm=cell_name(name, between)))), key=place)


def tables(study: Study) -> list[Table]:
    """Return what is kept for each number of segments in training, what that bought, sizes, and every seed."""
    made = [*(_kept(study, between) for between in BETWEEN), _against_ours(study), _bought(study), _sizes(study)]
    made += [
        grid(
            study,
            "Every seed: losses",
            ["cell", "seed"],
            every_run(study),
            columns(each, {"cipher loss": LOSS, "arithm. loss": of("loss", "rule"), "P_ct": of("P_ct")})
            | {"steps until 124x": each_count(STEPS)},
            num_labels=1,
        ),
        retention_table(study, "cell"),
    ]
    return [table for table in made if table.rows]


def _rows(study: Study, between: int, names: list[str] | None = None) -> list[Row]:
    return [
        ([name], study.where(arm=cell_name(name, between)))
        for name in (ranked(study, between) if names is None else names)
    ]


def _kept(study: Study, between: int) -> Table:
    recall = recall_columns(study, mean, "recall after {:,}", [m for m in MARKS if m in study.marks()])
    return grid(
        study,
        f"Trained with {between} in between",
        ["memory"],
        _rows(study, between),
        {"seeds": count} | recall | {"cipher loss": mean(LOSS), "state floats": state_size},
    )


def _against_ours(study: Study) -> Table:
    """Hold every memory against ours, paired by seed."""
    names = [name for name in CONTENDERS if name not in (OURS, BASELINE)]
    rows = []
    for name in names:
        cells = [_difference(study, of("recall", after=m), (OURS, b), (name, b)) for b in BETWEEN for m in HELD]
        rows.append([name, *cells])
    headers = ["memory", *(f"{b} between, after {m:,}" for b in BETWEEN for m in HELD)]
    return Table(title="How much more the inhibitory memory recalls", headers=headers, rows=rows)


def _bought(study: Study) -> Table:
    """Say what training with something in between buys, beside training with nothing, paired by seed."""
    trained = [between for between in BETWEEN if between]
    rows = []
    for name in (name for name in CONTENDERS if name != BASELINE):
        cells = [_difference(study, of("recall", after=m), (name, b), (name, 0)) for b in trained for m in HELD]
        rows.append([name, *cells])
    headers = ["memory", *(f"with {b}, after {m:,}" for b in trained for m in HELD)]
    return Table(title="What training with something in between buys", headers=headers, rows=rows)


def _difference(study: Study, quantity: Quantity, first: tuple[str, int], second: tuple[str, int]) -> str:
    found = paired(study, quantity, cell_name(*first), cell_name(*second), lambda one, other: one - other)
    return averaged(found, study.scale(quantity).of_differences)


def _sizes(study: Study) -> Table:
    """Give what each memory costs, and the rates it was trained at."""
    rows: list[list[str]] = []
    for name in CONTENDERS:
        runs = {between: study.where(arm=cell_name(name, between)) for between in BETWEEN}
        runs = {between: own for between, own in runs.items() if len(own)}
        if not runs:
            continue
        any_runs = next(iter(runs.values()))
        rows.append(
            [
                name,
                num_parameters(study, any_runs),
                state_size(study, any_runs),
                *(f"{runs[b]['learning_rate'].iloc[0]:g}" if b in runs else NOTHING for b in BETWEEN),
                *(mean(of("loss", "rule"))(study, runs[b]) if b in runs else NOTHING for b in BETWEEN),
            ]
        )
    headers = ["memory", "parameters", "state floats", *(f"rate, {b} between" for b in BETWEEN)]
    headers += [f"arithm. loss, {b} between" for b in BETWEEN]
    return Table(title="Sizes, learning rates and arithmetic", headers=headers, rows=rows)
