"""The strict arithmetic progression: a rule that needs no memory of other segments."""

import math

import torch
from jaxtyping import Int
from torch import Generator, Tensor


def chance_loss(modulus: int) -> float:
    """Return the loss of a uniform guess, in nats per term: ln P. With the rule it is 0."""
    return math.log(modulus)


def sample_progressions(
    shape: tuple[int, int], num_terms: int, modulus: int, generator: Generator
) -> Int[Tensor, "batch segment term"]:
    """Draw a, a + d, a + 2 d, ... mod P with fresh a and d >= 1 per segment.

    There are only P (P - 1) of them and the rule is one table, so both splits draw from all: what keeps an evaluation
    episode out of training is its cipher.
    """
    starts = torch.randint(0, modulus, shape, generator=generator)
    steps = torch.randint(1, modulus, shape, generator=generator)
    return (starts[..., None] + steps[..., None] * torch.arange(num_terms)) % modulus
