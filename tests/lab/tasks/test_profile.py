"""The profile task: what is held out is never trained on, and what is asked was said."""

import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS

from callosal.lab.tasks.profile import ATTRIBUTES, HELD_OUT, WORDS, Wordings, sample_chatter, sample_user, sample_value

SPLITS = st.sampled_from(["training", "evaluation"])


@given(SEEDS, st.integers(1, len(ATTRIBUTES)), st.builds(Wordings, wordings=SPLITS, values=SPLITS))
def test_every_fact_is_said_and_its_question_answered_with_it(seed: int, num_facts: int, words: Wordings) -> None:
    user = sample_user(num_facts, words, Random(seed))
    assert user == sample_user(num_facts, words, Random(seed))
    assert len({fact.attribute for fact in user.facts}) == num_facts
    said = " ".join(turn.said for turn in user.told)
    for fact, question in zip(user.facts, user.asked, strict=True):
        assert fact.value in said
        assert question.value == fact.value
        assert question.value in question.answer
        assert question.value not in question.said
        own = WORDS["attributes"][fact.attribute]["questions"]
        held_out = any(question.said.endswith(form) for form in own[-2:])
        assert held_out == (words.wordings == "evaluation")


@given(SEEDS)
def test_held_out_values_and_words_are_never_trained_on(seed: int) -> None:
    random = Random(seed)
    for attribute in ATTRIBUTES:
        training, held_out = (
            {sample_value(attribute, s, random) for _ in range(40)} for s in ("training", "evaluation")
        )
        assert training.isdisjoint(held_out)
        # Where several parts make a value, none of its parts either.
        lists = WORDS["values"][WORDS["attributes"][attribute]["kind"]]["parts"]
        if len(lists) > 1 and lists[1][0] != "Street":
            assert {v.split()[0] for v in training}.isdisjoint(v.split()[0] for v in held_out)


@given(SEEDS)
def test_small_talk_of_the_same_domain_says_nothing_of_the_user(seed: int) -> None:
    turn = sample_chatter(Random(seed), "domain")
    assert not turn.value
    statements = {said for owned in WORDS["attributes"].values() for said in owned["statements"]}
    assert not {"my", "I'm"} & set(turn.said.lower().replace(",", "").split())
    assert not statements & {said.split(": ", 1)[1] for said in WORDS["chatter"]["domain"]}


def test_held_out_wordings_are_in_no_training_list_and_only_statements_hold_a_value() -> None:
    attributes = WORDS["attributes"].values()
    lists = [owned[form] for owned in attributes for form in ("statements", "questions")]
    lists += [WORDS["framing"][form] for form in ("openings", "askings")]
    training = {bare(wording) for words in lists for wording in words[:-HELD_OUT]}
    held_out = {bare(wording) for words in lists for wording in words[-HELD_OUT:]}
    # Nor as a part of a longer wording: "... again?" after it would make no new question.
    assert not [(own, other) for own in held_out for other in training if f" {own} " in f" {other} "]
    for owned in attributes:
        assert [said.count("{}") for said in owned["statements"]] == [1] * len(owned["statements"])
        assert not [asked for asked in owned["questions"] if "{" in asked]


def bare(wording: str) -> str:
    """Return it in lower case and without punctuation, but for the place of the value."""
    return " ".join(re.sub(r"[^a-z{} ]", "", wording.lower()).split())
