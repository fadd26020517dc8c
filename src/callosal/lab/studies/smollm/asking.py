"""What is known of a user in the next session: by memory, by context, by retrieval, or not at all."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from random import Random
from statistics import median
from typing import Any

import torch
from jaxtyping import Float, Int
from rank_bm25 import BM25Okapi
from torch import Tensor
from torch.nn.functional import cross_entropy

from callosal.hosts.memories import Memories
from callosal.hosts.smollm2 import prompt_tokens
from callosal.lab.report.records import Value
from callosal.lab.studies.smollm.measures import BY_RETRIEVAL, IN_REPLY, IN_THE_TURN, RETRIEVED
from callosal.lab.studies.smollm.texts import BATCH, END, Book, Halves, Rows, Text, Told, replies_of, sample_told
from callosal.lab.studies.smollm.training import answered, written
from callosal.memory import LateralMemory, MemoryState
from callosal.memory.editing import blanked

# Questions to each user.
ASKED = 4
# Turns of small talk that are read at once.
AT_ONCE = 50
# A reply of the model's own has so many tokens at most.
REPLY = 24
# What has nothing to do with who asks. No memory was trained on these.
GENERAL = (
    *("What is the capital of Japan?", "Tell me something funny.", "How do I make pancakes?", "Who wrote Macbeth?"),
    *("What is 12 minus 5?", "Write a haiku about winter.", "What is evaporation?", "Why do leaves change colour?"),
    *("How long is a marathon?", "Translate 'thank you' into French.", "What is an adverb?", "Name three metals."),
    *("How do magnets work?", "What can I do on a rainy afternoon?", "Suggest a film about space.", "Define irony."),
    *("What does an electrician do?", "How many minutes are there in a day?", "Explain electricity to a child."),
    *("What is the longest river?", "How can I concentrate better?", "How do I write a letter of complaint?"),
    *("What does the word humble mean?", "Who composed the Ninth Symphony?", "What causes thunder?"),
    *("How can I learn to draw?", "What is a comet?", "Describe a forest in autumn.", "Is a tomato a fruit?"),
    *("How do I teach a child to read?", "What currency is used in India?", "What was Melanie's plan for the summer?"),
)
# Letters of a word of a value that is looked for in replies.
LEAST_WORD = 4
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
        rows += _rows(ask_memory(memory, halves, asked, own), domain=domain, condition=condition)
    for bank in range(memory.config.num_banks if memory.config.num_banks > 1 else 0):
        lesioned = MemoryState(trace=blanked(state.trace, [bank]), context=state.context)
        found = ask_memory(memory, halves, asked, lesioned[owners])
        rows += _rows(found, domain=domain, condition="zeroed", bank=bank)
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
    return _rows(found, domain=domain, condition=BY_RETRIEVAL if retrieval else "in context")


@torch.no_grad()
def share_of_replies(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Text],
    prompts: Sequence[list[int]] | None = None,
    around: Callable[[slice], AbstractContextManager[Any]] = lambda rows: nullcontext(),
) -> float:
    """Return the share of the model's own replies, greedy and of REPLY tokens at most, that hold the value.

    In whatever words, capitals or not; so nobody has to answer in the form that the memory was taught.

    Args:
        model: replies.
        tokenizer: of the model.
        asked: the questions.
        prompts: what the model reads of each; None is a conversation that begins with the question.
        around: what a batch of them is asked in, such as a session.
    """
    replies = _replies(model, tokenizer, prompts or [_prompt(text) for text in asked], around)
    return sum(text.said.value.lower() in reply for text, reply in zip(asked, replies, strict=True)) / len(asked)


def _replies(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    around: Callable[[slice], AbstractContextManager[Any]] = lambda rows: nullcontext(),
) -> list[str]:
    found: list[str] = []
    for start in range(0, len(prompts), BATCH):
        with around(slice(start, start + BATCH)):
            found += replies_of(model, tokenizer, prompts[start : start + BATCH], REPLY)
    return [reply.lower() for reply in found]


def _prompt(text: Text) -> list[int]:
    return text.tokens[: text.prompt].tolist()


def intrusions(
    memories: Memories, tokenizer: Any, users: Sequence[Told], state: MemoryState, book: Book, random: Random
) -> list[Value]:
    """Ask what is out of place: each user about something never told, and about what has nothing to do with users.

    Returns:
        intrusion: share of the replies with a word of the user's values that the model alone does not say.
        unchanged: share of them that are the model's own, word for word.
    """
    model: Any = memories.model
    untold = [
        random.choice([q for s in book.stated for f, q in zip(s.facts, s.asked, strict=True) if f.attribute not in own])
        for own in ({fact.attribute for fact in user.facts} for user in users)
    ]
    asked = {
        "never told": [_prompt(text) for text in untold],
        "other questions": [prompt_tokens(tokenizer, text) for text in GENERAL],
    }
    found = []
    for condition, prompts in asked.items():
        owners = torch.arange(len(prompts)) % len(users)
        with_memory = _replies(model, tokenizer, prompts, _sessions(memories, state[owners]))
        alone = _replies(model, tokenizer, prompts)
        pairs = list(zip(owners.tolist(), with_memory, alone, strict=True))
        words = [{w for fact in user.facts for w in _words(fact.value) if len(w) >= LEAST_WORD} for user in users]
        said = [any(w in reply and w not in other for w in words[n]) for n, reply, other in pairs]
        same = [reply == other for _, reply, other in pairs]
        rates = {"intrusion": sum(said) / len(pairs), "unchanged": sum(same) / len(pairs)}
        found += _rows(rates, domain="out of place", condition=condition)
    return found


def replies_in_context(model: Any, tokenizer: Any, users: Sequence[Told], domain: str) -> list[Value]:
    """Let the model alone reply: with nothing, with all that was said, and with what BM25 finds.

    As the conversation went, and in the question's own turn, which this model answers better.
    """
    asked, owners = questions(users)
    pairs = [(users[number], question) for number, question in zip(owners.tolist(), asked, strict=True)]
    found = _rows({IN_REPLY: share_of_replies(model, tokenizer, asked)}, domain=domain, condition="no memory")
    for name, retrieval in (("in context", False), (BY_RETRIEVAL, True)):
        before, within = [], []
        for user, question in pairs:
            context = context_of(user, question, tokenizer, retrieval=retrieval)
            before.append([*context, *_prompt(question)])
            said = [text.said.said for text in (*found_turns(user, question, retrieval=retrieval), question)]
            within.append(prompt_tokens(tokenizer, "\n".join(said)))
        for condition, prompts in ((name, before), (f"{name}{IN_THE_TURN}", within)):
            share = share_of_replies(model, tokenizer, asked, prompts)
            found += _rows({IN_REPLY: share}, domain=domain, condition=condition)
    return found


def replies_by_memory(
    memories: Memories, tokenizer: Any, asked: Sequence[Text], state: MemoryState, domain: str
) -> list[Value]:
    """Let the model reply in a session, a row of the state to each question."""
    share = share_of_replies(memories.model, tokenizer, asked, around=_sessions(memories, state))
    return _rows({IN_REPLY: share}, domain=domain, condition="memory")


def _sessions(memories: Memories, state: MemoryState) -> Callable[[slice], AbstractContextManager[None]]:
    """Return how to open a session for some rows of the state."""
    (name,) = memories

    @contextmanager
    def session(rows: slice) -> Iterator[None]:
        with memories.session() as session:
            session.replace({name: state[rows]})
            yield

    return session


def context_of(user: Told, question: Text, tokenizer: Any, *, retrieval: bool) -> list[int]:
    """Return the tokens that stand before a question: all that was said, or the turns that BM25 finds for it."""
    turns = found_turns(user, question, retrieval=retrieval)
    between = [END, *tokenizer(BETWEEN_TURNS)["input_ids"]]
    return [token for text in turns for token in (*text.tokens.tolist(), *between)]


def found_turns(user: Told, question: Text, *, retrieval: bool) -> tuple[Text, ...]:
    """Return all turns of a user, or those that BM25 finds for a question, in their order."""
    if not retrieval:
        return user.turns
    ranks = BM25Okapi([_words(text.said.said) for text in user.turns]).get_scores(_words(question.said.said))
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
        asked = _prompt(question)
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
        found += _rows(row, condition=condition)
    return found


def _rows(found: dict[str, float], **where: Any) -> list[Value]:
    return [{"measure": name, "value": value} | where for name, value in found.items()]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
