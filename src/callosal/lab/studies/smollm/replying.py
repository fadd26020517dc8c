"""What a model says by itself in a reply: what its user told, and what has no place there."""

from collections.abc import Sequence
from contextlib import nullcontext
from random import Random
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from callosal.hosts.cue import Cue
from callosal.hosts.memories import Memories
from callosal.hosts.smollm2 import prompt_tokens
from callosal.lab.report.records import Value
from callosal.lab.studies.smollm.asking import context_of, found_turns, prompt_of, questions, rows_of, words_of
from callosal.lab.studies.smollm.measures import (
    ASTRAY,
    ASTRAY_WITH_CUE,
    BY_RETRIEVAL,
    IN_REPLY,
    IN_THE_TURN,
    NEVER_TOLD,
    NEVER_TOLD_HELD_OUT,
    OTHERS,
    STATEMENTS,
    WITH_CUE,
)
from callosal.lab.studies.smollm.texts import BATCH, END, Book, Text, Told, padded, replies_of
from callosal.memory import MemoryState

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


def in_reply(asked: Sequence[Text], replies: Sequence[str]) -> float:
    """Return the share of the replies that hold the value.

    In whatever words, capitals or not; so nobody has to answer in the form that the memory was taught.
    """
    return sum(text.said.value.lower() in reply for text, reply in zip(asked, replies, strict=True)) / len(asked)


def replies_alone(model: Any, tokenizer: Any, prompts: Sequence[list[int]]) -> list[str]:
    """Return the replies of a model without a memory, greedy, of REPLY tokens at most, in small letters."""
    found: list[str] = []
    for start in range(0, len(prompts), BATCH):
        found += replies_of(model, tokenizer, prompts[start : start + BATCH], REPLY)
    return [reply.lower() for reply in found]


@torch.no_grad()
def replies_by_memory(
    memories: Memories, tokenizer: Any, prompts: Sequence[list[int]], state: MemoryState, cue: Cue | None = None
) -> list[str]:
    """Return the replies in sessions, a row of the state to each prompt, in small letters.

    Behind a cue the memory is heard where it is as loud, and they end where it is not any more.
    """
    (name,) = memories
    found = []
    for start in range(0, len(prompts), BATCH):
        rows = slice(start, start + BATCH)
        with memories.session() as session, nullcontext() if cue is None else session.muted(cue.loudness):
            session.replace({name: state[rows]})
            ends = {} if cue is None else cue.ends(session, [END])
            found += replies_of(memories.model, tokenizer, prompts[rows], REPLY, **ends)
    return [reply.lower() for reply in found]


def replies_with_cue(
    memories: Memories, tokenizer: Any, prompts: Sequence[list[int]], state: MemoryState, cue: Cue, alone: Sequence[str]
) -> tuple[list[str], Bool[Tensor, "prompt"]]:
    """Return the replies as :func:`callosal.hosts.cue.recall` begins them, and which of them begin with the cue.

    They do where the memory is loud behind it; elsewhere they are as the model replies ``alone``.
    """
    loud = begins_with(memories, prompts, state, cue)
    told = [[*prompt, *cue.tokens] for prompt, at in zip(prompts, loud.tolist(), strict=True) if at]
    begun = tokenizer.decode(list(cue.tokens), skip_special_tokens=True).lower()
    found = iter(replies_by_memory(memories, tokenizer, told, state[loud], cue))
    replies = [begun + next(found) if at else own for at, own in zip(loud.tolist(), alone, strict=True)]
    return replies, loud


@torch.no_grad()
def begins_with(
    memories: Memories, prompts: Sequence[list[int]], state: MemoryState, cue: Cue
) -> Bool[Tensor, "prompt"]:
    """Return whether the memory is loud enough behind the cue for a reply to begin with it."""
    (name,) = memories
    loud = []
    for start in range(0, len(prompts), BATCH):
        rows = slice(start, start + BATCH)
        tokens, mask = padded(prompts[rows])
        with memories.session() as session:
            session.replace({name: state[rows]})
            loud.append(cue.is_loud(session, {"input_ids": tokens, "attention_mask": mask}))
    return torch.cat(loud)


def known_in_reply(
    memories: Memories, tokenizer: Any, asked: Sequence[Text], state: MemoryState, domain: str
) -> list[Value]:
    """Measure what replies know, a row of the state to each question; where a cue was taught, with it too."""
    cue, prompts = memories.cue, [prompt_of(text) for text in asked]
    share = in_reply(asked, replies_by_memory(memories, tokenizer, prompts, state))
    found = rows_of({IN_REPLY: share}, domain=domain, condition="memory")
    if cue is not None:
        own = replies_alone(memories.model, tokenizer, prompts)
        replies, loud = replies_with_cue(memories, tokenizer, prompts, state, cue, own)
        # As the memory was taught to answer, and not a word more.
        whole = [text.said.answer.lower() for text in asked]
        only = sum(map(str.__eq__, whole, replies)) / len(asked)
        shares = {IN_REPLY: in_reply(asked, replies), "nothing else": only, "begun": _share(loud)}
        found += rows_of(shares, domain=domain, condition=WITH_CUE)
    return found


