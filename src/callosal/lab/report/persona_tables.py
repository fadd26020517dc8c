"""The tables of the persona study: who knows what under which condition, where, and by which bank."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from callosal.lab.report.cell_tables import mean_cell
from callosal.lab.report.claims import Verdict
from callosal.lab.report.facts import number_range
from callosal.lab.report.persona_measures import (
    ABOUT_FACTS,
    ASKING,
    BETWEEN,
    CROSS_TALK,
    FACTS,
    LATE,
    LONG,
    OF_RULES,
    RECALL,
    RULE_CHANGE,
    RULE_TURNS,
    RULES,
    TELLING,
    Between,
    about_kind,
    after,
    answered,
    chance_of,
    differential,
    left_separation,
    left_share,
    main_cells,
    marks_through,
    recall_through,
    separation_size,
    tellers_share,
    trained_for,
    variant_cells,
)
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study
from callosal.lab.report.tables import (
    NOTHING,
    Measure,
    Table,
    claims_table,
    off_recipe_table,
    run_cells,
)
from callosal.lab.studies.persona.claims import (
    HOSTS,
    LAYER,
    LAYERS,
    MAIN,
    PERSONA_CLAIMS,
    cross_talk,
)

_MEANS = "Mean over seeds \N{PLUS-MINUS SIGN} half its 95 % t interval"
# After how many turns the short table of what is kept gives recall.
_KEPT_MARKS = (0, 10, 30, 100)
_AFTER = (
    f"After {LONG} of rules, of chatter: recall after so many turns of it between the sessions."
)


def answers_table(study: Study) -> Table:
    """Give the accuracy of the answers in both hosts' own cells under every condition."""
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
            f"Accuracy, memory behind layer {LAYER} (counted from 0){_trained(cells)}. {_MEANS}. "
            + ("" if guess is None else f"Chance for a fact is {guess:.3f}. ")
            + "Answers as that user: how often the answer is what the memory's user was told, where both "
            "users stated something of the kind and not the same. Facts in context: the host alone, with "
            "all that was said before the question. Without a bank: the later session reads it as if "
            "nothing had been told; the facts' bank is the one with the larger share of their tokens "
            "in that seed."
        ),
    )


def kept_table(study: Study) -> Table:
    """Give recall in both hosts' own cells after more and more turns of either kind."""
    cells = main_cells(study)
    found = {m for runs in cells.values() for kind in BETWEEN for m in marks_through(runs, kind)}
    marks = [mark for mark in _KEPT_MARKS if mark in found]
    rows = [
        [host, kind, *(mean_cell(recall_through(kind, mark, ""), runs) for mark in marks)]
        for host, runs in cells.items()
        for kind in BETWEEN
        if marks_through(runs, kind)
    ]
    return Table(
        title="What is kept",
        headers=["host", "turns of", *(f"after {mark}" for mark in marks)],
        rows=rows if marks else [],
        num_labels=2,
        note=(
            f"Memory behind layer {LAYER}{_trained(cells)}. Recall of the facts after so many turns "
            f"between the sessions. {_MEANS}. Every turn writes to the memory. The same users for "
            "rules and for chatter, other ones than those of the table of answers."
        ),
    )


def layers_table(study: Study) -> Table:
    """Give what a memory does behind each layer of the Llama host."""
    cells = {layer: study.of(cell) for layer, cell in LAYERS.items() if study.of(cell)}
    sizes = (
        Measure(name="|D_sep| facts", value=separation_size(FACTS)),
        Measure(name="|D_sep| rules", value=separation_size(RULES)),
    )
    first, last = (RECALL, *LATE, *sizes), (CROSS_TALK, RULE_CHANGE)
    return Table(
        title="Layers",
        headers=["layer", *(m.name for m in first), "opposite", *(m.name for m in last)],
        rows=[
            [
                str(layer),
                *(mean_cell(measure, runs) for measure in first),
                opposite(runs),
                *(mean_cell(measure, runs) for measure in last),
            ]
            for layer, runs in cells.items()
        ],
        note=(
            f"Llama's memory{_trained(cells)}, as in the table of variants; the hosts' own cells are trained "
            f"for longer and stand apart. {_MEANS}. Layers are counted from 0. Recall: answers about the "
            f"facts with the user's memory, right after the session boundary. {_AFTER} D_sep is averaged "
            "in size, because which bank serves the facts is chance; opposite counts the seeds whose "
            "facts and rules differ in sign. Rule change: accuracy of the rules with the memory minus "
            "that of the host alone."
        ),
    )


def variants_table(study: Study) -> Table:
    """Give what becomes of the Llama host's memory without inhibition, with one bank, or apart."""
    cells = variant_cells(study)
    measures = (
        RECALL,
        *LATE,
        Measure(name="share telling", value=tellers_share(TELLING)),
        Measure(name="share asking", value=tellers_share(ASKING)),
        Measure(name="share rules", value=tellers_share(RULE_TURNS)),
        CROSS_TALK,
    )
    return Table(
        title="Variants",
        headers=["memory", "seeds", *(measure.name for measure in measures)],
        rows=[
            [name, str(len(runs)), *(mean_cell(measure, runs) for measure in measures)]
            for name, runs in cells.items()
        ],
        note=(
            f"Llama's memory behind layer {LAYER}{_trained(cells)}; the inhibitory memory is "
            f"the one of the table of layers. {_MEANS}. {_AFTER} Shares are those of the bank that "
            "takes most of the telling, in turns that tell, turns that ask, and turns of rules. Told and "
            "asked apart: the first session only tells and the second only asks; in the other cells every turn "
            "about the user does both. One bank has as many slots as two together, and no shares to speak of."
        ),
    )


