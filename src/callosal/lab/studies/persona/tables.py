"""The tables of the persona study: who knows what under which condition, where, and by which bank."""

import pandas as pd

from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import (
    MEAN,
    NOTHING,
    Cell,
    Table,
    columns,
    count,
    each,
    every_run,
    grid,
    mean,
    number_range,
    recall_columns,
    transposed,
)
from callosal.lab.report.upgrade import TURNS
from callosal.lab.studies.persona.cells import HOSTS, LAYER, LAYERS, MAIN
from callosal.lab.studies.persona.measures import (
    BANKS,
    BETWEEN,
    FACTS,
    RULES,
    chance_of,
    main_cells,
    trained_for,
    variant_cells,
)

# Under which condition the questions about the facts are asked, and the rules read.
ABOUT_FACTS: dict[str, Quantity] = {
    "no memory": of("accuracy", FACTS, "no memory"),
    "memory": of("accuracy", FACTS, "memory"),
    "memory reset": of("accuracy", FACTS, "reset"),
    "another user's memory": of("accuracy", FACTS, "another user's"),
    "answers as that user": of("other user's answers"),
    "facts in context": of("accuracy", FACTS, "in context"),
    **{f"without {bank}": of("accuracy", FACTS, f"without {bank}") for bank in BANKS},
}
OF_RULES: dict[str, Quantity] = {
    "no memory": of("accuracy", RULES, "no memory"),
    "memory": of("accuracy", RULES, "memory"),
    **{f"without {bank}": of("accuracy", RULES, f"without {bank}") for bank in BANKS},
}
LONG = 100
RECALL = ABOUT_FACTS["memory"]
LATE = {f"after {LONG} of {kind}": of("recall", condition=kind, after=LONG) for kind in BETWEEN}
P_CT, RULE_CHANGE = of("P_ct"), of("rule change")
RUN_COLUMNS = columns(each, {"recall": RECALL, **LATE, "P_ct": P_CT, "rule change": RULE_CHANGE})
# After how many turns the short table of what is kept gives recall.
_KEPT_MARKS = (0, 10, 30, 100)
_AFTER = f"After {LONG} of rules, of chatter: recall after so many turns of it between the sessions."


def tables(study: Study) -> list[Table]:
    """Return all tables that the study has rows for."""
    made = [
        _answers(study),
        _kinds(study),
        _kept(study),
        _layers(study),
        _variants(study),
        _base_models(study),
        _seeds(
            study,
            "answers about the facts",
            columns(each, ABOUT_FACTS),
            "No seed is dropped. Accuracy under the conditions of the table of answers.",
        ),
        _seeds(study, "answers of the rules", columns(each, OF_RULES), "Accuracy of counting and spelling."),
        _seeds(study, "banks", _bank_columns(), _BANK_NOTE),
        *(
            _seeds(
                study,
                f"recall after turns of {kind}",
                recall_columns(study, each, condition=kind),
                f"Recall of the facts after so many turns of {kind} between the sessions.",
                asked=of("recall", condition=kind, after=0),
            )
            for kind in BETWEEN
        ),
    ]
    return [table for table in made if table.rows]


def _answers(study: Study) -> Table:
    """Give the accuracy of the answers in the base models' own cells under every condition."""
    cells = main_cells(study)
    guess = chance_of(study)
    rows = [
        ([about, name], mean(quantity))
        for about, quantities in ((FACTS, ABOUT_FACTS), (RULES, OF_RULES))
        for name, quantity in quantities.items()
    ]
    return transposed(
        study,
        "Answers",
        ["about", "condition"],
        rows if cells else [],
        cells,
        f"Accuracy, memory behind layer {LAYER} (counted from 0){_trained(cells)}. {MEAN}. "
        + ("" if guess is None else f"Chance for a fact is {guess:.3f}. ")
        + "Answers as that user: how often the answer is what was stated by the memory's user, where both "
        "users stated something of the kind and not the same. Facts in context: the base model alone, with "
        "all that was said before the question. Without a bank: the later session reads it as if "
        "nothing had been stated; the facts' bank is the one with the larger share of their tokens "
        "in that seed.",
    )


