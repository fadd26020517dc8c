"""The tables of the persona study: who knows what under which condition, where, and by which bank."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from callosal.report.cell_tables import mean_cell
from callosal.report.facts import number_range
from callosal.report.study import Study
from callosal.report.tables import (
    NOTHING,
    Measure,
    Table,
    claims_table,
    off_recipe_table,
    recall_after,
    retention_table,
    run_cells,
)
from callosal.studies.claims import Verdict
from callosal.studies.persona_claims import (
    HOSTS,
    LAYER,
    LAYERS,
    MAIN,
    PERSONA_CLAIMS,
    VARIANTS,
    chance,
    cross_talk,
    known,
    mean_over_memories,
    rule_change,
    without_bank,
)
from callosal.studies.records import RunRecord

LONG = 100
FACTS, RULES = 0, 1
TELLING, ASKING, RULE_TURNS = 0, 1, 2
_MEANS = "Mean over seeds \N{PLUS-MINUS SIGN} half its 95 % t interval"


def answered(key: str) -> Callable[[RunRecord], float]:
    """Return what gives a run's accuracy under a condition by its name."""
    return lambda run: run.evaluation[key]


# Under which condition the questions about the facts are asked, and the rules read.
ABOUT_FACTS: tuple[Measure, ...] = (
    Measure(name="no memory", value=answered("no_memory")),
    Measure(name="memory", value=known),
    Measure(name="memory reset", value=answered("reset")),
    Measure(name="another user's memory", value=answered("others")),
    Measure(name="answers as that user", value=answered("as_others")),
    Measure(name="facts in context", value=answered("in_context")),
    Measure(name="without facts' bank", value=without_bank(own=True, domain=FACTS)),
    Measure(name="without other bank", value=without_bank(own=False, domain=FACTS)),
)
OF_RULES: tuple[Measure, ...] = (
    Measure(name="no memory", value=answered("rule_before")),
    Measure(name="memory", value=answered("rule")),
    Measure(name="without facts' bank", value=without_bank(own=True, domain=RULES)),
    Measure(name="without other bank", value=without_bank(own=False, domain=RULES)),
)
RECALL = Measure(name="recall", value=known)
CROSS_TALK = Measure(name="P_ct", value=cross_talk)
RULE_CHANGE = Measure(name="rule change", value=rule_change)
RECALL_LATE = recall_after(LONG, f"recall after {LONG:,}")


def main_cells(study: Study) -> dict[str, list[RunRecord]]:
    """Return each host's runs behind its main layer, where there are any."""
    found = {host: study.of(cell) for host, cell in MAIN.items()}
    return {host: runs for host, runs in found.items() if runs}


def variant_cells(study: Study) -> dict[str, list[RunRecord]]:
    """Return the runs of the Llama host's variants, the inhibitory memory first."""
    found = {name: study.of(cell) for name, cell in VARIANTS.items()}
    return {name: runs for name, runs in found.items() if runs}


def chance_of(study: Study) -> float | None:
    """Return the accuracy of a guess, which is the same in all cells; None if no run says it."""
    return next((found for found in map(chance, study.records) if found is not None), None)


