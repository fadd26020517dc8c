"""The tables of what is held: beside the counts, by banks and width, and every seed."""

from collections.abc import Callable, Iterator, Sequence
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
from callosal.lab.studies.capacity.cells import CELLS, Cell
from callosal.lab.studies.capacity.measures import asked_alone, slot_each, state

HELD, RECALL, LOSS = of("pairs held"), of("accuracy", "episodic"), of("loss", "episodic")
FORMS = {False: "paper's", True: "with payload"}


def facts(study: Study) -> dict[str, str]:
    """Say what was run, and how long."""
    taken = f"{number_range(map(int, study.values(of('steps'))))} steps, until decided"
    batch = study.records[0].config["training"]["batch_size"]
    return episode_facts(study) | {"training": f"{taken}, of {batch} fresh episodes"}


def tables(study: Study) -> list[Table]:
    """Return what is held beside what slots could hold, what banks and width change, and every seed."""
    made = [
        grid(
            study,
            "Pairs held beside what slots could hold",
            ["pairs", "slots a bank", "form"],
            list(_rows(study, [cell for cell in CELLS if cell.plain])),
            {"a slot each": _count(slot_each), "asked slots alone": _count(asked_alone)} | _found(),
        ),
        grid(
            study,
            "One bank, and narrow slots",
            ["pairs", "slots a bank", "form", "banks", "slot width"],
            [
                ([*names, str(runs["num_banks"].iloc[0]), str(runs["slot_width"].iloc[0])], runs)
                for names, runs in _rows(study, [cell for cell in CELLS if cell.pairs == 16])
            ],
            _found() | recall_columns(study, mean, "recall after {:,}", [mark for mark in study.marks() if mark]),
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


def _found() -> dict[str, Column]:
    return {"pairs held": mean(HELD), "recall": mean(RECALL), "memory": states}


def _rows(study: Study, cells: Sequence[Cell]) -> Iterator[Row]:
    """Give a row to each cell that has runs, named by how much is to be held and by how many slots of which form."""
    for cell in cells:
        runs = study.where(arm=cell.name)
        if len(runs):
            yield [str(cell.pairs), str(cell.slots), FORMS[cell.observed]], runs


def _count(counted: Callable[..., int]) -> Column:
    def cell(_: Study, runs: pd.DataFrame) -> str:
        return str(counted(runs["num_slots"].iloc[0], observed=runs["observed"].iloc[0]))

    return cell


def _after_cycles(study: Study, runs: pd.DataFrame) -> str:
    (run,) = study.records_of(runs)
    return ", ".join(number(check.recall) for check in checks_of(run.curve))