def kinds_table(study: Study) -> Table:
    """Give the accuracy about each kind of fact, by memory and in context, for both hosts."""
    cells = main_cells(study)
    kinds = sorted(
        {name for runs in cells.values() for run in runs for name in run.evaluation["by_attribute"]}
    )
    ways = ("memory", "in context")
    return Table(
        title="Kinds of fact",
        headers=["kind", *(f"{host}, {way}" for host in cells for way in ways)],
        rows=[
            [
                kind,
                *(
                    mean_cell(Measure(name=kind, value=about_kind(kind, way)), runs)
                    for runs in cells.values()
                    for way in range(len(ways))
                ),
            ]
            for kind in kinds
        ],
        note=(
            f"Accuracy of the answers by what is asked. {_MEANS}. Memory: the user's own, in a later "
            "session. In context: the host alone. Name and sister draw from one list of names."
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
        ],
        rows=rows,
        note=(
            f"{_MEANS}, in the hosts' own cells. What a host can do alone, frozen and without a memory: "
            "accuracy of the answers with the facts in its context, and of the rules. Of the memory, its "
            "trained parameters and the floats that are kept for each user between sessions."
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
        Measure(name="W_s", value=differential),
    )
    note = (
        "The sign of D_sep says which bank: + left, - right. Left: the left bank's mean share in turns "
        "that tell, that ask, and of rules. W_s: by how much it tells the banks apart after training, 1 - s "
        "at the start, so 2 with inhibition. One bank has none of these."
    )
    return _seeds_table(study, "banks", measures, note)


def kept_seeds_table(study: Study, between: Between) -> Table:
    """Give recall after every number of turns of a kind, of every single run that was asked."""
    asked = replace(study, records=[run for run in study.records if after(run, between)])
    marks = marks_through(asked.records, between)
    measures = [recall_through(between, mark, f"{mark:,}") for mark in marks]
    note = f"Recall of the facts after so many turns of {between} between the sessions."
    return _seeds_table(asked, f"recall after turns of {between}", measures, note)


def persona_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return all tables that the study has rows for."""
    tables = [claims_table(verdicts, PERSONA_CLAIMS)]
    made = [
        answers_table,
        kinds_table,
        kept_table,
        layers_table,
        variants_table,
        hosts_table,
        fact_seeds_table,
        rule_seeds_table,
        bank_seeds_table,
    ]
    if study.records:
        found = [make(study) for make in made]
        found += [kept_seeds_table(study, kind) for kind in BETWEEN]
        tables += [table for table in found if table.rows]
    if study.off_recipe:
        shown = (RECALL, *LATE, CROSS_TALK, RULE_CHANGE)
        tables.append(off_recipe_table(study, label="cell", measures=shown))
    return tables


def persona_facts(study: Study) -> dict[str, str]:
    """Say what users said, to which hosts, and how these and the memories learned."""
    configs = [run.config for run in study.records]
    hosts = [host for host in HOSTS if any(c["host"]["kind"] == host for c in configs)]

    def of(part: str, name: str) -> str:
        return number_range(config[part][name] for config in configs)

    taught = dict.fromkeys(
        number_range(c["pretraining"]["num_steps"] for c in configs if c["host"]["kind"] == host)
        for host in hosts
    )
    minutes = sum(run.wall_seconds for run in study.records) / 60
    batches = number_range(config["batch_size"] for config in configs)
    asked = number_range(config["evaluation_conversations"] for config in configs)
    own = [run for run in study.records if run.arm in MAIN.values()]
    others = [run for run in study.records if run.arm not in MAIN.values()]
    steps = [f"{trained_for(own)} in the hosts' own cells"] if own else []
    steps += [f"{trained_for(others)} in layers and variants"] if others else []

    return {
        "domains": "what users say of themselves; counting and spelling backwards",
        "told": (
            f"{of('episodes', 'num_facts')} facts, {of('episodes', 'facts_per_turn')} to a turn, asked "
            "in a later session"
        ),
        "hosts": (
            f"{' and '.join(hosts)}, {of('host', 'num_layers')} layers of width {of('host', 'width')}, "
            f"taught for {' and '.join(taught)} steps of {of('pretraining', 'batch_size')} texts, then "
            "frozen"
        ),
        "training": f"of the memories alone: {', '.join(steps)}, of {batches} fresh conversations",
        "evaluation": f"{asked} held-out conversations, the same for every seed",
        "parameters": f"{number_range(r.num_parameters for r in study.records)}, of the memories",
        "wall time": f"at least {minutes:.0f} minutes: a run that was resumed counts its last part only",
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


def _trained(cells: Mapping[Any, Sequence[RunRecord]]) -> str:
    """Say for how many steps the memories were trained, to go on a sentence with; nothing of no runs."""
    runs = [run for found in cells.values() for run in found]
    return f", trained for {trained_for(runs)}" if runs else ""


def _counted(size: int | None) -> str:
    return NOTHING if size is None else f"{size:,}"