def separation_size(domain: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the size of D_sep, whose sign is chance, averaged over what is attached."""
    return lambda run: mean_over_memories(run, lambda found: abs(found["separation"][domain]))


def left_separation(domain: int) -> Callable[[RunRecord], float | None]:
    """Return what gives D_sep with its sign, averaged over what is attached."""
    return lambda run: mean_over_memories(run, lambda found: found["separation"][domain])


def left_share(kind: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the left bank's mean share in turns that tell, that ask, or of rules."""

    def value(run: RunRecord) -> float | None:
        if cross_talk(run) is None:
            return None
        return sum(shares[kind] for shares in run.evaluation["shares"]) / len(
            run.evaluation["shares"]
        )

    return value


def tellers_share(kind: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the share, in turns of a kind, of the bank that takes most of the telling.

    Which side that is is chance, so shares of the left bank cannot be averaged over seeds.
    """

    def value(run: RunRecord) -> float | None:
        told, found = left_share(TELLING)(run), left_share(kind)(run)
        if told is None or found is None:
            return None
        return found if told >= 0.5 else 1.0 - found

    return value


def answers_table(study: Study) -> Table:
    """Give the accuracy of both hosts' answers under every condition, behind the main layer."""
    cells = main_cells(study)
    rows = [
        [domain, measure.name, *(mean_cell(measure, runs) for runs in cells.values())]
        for domain, measures in (("facts", ABOUT_FACTS), ("rules", OF_RULES))
        for measure in measures
    ]
    guess = chance_of(study)
    return Table(
        title="Answers",
        headers=["about", "condition", *cells],
        rows=rows if cells else [],
        num_labels=2,
        note=(
            f"Accuracy, memory behind layer {LAYER} (counted from 0). {_MEANS}. "
            + ("" if guess is None else f"Chance for a fact is {guess:.3f}. ")
            + "Answers as that user: how often the answer is what the memory's user was told, where both "
            "users stated something of the kind and not the same. Facts in context: the host alone, with "
            "all that was said before the question. Without a bank: the later session reads it as if "
            "nothing had been told; the facts' bank is the one with the larger share of their tokens "
            "in that seed."
        ),
    )


def layers_table(study: Study) -> Table:
    """Give what a memory does behind each layer of each host."""
    measures = (
        RECALL,
        Measure(name="|D_sep| facts", value=separation_size(FACTS)),
        Measure(name="|D_sep| rules", value=separation_size(RULES)),
    )
    behind = (CROSS_TALK, RULE_CHANGE, RECALL_LATE)
    rows = []
    for (host, layer), cell in LAYERS.items():
        runs = study.of(cell)
        if runs:
            cells = [mean_cell(measure, runs) for measure in measures]
            last = [mean_cell(measure, runs) for measure in behind]
            rows.append([host, str(layer), *cells, opposite(runs), *last])
    return Table(
        title="Layers",
        headers=[
            "host",
            "layer",
            *(measure.name for measure in measures),
            "opposite",
            *(measure.name for measure in behind),
        ],
        rows=rows,
        num_labels=2,
        note=(
            f"{_MEANS}. Layers are counted from 0. Recall: answers about the facts with the user's memory, "
            "right after the session boundary. D_sep is averaged in size, because which bank serves "
            "the facts is chance; opposite counts the seeds whose facts and rules differ in sign. Rule "
            "change: accuracy of the rules with the memory minus that of the host alone. Recall after "
            f"{LONG} further turns of chatter and rules."
        ),
    )


def variants_table(study: Study) -> Table:
    """Give what becomes of the Llama host's memory without inhibition, with one bank, or apart."""
    measures = (
        RECALL,
        Measure(name="share telling", value=tellers_share(TELLING)),
        Measure(name="share asking", value=tellers_share(ASKING)),
        Measure(name="share rules", value=tellers_share(RULE_TURNS)),
        CROSS_TALK,
        RECALL_LATE,
    )
    return Table(
        title="Variants",
        headers=["memory", "seeds", *(measure.name for measure in measures)],
        rows=[
            [name, str(len(runs)), *(mean_cell(measure, runs) for measure in measures)]
            for name, runs in variant_cells(study).items()
        ],
        note=(
            f"Llama, behind layer {LAYER}. {_MEANS}. Shares are those of the bank that takes most of the "
            "telling, in turns that tell, turns that ask, and turns of rules. Apart: facts are told and "
            "asked in turns of their own, so that telling and asking look different to the banks; the other "
            "cells do both in every turn about the user. One bank has as many slots as two together, and "
            "no shares to speak of."
        ),
    )


def hosts_table(study: Study) -> Table:
    """Give the size of hosts and memories, and what the hosts learned before."""
    rows = []
    for host, runs in main_cells(study).items():
        probes = runs[0].probes
        rows.append(
            [
                host,
                _counted(probes.get("host_parameters")),
                _counted(probes.get("vocabulary")),
                mean_cell(Measure(name="in context", value=answered("in_context")), runs),
                mean_cell(Measure(name="rules", value=answered("rule_before")), runs),
                f"{runs[0].num_parameters:,}",
                _counted(probes.get("state_floats")),
                mean_cell(_MINUTES, runs),
            ]
        )
    return Table(
        title="Hosts",
        headers=[
            "host",
            "parameters",
            "vocabulary",
            "facts in context",
            "rules",
            "memory parameters",
            "state floats",
            "minutes",
        ],
        rows=rows,
        note=(
            f"{_MEANS}. What a host can do alone, frozen and without a memory: accuracy of the answers "
            "with the facts in its context, and of the rules. Of the memory, its trained parameters and "
            "the floats that are kept for each user between sessions. Minutes: wall time of training "
            "the memory, a rough figure, since runs may share cores."
        ),
    )


def fact_seeds_table(study: Study) -> Table:
    """Give the answers about the facts of every single run that counts."""
    note = "No seed is dropped. Accuracy under the conditions of the table of answers."
    return _seeds_table(study, "answers about the facts", ABOUT_FACTS, note)


def rule_seeds_table(study: Study) -> Table:
    """Give the accuracy of the rules of every single run that counts."""
    return _seeds_table(
        study, "answers of the rules", OF_RULES, "Accuracy of counting and spelling."
    )


def bank_seeds_table(study: Study) -> Table:
    """Give what the banks of every single run that counts do."""
    measures = (
        Measure(name="D_sep facts", value=left_separation(FACTS), is_signed=True),
        Measure(name="D_sep rules", value=left_separation(RULES), is_signed=True),
        CROSS_TALK,
        Measure(name="left telling", value=left_share(TELLING)),
        Measure(name="left asking", value=left_share(ASKING)),
        Measure(name="left rules", value=left_share(RULE_TURNS)),
    )
    note = (
        "The sign of D_sep says which bank: + left, - right. Left: the left bank's mean share in turns "
        "that tell, that ask, and of rules. One bank has none of these."
    )
    return _seeds_table(study, "banks", measures, note)


def persona_retention_table(study: Study) -> Table:
    """Give recall after every number of further turns, of every single run that counts."""
    return replace(
        retention_table(study, label="cell"),
        title="Every seed: recall after further turns",
        note=(
            "Share of the facts answered rightly after so many turns of chatter and rules between the "
            "sessions. Minutes: wall time of training and measuring the run."
        ),
    )


def persona_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return all tables that the study has rows for."""
    tables = [claims_table(verdicts, PERSONA_CLAIMS)]
    made = [
        answers_table,
        layers_table,
        variants_table,
        hosts_table,
        fact_seeds_table,
        rule_seeds_table,
        bank_seeds_table,
        persona_retention_table,
    ]
    if study.records:
        tables += [table for table in (make(study) for make in made) if table.rows]
    if study.off_recipe:
        shown = (RECALL, CROSS_TALK, RULE_CHANGE, RECALL_LATE)
        tables.append(off_recipe_table(study, label="cell", measures=shown))
    return tables


def persona_facts(study: Study) -> dict[str, str]:
    """Say what users said, to which hosts, and how these and the memories learned."""
    configs = [run.config for run in study.records]
    hosts = [host for host in HOSTS if any(c["host"]["kind"] == host for c in configs)]

    def of(part: str, name: str) -> str:
        return number_range(config[part][name] for config in configs)

    batches = number_range(config["batch_size"] for config in configs)
    asked = number_range(config["evaluation_conversations"] for config in configs)

    return {
        "domains": "what users say of themselves; counting and spelling backwards",
        "told": (
            f"{of('episodes', 'num_facts')} facts, {of('episodes', 'facts_per_turn')} to a turn, asked "
            "in a later session"
        ),
        "hosts": (
            f"{' and '.join(hosts)}, {of('host', 'num_layers')} layers of width {of('host', 'width')}, "
            f"taught for {of('pretraining', 'num_steps')} steps of {of('pretraining', 'batch_size')} "
            "texts, then frozen"
        ),
        "training": (
            f"of the memories alone: {of('training', 'num_steps')} steps of {batches} fresh "
            "conversations"
        ),
        "evaluation": f"{asked} held-out conversations, the same for every seed",
        "parameters": f"{number_range(r.num_parameters for r in study.records)}, of the memories",
    }


def opposite(runs: Sequence[RunRecord]) -> str:
    """Count the seeds whose facts and rules lean to opposite banks in all that is attached."""
    signs = [
        [measures["separation"] for measures in run.evaluation["specialization"]]
        for run in runs
        if cross_talk(run) is not None
    ]
    found = sum(all(min(s) < 0.0 < max(s) for s in tables) for tables in signs)
    return f"{found} of {len(signs)}" if signs else NOTHING


def _seeds_table(study: Study, what: str, measures: Sequence[Measure], note: str) -> Table:
    return Table(
        title=f"Every seed: {what}",
        headers=["cell", "seed", *(measure.name for measure in measures)],
        rows=[run_cells(run, measures) for run in study.records],
        note=note,
    )


def _train_minutes(run: RunRecord) -> float | None:
    seconds = run.probes.get("train_seconds")
    return None if seconds is None else seconds / 60


def _counted(size: int | None) -> str:
    return NOTHING if size is None else f"{size:,}"


_MINUTES = Measure(name="minutes", value=_train_minutes)
