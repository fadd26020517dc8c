"""Runs a cell of the study of SmolLM2: a memory learns behind a frozen layer, and is asked what it knows."""

import math
import pydoc_data.topics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from callosal.hosts.attach import attach
from callosal.hosts.cue import Cue
from callosal.hosts.memories import Memories
from callosal.hosts.smollm2 import load_smollm
from callosal.lab.measures.specialization import domain_shares, specialization
from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.upgrade import bank_values, coupling_values, single_values
from callosal.lab.runner import HELD_OUT_SEED, Report, num_trained, open_place, record_of
from callosal.lab.runs import fingerprint
from callosal.lab.studies.smollm.asking import (
    answers_by_memory,
    answers_in_context,
    ask_memory,
    costs,
    draw_users,
    kept,
    prompt_of,
    questions,
)
from callosal.lab.studies.smollm.cells import ALONE, SHIPS
from callosal.lab.studies.smollm.forgetting import forgetting_curve
from callosal.lab.studies.smollm.measures import IN_REPLY
from callosal.lab.studies.smollm.recipe import SmolRun
from callosal.lab.studies.smollm.replying import in_reply, intrusions, known_in_context, known_in_reply, replies_alone
from callosal.lab.studies.smollm.texts import Book, BookConfig, Halves, Rows, read_book, read_ordinary
from callosal.lab.studies.smollm.training import (
    adopt,
    contrasting_step,
    lay_slots,
    new_memory,
    ordinary_states,
    pointing_step,
    read,
    speaking_step,
    twin_of,
    twin_reads,
    written,
)
from callosal.lab.tasks.locomo import read_locomo
from callosal.lab.tasks.profile import END, Wordings
from callosal.memory import LateralMemory
from callosal.training.loop import Curve, Step, TrainingConfig, optimise
from callosal.training.seeding import derive_seed, seeded

# Held-out values always; of wordings both.
ASKED = {
    "trained wordings": BookConfig(
        num_stated=250, num_chatter=200, num_rules=64, words=Wordings(values="evaluation"), seed=1
    ),
    "held-out wordings": BookConfig(
        num_stated=300,
        num_chatter=400,
        num_rules=100,
        words=Wordings(wordings="evaluation", values="evaluation"),
        seed=2,
    ),
}
TRAINED, HELD_OUT = ASKED
NUM_FACTS = (1, 4, 16)
# As many facts where nothing else is said.
USUAL = 4
# Users asked with texts in context, where nothing is cached.
IN_CONTEXT = 16
# Ordinary text: so many pieces of so many tokens of Python's own documentation.
PIECES, PIECE = 24, 128
MODEL = "smollm2"
# Where a user who has the data puts it, for the forgetting curve.
LOCOMO = "locomo10.zip"


