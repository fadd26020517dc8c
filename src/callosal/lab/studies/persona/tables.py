"""The tables of the persona study: who knows what under which condition, where, and by which bank."""

import pandas as pd

from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import (
    NOTHING,
    Cell,
    Table,
    columns,
    count,
    each,
    every_run,
    grid,
    mean,
    num_parameters,
    number_range,
    recall_columns,
    sides,
    tally,
    transposed,
)
from callosal.lab.report.upgrade import TURNS
from callosal.lab.studies.persona.cells import HOSTS, LAYERS, MAIN
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
# What turns are called in the headers.
_TURN_NAMES = dict(zip(("stating", "asking", "rules"), TURNS, strict=True))


def tables(study: Study) -> list[Table]:
    """Return all tables that the study has rows for."""
    made = [
        _answers(study),
        _kinds(study),
        _kept(study),
        _layers(study),
        _variants(study),
        _base_models(study),
        _seeds(study, "answers about the facts", columns(each, ABOUT_FACTS)),
        _seeds(study, "answers of the rules", columns(each, OF_RULES)),
        _seeds(study, "banks", _bank_columns()),
        *(
            _seeds(
                study,
                f"recall after turns of {kind}",
                recall_columns(study, each, condition=kind),
                asked=of("recall", condition=kind, after=0),
            )
            for kind in BETWEEN
        ),
    ]
    return [table for table in made if table.rows]


def _answers(study: Study) -> Table:
    """Give the accuracy of the answers in the base models' own cells under every condition."""
    cells, guess = main_cells(study), chance_of(study)
    rows = [
        ([about, name], mean(quantity))
        for about, quantities in ((FACTS, ABOUT_FACTS), (RULES, OF_RULES))
        for name, quantity in quantities.items()
    ]
    chance = "" if guess is None else f"Chance for a fact is {guess:.3f}. "
    said = {"chance": chance, "trained": _trained(cells)}
    return transposed(study, "Answers", ["about", "condition"], rows if cells else [], cells, **said)


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
        said={"trained": _trained(cells)},
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
        trained=_trained(cells),
    )


def _variants(study: Study) -> Table:
    """Give what becomes of Llama's memory without inhibition, with one bank, or apart."""
    cells = variant_cells(study)
    shares = {f"share {name}": of("stating bank's share", turn) for name, turn in _TURN_NAMES.items()}
    return grid(
        study,
        "Variants",
        ["memory"],
        [([name], runs) for name, runs in cells.items()],
        {"seeds": count} | columns(mean, {"recall": RECALL, **LATE, **shares, "P_ct": P_CT}),
        trained=_trained(cells),
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
            "memory parameters": num_parameters,
            "state floats": _counted(of("state_floats")),
        },
    )


def _bank_columns() -> dict[str, Cell]:
    left = {f"left {name}": each(of("left share", turn)) for name, turn in _TURN_NAMES.items()}
    return {**sides((FACTS, RULES)), "P_ct": each(P_CT), **left, "W_s": each(of("differential mode"))}


def _seeds(study: Study, what: str, shown: dict[str, Cell], asked: Quantity | None = None) -> Table:
    runs = study.runs if asked is None else study.having(asked)
    title = f"Every seed: {what}"
    return grid(study, title, ["cell", "seed"], every_run(study, runs), shown, num_labels=1)


def _opposite(study: Study, runs: pd.DataFrame) -> str:
    """Count the seeds whose facts and rules lean to opposite banks in all that is attached."""
    return tally([value == 1.0 for value in study.values(of("opposite banks"), runs)])


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
