"""What is known of a user in the next session: by memory, by context, by retrieval, or not at all."""

import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from random import Random
from statistics import median
from typing import Any

import torch
from jaxtyping import Float, Int
from rank_bm25 import BM25Okapi
from torch import Tensor
from torch.nn.functional import cross_entropy

from callosal.hosts.memories import Memories
from callosal.lab.report.records import Value
from callosal.lab.studies.smollm.measures import BY_RETRIEVAL, RETRIEVED
from callosal.lab.studies.smollm.texts import BATCH, END, Book, Halves, Rows, Text, Told, sample_told
from callosal.lab.studies.smollm.training import answered, written
from callosal.memory import LateralMemory, MemoryState
from callosal.memory.editing import blanked

# Questions to each user.
ASKED = 4
# Turns of small talk that are read at once.
AT_ONCE = 50
# Between two turns in one context.
BETWEEN_TURNS = "\n"


def draw_users(book: Book, number: int, num_facts: int, random: Random, num_between: int = 0) -> list[Told]:
    """Draw users to ask, with turns of small talk and rules strewn among theirs."""
    others = book.others
    users = [
        sample_told(book, num_facts, [random.choice(others) for _ in range(num_between)], random) for _ in range(number)
    ]
    return [Told(u.facts, u.turns, tuple(random.sample(u.asked, min(ASKED, num_facts)))) for u in users]


def questions(users: Sequence[Told]) -> tuple[list[Text], Int[Tensor, "text"]]:
    """Return all questions, and the number of the user who asks each."""
    asked = [text for user in users for text in user.asked]
    return asked, torch.tensor([number for number, user in enumerate(users) for _ in user.asked])


@torch.no_grad()
def ask_memory(
    memory: LateralMemory | None, halves: Halves, asked: Sequence[Text], state: MemoryState | None
) -> dict[str, float]:
    """Ask with a memory, a row of its state to each question; None for either asks the model alone.

    Returns:
        accuracy: share of the questions all tokens of whose value are the most probable ones.
        nats: mean of minus the logarithm of a value's token.
    """
    logits, targets = [], []
    for start in range(0, len(asked), BATCH):
        some = asked[start : start + BATCH]
        rows = None if state is None else state[slice(start, start + BATCH)]
        found, right, _ = answered(None if state is None else memory, halves, some, rows)
        logits.append(found)
        targets.append(right)
    return score(asked, torch.cat(logits), torch.cat(targets))


def score(
    asked: Sequence[Text], logits: Float[Tensor, "token word"], targets: Int[Tensor, "token"]
) -> dict[str, float]:
    """Score the values in the answers, of whose tokens and ends these are the logits."""
    right = logits.argmax(-1) == targets
    nats = cross_entropy(logits, targets, reduction="none")
    exact, cost, begin = [], [], 0
    for text in asked:
        assert text.value is not None
        first, last = (begin + place - text.prompt for place in text.value)
        exact.append(right[first:last].all().item())
        cost.append(nats[first:last])
        begin += len(text.tokens) - text.prompt + 1
    return {"accuracy": sum(exact) / len(exact), "nats": torch.cat(cost).mean().item()}


def answers_by_memory(memory: LateralMemory, halves: Halves, users: Sequence[Told], domain: str) -> list[Value]:
    """Ask all users with their own memory, a blank one and their neighbour's, and without one bank after the other."""
    with torch.no_grad():
        state = written(memory, halves, Rows.of_users([user.turns for user in users]))
    asked, owners = questions(users)
    states = {
        "memory": state[owners],
        "reset": memory.blank(len(asked)),
        "another user's": state[(owners + 1) % len(users)],
    }
    rows = []
    for condition, own in states.items():
        rows += rows_of(ask_memory(memory, halves, asked, own), domain=domain, condition=condition)
    for bank in range(memory.config.num_banks if memory.config.num_banks > 1 else 0):
        lesioned = MemoryState(trace=blanked(state.trace, [bank]), context=state.context)
        found = ask_memory(memory, halves, asked, lesioned[owners])
        rows += rows_of(found, domain=domain, condition="zeroed", bank=bank)
    return rows


