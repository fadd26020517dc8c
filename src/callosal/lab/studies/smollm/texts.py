"""Turns as the model reads them, with the hidden states of its lower layers, which are frozen and so read once."""

import copy
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from callosal.hosts.smollm2 import TEMPLATE, prompt_tokens, turn_tokens
from callosal.lab.runs import digest
from callosal.lab.tasks.profile import (
    ATTRIBUTES,
    Exchange,
    Fact,
    Wordings,
    ask,
    sample_chatter,
    sample_rule,
    sample_value,
    state,
)
from callosal.memory.config import ADDED, describe
from callosal.training.seeding import derive_seed, seeded

BATCH = 32
# Tokens of a piece of ordinary text, and of what a model writes at once to be cut into such.
PIECE, WRITTEN = 32, 128
# Tokens at most of what a model asks itself, and of its reply.
QUESTION, ANSWER = 24, 32
# Turns of a kind that the cue is put behind, at most.
MOST_CUED = 320
# How what it asks begins.
OPENINGS = (
    *("What is", "What are", "What does", "How do I", "How can I", "How many", "How does", "Why do", "Why is"),
    *("Who was", "Who is", "Where is", "When did", "Which", "Can you", "Could you", "Tell me", "Explain", "Describe"),
    *("Write a", "Give me", "List", "Name", "Is it", "Do you", "Should I", "Please", "Help me", "I need", "I want to"),
    *("Recommend", "Compare"),
)
# What stood between documents when SmolLM2 was trained.
DOCUMENT = 0
# The token that ends a turn.
END = 2


@dataclass(frozen=True, kw_only=True)
class BookConfig:
    """How many turns are read, and of which words.

    Attributes:
        num_stated: turns that state one or two facts, with one question for each.
        num_chatter: turns of small talk, every second in the words of facts.
        num_rules: turns of sums, counting and spelling.
        words: which they are made of.
        seed: of the draws.
        num_ordinary: pieces of 32 tokens of what the model writes when nothing is asked.
        num_dialogues: questions that the model writes in the user's place, with its replies.
        cue: begins an answer about the user; it is put behind turns that ask for none, too. "" leaves this out.
    """

    num_stated: int
    num_chatter: int
    num_rules: int
    words: Wordings
    seed: int
    num_ordinary: int = field(default=0, metadata=ADDED)
    num_dialogues: int = field(default=0, metadata=ADDED)
    cue: str = field(default="", metadata=ADDED)


@dataclass(frozen=True, eq=False)
class Text:
    """A turn that was read.

    Attributes:
        said: the turn.
        tokens: what the model reads of it.
        hidden: states behind the layer of the memory, in half precision.
        prompt: number of tokens before the answer.
        value: where the scored part of the answer begins and ends; None where nothing was asked.
    """

    said: Exchange
    tokens: Int[Tensor, "time"]
    hidden: Float[Tensor, "time width"]
    prompt: int
    value: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Stated:
    """A turn that states facts, and a question for each."""

    facts: tuple[Fact, ...]
    told: Text
    asked: tuple[Text, ...]


@dataclass(frozen=True, eq=False)
class Book:
    """Turns to make sessions of."""

    stated: tuple[Stated, ...]
    chatter: tuple[Text, ...]
    rules: tuple[Text, ...]
    ordinary: tuple[Text, ...] = ()
    dialogues: tuple[Text, ...] = ()
    # A cue behind turns of every kind that ask for nothing that the user told.
    cued: tuple[Text, ...] = ()

    @property
    def others(self) -> tuple[Text, ...]:
        """What is not about the user."""
        return (*self.chatter, *self.rules, *self.ordinary, *self.dialogues)


@dataclass(frozen=True, eq=False)
class Told:
    """What a user said in a session, and what is asked in the next."""

    facts: tuple[Fact, ...]
    turns: tuple[Text, ...]
    asked: tuple[Text, ...]


