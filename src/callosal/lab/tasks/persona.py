"""The persona task: users say who they are, chat, and ask about it in a later session, all in words.

Beside it a rule domain in words: counting, and spelling backwards. Text only; a model's tokenizer makes tokens of it.
Ours: the paper names assistants that remember their user as a next step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from callosal.checks import require, require_counts
from callosal.lab.tasks.cipher import Split
from callosal.lab.tasks.words import ATTRIBUTES, CHATTER, HIGHEST, SPELLED
from callosal.training import UNSCORED

Domain = Literal["episodic", "rule", "chatter"]
# A tokenizer, from a text to its tokens.
Encode = Callable[[str], list[int]]
# Accuracy of a guess about a fact that was never stated: one of so many words.
CHANCE = sum(1 / len(a.values) for a in ATTRIBUTES.values()) / len(ATTRIBUTES)


@dataclass(frozen=True, kw_only=True)
class PersonaConfig:
    """A conversation: a session in which facts are stated, then one with questions about them.

    Attributes:
        num_facts: facts that a user states, each with a question later, 1 to 7.
        facts_per_turn: of which so many in one turn; it divides num_facts.
        num_examples: examples in a turn of the rule domain.
        mixed: every turn about the user both states and asks: a question about a stated fact follows at once, and a
            fresh fact is stated before the questions. Otherwise the first session only states and the second only asks.
    """

    num_facts: int = 4
    facts_per_turn: int = 2
    num_examples: int = 2
    mixed: bool = True

    def __post_init__(self) -> None:
        most = len(ATTRIBUTES) - 1
        require(self, "num_facts", 1 <= self.num_facts <= most, f"it must be from 1 to {most}")
        divides = self.facts_per_turn >= 1 and self.num_facts % self.facts_per_turn == 0
        require(self, "facts_per_turn", divides, f"it must divide num_facts ({self.num_facts})")
        require_counts(self, "num_examples")


@dataclass(frozen=True)
class Piece:
    """Some words, and whether a model is scored on them."""

    text: str
    scored: bool = False


@dataclass(frozen=True)
class Turn:
    """What is said until the other side answers; one forward pass of a model.

    Attributes:
        domain: the domain that it is measured under; chatter under none.
        pieces: what is said, in order.
    """

    domain: Domain
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The words of the turn."""
        return " ".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class Conversation:
    """What one user says in two sessions.

    Attributes:
        facts: value of each attribute stated, in the order of the questions.
        told: the turns of the first session.
        later: the turns of the second, the questions among them.
    """

    facts: dict[str, str]
    told: tuple[Turn, ...]
    later: tuple[Turn, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns, the first session's first."""
        return self.told + self.later


def sample_conversation(config: PersonaConfig, random: Random, split: Split) -> Conversation:
    """Draw a conversation.

    No set of facts of one split occurs in the other: training draws sets whose values' places in their lists add up to
    an even number, evaluation odd ones. Rules are the same in both.

    >>> conversation = sample_conversation(PersonaConfig(num_facts=1, facts_per_turn=1), Random(0), "training")
    >>> for turn in conversation.turns:
    ...     print(turn.domain, "|", turn.text)  # doctest: +ELLIPSIS
    episodic | ...
    """
    while True:
        names = random.sample(sorted(ATTRIBUTES), config.num_facts)
        facts = {name: random.choice(ATTRIBUTES[name].values) for name in names}
        places = sum(ATTRIBUTES[name].values.index(value) for name, value in facts.items())
        if places % 2 == (split == "evaluation"):
            break
    told: list[Turn] = []
    stated = random.sample(names, len(names))
    for start in range(0, len(stated), config.facts_per_turn):
        now = {name: facts[name] for name in stated[start : start + config.facts_per_turn]}
        told += [_statements_turn(now, config, random), _rule(config, random)]
    later = [_questions_turn(facts, config, random), _rule(config, random)]
    return Conversation(facts=facts, told=tuple(told), later=tuple(later))


def tokenized(turns: Sequence[Turn], encode: Encode) -> dict[str, list[int]]:
    """Return the tokens of turns, one after another: ``input_ids``, and ``labels`` where scored, else -100.

    Pieces are encoded one by one, which gives what encoding the whole text gives to a tokenizer that never merges
    across spaces.
    """
    found = [(token, piece.scored) for turn in turns for piece in turn.pieces for token in encode(piece.text)]
    labels = [token if scored else UNSCORED for token, scored in found]
    return {"input_ids": [token for token, _ in found], "labels": labels}


def texts(config: PersonaConfig, random: Random, split: Split) -> Iterator[str]:
    """Draw whole conversations as text, without end: what a tokenizer and a base model learn from."""
    while True:
        yield " ".join(turn.text for turn in sample_conversation(config, random, split).turns)


def _statements_turn(facts: dict[str, str], config: PersonaConfig, random: Random) -> Turn:
    pieces = [Piece("hello ."), *(_statement(name, value, random) for name, value in facts.items())]
    pieces.insert(random.randrange(1, len(pieces) + 1), Piece(_small_talk(random)))
    if config.mixed:
        name = random.choice(list(facts))
        pieces += _scored(ATTRIBUTES[name].question, facts[name])
    return Turn("episodic", tuple(pieces))


def _questions_turn(facts: dict[str, str], config: PersonaConfig, random: Random) -> Turn:
    pieces = [Piece("hello .")]
    if config.mixed:
        name = random.choice(sorted(set(ATTRIBUTES) - set(facts)))
        fresh = _statement(name, random.choice(ATTRIBUTES[name].values), random)
        pieces += [fresh, Piece(_small_talk(random))]
    for name, value in facts.items():
        pieces += _scored(ATTRIBUTES[name].question, value)
    return Turn("episodic", tuple(pieces))


def _statement(name: str, value: str, random: Random) -> Piece:
    return Piece(random.choice(ATTRIBUTES[name].statements).format(value))


def _scored(asked: str, answer: str) -> list[Piece]:
    return [Piece(asked), Piece(answer, scored=True), Piece(".")]


def sample_between(domain: Domain, config: PersonaConfig, random: Random) -> Turn:
    """Draw a turn between the sessions, of chatter or of rules, without facts or questions.

    Raises:
        ValueError: the domain is episodic.
    """
    if domain == "episodic":
        raise ValueError("a turn between the sessions states no fact; choose chatter or rule")
    if domain == "rule":
        return _rule(config, random)
    return Turn("chatter", tuple(Piece(_small_talk(random)) for _ in range(4)))


def _small_talk(random: Random) -> str:
    return " ".join(random.choice(words) for words in CHATTER) + " ."


def _rule(config: PersonaConfig, random: Random) -> Turn:
    example = random.choice((_counting, _spelling))
    return Turn("rule", tuple(p for _ in range(config.num_examples) for p in example(random)))


def _counting(random: Random) -> list[Piece]:
    first = random.randrange(1, HIGHEST - 4)
    counted = " ".join(str(number) for number in range(first + 1, first + 5))
    return _scored(f"count on from {first} :", counted)


def _spelling(random: Random) -> list[Piece]:
    word = random.choice(SPELLED)
    return _scored(f"spell {word} backwards :", " ".join(reversed(word)))