def known_in_context(model: Any, tokenizer: Any, users: Sequence[Told], domain: str) -> list[Value]:
    """Measure what the model's replies know alone: with nothing, with all that was said, and with what BM25 finds.

    As the conversation went, and in the question's own turn, which this model answers better.
    """
    asked, owners = questions(users)
    pairs = [(users[number], question) for number, question in zip(owners.tolist(), asked, strict=True)]
    prompts = {"no memory": [prompt_of(text) for text in asked]}
    for name, retrieval in (("in context", False), (BY_RETRIEVAL, True)):
        before, within = prompts.setdefault(name, []), prompts.setdefault(f"{name}{IN_THE_TURN}", [])
        for user, question in pairs:
            context = context_of(user, question, tokenizer, retrieval=retrieval)
            before.append([*context, *prompt_of(question)])
            said = [text.said.said for text in (*found_turns(user, question, retrieval=retrieval), question)]
            within.append(prompt_tokens(tokenizer, "\n".join(said)))
    return [
        row
        for condition, some in prompts.items()
        for row in rows_of(
            {IN_REPLY: in_reply(asked, replies_alone(model, tokenizer, some))}, domain=domain, condition=condition
        )
    ]


def intrusions(
    memories: Memories,
    tokenizer: Any,
    users: Sequence[Told],
    state: MemoryState,
    books: Sequence[Book],
    random: Random,
    cue: Cue | None = None,
) -> list[Value]:
    """Ask what is out of place: each user about something never told, and about what has nothing to do with users.

    Args:
        memories: attached to the model.
        tokenizer: of the model.
        users: that are asked.
        state: what the memory holds of each.
        books: whose questions are asked about what was never told: in wordings of training and, with a cue, in held-out
            ones.
        random: draws them.
        cue: that replies begin with where the memory is loud behind it; None lets all that is read be heard.

    Returns:
        intrusion: share of the replies with a word of the user's values that the model alone does not say.
        unchanged: share of them that are the model's own, word for word.
        begun: with a cue, share of them that begin with it; also of replies to what is stated.
    """
    asked = {NEVER_TOLD: _never_told(books[0], users, random), OTHERS: [prompt_tokens(tokenizer, q) for q in GENERAL]}
    if cue is not None:
        asked[NEVER_TOLD_HELD_OUT] = _never_told(books[1], users, random)
    words = [{w for fact in user.facts for w in words_of(fact.value) if len(w) >= LEAST_WORD} for user in users]
    domain = ASTRAY if cue is None else ASTRAY_WITH_CUE
    owners = torch.arange(max(map(len, asked.values()))) % len(users)
    found: list[Value] = []
    for condition, prompts in asked.items():
        own, alone = state[owners[: len(prompts)]], replies_alone(memories.model, tokenizer, prompts)
        rates = {}
        if cue is None:
            with_memory = replies_by_memory(memories, tokenizer, prompts, own)
        else:
            with_memory, loud = replies_with_cue(memories, tokenizer, prompts, own, cue, alone)
            rates["begun"] = _share(loud)
        pairs = list(zip(owners[: len(prompts)].tolist(), with_memory, alone, strict=True))
        said = [any(w in reply and w not in other for w in words[n]) for n, reply, other in pairs]
        same = [reply == other for _, reply, other in pairs]
        rates |= {"intrusion": sum(said) / len(pairs), "unchanged": sum(same) / len(pairs)}
        found += rows_of(rates, domain=domain, condition=condition)
    if cue is not None:
        stated = [prompt_of(random.choice(books[0].stated).told) for _ in users]
        begun = _share(begins_with(memories, stated, state, cue))
        found += rows_of({"begun": begun}, domain=domain, condition=STATEMENTS)
    return found


def _share(loud: Bool[Tensor, "prompt"]) -> float:
    return loud.float().mean().item()


def _never_told(book: Book, users: Sequence[Told], random: Random) -> list[list[int]]:
    """Draw a question to each user about what that user never told."""
    named = [{fact.attribute for fact in user.facts} for user in users]
    return [
        prompt_of(
            random.choice(
                [q for s in book.stated for f, q in zip(s.facts, s.asked, strict=True) if f.attribute not in own]
            )
        )
        for own in named
    ]