class Halves:
    """A causal language model cut behind a layer, counted from 0."""

    def __init__(self, model: Any, layer: int) -> None:
        self.below = copy.copy(model.model)
        self.above = copy.copy(model.model)
        for part, layers in (
            (self.below, model.model.layers[: layer + 1]),
            (self.above, model.model.layers[layer + 1 :]),
        ):
            # A copy of a module shares the table of its parts.
            vars(part)["_modules"] = dict(part._modules) | {"layers": layers}  # noqa: SLF001
        vars(self.below)["_modules"]["norm"] = nn.Identity()
        self.model = model
        self.head = model.lm_head
        self.embedding: Tensor = model.model.embed_tokens.weight

    @torch.no_grad()
    def lower(self, tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return the hidden states behind the layer, of texts that know nothing of each other."""
        found: dict[int, Tensor] = {}
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            longest = max(len(tokens[i]) for i in rows)
            padded = torch.tensor([[*tokens[i], *[0] * (longest - len(tokens[i]))] for i in rows])
            # What follows is never seen by what comes before, so padding needs no mask.
            hidden = self.below(input_ids=padded, use_cache=False).last_hidden_state
            found |= {i: hidden[row, : len(tokens[i])].clone() for row, i in enumerate(rows)}
        return [found[i] for i in range(len(tokens))]

    def written(self, number: int, length: int, seed: int) -> list[list[int]]:
        """Return as many texts of so many tokens as the model writes from nothing, sampled at temperature one."""
        start = torch.full((number, 1), DOCUMENT)
        with seeded(seed, "ordinary"):
            # No token ends a text, so that all are as long.
            texts = self.model.generate(
                start, do_sample=True, top_k=0, max_new_tokens=length, min_new_tokens=length, pad_token_id=END
            )
        return texts[:, 1:].tolist()

    def conversed(self, number: int, tokenizer: Any, seed: int) -> list[Exchange]:
        """Return as many questions that the model asks in the user's place, sampled, and its most probable replies.

        It goes on where its chat template lets a user speak, as in Magpie (arXiv 2406.08464), from a first word or two,
        up to the end of a sentence: without them this small model writes anything but questions.
        """
        found: list[Exchange] = []
        for start in range(0, number, len(OPENINGS)):
            openings = [TEMPLATE.partition("{}")[0] + text for text in OPENINGS[: number - start]]
            prompts = [tokenizer(text)["input_ids"] for text in openings]
            with seeded(derive_seed(seed, "dialogues", start), "asking"):
                sampled = {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 0.9}
                gone_on = replies_of(self.model, tokenizer, prompts, QUESTION, **sampled)
            whole = [text + rest for text, rest in zip(OPENINGS, gone_on, strict=False)]
            asked = [re.split(r"(?<=[?.!])|\n", text)[0] for text in whole]
            replies = replies_of(self.model, tokenizer, [prompt_tokens(tokenizer, text) for text in asked], ANSWER)
            found += [Exchange("chatter", text, reply) for text, reply in zip(asked, replies, strict=True)]
        return found

    def upper(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """Return what the head reads, from the states behind the layer."""
        dtype = self.embedding.dtype
        return self.above(inputs_embeds=hidden.to(dtype), use_cache=False).last_hidden_state

    def logits(self, final: Float[Tensor, "token width"]) -> Float[Tensor, "token word"]:
        """Return the logits in single precision."""
        return self.head(final).float()


@torch.no_grad()
def replies_of(model: Any, tokenizer: Any, prompts: Sequence[list[int]], most: int, **sampling: Any) -> list[str]:
    """Return a model's replies to prompts that are read side by side, of so many tokens at most, the most probable."""
    tokens, mask = padded(prompts)
    how = {"max_new_tokens": most, "do_sample": False, "pad_token_id": END} | sampling
    made = model.generate(tokens, attention_mask=mask, **how)[:, tokens.shape[1] :]
    return [tokenizer.decode(row, skip_special_tokens=True) for row in made.tolist()]


def padded(prompts: Sequence[list[int]]) -> tuple[Int[Tensor, "prompt time"], Int[Tensor, "prompt time"]]:
    """Return prompts as rows that end together, and which tokens exist."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[END] * (longest - len(row)) + row for row in prompts])
    return tokens, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])


def read_texts(turns: Sequence[Exchange], halves: Halves, tokenizer: Any) -> list[Text]:
    """Read turns, each by itself."""
    tokens = [turn_tokens(tokenizer, turn.said, turn.answer) for turn in turns]
    hidden = halves.lower([ids for ids, _ in tokens])
    return [
        Text(turn, torch.tensor(ids), states.bfloat16(), prompt, _value(turn, prompt, tokenizer))
        for turn, (ids, prompt), states in zip(turns, tokens, hidden, strict=True)
    ]


def read_ordinary(pieces: Sequence[list[int]], halves: Halves) -> list[Text]:
    """Read pieces of text that nobody said."""
    nobody = Exchange("chatter", "", "")
    return [
        Text(nobody, torch.tensor(piece), states.bfloat16(), 0, None)
        for piece, states in zip(pieces, halves.lower(pieces), strict=True)
    ]


def read_book(config: BookConfig, halves: Halves, tokenizer: Any, folder: Path, mark: str) -> Book:
    """Draw and read a book, or load it from the folder, where its parts were kept under their configuration.

    Args:
        config: what is drawn.
        halves: of the model.
        tokenizer: of the model.
        folder: where hidden states are kept: some hundred megabytes.
        mark: says which model and layer they are of.
    """
    turns = replace(config, num_ordinary=0, num_dialogues=0, cue="")
    book = _kept(folder, [describe(turns), mark], lambda: _turns(turns, halves, tokenizer))
    if number := config.num_ordinary:
        key = ["ordinary", number, config.seed, mark]
        pieces = _kept(folder, key, lambda: read_ordinary(_pieces(number, halves, config.seed), halves))
        book = replace(book, ordinary=tuple(pieces))
    if number := config.num_dialogues:
        key = ["dialogues", number, config.seed, mark]
        texts = _kept(
            folder, key, lambda: read_texts(halves.conversed(number, tokenizer, config.seed), halves, tokenizer)
        )
        book = replace(book, dialogues=tuple(texts))
    if cue := config.cue:
        kinds = book.dialogues, book.chatter, book.rules, tuple(one.told for one in book.stated)
        said = [replace(text.said, answer=cue, value="") for texts in kinds for text in texts[:MOST_CUED]]
        cued = _kept(folder, [describe(config), mark], lambda: read_texts(said, halves, tokenizer))
        book = replace(book, cued=tuple(cued))
    return book


def _kept(folder: Path, key: list[Any], make: Callable[[], Any]) -> Any:
    """Return what was made and kept under a key before, or make and keep it."""
    path = folder / f"book-{digest(key)[:8]}.pt"
    if path.is_file():
        return torch.load(path, weights_only=False)
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    torch.save(made, unfinished)
    unfinished.replace(path)
    return made


def _turns(config: BookConfig, halves: Halves, tokenizer: Any) -> Book:
    random, words = Random(config.seed), config.words
    turns: list[Exchange] = []
    stated = []
    for _ in range(config.num_stated):
        names = random.sample(ATTRIBUTES, random.choice((1, 1, 1, 2)))
        facts = [Fact(attribute=name, value=sample_value(name, words.values, random)) for name in names]
        stated.append((facts, len(turns)))
        turns += [state(facts, words, random), *(ask(fact, words, random) for fact in facts)]
    chatter = len(turns)
    for number in range(config.num_chatter):
        turns.append(sample_chatter(random, "domain" if number % 2 else "plain", split=words.values))
    rules = len(turns)
    turns += [sample_rule(random) for _ in range(config.num_rules)]
    texts = read_texts(turns, halves, tokenizer)
    return Book(
        tuple(Stated(tuple(f), texts[at], tuple(texts[at + 1 : at + 1 + len(f)])) for f, at in stated),
        tuple(texts[chatter:rules]),
        tuple(texts[rules:]),
    )


def sample_told(book: Book, num_facts: int, between: Sequence[Text], random: Random) -> Told:
    """Draw a user of so many facts, each of another attribute, and strew other turns among theirs.

    Raises:
        ValueError: if the book has not so many attributes stated in turns of their own.
    """
    alone = len({one.facts[0].attribute for one in book.stated if len(one.facts) == 1})
    if alone < num_facts:
        raise ValueError(
            f"a user of {num_facts} facts was asked for, and the book states {alone} attributes by themselves; "
            f"ask for at most {alone}, or read a larger book (num_stated)"
        )
    stated: list[Stated] = []
    named: set[str] = set()
    while len(named) < num_facts:
        one = random.choice(book.stated)
        names = {fact.attribute for fact in one.facts}
        if not names & named and len(named | names) <= num_facts:
            stated.append(one)
            named |= names
    turns = [one.told for one in stated]
    for text in between:
        turns.insert(random.randrange(len(turns) + 1), text)
    facts = tuple(fact for one in stated for fact in one.facts)
    return Told(facts, tuple(turns), tuple(text for one in stated for text in one.asked))


@dataclass(frozen=True, eq=False)
class Rows:
    """Texts under each other, padded at the end."""

    tokens: Int[Tensor, "*row time"]
    hidden: Float[Tensor, "*row time width"]
    mask: Bool[Tensor, "*row time"]

    @classmethod
    def of(cls, texts: Sequence[Text]) -> "Rows":
        """Pad texts, one a row."""
        time, width = max(len(t.tokens) for t in texts), texts[0].hidden.shape[-1]
        tokens = torch.zeros(len(texts), time, dtype=torch.long)
        hidden, mask = torch.zeros(len(texts), time, width), torch.zeros(len(texts), time, dtype=torch.bool)
        for row, text in enumerate(texts):
            length = len(text.tokens)
            tokens[row, :length], hidden[row, :length], mask[row, :length] = text.tokens, text.hidden, True
        return cls(tokens, hidden, mask)

    @classmethod
    def of_users(cls, users: Sequence[Sequence[Text]]) -> "Rows":
        """Pad the turns of users: [user, turn, time]; a turn that a user lacks is masked."""
        turns = max(map(len, users))
        rows = cls.of([turn for user in users for turn in (*user, *[user[0]] * (turns - len(user)))])
        exists = torch.tensor([[n < len(user) for n in range(turns)] for user in users])
        tokens, hidden, mask = (
            tensor.unflatten(0, (len(users), turns)) for tensor in (rows.tokens, rows.hidden, rows.mask)
        )
        return cls(tokens, hidden, mask & exists[..., None])


def _pieces(number: int, halves: Halves, seed: int) -> list[list[int]]:
    if not number:
        return []
    each = WRITTEN // PIECE
    texts = halves.written(-(-number // each), WRITTEN, seed)
    return [text[at : at + PIECE] for text in texts for at in range(0, WRITTEN, PIECE)][:number]


def _value(turn: Exchange, prompt: int, tokenizer: Any) -> tuple[int, int] | None:
    """Find the tokens of the value in those of the answer."""
    if not turn.value:
        return None
    before = turn.answer[: turn.answer.index(turn.value)].rstrip(" ")
    upto = turn.answer[: turn.answer.index(turn.value) + len(turn.value)]
    first, last = (len(tokenizer(text)["input_ids"]) if text else 0 for text in (before, upto))
    return prompt + first, prompt + last
