"""What a model with attached memories answers about its users, under every condition that could explain it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from callosal.hosts.memories import Memories
from callosal.lab.measures.recording import record_shares
from callosal.lab.measures.retention import Retention
from callosal.lab.measures.specialization import Specialization, specialization
from callosal.lab.tasks.persona import (
    Conversation,
    Domain,
    Encode,
    PersonaConfig,
    Turn,
    sample_between,
    sample_conversation,
    tokenized,
)
from callosal.lab.tasks.words import ATTRIBUTES
from callosal.memory import MemoryState
from callosal.training import UNSCORED
from callosal.training.conversations import Batch, collate_conversations

Hits = Mapping[str, np.ndarray]
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Accuracy of answers in [0, 1], over held-out conversations.

    An answer is one word; it is right if it is the most probable one where it is due. "Memory" means that the facts
    were told in an earlier session, by other calls, and nothing else of it is in context.

    Attributes:
        num_conversations: how many were drawn.
        no_memory: about the facts, by the model alone.
        memory: with the user's own memory.
        reset: with that memory reset between the sessions.
        others: with the memory of another user, who was told other things.
        as_others: with it, how often the answer is what the other user would have been given, where both stated
            something of the kind and not the same.
        in_context: by the model alone, with everything that was said in its context.
        rule_before: of the rule domain, by the model alone.
        rule: of the rule domain, with the memory.
        lesioned: (about the facts, of the rules) with what a bank holds taken away between the sessions, one pair for
            each bank.
        specialization: the banks' measures over the domains, for each memory; D_sep of the facts first.
        shares: mean share of the left bank in turns that tell, turns that ask, and rules, for each memory.
        by_attribute: (with the user's own memory, in context) for each kind of fact.
    """

    num_conversations: int
    no_memory: float
    memory: float
    reset: float
    others: float
    as_others: float
    in_context: float
    rule_before: float
    rule: float
    lesioned: list[list[float]]
    specialization: list[Specialization]
    shares: list[list[float]]
    by_attribute: dict[str, list[float]]


@torch.no_grad()
def measure_answers(
    memories: Memories, config: PersonaConfig, encode: Encode, num_conversations: int, random: Random
) -> Answers:
    """Tell every user's facts once, then ask in a later session under every condition.

    Args:
        memories: attached to a causal language model.
        config: the conversations.
        encode: the model's tokenizer, for which every answer is one token.
        num_conversations: at least 2, since neighbours are swapped.
        random: draws them, from the evaluation split.

    Raises:
        ValueError: fewer than 2 conversations.
    """
    if num_conversations < 2:
        raise ValueError(f"{num_conversations} conversations; at least 2 are needed to swap users")
    with _evaluating(memories):
        asked = [_ask(memories, batch, encode) for batch in _batches(config, num_conversations, random)]
    names = dict.fromkeys(name for hits, _ in asked for name in hits)
    # Not every part of the users need have told every kind of fact.
    nobody = np.zeros(2)
    found = {name: np.sum([hits.get(name, nobody) for hits, _ in asked], axis=0) for name in names}
    rates = {name: float(hits / count) for name, (hits, count) in found.items()}
    sums = np.sum([table for _, table in asked], axis=0)
    tables = sums[..., :-1] / sums[..., -1:]
    lesioned = [
        [rates.pop(f"facts without {bank}"), rates.pop(f"rules without {bank}")] for bank in range(tables.shape[-1])
    ]
    by_attribute = {
        name: [rates.pop(f"{how} {name}") for how in ("memory of", "context of")]
        for name in sorted(ATTRIBUTES)
        if f"memory of {name}" in rates
    }
    return Answers(
        num_conversations=num_conversations,
        lesioned=lesioned,
        by_attribute=by_attribute,
        # Telling and asking are one domain: what is told to one bank must be asked of the same.
        specialization=[specialization(np.stack([t[:2].mean(0), t[2]])) for t in tables],
        shares=tables[..., 0].tolist(),
        **rates,
    )


