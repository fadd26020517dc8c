"""The cipher: fresh bijections of which the two splits share none."""

import math
from itertools import pairwise, permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS
from torch import Generator, Tensor

from callosal.lab.tasks import Split, cipher

SPLITS: list[Split] = ["training", "evaluation"]
LETTERS = st.integers(3, 12)


def all_permutations(num_letters: int) -> Tensor:
    return torch.tensor(list(permutations(range(num_letters))))


@pytest.mark.parametrize("num_letters", [3, 4, 5, 6])
def test_parity_makes_two_halves_that_map_letters_equally_often(num_letters: int) -> None:
    """What keeps the chance level at ln K although training sees only half of all ciphers."""
    ciphers = all_permutations(num_letters)
    odd = cipher.is_odd(ciphers)
    assert torch.equal(odd, torch.linalg.det(torch.eye(num_letters)[ciphers]) < 0)
    assert torch.equal(cipher.is_odd(ciphers.reshape(2, -1, num_letters)).flatten(), odd)
    assert not cipher.is_odd(torch.arange(26))
    assert odd.sum() == math.factorial(num_letters) // 2
    for half in (ciphers[odd], ciphers[~odd]):
        counts = torch.nn.functional.one_hot(half, num_letters).sum(0)
        assert (counts == math.factorial(num_letters) // 2 // num_letters).all()


@given(LETTERS, st.integers(1, 20), SEEDS)
def test_every_cipher_is_a_bijection_of_its_splits_parity(letters: int, num: int, seed: int) -> None:
    for split in SPLITS:
        drawn = cipher.sample_ciphers(num, letters, Generator().manual_seed(seed), split)
        assert drawn.shape == (num, letters)
        assert (drawn.sort(-1).values == torch.arange(letters)).all()
        assert (cipher.is_odd(drawn) == (split == "evaluation")).all()


@pytest.mark.parametrize("split", SPLITS)
def test_all_ciphers_of_a_split_are_drawn_equally_often(split: Split) -> None:
    """Pearson's chi-squared over the 12 permutations of 4 letters stays below its 1e-6 quantile."""
    drawn = cipher.sample_ciphers(12_000, 4, Generator().manual_seed(0), split)
    counts = drawn.unique(dim=0, return_counts=True)[1].double()
    assert len(counts) == 12
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 49.0


@given(LETTERS, st.integers(1, 4), st.integers(1, 5), SEEDS)
def test_an_order_shows_every_letter_once_per_pass(letters: int, passes: int, num: int, seed: int) -> None:
    orders = cipher.sample_orders(num, letters, passes, Generator().manual_seed(seed))
    assert orders.shape == (num, passes * letters)
    for one in orders.split(letters, dim=1):
        assert (one.sort(-1).values == torch.arange(letters)).all()
    # Every pass is shuffled anew.
    anew = cipher.sample_orders(1, 26, 4, Generator().manual_seed(0))[0].split(26)
    assert all(not torch.equal(one, other) for one, other in pairwise(anew))


@given(st.integers(3, 100))
def test_chance_is_one_guess_in_k(num_letters: int) -> None:
    uniform = torch.zeros(1, num_letters, dtype=torch.float64)
    loss = torch.nn.functional.cross_entropy(uniform, torch.tensor([0])).item()
    assert cipher.chance_loss(num_letters) == pytest.approx(loss, rel=1e-12)
    assert cipher.chance_recall(num_letters) == pytest.approx(1.0 / num_letters)
