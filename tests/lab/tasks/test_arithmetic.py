"""The strict arithmetic progression: a step that never changes and is never zero."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS
from torch import Generator

from callosal.lab.tasks import arithmetic

MODULI = st.integers(2, 20)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(SHAPES, st.integers(2, 12), MODULI, SEEDS)
def test_terms_differ_by_one_step_that_is_not_zero(
    shape: tuple[int, int], num_terms: int, modulus: int, seed: int
) -> None:
    terms = arithmetic.sample_progressions(shape, num_terms, modulus, Generator().manual_seed(seed))
    assert terms.shape == (*shape, num_terms)
    assert ((terms >= 0) & (terms < modulus)).all()
    steps = terms.diff(dim=-1) % modulus
    assert (steps == steps[..., :1]).all()
    assert (steps != 0).all()


def test_every_start_and_step_is_drawn_and_segments_apart() -> None:
    terms = arithmetic.sample_progressions((40, 40), 2, 5, Generator().manual_seed(0))
    pairs = torch.stack([terms[..., 0], terms.diff(dim=-1)[..., 0] % 5], dim=-1)
    assert len(pairs.flatten(0, 1).unique(dim=0)) == 20
    terms = arithmetic.sample_progressions((8, 8), 6, 97, Generator().manual_seed(0))
    assert len(terms.flatten(0, 1).unique(dim=0)) == 64


@given(MODULI)
def test_chance_is_a_uniform_guess(modulus: int) -> None:
    """Over all starts and steps a term is uniform: who does not look back cannot do better than ln P."""
    pairs = torch.cartesian_prod(torch.arange(modulus), torch.arange(1, modulus)).reshape(-1, 2)
    third = (pairs[:, 0] + 2 * pairs[:, 1]) % modulus
    shares = third.bincount(minlength=modulus) / len(third)
    entropy = -(shares.double() * shares.double().log()).sum().item()
    assert arithmetic.chance_loss(modulus) == pytest.approx(entropy, abs=1e-6)
    assert arithmetic.chance_loss(modulus) == pytest.approx(math.log(modulus))
