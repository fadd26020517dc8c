"""The profile task: users say who they are in plain English and ask for it in a later session.

Beside it small talk, some of it in the very words that facts are made of, and a rule domain: sums, counting, spelling.
Words are in ``profile.toml``. Text only; a model's chat template and tokenizer make tokens of it. Ours.
"""

import tomllib
import zlib
from dataclasses import dataclass, field
from importlib.resources import files
from random import Random
from typing import Any, Literal, get_args

from callosal.lab.tasks.cipher import Split

Kind = Literal["facts", "rules", "chatter"]
Chatter = Literal["plain", "domain"]
WORDS: dict[str, Any] = tomllib.loads(files("callosal.lab.tasks").joinpath("profile.toml").read_text(encoding="utf-8"))
ATTRIBUTES: tuple[str, ...] = tuple(WORDS["attributes"])
# Of each list of wordings so many are held out, the last ones.
HELD_OUT = 2
# Words before the value, so that its tokens are those of a statement: a word has others at the start of a text.
ANSWER = "You said {}."
CUE, END = ANSWER.split(" {}")
# How often a value of an open kind is a word that nobody has ever read.
INVENTED = 0.5


@dataclass(frozen=True)
class Exchange:
    """What a user says and what the assistant answers: a turn.

    Attributes:
        kind: what it is about: facts about the user, a rule, or neither.
        said: by the user.
        answer: by the assistant.
        value: of the answer, what a model is scored on; "" where nothing was asked.
    """

    kind: Kind
    said: str
    answer: str
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that a user is.

    Attributes:
        attribute: one of ATTRIBUTES.
        value: what a question about it is answered with.
    """

    attribute: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """Which words may be drawn.

    Attributes:
        wordings: statements, questions and what goes before them: those of training, or held-out ones.
        values: what facts are: values of training, or held-out ones.
    """

    wordings: Split = "training"
    values: Split = "training"


@dataclass(frozen=True, kw_only=True)
class User:
    """One user's facts, and the turns that state them and ask for them.

    Attributes:
        facts: what is stated.
        told: the turns in which it is, of one or two facts each.
        asked: one question for each fact, in the facts' order.
    """

    facts: tuple[Fact, ...]
    told: tuple[Exchange, ...]
    asked: tuple[Exchange, ...] = field(repr=False)


def sample_user(num_facts: int, words: Wordings, random: Random) -> User:
    """Draw a user of so many facts, each of another attribute.

    Raises:
        ValueError: there are not so many attributes.

    >>> user = sample_user(3, Wordings(), Random(0))
    >>> len(user.facts), len(user.asked)
    (3, 3)
    >>> user.asked[0].value == user.facts[0].value
    True
    """
    if not 1 <= num_facts <= len(ATTRIBUTES):
        raise ValueError(f"num_facts={num_facts}; a user has from 1 to {len(ATTRIBUTES)} facts")
    attributes = random.sample(ATTRIBUTES, num_facts)
    facts = tuple(Fact(attribute=name, value=sample_value(name, words.values, random)) for name in attributes)
    told: list[Exchange] = []
    rest = list(facts)
    while rest:
        together = rest[: random.choice((1, 1, 2))]
        rest = rest[len(together) :]
        told.append(state(together, words, random))
    return User(facts=facts, told=tuple(told), asked=tuple(ask(fact, words, random) for fact in facts))


def sample_value(attribute: str, split: Split, random: Random) -> str:
    """Draw a value of an attribute; no part of a held-out one is part of a value of training, and vice versa."""
    kind = WORDS["attributes"][attribute]["kind"]
    return _value(kind, split, random)


def state(facts: list[Fact], words: Wordings, random: Random) -> Exchange:
    """Say facts in one turn."""
    said = [_drawn(WORDS["framing"]["openings"], words.wordings, random)]
    statements = [_drawn(WORDS["attributes"][f.attribute]["statements"], words.wordings, random) for f in facts]
    text = " ".join(statements)
    if len(facts) > 1 and random.random() < 0.5:
        text = " and ".join(_clause(s, first=n == 0) for n, s in enumerate(statements)) + "."
    said.append(text.format(*(fact.value for fact in facts)))
    return Exchange("facts", "".join(said), random.choice(WORDS["framing"]["replies"]))


def ask(fact: Fact, words: Wordings, random: Random) -> Exchange:
    """Ask for a fact; the answer says its value."""
    asking = _drawn(WORDS["framing"]["askings"], words.wordings, random)
    question = _drawn(WORDS["attributes"][fact.attribute]["questions"], words.wordings, random)
    return Exchange("facts", asking + question, ANSWER.format(fact.value), fact.value)


def sample_chatter(random: Random, about: Chatter | None = None, split: Split = "training") -> Exchange:
    """Draw a turn of small talk: "plain", of the same "domain" as facts, or either."""
    about = about or random.choice(get_args(Chatter))
    said = random.choice(WORDS["chatter"][about])
    if about == "domain":
        kind, said = said.split(": ", 1)
        value = _value(kind, split, random)
        said = said.format(value)
        said = said[0].upper() + said[1:]
    return Exchange("chatter", said, random.choice(WORDS["chatter"]["replies"]))


def sample_rule(random: Random) -> Exchange:
    """Draw a sum, a count or a word to spell, which the answer follows from."""
    kind = random.choice(("sum", "count", "spell"))
    if kind == "sum":
        one, other = random.randrange(1, 50), random.randrange(1, 50)
        return Exchange("rules", f"What is {one} plus {other}?", *[str(one + other)] * 2)
    if kind == "count":
        first = random.randrange(1, 90)
        counted = ", ".join(str(number) for number in range(first + 1, first + 5))
        return Exchange("rules", f"Count on from {first}.", counted, counted)
    word = random.choice(WORDS["values"]["food"]["parts"][0][:40])
    return Exchange("rules", f"Spell the word {word}.", *["-".join(word)] * 2)


def _value(kind: str, split: Split, random: Random) -> str:
    values = WORDS["values"][kind]
    if values.get("invented") and random.random() < INVENTED:
        while True:
            word = _invented(kind, random)
            listed = word in values["parts"][0]
            # What is held out of these is decided by their letters.
            if not listed and (zlib.crc32(word.encode()) % 5 == 4) == (split == "evaluation"):
                return word
    return " ".join(random.choice(_part(words, split)) for words in values["parts"])


def _part(words: list[str], split: Split) -> list[str]:
    held_out = words[4::5]
    return held_out if split == "evaluation" else [word for word in words if word not in held_out]


def _invented(kind: str, random: Random) -> str:
    parts = WORDS["invented"]
    syllables = [
        "".join(random.choice(parts[name]) for name in ("onsets", "vowels", "codas"))
        for _ in range(random.choice((1, 2)))
    ]
    return ("".join(syllables) + random.choice(parts["endings"][kind])).capitalize()


def _clause(sentence: str, *, first: bool) -> str:
    sentence = sentence.removesuffix(".")
    return sentence if first or sentence.startswith(("I", "{")) else sentence[0].lower() + sentence[1:]


def _drawn(words: list[str], split: Split, random: Random) -> str:
    return random.choice(words[-HELD_OUT:] if split == "evaluation" else words[:-HELD_OUT])
