"""The tables of what is held: beside the counts, and every seed."""

from collections.abc import Callable, Iterator
from typing import get_args

import pandas as pd

from callosal.lab.measures.finished import State, checks_of
from callosal.lab.report.layout import episode_facts
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Cell as Column
from callosal.lab.report.tables import (
    Row,
    Table,
    columns,
    each,
    each_count,
    every_run,
    grid,
    mean,
    number,
    number_range,
    recall_columns,
)
from callosal.lab.studies.capacity_decided.cells import CELLS, NAMED, Cell
from callosal.lab.studies.capacity_decided.measures import slot_each, state, told_apart

HELD, RECALL, LOSS = of("pairs held"), of("accuracy", "episodic"), of("loss", "episodic")
FORMS = {False: "paper's", True: "with payload"}


def facts(study: Study) -> dict[str, str]:
    """Say what was run, and how long."""
    taken = f"{number_range(map(int, study.values(of('steps'))))} steps, until decided"
    batch = study.records[0].config["training"]["batch_size"]
    return episode_facts(study) | {"training": f"{taken}, of {batch} fresh episodes"}


def tables(study: Study) -> list[Table]:
    """Return what is held beside what slots could hold, and every seed."""
    made = [
        grid(
            study,
            "Pairs held beside what slots could hold",
            ["pairs", "slots a bank", "form", "banks", "slot width"],
            list(_rows(study)),
            {
                "a slot each": _counted(lambda cell: slot_each(cell.slots, observed=cell.observed)),
                "told apart": _counted(lambda cell: told_apart(cell.slots, observed=cell.observed, width=cell.width)),
                "pairs held": each(HELD),
                "recall": mean(RECALL),
                "memory": states,
            }
            | recall_columns(study, mean, "recall after {:,}", [mark for mark in study.marks() if mark]),
        ),
        grid(
            study,
            "Every seed: recall, and where training ended",
            ["cell", "seed"],
            every_run(study),
            columns(each, {"cipher loss": LOSS, "recall": RECALL})
            | {"pairs held": each(HELD), "memory": states, "held-out recall after each cycle": _after_cycles}
            | {"steps": each_count(of("steps"))}
            | columns(each, {"P_ct": of("P_ct"), "arithm. loss": of("loss", "rule")})
            | recall_columns(study, each, "recall after {:,}"),
            num_labels=1,
        ),
    ]
    return [table for table in made if table.rows]


def states(study: Study, runs: pd.DataFrame) -> str:
    """Name the state of every run of the row: once where all are alike, else each with how many are."""
    found = [state(run) for run in study.records_of(runs)]
    if len(set(found)) == 1:
        return found[0]
    return ", ".join(f"{found.count(name)} {name}" for name in get_args(State) if name in found)


def _rows(study: Study) -> Iterator[Row]:
    """Give a row to each cell that has runs, named by how much is to be held and by what."""
    for cell in CELLS:
        runs = study.where(arm=cell.name)
        if len(runs):
            sizes = (cell.pairs, cell.slots, FORMS[cell.observed], cell.banks, cell.width)
            yield [*map(str, sizes)], runs


def _counted(count: Callable[[Cell], int]) -> Column:
    """Write what a cell's slots could hold, by a count."""
    return lambda _, runs: str(count(NAMED[runs["arm"].iloc[0]]))


def _after_cycles(study: Study, runs: pd.DataFrame) -> str:
    (run,) = study.records_of(runs)
    return ", ".join(number(check.recall) for check in checks_of(run.curve))