def run(config: SmolRun, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Teach a memory and ask it; arguments and errors are those of :func:`callosal.lab.runner.run`.

    The model and what its lower layers make of the turns are kept in ``folder`` for all runs.
    """
    begun = time.monotonic()
    torch.set_num_threads(config.pointing.num_threads)
    place = open_place(config, folder)
    model, tokenizer = load_smollm(folder / MODEL, torch.bfloat16)
    halves = Halves(model, config.layer)

    def book_of(kind: BookConfig, what: str) -> Book:
        report(config.name, 0.0, f"reading the turns of {what}")
        return read_book(kind, halves, tokenizer, folder / "books", f"{MODEL}, layer {config.layer}")

    asked = {domain: book_of(kind, domain) for domain, kind in ASKED.items()}
    if config.arm == ALONE:
        values = _alone(model, tokenizer, halves, asked)
        return record_of(config, values, [], num_parameters=0, wall_seconds=time.monotonic() - begun)
    book = book_of(config.book, "training")
    memory, curve = trained(config, halves, book, place, report)
    taught = time.monotonic()
    report(config.name, 1.0, "asking")
    values: list[Value] = []
    for domain, held in asked.items():
        for number in NUM_FACTS:
            users = draw_users(held, config.num_users, number, _random(f"{domain}, {number}"), 2)
            found = answers_by_memory(memory, halves, users, domain)
            values += found if number == USUAL else _with_number(found, number)
        users = draw_users(held, config.num_users // 2, USUAL, _random(f"kept, {domain}"))
        for kind, between in (("small talk", held.chatter[::2]), ("same words", held.chatter[1::2])):
            report(config.name, 1.0, f"{domain}, {kind}")
            where = {"domain": domain, "condition": kind}
            values += kept(memory, halves, users, between, config.marks, _random(kind), **where)
    values += _unharmed(memory, halves, asked[TRAINED], tokenizer, config.num_users)
    values += _banks(memory, asked[TRAINED])
    values += coupling_values([memory.coupling.tolist()])
    values += single_values(
        train_seconds=taught - begun,
        state_floats=memory.state_floats,
        inertia=memory.log_inertia.exp().item(),
        temperature=memory.log_temperature.exp().item(),
    )
    memories = attach(model, config.layer, config.memory, warn_outside_session=False)
    (name,) = memories
    memories[name].load_state_dict(memory.state_dict())
    if text := config.book.cue:
        (end,) = tokenizer(END)["input_ids"]
        memories.cue = Cue(tokens=tuple(tokenizer(text)["input_ids"]), end=end)
    memories.save_pretrained(place / "adapter")
    for domain, held in asked.items():
        users = draw_users(held, IN_CONTEXT, USUAL, _random(f"{domain}, replies"), 2)
        texts, owners = questions(users)
        with torch.no_grad():
            state = written(memory, halves, Rows.of_users([user.turns for user in users]))
        values += known_in_reply(memories, tokenizer, texts, state[owners], domain)
        if domain == TRAINED:
            rules = held.rules[: len(owners)]
            values += known_in_reply(memories, tokenizer, rules, state[owners[: len(rules)]], "rules")
            alone = in_reply(rules, replies_alone(memories.model, tokenizer, [prompt_of(text) for text in rules]))
            values.append({"measure": IN_REPLY, "value": alone, "domain": "rules", "condition": "no memory"})
    values += _out_of_place(memory, memories, halves, asked, tokenizer)
    values += costs(memories, tokenizer, draw_users(asked[TRAINED], IN_CONTEXT, USUAL, _random("costs"), 2))
    if (folder / LOCOMO).is_file() and (config.arm, config.seed) == SHIPS:
        report(config.name, 1.0, "hearing LoCoMo")
        conversations = read_locomo(folder / LOCOMO)
        values += forgetting_curve(memories, tokenizer, conversations, random=_random("LoCoMo"))
    return record_of(config, values, curve, num_parameters=num_trained(memory), wall_seconds=time.monotonic() - begun)


def trained(config: SmolRun, halves: Halves, book: Book, place: Path, report: Report) -> tuple[LateralMemory, Curve]:
    """Return a memory that learned to point and to speak, and the curve of both."""
    with seeded(config.seed, "memory"):
        memory = new_memory(config.memory, config.lessons, halves, ordinary_states(book))
        twin = twin_of(memory)
    curve: Curve = []

    def learn(name: str, learner: LateralMemory, training: TrainingConfig, step: Callable[[int, Random], Step]) -> None:
        def on_progress(number: int, point: dict[str, Any]) -> None:
            report(config.name, number / training.num_steps, f"{name} {point['loss']:.4f}")

        points = optimise(
            learner,
            lambda number: step(training.batch_size, Random(derive_seed(config.seed, name, number))),
            training,
            checkpoint=place / f"{name}.pt",
            fingerprint=fingerprint(config),
            on_progress=on_progress,
        )
        done = curve[-1]["step"] if curve else 0
        curve.extend({**point, "step": done + point["step"], "stage": name} for point in points)

    led_in = twin_reads(book, memory)
    if config.contrasting is not None:
        learn(
            "contrasting",
            twin,
            config.contrasting,
            lambda users, random: contrasting_step(twin, led_in, config.lessons, users, random),
        )
        lay_slots(twin, led_in, derive_seed(config.seed, "slots"))
    learn(
        "pointing",
        twin,
        config.pointing,
        lambda users, random: pointing_step(twin, led_in, config.lessons, users, random),
    )
    adopt(memory, twin)
    # Where to look was learned; to say what is found there, and nothing elsewhere, moves it no more.
    learned = {name: parameter for name, parameter in memory.named_parameters() if parameter.requires_grad}
    for name, parameter in learned.items():
        parameter.requires_grad_(name.startswith(config.lessons.saying))
    learn(
        "speaking",
        memory,
        config.training,
        lambda users, random: speaking_step(memory, halves, book, config.lessons, users, random),
    )
    for parameter in learned.values():
        parameter.requires_grad_(True)
    return memory, curve


def _random(name: str) -> Random:
    return Random(derive_seed(HELD_OUT_SEED, name))


def _with_number(values: list[Value], number: int) -> list[Value]:
    """Keep what was asked of the memory itself, under the number of facts."""
    facts = "1 fact" if number == 1 else f"{number} facts"
    return [dict(row) | {"condition": facts} for row in values if row["condition"] == "memory"]


def _alone(model: Any, tokenizer: Any, halves: Halves, asked: dict[str, Book]) -> list[Value]:
    """Measure the model without a memory: with nothing of what was said, with all of it, and with what is retrieved."""
    values: list[Value] = []
    for domain, held in asked.items():
        for number in NUM_FACTS:
            users = draw_users(held, IN_CONTEXT, number, _random(f"{domain}, {number}"), 2)
            texts, _ = questions(users)
            found = [
                {"measure": name, "value": value, "domain": domain, "condition": "no memory"}
                for name, value in ask_memory(None, halves, texts, None).items()
            ]
            for retrieval in (False, True):
                found += answers_in_context(model, tokenizer, users, domain, retrieval=retrieval)
            values += [row if number == USUAL else row | {"after": number} for row in map(dict, found)]
        users = draw_users(held, IN_CONTEXT, USUAL, _random(f"{domain}, replies"), 2)
        values += known_in_context(model, tokenizer, users, domain)
    return values


@torch.no_grad()
def _unharmed(memory: LateralMemory, halves: Halves, held: Book, tokenizer: Any, num_users: int) -> list[Value]:
    """Measure rules and ordinary text with the session on, beside the model alone."""
    users = draw_users(held, num_users, USUAL, _random("unharmed"))
    state = written(memory, halves, Rows.of_users([user.turns for user in users]))
    rules = held.rules[:num_users]
    values: list[Value] = []
    for condition, own in (("no memory", None), ("memory", state[: len(rules)])):
        found = ask_memory(memory, halves, rules, own)
        values += [{"measure": k, "value": v, "domain": "rules", "condition": condition} for k, v in found.items()]
    text = " ".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    tokens = tokenizer(text)["input_ids"][: PIECES * PIECE]
    pieces = [tokens[start : start + PIECE] for start in range(0, len(tokens), PIECE)]
    rows = Rows.of(texts := read_ordinary(pieces, halves))
    states = {"no memory": None, "memory": state[: len(texts)], "reset": memory.blank(len(texts))}
    for condition, own in states.items():
        hidden = rows.hidden if own is None else rows.hidden + read(memory, halves, rows, own)
        logits = halves.logits(halves.upper(hidden)[:, :-1].flatten(0, 1))
        nats = cross_entropy(logits, rows.tokens[:, 1:].flatten()).item()
        values.append({"measure": "perplexity", "condition": condition, "value": math.exp(nats)})
    return values


@torch.no_grad()
def _out_of_place(
    memory: LateralMemory, memories: Memories, halves: Halves, asked: dict[str, Book], tokenizer: Any
) -> list[Value]:
    """Ask users what they never told, and what has nothing to do with them; where a cue was taught, with it too."""
    users = draw_users(asked[TRAINED], 2 * IN_CONTEXT, USUAL, _random("out of place"), 2)
    state = written(memory, halves, Rows.of_users([user.turns for user in users]))
    books = list(asked.values())
    ways = dict.fromkeys((None, memories.cue))
    found = (intrusions(memories, tokenizer, users, state, books, _random("never told"), cue) for cue in ways)
    return [row for rows in found for row in rows]


@torch.no_grad()
def _banks(memory: LateralMemory, held: Book) -> list[Value]:
    """Measure each bank's mean share of facts, told and asked, of rules and of small talk; two and three domains."""
    kinds = {
        "facts": [text for one in held.stated for text in (one.told, *one.asked)],
        "rules": list(held.rules),
        "chatter": list(held.chatter),
    }
    shares, labels = [], []
    for number, texts in enumerate(kinds.values()):
        rows = Rows.of(texts)
        own = memory.bank_share(rows.hidden, mask=rows.mask)[rows.mask]
        shares.append(own.double().numpy())
        labels += [number] * len(own)
    table = domain_shares(np.concatenate(shares), labels, len(kinds))
    names = tuple(kinds)
    values: list[Value] = [*bank_values(asdict(specialization(table[:2])), names[:2])]
    for others, condition in (([0, 2], "facts and chatter"), ([0, 1, 2], "facts, rules and chatter")):
        found = bank_values(asdict(specialization(table[others])), tuple(names[other] for other in others))
        values += [{**row, "condition": condition} for row in found]
    return values
