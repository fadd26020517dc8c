"""The tables of the study of SmolLM2: who knows what, how much, how long, and what the sign of the cross-talk does."""

from collections.abc import Callable

import pandas as pd

from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import Cell, Table, by_arm, columns, count, each, every_run, grid, mean, number_range
from callosal.lab.studies.smollm.cells import (
    ABLATIONS,
    ALONE,
    CUED,
    EARLIER,
    FIRST,
    FIRST_ABLATIONS,
    FIRST_VARIANTS,
    LONGER,
    MAIN,
    TACTFUL,
    VARIANTS,
    WITH_MEMORY,
)
from callosal.lab.studies.smollm.measures import (
    ASTRAY,
    BETWEEN,
    BY_RETRIEVAL,
    CUED_ASKED,
    CUED_MEASURES,
    IN_REPLY,
    IN_THE_TURN,
    LONG,
    OUT_OF_PLACE,
    WITH_CUE,
    WORDINGS,
)

BY_MEMORY = ("memory", "reset", "another user's", "without facts' bank", "without other bank")
BY_CONTEXT = ("no memory", "in context", BY_RETRIEVAL)
IN_REPLIES = (*BY_CONTEXT, *(f"{name}{IN_THE_TURN}" for name in BY_CONTEXT[1:]), "memory")
RECALL = of("accuracy", WORDINGS[0], "memory")
COSTS = ("tokens per question", "milliseconds", "bytes per user")
MEASURED = {"accuracy": "right", "nats": "nats", "tokens read": "tokens read"}
REPLIES = {IN_REPLY: of(IN_REPLY, WORDINGS[0], "memory")}
P_CT, RULE_CHANGE = of("P_ct"), of("rule change")
KEPT = {f"kept, {LONG} of {kind}": of(f"kept after {LONG}", WORDINGS[0], kind) for kind in BETWEEN}
RUN_COLUMNS = columns(
    each, {"recall": RECALL, "held-out wordings": of("accuracy", WORDINGS[1], "memory"), "P_ct": P_CT}
)


def tables(study: Study) -> list[Table]:
    """Return all tables that the study has rows for."""
    main, alone = study.where(arm=MAIN), study.where(arm=ALONE)
    made = [_answers(study, main, alone), _replies(study, main, alone), _facts(study, main, alone)]
    made += [_kept(study, main), _cost(study, main), _lateral(study), _banks(study)]
    made.append(
        grid(
            study,
            "What limits it",
            ["cell"],
            [
                ([arm], _first(study, arm))
                for arm in (MAIN, *ABLATIONS, EARLIER, FIRST, LONGER, *FIRST_ABLATIONS)
                if len(study.where(arm=arm))
            ],
            columns(mean, _recalls() | REPLIES | {"perplexity": of("perplexity ratio", condition="memory")}),
        )
    )
    made += [_tact(study), _cued(study), _locomo(study)]
    own = pd.concat([study.where(arm=arm) for arm in WITH_MEMORY]) if len(study.runs) else study.runs
    shown = columns(each, _recalls() | KEPT | {"P_ct": P_CT, "perplexity": of("perplexity ratio", condition="memory")})
    made.append(grid(study, "Every seed", ["cell", "seed"], every_run(study, own), shown, num_labels=1))
    return [table for table in made if table.rows]


def _first(study: Study, arm: str) -> pd.DataFrame:
    """Return an arm's run of the seed that all cells have."""
    return study.where(arm=arm, seed=min(study.seeds))


def _answers(study: Study, main: pd.DataFrame, alone: pd.DataFrame) -> Table:
    rows: list[tuple[list[str], Cell]] = []
    for condition in (*BY_CONTEXT, *BY_MEMORY):
        runs = alone if condition in BY_CONTEXT else main
        for measure, name in MEASURED.items():
            if any(study.values(of(measure, domain, condition), runs) for domain in WORDINGS):
                rows.append(([condition, name], _of_domains(measure, condition, runs)))
    made = [[*names, *cell(study, main).split("|")] for names, cell in rows]
    return Table(title="Who knows what", headers=["with", "measured", *WORDINGS], rows=made, num_labels=2)


