"""Rules: the next token follows from those so far, exactly where it is said to."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS
from torch import Generator, Tensor

from callosal.lab.tasks.rules import NUMERIC, RULES, Rule, alphabet_size, sample_rule

ALPHABET = 7


def draw_rule(rule: Rule, seed: int, num_tokens: int = 12) -> tuple[Tensor, Tensor]:
    alphabet = alphabet_size(rule, ALPHABET, ALPHABET)
    return sample_rule(rule, (5, 3), num_tokens, alphabet, Generator().manual_seed(seed))


# What comes next, by hand, from the tokens so far alone and the length of the segment.
SUCCESSORS: dict[Rule, Callable[[list[int], int], int]] = {
    "arithmetic": lambda seen, _: (2 * seen[-1] - seen[-2]) % ALPHABET,
    "counting": lambda seen, _: (seen[-1] + 1) % ALPHABET,
    "multiplication": lambda seen, _: seen[-1] ** 2 * pow(seen[-2], -1, ALPHABET) % ALPHABET,
    "reversal": lambda seen, length: seen[length - 1 - len(seen)],
    "copying": lambda seen, length: seen[len(seen) - length // 2],
    "parity": lambda seen, _: sum(seen[0::2]) % 2,
}


@pytest.mark.parametrize("rule", RULES)
@given(seed=SEEDS, half=st.integers(2, 8))
def test_what_a_rule_predicts_follows_from_the_tokens_so_far(rule: Rule, seed: int, half: int) -> None:
    tokens, predicts = draw_rule(rule, seed, 2 * half)
    assert predicts.any()
    assert not predicts[-1], "the last token's successor is not in the segment"
    for row in tokens.flatten(0, 1).tolist():
        for place in predicts.nonzero().flatten().tolist():
            assert row[place + 1] == SUCCESSORS[rule](row[: place + 1], 2 * half)


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_does_not_predict_cannot_be_known(rule: Rule) -> None:
    """Behind one and the same beginning, more than one token comes."""
    size = alphabet_size(rule, 5, 5)
    tokens, predicts = sample_rule(rule, (4000, 1), 4, size, Generator().manual_seed(0))
    for place in (~predicts[:-1]).nonzero().flatten().tolist():
        begun = tokens[:, 0, : place + 1]
        alike = (begun == begun[0]).all(-1)
        assert len(tokens[alike, 0, place + 1].unique()) > 1


@pytest.mark.parametrize("rule", RULES)
@given(seed=SEEDS)
def test_tokens_stay_in_their_alphabet_and_fill_it(rule: Rule, seed: int) -> None:
    tokens, _ = draw_rule(rule, seed)
    size = alphabet_size(rule, ALPHABET, ALPHABET)
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < size
    many, _ = sample_rule(rule, (200, 2), 12, size, Generator().manual_seed(seed))
    least = 1 if rule == "multiplication" else 0
    assert many.unique().tolist() == list(range(least, size))
    # Equal seeds give equal segments, others others.
    assert torch.equal(draw_rule(rule, seed)[0], tokens)
    assert not torch.equal(draw_rule(rule, seed + 1)[0], tokens)


def test_alphabets() -> None:
    sizes = {**dict.fromkeys(NUMERIC, 11), "reversal": 8, "copying": 8, "parity": 2}
    assert {rule: alphabet_size(rule, 8, 11) for rule in RULES} == sizes