def _kinds(study: Study) -> Table:
    """Give the accuracy about each kind of fact, by memory and in context."""
    cells = main_cells(study)
    kinds = sorted({row["fact"] for run in study.records for row in run.rows("accuracy") if "fact" in row})
    ways = ("memory", "in context")
    return Table(
        title="Kinds of fact",
        headers=["kind", *(f"{host}, {way}" for host in cells for way in ways)],
        rows=[
            [
                kind,
                *(mean(of("accuracy", FACTS, way, fact=kind))(study, runs) for runs in cells.values() for way in ways),
            ]
            for kind in (kinds if cells else ())
        ],
        note=(
            f"Accuracy of the answers by what is asked. {MEAN}. Memory: the user's own, in a later "
            "session. In context: the base model alone. Name and sister draw from one list of names."
        ),
    )


def _kept(study: Study) -> Table:
    """Give recall in the base models' own cells after more and more turns of either kind."""
    cells = main_cells(study)
    known = {mark for kind in BETWEEN for mark in study.marks(condition=kind)}
    marks = [mark for mark in _KEPT_MARKS if mark in known]
    rows = []
    for host, runs in cells.items():
        for kind in BETWEEN:
            found = [mean(of("recall", condition=kind, after=m))(study, runs) for m in marks]
            if set(found) - {NOTHING}:
                rows.append([host, kind, *found])
    return Table(
        title="What is kept",
        headers=["base model", "turns of", *(f"after {mark}" for mark in marks)],
        rows=rows,
        num_labels=2,
        note=(
            f"Memory behind layer {LAYER}{_trained(cells)}. Recall of the facts after so many turns "
            f"between the sessions. {MEAN}. Every turn writes to the memory. The same users for "
            "rules and for chatter, other ones than those of the table of answers."
        ),
    )


def _layers(study: Study) -> Table:
    """Give what a memory does behind each layer of Llama."""
    cells = {str(layer): study.where(arm=cell) for layer, cell in LAYERS.items()}
    cells = {layer: runs for layer, runs in cells.items() if len(runs)}
    sizes = {f"|D_sep| {domain}": of("|D_sep|", domain) for domain in (FACTS, RULES)}
    return grid(
        study,
        "Layers",
        ["layer"],
        [([layer], runs) for layer, runs in cells.items()],
        columns(mean, {"recall": RECALL, **LATE, **sizes})
        | {"opposite": _opposite}
        | columns(mean, {"P_ct": P_CT, "rule change": RULE_CHANGE}),
        f"Llama's memory{_trained(cells)}, as in the table of variants; the base models' own cells are trained for "
        f"longer and stand apart. {MEAN}. Layers are counted from 0. Recall: answers about the facts with the user's "
        f"memory, right after the session boundary. {_AFTER} D_sep is averaged in size, because which bank serves "
        "the facts is chance; opposite counts the seeds whose facts and rules differ in sign. Rule change: accuracy "
        "of the rules with the memory minus that of the base model alone.",
    )


def _variants(study: Study) -> Table:
    """Give what becomes of Llama's memory without inhibition, with one bank, or apart."""
    cells = variant_cells(study)
    shares = {
        f"share {name}": of("stating bank's share", turn)
        for name, turn in zip(("stating", "asking", "rules"), TURNS, strict=True)
    }
    return grid(
        study,
        "Variants",
        ["memory"],
        [([name], runs) for name, runs in cells.items()],
        {"seeds": count} | columns(mean, {"recall": RECALL, **LATE, **shares, "P_ct": P_CT}),
        f"Llama's memory behind layer {LAYER}{_trained(cells)}; the inhibitory memory is "
        f"the one of the table of layers. {MEAN}. {_AFTER} Shares are those of the bank that "
        "takes most of the stating, in turns that state, turns that ask, and turns of rules. Facts and "
        "questions apart: the first session only states and the second only asks; in the other cells every "
        "turn about the user does both. One bank has as many slots as two together, and no shares to speak of.",
    )