def _replies(study: Study, main: pd.DataFrame, alone: pd.DataFrame) -> Table:
    rows = []
    for condition in IN_REPLIES:
        runs = main if condition == "memory" else alone
        if any(study.values(of(IN_REPLY, domain, condition), runs) for domain in WORDINGS):
            own = [mean(of(IN_REPLY, domain, condition))(study, runs) for domain in WORDINGS]
            # Sums, counting and spelling are asked in the same runs, with the memory and without.
            rules = mean(of(IN_REPLY, "rules", condition))(study, main)
            rows.append([condition, *own, rules])
    return Table(title="Replies in its own words", headers=["with", *WORDINGS, "rules"], rows=rows, num_labels=1)


def _of_domains(measure: str, condition: str, runs: pd.DataFrame) -> Cell:
    return lambda study, _: "|".join(mean(of(measure, domain, condition))(study, runs) for domain in WORDINGS)


def _facts(study: Study, main: pd.DataFrame, alone: pd.DataFrame) -> Table:
    def by(condition: Callable[[int], Quantity], runs: pd.DataFrame) -> list[str]:
        return [mean(condition(number))(study, runs) for number in (1, 4, 16)]

    def told(domain: str) -> Callable[[int], Quantity]:
        names = {1: "1 fact", 4: "memory", 16: "16 facts"}
        return lambda number: of("accuracy", domain, names[number])

    def context(domain: str, condition: str) -> Callable[[int], Quantity]:
        return lambda number: of("accuracy", domain, condition, after=None if number == 4 else number)

    rows = [[domain, "memory", *by(told(domain), main)] for domain in WORDINGS if len(main)]
    rows += [[d, how, *by(context(d, how), alone)] for d in WORDINGS for how in BY_CONTEXT[1:] if len(alone)]
    return Table(title="Facts", headers=["wordings", "with", "1", "4", "16"], rows=rows, num_labels=2)


def _kept(study: Study, main: pd.DataFrame) -> Table:
    marks = sorted({row["after"] for run in study.records for row in run.rows("recall")})
    rows = [
        [domain, kind, *(mean(of("recall", domain, kind, after=mark))(study, main) for mark in marks)]
        for domain in WORDINGS
        for kind in BETWEEN
        if len(main)
    ]
    return Table(
        title="What is kept",
        headers=["wordings", "turns of", *(f"{mark:,}" for mark in marks)],
        rows=rows,
        num_labels=2,
    )


def _tact(study: Study) -> Table:
    """Give what tact buys and costs, beside the same recipe without."""
    shown = _recalls() | {
        f"after 1,000 of {BETWEEN[1]}": of("recall", WORDINGS[0], BETWEEN[1], after=1000),
        "in a reply": of(IN_REPLY, WORDINGS[0], "memory"),
    }
    shown |= {
        f"{condition}: {measure}": of(measure, ASTRAY, condition)
        for condition in OUT_OF_PLACE[:2]
        for measure in ("intrusion", "unchanged")
    }
    shown |= {"perplexity": of("perplexity ratio", condition="memory")}
    # Nothing to compare with before the first two are there.
    arms = [row for row in by_arm(study, [MAIN, TACTFUL, CUED]) if len(row[1])]
    return grid(study, "Tact", ["memory"], arms if len(arms) > 1 else [], columns(mean, shown))


def _cued(study: Study) -> Table:
    """Give what replies know and say where they begin with the cue or are the model's own, by what is asked."""
    runs = study.where(arm=CUED)
    rows = []
    for name, (domain, condition) in CUED_ASKED.items() if len(runs) else ():
        rows.append([name, *(mean(of(measure, domain, condition))(study, runs) for measure in CUED_MEASURES)])
    headers = ["asked", "begins with the cue", "holds the value", "and nothing else", "intrusion", "unchanged"]
    return Table(title="Replies with a cue", headers=headers, rows=rows, num_labels=1)