@torch.no_grad()
def kept(
    memory: LateralMemory,
    halves: Halves,
    users: Sequence[Told],
    between: Sequence[Text],
    marks: Sequence[int],
    random: Random,
    **where: Any,
) -> list[Value]:
    """Ask again after more and more turns between the sessions, each of which writes."""
    state = written(memory, halves, Rows.of_users([user.turns for user in users]))
    asked, owners = questions(users)
    rows, done = [], 0
    for mark in marks:
        while done < mark:
            number = min(AT_ONCE, mark - done)
            turns = [[random.choice(between) for _ in range(number)] for _ in users]
            state = written(memory, halves, Rows.of_users(turns), state)
            done += number
        found = ask_memory(memory, halves, asked, state[owners])
        rows += [{"measure": "recall", "after": mark, "value": found["accuracy"]} | where]
        rows += [{"measure": "recall nats", "after": mark, "value": found["nats"]} | where]
    return rows


@torch.no_grad()
def answers_in_context(
    model: Any, tokenizer: Any, users: Sequence[Told], domain: str, *, retrieval: bool
) -> list[Value]:
    """Ask the model alone with what was said in its context: all of it, or what BM25 finds for the question."""
    scores, counts = [], []
    for user in users:
        for question in user.asked:
            before = context_of(user, question, tokenizer, retrieval=retrieval)
            whole = torch.tensor([*before, *question.tokens.tolist()])
            start = len(before) + question.prompt
            final = model.model(input_ids=whole[None], use_cache=False).last_hidden_state[0, start - 1 :]
            targets = torch.cat([question.tokens[question.prompt :], torch.tensor([END])])
            scores.append(score([question], model.lm_head(final).float(), targets))
            counts.append(start)
    found = {name: sum(one[name] for one in scores) / len(scores) for name in scores[0]}
    found["tokens read"] = sum(counts) / len(counts)
    return rows_of(found, domain=domain, condition=BY_RETRIEVAL if retrieval else "in context")


def prompt_of(text: Text) -> list[int]:
    """Return the tokens of a question, up to its answer."""
    return text.tokens[: text.prompt].tolist()


def context_of(user: Told, question: Text, tokenizer: Any, *, retrieval: bool) -> list[int]:
    """Return the tokens that stand before a question: all that was said, or the turns that BM25 finds for it."""
    turns = found_turns(user, question, retrieval=retrieval)
    between = [END, *tokenizer(BETWEEN_TURNS)["input_ids"]]
    return [token for text in turns for token in (*text.tokens.tolist(), *between)]


def found_turns(user: Told, question: Text, *, retrieval: bool) -> tuple[Text, ...]:
    """Return all turns of a user, or those that BM25 finds for a question, in their order."""
    if not retrieval:
        return user.turns
    ranks = BM25Okapi([words_of(text.said.said) for text in user.turns]).get_scores(words_of(question.said.said))
    best = sorted(range(len(user.turns)), key=lambda n: -ranks[n])[:RETRIEVED]
    return tuple(user.turns[n] for n in sorted(best))


@torch.no_grad()
def costs(memories: Memories, tokenizer: Any, users: Sequence[Told]) -> list[Value]:
    """Return what a question costs until the first token of its answer, and what is kept of a user, by condition.

    Tokens read, median milliseconds of a row alone on one thread, and bytes: all conditions by turns, on a machine that
    may be busy.
    """
    model: Any = memories.model
    state = sum(memories[name].state_floats for name in memories)
    told = [sum(len(text.said.said.encode()) for text in user.turns) for user in users]
    kept = {"no memory": 0.0, "memory": 4.0 * state}
    kept |= dict.fromkeys(("in context", BY_RETRIEVAL), sum(told) / len(told))
    milliseconds: dict[str, list[float]] = {name: [] for name in kept}
    counts: dict[str, list[int]] = {name: [] for name in kept}
    for user in users:
        question = user.asked[0]
        asked = prompt_of(question)
        for condition in kept:
            before: list[int] = []
            begun = time.perf_counter()
            if condition in ("in context", BY_RETRIEVAL):
                before = context_of(user, question, tokenizer, retrieval=condition == BY_RETRIEVAL)
            tokens = torch.tensor([[*before, *asked]])
            with memories.session() if condition == "memory" else nullcontext():
                model(tokens, use_cache=False, logits_to_keep=1)
            milliseconds[condition].append(1000.0 * (time.perf_counter() - begun))
            counts[condition].append(tokens.shape[1])
    found = []
    for condition, size in kept.items():
        row = {"milliseconds": median(milliseconds[condition]), "bytes per user": size}
        row["tokens per question"] = sum(counts[condition]) / len(users)
        found += rows_of(row, condition=condition)
    return found


def rows_of(found: dict[str, float], **where: Any) -> list[Value]:
    """Return a row of a record for each measure."""
    return [{"measure": name, "value": value} | where for name, value in found.items()]


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return re.findall(r"\w+", text.lower())
