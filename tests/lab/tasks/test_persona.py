"""The persona task: what is asked was told, the splits apart, words that no tokenizer cuts."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS

from callosal.lab.tasks import Split
from callosal.lab.tasks.persona import (
    CHANCE,
    Conversation,
    PersonaConfig,
    Turn,
    sample_between,
    sample_conversation,
    texts,
    tokenized,
)
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


def answered(turn: Turn) -> list[str]:
    return [piece.text for piece in turn.pieces if piece.scored]


@given(CONFIGS, SEEDS, SPLITS)
def test_everything_asked_was_told_in_the_first_session(
    config: PersonaConfig, seed: int, split: Split
) -> None:
    user = sample_conversation(config, Random(seed), split)
    asking, rule = user.later
    assert rule.domain == "rule"
    assert len(user.facts) == config.num_facts
    assert answered(asking) == list(user.facts.values())
    assert [turn.domain for turn in user.told] == ["episodic", "rule"] * (
        config.num_facts // config.facts_per_turn
    )
    said = " ".join(turn.text for turn in user.told)
    for name, value in user.facts.items():
        assert any(form.format(value) in said for form in ATTRIBUTES[name].statements)
        assert ATTRIBUTES[name].question in asking.text


@given(CONFIGS, SEEDS, SPLITS)
def test_what_was_told_is_not_told_again_before_the_questions(
    config: PersonaConfig, seed: int, split: Split
) -> None:
    user = sample_conversation(config, Random(seed), split)
    asking = user.later[0].text
    before_questions = asking[: asking.index(ATTRIBUTES[next(iter(user.facts))].question)]
    told = [form.format(v) for n, v in user.facts.items() for form in ATTRIBUTES[n].statements]
    assert not any(statement in before_questions for statement in told)


@given(SEEDS)
def test_between_the_sessions_nothing_is_told_or_asked(seed: int) -> None:
    values = {value for attribute in ATTRIBUTES.values() for value in attribute.values}
    chatter = sample_between("chatter", PersonaConfig(), Random(seed))
    assert not values & set(words((chatter,)))
    assert not answered(chatter)
    rule = sample_between("rule", PersonaConfig(), Random(seed))
    # Counting uses the numbers that can be somebody's.
    assert not {value for value in values if not value.isdecimal()} & set(words((rule,)))
    assert (chatter.domain, rule.domain) == ("chatter", "rule")
    with pytest.raises(ValueError, match="states no fact; choose chatter or rule"):
        sample_between("episodic", PersonaConfig(), Random(seed))


@given(CONFIGS, SEEDS)
def test_no_set_of_facts_is_in_both_splits(config: PersonaConfig, seed: int) -> None:
    splits: dict[Split, int] = {"training": 0, "evaluation": 1}
    for split, parity in splits.items():
        facts = sample_conversation(config, Random(seed), split).facts
        places = sum(ATTRIBUTES[name].values.index(value) for name, value in facts.items())
        assert places % 2 == parity


@given(CONFIGS, SEEDS, SPLITS)
def test_mixed_turns_state_and_ask_and_others_do_one(
    config: PersonaConfig, seed: int, split: Split
) -> None:
    user = sample_conversation(config, Random(seed), split)
    for turn in user.told:
        if turn.domain == "episodic":
            assert ("?" in turn.text) == config.mixed
    fresh = user.later[0].text.split(" ?")[0].count(" .")
    assert fresh == (3 if config.mixed else 1)


@given(CONFIGS, SEEDS)
def test_a_conversation_is_a_function_of_its_seed(config: PersonaConfig, seed: int) -> None:
    one, other = (sample_conversation(config, Random(seed), "training") for _ in range(2))
    assert one == other
    assert isinstance(one, Conversation)


@given(SEEDS)
def test_the_rules_are_kept(seed: int) -> None:
    config = PersonaConfig(num_examples=8)
    for piece_before, piece in _pairs(sample_conversation(config, Random(seed), "training")):
        *_, subject, last = piece_before.split()
        if last == ":":
            first = int(subject)
            assert piece.split() == [str(first + step) for step in (1, 2, 3, 4)]
            assert first + 4 <= HIGHEST
        else:
            assert piece == " ".join(reversed(subject))
            assert subject in SPELLED


def _pairs(user: Conversation) -> list[tuple[str, str]]:
    found = []
    for turn in user.turns:
        if turn.domain == "rule":
            texts_ = [piece.text for piece in turn.pieces]
            for before, now, piece in zip(texts_, texts_[1:], turn.pieces[1:], strict=False):
                if piece.scored:
                    spelled = before.startswith("spell")
                    found.append((before.replace(" :", "") if spelled else before, now))
    return found


def test_every_value_is_as_likely_and_chance_is_a_guess_among_them() -> None:
    sizes = {name: len(attribute.values) for name, attribute in ATTRIBUTES.items()}
    assert pytest.approx(sum(1 / size for size in sizes.values()) / len(sizes)) == CHANCE
    for attribute in ATTRIBUTES.values():
        assert len(set(attribute.values)) == len(attribute.values)
        assert all(" " not in value for value in attribute.values)
    random, counts = Random(0), dict.fromkeys(ATTRIBUTES["food"].values, 0)
    for _ in range(4_000):
        facts = sample_conversation(PersonaConfig(), random, "training").facts
        if "food" in facts:
            counts[facts["food"]] += 1
    expected = sum(counts.values()) / len(counts)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_tokens_are_scored_where_the_piece_is() -> None:
    user = sample_conversation(PersonaConfig(), Random(3), "training")
    table = {word: number for number, word in enumerate(sorted(set(words(user.turns))))}

    def encode(text: str) -> list[int]:
        return [table[word] for word in text.split()]

    found = tokenized(user.turns, encode)
    assert found["input_ids"] == encode(" ".join(words(user.turns)))
    scored = [label for label in found["labels"] if label != -100]
    assert scored == encode(" ".join(text for turn in user.turns for text in answered(turn)))
    for token, label in zip(found["input_ids"], found["labels"], strict=True):
        assert label in (token, -100)


def test_texts_are_whole_conversations() -> None:
    source = texts(PersonaConfig(), Random(0), "training")
    drawn = sample_conversation(PersonaConfig(), Random(0), "training")
    assert next(source) == " ".join(turn.text for turn in drawn.turns)
    assert next(source) != next(source)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_facts": 0}, "num_facts is 0; it must be from 1 to 7"),
        ({"num_facts": 8}, "num_facts is 8; it must be from 1 to 7"),
        (
            {"num_facts": 4, "facts_per_turn": 3},
            r"facts_per_turn is 3; it must divide num_facts \(4\)",
        ),
        ({"num_examples": 0}, "num_examples is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PersonaConfig(**fields)