def _locomo(study: Study) -> Table:
    lags = sorted({row["after"] for run in study.records for row in run.rows("overlap")})
    heard = study.having(of("overlap", "LoCoMo", "memory", after=lags[0])) if lags else study.runs.iloc[:0]
    rows = [
        [run.arm, how, what, *(each(of(what, "LoCoMo", how, after=lag))(study, runs) for lag in lags)]
        for _, runs in every_run(study, heard)
        for run in study.records_of(runs)
        for how in ("memory", WITH_CUE, "reset")
        for what in ("overlap", "nats", "questions", "begun")
        if study.values(of(what, "LoCoMo", how, after=lags[0]), runs)
    ]
    return Table(title="LoCoMo", headers=["cell", "with", "measured", *map(str, lags)], rows=rows, num_labels=3)


def _cost(study: Study, main: pd.DataFrame) -> Table:
    conditions = ("memory", *BY_CONTEXT) if len(main) else ()
    rows = [[name, *(mean(of(measure, condition=name))(study, main) for measure in COSTS)] for name in conditions]
    return Table(title="What a question costs", headers=["with", *COSTS], rows=rows, num_labels=1)


def _lateral(study: Study) -> Table:
    shown = _recalls() | {
        f"after {n:,} of {BETWEEN[1]}": of("recall", WORDINGS[0], BETWEEN[1], after=n) for n in (100, 1000)
    }
    shown |= {
        f"without {bank}": of("accuracy", WORDINGS[0], f"without {bank}") for bank in ("facts' bank", "other bank")
    }
    shown |= {"P_ct": P_CT, "rules": RULE_CHANGE}
    arms = [row for row in by_arm(study, VARIANTS | FIRST_VARIANTS) if len(row[1])]
    return grid(study, "Lateralization", ["memory"], arms, {"seeds": count} | columns(mean, shown))


def _banks(study: Study) -> Table:
    pairs = {"facts and rules": P_CT}
    pairs |= {told: of("P_ct", condition=told) for told in ("facts and chatter", "facts, rules and chatter")}
    arms = [row for row in by_arm(study, [*VARIANTS, *ABLATIONS, EARLIER, TACTFUL, CUED]) if len(row[1])]
    return grid(study, "P_ct of kinds of turns", ["memory"], arms, {"seeds": count} | columns(mean, pairs))


def _recalls() -> dict[str, Quantity]:
    return {
        "recall": RECALL,
        "held-out wordings": of("accuracy", WORDINGS[1], "memory"),
        "16 facts": of("accuracy", WORDINGS[0], "16 facts"),
    }


def facts(study: Study) -> dict[str, str]:
    """Say what users said, to which model, and how the memory learned."""
    configs = [run.config for run in study.records if run.arm != ALONE]
    if not configs:
        return {}

    def span(part: str, name: str) -> str:
        return number_range(config[part][name] for config in configs)

    return {
        "domains": "facts about the user, 20 attributes; sums, counting and spelling; small talk",
        "model": f"SmolLM2-135M-Instruct (30 layers, 576 wide, four bits), frozen; memory behind layer "
        f"{number_range(config['layer'] for config in configs)}, counted from 0",
        "training": f"of the memory alone: {span('pointing', 'num_steps')} steps of pointing, "
        f"{span('training', 'num_steps')} of speaking",
        "evaluation": f"{number_range(config['num_users'] for config in configs)} users of held-out values",
        "parameters": number_range(run.num_parameters for run in study.records if run.arm != ALONE),
        "wall time": f"{sum(run.wall_seconds for run in study.records) / 60:.0f} minutes",
    }
