"""The strict arithmetic progression: a step that never changes and is never zero."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from callosal.lab.tasks import arithmetic


def test_every_start_and_every_step_but_zero_is_drawn_and_segments_apart() -> None:
    terms = arithmetic.sample_progressions((40, 40), 2, 5, Generator().manual_seed(0))
    pairs = torch.stack([terms[..., 0], terms.diff(dim=-1)[..., 0] % 5], dim=-1)
    assert pairs.flatten(0, 1).unique(dim=0).tolist() == [[a, d] for a in range(5) for d in (1, 2, 3, 4)]
    terms = arithmetic.sample_progressions((8, 8), 6, 97, Generator().manual_seed(0))
    assert len(terms.flatten(0, 1).unique(dim=0)) == 64


@given(st.integers(2, 20))
def test_chance_is_a_uniform_guess(modulus: int) -> None:
    """Over all starts and steps a term is uniform: who does not look back cannot do better than ln P."""
    pairs = torch.cartesian_prod(torch.arange(modulus), torch.arange(1, modulus)).reshape(-1, 2)
    third = (pairs[:, 0] + 2 * pairs[:, 1]) % modulus
    shares = third.bincount(minlength=modulus) / len(third)
    entropy = -(shares.double() * shares.double().log()).sum().item()
    assert arithmetic.chance_loss(modulus) == pytest.approx(entropy, abs=1e-6)
    assert arithmetic.chance_loss(modulus) == pytest.approx(math.log(modulus))
