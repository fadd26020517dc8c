"""The persona task: questions about what was stated, the splits apart, words that no tokenizer cuts."""

import re
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS

from callosal.lab.tasks import Split, persona
from callosal.lab.tasks.persona import PersonaConfig, Turn, sample_between, sample_conversation
from callosal.lab.tasks.words import ATTRIBUTES, HIGHEST, SPELLED

CONFIGS = st.builds(
    PersonaConfig,
    num_facts=st.sampled_from([2, 4, 6]),
    facts_per_turn=st.sampled_from([1, 2]),
    num_examples=st.integers(1, 3),
    mixed=st.booleans(),
)
SPLITS = st.sampled_from(["training", "evaluation"])


def words(turns: tuple[Turn, ...]) -> list[str]:
    return " ".join(turn.text for turn in turns).split()


def scored(turn: Turn) -> list[str]:
    return [piece.text for piece in turn.pieces if piece.scored]


@given(CONFIGS, SEEDS, SPLITS)
def test_the_second_session_asks_what_the_first_states(config: Any, seed: int, split: Split) -> None:
    user = sample_conversation(config, Random(seed), split)
    assert sample_conversation(config, Random(seed), split) == user
    assert len(user.facts) == config.num_facts
    # No set of facts is in both splits.
    places = sum(ATTRIBUTES[name].values.index(value) for name, value in user.facts.items())
    assert places % 2 == (split == "evaluation")
    asking, rule = user.later
    assert (asking.domain, rule.domain) == ("episodic", "rule")
    assert scored(asking) == list(user.facts.values())
    turns = config.num_facts // config.facts_per_turn
    assert [turn.domain for turn in user.told] == ["episodic", "rule"] * turns

    said = " ".join(turn.text for turn in user.told)
    first = ATTRIBUTES[next(iter(user.facts))].question
    before_questions = asking.text[: asking.text.index(first)]
    for name, value in user.facts.items():
        statements = [form.format(value) for form in ATTRIBUTES[name].statements]
        assert any(statement in said for statement in statements)
        assert not any(statement in before_questions for statement in statements)
        assert ATTRIBUTES[name].question in asking.text

    # Mixed turns state and ask; the others do one of both.
    assert all(("?" in turn.text) == config.mixed for turn in user.told if turn.domain != "rule")
    assert asking.text.split(" ?")[0].count(" .") == (3 if config.mixed else 1)


@given(SEEDS)
def test_between_the_sessions_no_fact_is_stated_and_no_question_asked(seed: int) -> None:
    values = {value for attribute in ATTRIBUTES.values() for value in attribute.values}
    chatter = sample_between("chatter", PersonaConfig(), Random(seed))
    assert not values & set(words((chatter,)))
    assert not scored(chatter)
    rule = sample_between("rule", PersonaConfig(), Random(seed))
    # Counting uses the numbers that can be somebody's.
    assert not {value for value in values if not value.isdecimal()} & set(words((rule,)))
    assert (chatter.domain, rule.domain) == ("chatter", "rule")


@given(SEEDS)
def test_the_rules_are_kept(seed: int) -> None:
    config = PersonaConfig(num_examples=8)
    user = sample_conversation(config, Random(seed), "training")
    pieces = [piece for turn in user.turns if turn.domain == "rule" for piece in turn.pieces]
    examples = [(b.text, a.text) for b, a in pairwise(pieces) if a.scored]
    assert len(examples) == 8 * sum(turn.domain == "rule" for turn in user.turns)
    for given_part, answer in examples:
        if match := re.fullmatch(r"count on from (\d+) :", given_part):
            first = int(match[1])
            assert answer.split() == [str(first + step) for step in (1, 2, 3, 4)]
            assert first + 4 <= HIGHEST
        else:
            (word,) = re.fullmatch(r"spell (\w+) backwards :", given_part).groups()  # pyright: ignore[reportOptionalMemberAccess]
            assert answer == " ".join(reversed(word))
            assert word in SPELLED


def test_every_value_is_as_likely_and_chance_is_a_guess_among_them() -> None:
    sizes = {name: len(attribute.values) for name, attribute in ATTRIBUTES.items()}
    assert pytest.approx(sum(1 / size for size in sizes.values()) / len(sizes)) == persona.CHANCE
    for attribute in ATTRIBUTES.values():
        assert len(set(attribute.values)) == len(attribute.values)
        assert all(" " not in value for value in attribute.values)
    random, config = Random(0), PersonaConfig(num_facts=7, facts_per_turn=7, num_examples=1)
    drawn = [sample_conversation(config, random, "training").facts for _ in range(2_300)]
    counts = Counter(facts["food"] for facts in drawn if "food" in facts)
    expected = counts.total() / len(ATTRIBUTES["food"].values)
    assert expected > 80
    assert all(abs(counts[food] - expected) < 5 * expected**0.5 for food in ATTRIBUTES["food"].values)


def test_tokens_are_scored_where_the_piece_is() -> None:
    user = sample_conversation(PersonaConfig(), Random(3), "training")
    table = {word: number for number, word in enumerate(sorted(set(words(user.turns))))}

    def encode(text: str) -> list[int]:
        return [table[word] for word in text.split()]

    found = persona.tokenized(user.turns, encode)
    assert found["input_ids"] == encode(" ".join(words(user.turns)))
    labels = [label for label in found["labels"] if label != -100]
    assert labels == encode(" ".join(text for turn in user.turns for text in scored(turn)))
    for token, label in zip(found["input_ids"], found["labels"], strict=True):
        assert label in (token, -100)
    # Texts are whole conversations.
    source = persona.texts(PersonaConfig(), Random(0), "training")
    assert next(source) == " ".join(words(sample_conversation(PersonaConfig(), Random(0), "training").turns))
    assert next(source) != next(source)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        *(("num_facts", value, "it must be from 1 to 7") for value in (0, 8)),
        ("facts_per_turn", 3, r"it must divide num_facts \(4\)"),
        ("num_examples", 0, ""),
    ],
)
def test_what_cannot_be_drawn_is_refused(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}; {allowed}"):
        PersonaConfig(**{field: value})
    with pytest.raises(ValueError, match="states no fact; choose chatter or rule"):
        sample_between("episodic", PersonaConfig(), Random(0))
