"""The tables of the distractors' study: what is kept, how much more by ours, and what the training bought."""

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
from callosal.lab.studies.distractors.cells import BETWEEN, OURS, TOLD, cell_name, names
from callosal.lab.studies.rivals.tables import DIGITS, mean_of, state_size

MARKS = (0, 100, 300, 1000)
# After how many segments memories are held against one another.
HELD = (100, 1000)
LOSS = of("loss", "episodic")


def facts(study: Study) -> dict[str, str]:
    """Say what was run; parameters stand in a table."""
    found = episode_facts(study)
    found.pop("parameters")
    return found


def trained(study: Study) -> list[int]:
    """Return with how many segments in between anything was trained."""
    return [between for between in BETWEEN if having_runs(study, between)]


def having_runs(study: Study, between: int) -> list[str]:
    """Return who has runs that were trained with so many segments in between."""
    return [name for name in names(between) if len(study.where(arm=cell_name(name, between)))]


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

    return sorted(having_runs(study, between), key=place)


def tables(study: Study) -> list[Table]:
    """Return what is kept by what was in between in training, beside ours, then sizes and every seed."""
    kept = [_kept(study, between) for between in trained(study)]
    made = [*kept, _against_ours(study), _bought(study), _sizes(study)]
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


def _kept(study: Study, between: int) -> Table:
    recall = recall_columns(study, mean, "recall after {:,}", [m for m in MARKS if m in study.marks()])
    rows: list[Row] = [([name], study.where(arm=cell_name(name, between))) for name in ranked(study, between)]
    return grid(
        study,
        f"Trained with {between} in between",
        ["memory"],
        rows,
        {"seeds": count} | recall | {"cipher loss": mean(LOSS), "state floats": state_size},
    )


def _against_ours(study: Study) -> Table:
    """Hold every memory against ours, paired by seed."""
    where = [(between, mark) for between in trained(study) for mark in HELD]
    rows = [
        [name, *(_difference(study, of("recall", after=mark), (OURS, b), (name, b)) for b, mark in where)]
        for name in having_runs(study, TOLD)
        if name != OURS
    ]
    headers = ["memory", *(f"{between} between, after {mark:,}" for between, mark in where)]
    return Table(title="How much more the inhibitory memory recalls", headers=headers, rows=rows)


def _bought(study: Study) -> Table:
    """Say what training with something in between buys beside training with nothing, paired by seed."""
    rows = [
        [name, *(_difference(study, of("recall", after=mark), (name, TOLD), (name, 0)) for mark in HELD)]
        for name in having_runs(study, 0)
    ]
    headers = ["memory", *(f"recall after {mark:,}" for mark in HELD)]
    return Table(title=f"What training with {TOLD} in between buys", headers=headers, rows=rows)


def _difference(study: Study, quantity: Quantity, first: tuple[str, int], second: tuple[str, int]) -> str:
    found = paired(study, quantity, cell_name(*first), cell_name(*second), lambda one, other: one - other)
    return averaged(found, study.scale(quantity).of_differences)


def _sizes(study: Study) -> Table:
    """Give what each memory costs, and the rates it was trained at."""
    where = trained(study)
    rows: list[list[str]] = []
    for name in having_runs(study, TOLD):
        runs = {between: study.where(arm=cell_name(name, between)) for between in where}
        rows.append(
            [
                name,
                num_parameters(study, runs[TOLD]),
                state_size(study, runs[TOLD]),
                f"{runs[TOLD]['learning_rate'].iloc[0]:g}",
                *(mean(of("loss", "rule"))(study, own) if len(own) else NOTHING for own in runs.values()),
            ]
        )
    headers = ["memory", "parameters", "state floats", "learning rate"]
    headers += [f"arithm. loss, {between} between" for between in where]
    return Table(title="Sizes, learning rates and arithmetic", headers=headers, rows=rows)