@torch.no_grad()
def measure_recall(
    memories: Memories,
    config: PersonaConfig,
    encode: Encode,
    domain: Domain,
    marks: Sequence[int],
    num_conversations: int,
    random: Random,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Retention:
    """Ask the same questions after more and more turns of one domain between the sessions.

    Args:
        memories: attached to a causal language model.
        config: the conversations.
        encode: the model's tokenizer.
        domain: of the turns between, each of which writes: "chatter" or "rule".
        marks: increasing numbers of them.
        num_conversations: how many users.
        random: draws them, from the evaluation split.
        on_progress: called with (turns done, turns in all).
    """
    users = [sample_conversation(config, random, "evaluation") for _ in range(num_conversations)]
    questions = _collated([user.later[:1] for user in users], encode)
    labels = questions[0]["labels"][:, 1:]
    due = labels != UNSCORED
    recall, loss, done = [], [], 0
    with _evaluating(memories):
        states, _ = _listen(memories, {}, _collated([user.told for user in users], encode))
        for mark in marks:
            between = [[sample_between(domain, config, random) for _ in range(mark - done)] for _ in users]
            if mark > done:
                states, _ = _listen(memories, states, _collated(between, encode))
            done = mark
            on_progress(done, max(marks))
            _, (logits,) = _listen(memories, states, questions)
            recall.append(float(np.divide(*_hits(logits, labels))))
            loss.append(torch.nn.functional.cross_entropy(logits[:, :-1][due], labels[due]).item())
    return Retention(distractors=list(marks), recall=recall, loss=loss)


def _ask(memories: Memories, users: Sequence[Conversation], encode: Encode) -> tuple[Hits, np.ndarray]:
    """Return (right, asked) under each condition, and sums of shares [memory, kind, bank and count]."""
    told = _collated([user.told for user in users], encode)
    later = _collated([user.later for user in users], encode)
    facts, rules = (turn["labels"][:, 1:] for turn in later)
    alone = [_logits(memories, turn) for turn in later]
    context, in_context = _whole(users, encode)
    looked_up = _logits(memories, context)
    found = {
        "no_memory": _hits(alone[0], facts),
        "rule_before": _hits(alone[1], rules),
        "in_context": _hits(looked_up, in_context),
    }
    with record_shares(memories.model) as shares:
        states, _ = _listen(memories, {}, told)
        _, own = _listen(memories, states, later)
    kinds = [0 if turn.domain == "episodic" else 2 for turn in users[0].told] + [1, 2]
    table = _table(shares, [*told, *later], kinds, len(memories))
    found |= {"memory": _hits(own[0], facts), "rule": _hits(own[1], rules)}
    for name in {name for user in users for name in user.facts}:
        found[f"memory of {name}"] = _hits(own[0], _only(name, users, facts))
        found[f"context of {name}"] = _hits(looked_up, _only(name, users, in_context))
    blank = {name: memories[name].blank(len(users)) for name in memories}
    _, (reset, _) = _listen(memories, blank, later)
    # Each row gets the memory of the row before it.
    others = {name: state[torch.arange(-1, len(users) - 1)] for name, state in states.items()}
    _, (swapped, _) = _listen(memories, others, later)
    found |= {
        "reset": _hits(reset, facts),
        "others": _hits(swapped, facts),
        "as_others": _hits(swapped, _others_answers(users, facts, encode)),
    }
    for bank in range(table.shape[-1] - 1):
        _, answers = _listen(memories, states, later, lesion=bank)
        found[f"facts without {bank}"] = _hits(answers[0], facts)
        found[f"rules without {bank}"] = _hits(answers[1], rules)
    return found, table


def _listen(
    memories: Memories, states: Mapping[str, MemoryState], turns: Batch, lesion: int | None = None
) -> tuple[Mapping[str, MemoryState], list[Tensor]]:
    """Read turns in a session that starts from these states; return the states after it and the logits."""
    with memories.session() as session:
        if states:
            session.replace(states)
        if lesion is not None:
            session.lesion(lesion)
        logits = [_logits(memories, turn) for turn in turns]
    return session.states, logits


def _logits(memories: Memories, turn: Mapping[str, Tensor]) -> Tensor:
    seen = {name: turn[name] for name in ("input_ids", "attention_mask")}
    model: Any = memories.model
    return model(**seen, use_cache=False).logits


def _hits(logits: Tensor, labels: Tensor) -> np.ndarray:
    """Return how many tokens were predicted rightly, and how many were scored; labels are a step ahead."""
    due = labels != UNSCORED
    right = logits[:, :-1].argmax(-1) == labels
    return np.array([(right & due).sum().item(), due.sum().item()], dtype=float)


def _collated(conversations: Sequence[Sequence[Turn]], encode: Encode) -> Batch:
    return collate_conversations([[tokenized([turn], encode) for turn in turns] for turns in conversations])


def _whole(users: Sequence[Conversation], encode: Encode) -> tuple[Mapping[str, Tensor], Tensor]:
    """Return everything up to the questions as one turn, and the labels of the questions alone."""
    rows = []
    for user in users:
        before, asked = tokenized(user.told, encode), tokenized(user.later[:1], encode)
        unscored = [UNSCORED] * len(before["labels"])
        rows.append({"input_ids": before["input_ids"] + asked["input_ids"], "labels": unscored + asked["labels"]})
    (turn,) = collate_conversations([[row] for row in rows])
    return turn, turn["labels"][:, 1:]


def _others_answers(users: Sequence[Conversation], facts: Tensor, encode: Encode) -> Tensor:
    """Return labels with what the user before would have been answered, where that is something else."""
    labels = torch.full_like(facts, UNSCORED)
    for row, place, name, value in _facts_asked(users, facts):
        other = users[row - 1].facts.get(name, value)
        if other != value:
            (labels[row, place],) = encode(other)
    return labels


def _only(name: str, users: Sequence[Conversation], labels: Tensor) -> Tensor:
    """Return labels of which only the answers about one attribute are left."""
    kept = torch.full_like(labels, UNSCORED)
    for row, place, asked, _ in _facts_asked(users, labels):
        if asked == name:
            kept[row, place] = labels[row, place]
    return kept


def _facts_asked(users: Sequence[Conversation], labels: Tensor) -> Iterator[tuple[int, int, str, str]]:
    """Give the row, the place, the name and the value of every answer about a fact."""
    for row, user in enumerate(users):
        places = (labels[row] != UNSCORED).nonzero().flatten().tolist()
        for place, (name, value) in zip(places, user.facts.items(), strict=True):
            yield row, place, name, value


def _table(shares: Sequence[Tensor], turns: Batch, kinds: Sequence[int], num_memories: int) -> np.ndarray:
    """Sum shares over the tokens of each kind of turn; calls come turn by turn, memory by memory."""
    sums = np.zeros((num_memories, max(kinds) + 1, shares[0].shape[-1] + 1))
    for number, turn_shares in enumerate(shares):
        turn, memory = divmod(number, num_memories)
        present = turns[turn]["attention_mask"].bool()
        own = turn_shares[present].double()
        sums[memory, kinds[turn]] += [*own.sum(0).tolist(), len(own)]
    return sums


def _batches(config: PersonaConfig, number: int, random: Random) -> Iterator[list[Conversation]]:
    users = [sample_conversation(config, random, "evaluation") for _ in range(number)]
    # In parts as even as can be: a row alone would get its own memory for another's.
    parts = -(-number // BATCH)
    for part in range(parts):
        yield users[number * part // parts : number * (part + 1) // parts]


@contextmanager
def _evaluating(memories: Memories) -> Iterator[None]:
    was_training, warned = memories.model.training, memories.warn_outside_session
    memories.model.eval()
    memories.warn_outside_session = False  # the model alone is one of the conditions
    try:
        yield
    finally:
        memories.model.train(was_training)
        memories.warn_outside_session = warned
