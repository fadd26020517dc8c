"""The tables of the options: on a cipher, where its words are shared, and with users."""

from collections.abc import Callable, Iterator, Sequence

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import (
    Row,
    Table,
    columns,
    count,
    each,
    each_count,
    every_run,
    grid,
    lateralized,
    mean,
    recall_columns,
)
from callosal.lab.studies.benchmark.attribution import STEPS, derive_steps
from callosal.lab.studies.options.cells import APART, SHARED, USERS, shared_cell, users_cell
from callosal.lab.studies.persona.measures import derive as derive_answers

LOSS, KNOWN = of("loss", "episodic"), of("accuracy", "facts", "memory")


def derive(run: RunRecord) -> Iterator[Value]:
    """Give the step at which 124x was crossed; of users, what the persona study derives."""
    yield from derive_answers(run) if "host" in run.config else derive_steps(run)


def facts(study: Study) -> dict[str, str]:
    """Say what was run."""
    ciphers = [run.config for run in study.records if "host" not in run.config]
    users = [run.config for run in study.records if "host" in run.config]
    said = {}
    if ciphers:
        training = ciphers[0]["training"]
        said["ciphers"] = f"{training['num_steps']} steps of {training['batch_size']} episodes"
    if users:
        said["users"] = f"{users[0]['training']['num_steps']} steps of {users[0]['batch_size']} conversations"
    return said


def tables(study: Study) -> list[Table]:
    """Return the options on each of the three tasks, and every seed of the cipher."""
    apart = _rows(study, APART, str)
    shared = _rows(study, SHARED, shared_cell)
    users = _rows(study, USERS, users_cell)
    learned = {"seeds": count, "cipher loss": mean(LOSS), "recall": mean(of("accuracy", "episodic"))}
    later = recall_columns(study, mean, "after {:,}", [mark for mark in study.marks() if mark])
    own = {
        f"{name}, after {mark}": mean(of("recall", condition=name, after=mark))
        for name in _own_words(study)
        for mark in study.marks(condition=name)
        if mark in (1, 100)
    }
    chatter = {f"chatter, after {m:,}": mean(of("recall", condition="chatter", after=m)) for m in _chatter(study)}
    ciphers = study.where(arm=[*APART, *map(shared_cell, SHARED)])
    return [
        grid(
            study,
            "Options on a cipher",
            ["option"],
            apart,
            learned | {"steps until 124x": each_count(STEPS), "lateralized": lateralized} | later,
        ),
        grid(study, "Asked again, and overwritten", ["option"], apart, own),
        grid(
            study,
            "Options where all words are shared",
            ["option"],
            shared,
            learned | {"steps until 124x": each_count(STEPS), "P_ct": mean(of("P_ct"))} | later,
        ),
        grid(
            study,
            "Options with users",
            ["option"],
            users,
            {"seeds": count, "known": mean(KNOWN), "P_ct": mean(of("P_ct"))}
            | {"rules, after 100": mean(of("recall", condition="rules", after=100))}
            | chatter,
        ),
        grid(
            study,
            "Every seed: losses and recall",
            ["cell", "seed"],
            every_run(study, ciphers),
            columns(each, {"cipher loss": LOSS, "P_ct": of("P_ct")}) | recall_columns(study, each, "after {:,}"),
            num_labels=1,
        ),
    ]


def _chatter(study: Study) -> Sequence[int]:
    return [mark for mark in study.marks(condition="chatter") if mark]


def _own_words(study: Study) -> Sequence[str]:
    """Return what was said in the cipher's own words in the runs that were asked then."""
    runs = study.records_of(study.where(arm=list(APART)))
    return list(dict.fromkeys(row["condition"] for run in runs for row in run.rows("recall") if "condition" in row))


def _rows(study: Study, options: Sequence[str], cell: Callable[[str], str]) -> list[Row]:
    named = {option: study.where(arm=cell(option)) for option in options}
    return [([option], runs) for option, runs in named.items() if len(runs)]
