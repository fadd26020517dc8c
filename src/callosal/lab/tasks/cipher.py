"""The episodic cipher: an arbitrary mapping that only a memory can know."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

Split = Literal["training", "evaluation"]


def chance_loss(num_letters: int) -> float:
    """Return the least loss without a memory, in nats per letter: ln K, since pi is uniform."""
    return math.log(num_letters)


def chance_recall(num_letters: int) -> float:
    """Return the share of right answers without a memory: 1 / K."""
    return 1.0 / num_letters


def is_odd(ciphers: Int[Tensor, "*batch letter"]) -> Bool[Tensor, "*batch"]:
    """Say whether a permutation has an odd number of inversions."""
    later = torch.ones(ciphers.shape[-1], ciphers.shape[-1], dtype=torch.bool).triu(1)
    inversions = (ciphers[..., :, None] > ciphers[..., None, :]) & later
    return inversions.sum((-2, -1)) % 2 == 1


def sample_ciphers(
    num_ciphers: int, num_letters: int, generator: Generator, split: Split
) -> Int[Tensor, "cipher letter"]:
    """Draw fresh bijections pi of the letters, uniformly from the split's half of all of them.

    Training draws even permutations and evaluation odd ones, so the two can never meet, whatever their seeds. Ours.
    Each half still maps every letter to every other equally often (from three letters on), which keeps the chance level
    at ln K.
    """
    ciphers = torch.rand(num_ciphers, num_letters, generator=generator).argsort(-1)
    wrong = is_odd(ciphers) != (split == "evaluation")
    ciphers[wrong, :2] = ciphers[wrong, :2].flip(-1)
    return ciphers


def sample_orders(
    num_orders: int, num_letters: int, num_passes: int, generator: Generator
) -> Int[Tensor, "order shown"]:
    """Draw the order in which letters are shown: each once per pass, every pass shuffled anew."""
    keys = torch.rand(num_orders, num_passes, num_letters, generator=generator)
    return keys.argsort(-1).flatten(1)
