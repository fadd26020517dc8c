"""The tables of the field's benchmarks: each task in one call and in two, then every seed."""

from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import (
    NOTHING,
    Cell,
    Table,
    columns,
    each,
    every_run,
    grid,
    mean,
    num_parameters,
    number_range,
    percentage,
)
from callosal.lab.studies.field.cells import CALLS, FURTHER, SEEN, TASKS, TOLD_AND_ASKED, UNITS, at_size, cell_name
from callosal.lab.studies.rivals.tables import state_size

RIGHT, LOSS = of("accuracy"), of("loss")
RUN_COLUMNS: dict[str, Cell] = columns(each, {"right": RIGHT, "loss": LOSS})


def right_at(size: int) -> Quantity:
    """Name the share of right answers at another size of the task than the one trained on."""
    return of("accuracy", condition=at_size(size))


def models_of(task: str) -> list[str]:
    """Return the models that see a task, in the order of the tables."""
    return list(dict.fromkeys(model for models in reversed(SEEN[task].values()) for model in models))


def facts(study: Study) -> dict[str, str]:
    """Say of every task what was drawn and how long it was trained for."""
    said = {}
    for task in TASKS:
        runs = study.records_of(study.where(task=task))
        if not runs:
            continue
        config = runs[0].config
        sizes = ", ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in config["task"].items() if value is not False
        )
        steps = number_range(run.config["training"]["num_steps"] for run in runs)
        said[task] = f"{sizes}; {steps} steps of {config['training']['batch_size']} fresh sequences"
        said[f"{task}, chance"] = percentage(runs[0].get("chance") or 0.0, ".2g")
    return said


def tables(study: Study) -> list[Table]:
    """Return a table for each task that has runs, which banks were told and asked, then every seed."""
    made = [*(_task(study, task) for task in TASKS if len(study.where(task=task))), _banks(study), _seeds(study)]
    return [table for table in made if table.rows]


def _task(study: Study, task: str) -> Table:
    """Give the right answers in one call and in two, at other sizes in two, and what each model costs."""
    sizes = FURTHER[task]
    rows = []
    for model in models_of(task):
        by_calls = {calls: study.where(arm=cell_name(task, calls, model)) for calls in CALLS}
        if not any(map(len, by_calls.values())):
            continue
        sized = next(runs for runs in reversed(by_calls.values()) if len(runs))
        rate = sized["learning_rate"].iloc[0]
        rows.append(
            [
                model,
                *(mean(RIGHT)(study, runs) for runs in by_calls.values()),
                *(mean(right_at(size))(study, by_calls[2]) for size in sizes),
                state_size(study, sized) if len(sized) else NOTHING,
                num_parameters(study, sized),
                f"{rate:g}",
            ]
        )
    headers = ["model", *CALLS.values(), *(f"two calls, {size:,} {UNITS[task]}" for size in sizes)]
    return Table(title=_title(task), headers=[*headers, "state floats", "parameters", "rate"], rows=rows)


def _banks(study: Study) -> Table:
    """Give the left bank's share of what is told and of what is asked, where there are two."""
    told, asked = (of("share", call, bank=0) for call in TOLD_AND_ASKED)
    runs = study.having(told)
    columns_ = columns(each, {"of what is told": told, "of what is asked": asked, "right": RIGHT})
    return grid(study, "The left bank's share", ["cell", "seed"], every_run(study, runs), columns_, num_labels=1)


def _title(task: str) -> str:
    return task[0].upper() + task[1:]


def _seeds(study: Study) -> Table:
    return grid(
        study,
        "Every seed",
        ["cell", "seed"],
        every_run(study),
        RUN_COLUMNS | {"minutes": lambda s, runs: f"{s.records_of(runs)[0].wall_seconds / 60:.1f}"},
        num_labels=1,
    )