def _base_models(study: Study) -> Table:
    """Give the size of base models and memories, and what the base models learned before."""
    return grid(
        study,
        "Base models",
        ["base model"],
        [([host], runs) for host, runs in main_cells(study).items()],
        {
            "parameters": _counted(of("base_parameters")),
            "vocabulary": _counted(of("vocabulary")),
            "facts in context": mean(ABOUT_FACTS["facts in context"]),
            "rules": mean(OF_RULES["no memory"]),
            "memory parameters": lambda s, runs: f"{s.records_of(runs)[0].num_parameters:,}",
            "state floats": _counted(of("state_floats")),
        },
        f"{MEAN}, in the base models' own cells. What a base model can do alone, frozen and without a memory: "
        "accuracy of the answers with the facts in its context, and of the rules. Of the memory, its "
        "trained parameters and the floats that are kept for each user between sessions.",
    )


_BANK_NOTE = (
    "The sign of D_sep says which bank: + left, - right. Left: the left bank's mean share in turns "
    "that state, that ask, and of rules. W_s: by how much it tells the banks apart after training, 1 - s "
    "at the start, so 2 with inhibition. One bank has none of these."
)


def _bank_columns() -> dict[str, Cell]:
    sides = {f"D_sep {d}": each(of("D_sep", d), signed=True) for d in (FACTS, RULES)}
    left = {
        f"left {name}": each(of("left share", turn))
        for name, turn in zip(("stating", "asking", "rules"), TURNS, strict=True)
    }
    return {**sides, "P_ct": each(P_CT), **left, "W_s": each(of("differential mode"))}


def _seeds(study: Study, what: str, shown: dict[str, Cell], note: str, asked: Quantity | None = None) -> Table:
    runs = study.runs if asked is None else study.having(asked)
    title = f"Every seed: {what}"
    return grid(study, title, ["cell", "seed"], every_run(study, runs), shown, note, num_labels=1)


def _opposite(study: Study, runs: pd.DataFrame) -> str:
    """Count the seeds whose facts and rules lean to opposite banks in all that is attached."""
    values = study.values(of("opposite banks"), runs)
    return f"{sum(values):.0f} of {len(values)}" if values else NOTHING


def _counted(quantity: Quantity) -> Cell:
    def cell(study: Study, runs: pd.DataFrame) -> str:
        values = study.values(quantity, runs)
        return f"{values[0]:,.0f}" if values else NOTHING

    return cell


def _trained(cells: dict[str, pd.DataFrame]) -> str:
    """Say for how many steps the memories were trained, to go on a sentence with; nothing of no runs."""
    return f", trained for {trained_for(pd.concat(cells.values()))}" if cells else ""


def facts(study: Study) -> dict[str, str]:
    """Say what users said, to which base models, and how these and the memories learned."""
    configs = [run.config for run in study.records]
    hosts = [host for host in HOSTS if any(c["host"]["kind"] == host for c in configs)]

    def span(part: str, name: str) -> str:
        return number_range(config[part][name] for config in configs)

    taught = dict.fromkeys(
        number_range(c["pretraining"]["num_steps"] for c in configs if c["host"]["kind"] == host) for host in hosts
    )
    minutes = sum(run.wall_seconds for run in study.records) / 60
    batches = number_range(config["batch_size"] for config in configs)
    asked = number_range(config["evaluation_conversations"] for config in configs)
    others = [arm for arm in study.arms if arm not in MAIN.values()]
    groups = (
        (study.where(arm=list(MAIN.values())), "the base models' own cells"),
        (study.where(arm=others), "layers and variants"),
    )
    steps = [f"{trained_for(runs)} in {name}" for runs, name in groups if len(runs)]
    return {
        "domains": "what users say of themselves; counting and spelling backwards",
        "remembered": (
            f"{span('episodes', 'num_facts')} facts, {span('episodes', 'facts_per_turn')} to a turn, asked "
            "about in a later session"
        ),
        "base models": (
            f"{' and '.join(hosts)}, {span('host', 'num_layers')} layers of width {span('host', 'width')}, taught for "
            f"{' and '.join(taught)} steps of {span('pretraining', 'batch_size')} texts, then frozen"
        ),
        "training": f"of the memories alone: {', '.join(steps)}, of {batches} fresh conversations",
        "evaluation": f"{asked} held-out conversations, the same for every seed",
        "parameters": f"{number_range(r.num_parameters for r in study.records)}, of the memories",
        "wall time": f"at least {minutes:.0f} minutes: a run that was resumed counts its last part only",
    }
