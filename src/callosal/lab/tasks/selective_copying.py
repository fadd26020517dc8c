"""Selective copying: tokens among noise, to be said again in their order."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator

from callosal.checks import require, require_counts
from callosal.lab.tasks.sequences import Sequences
from callosal.training import UNSCORED

NOISE = 0


@dataclass(frozen=True, kw_only=True)
class SelectiveCopying:
    """Data tokens at random places among noise, then as many markers, at which they are asked in their order.

    The task of arXiv 2312.00752, section 4.1.1, which has 4,096 tokens, 16 of them data, and a vocabulary of 16; token
    0 is noise and the last one the marker. The code is ours.

    Attributes:
        vocab_size: number of tokens, at least 3.
        num_noise: noise tokens in a sequence.
        num_data: data tokens, and markers.
    """

    vocab_size: int = 16
    num_noise: int = 4080
    num_data: int = 16

    def __post_init__(self) -> None:
        require_counts(self, "vocab_size", "num_data")
        require(self, "vocab_size", self.vocab_size >= 3, "noise, marker and data need at least 3")
        require(self, "num_noise", self.num_noise >= 0, "it must be at least 0")

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.vocab_size

    @property
    def chance(self) -> float:
        """Share of right answers of a guess among the data tokens."""
        return 1 / (self.vocab_size - 2)

    def sized(self, size: int) -> Self:
        """Return the task with so many noise tokens."""
        return replace(self, num_noise=size)

    def sample(self, num_sequences: int, generator: Generator) -> Sequences:
        """Draw sequences; data tokens may repeat."""
        told = self.num_noise + self.num_data
        data = torch.randint(1, self.vocab_size - 1, (num_sequences, self.num_data), generator=generator)
        places = torch.rand(num_sequences, told, generator=generator).argsort(-1)[:, : self.num_data].sort(-1).values
        tokens = torch.full((num_sequences, told), NOISE).scatter_(1, places, data)
        markers = torch.full_like(data, self.vocab_size - 1)
        unscored = torch.full((num_sequences, told), UNSCORED)
        return Sequences(
            tokens=torch.cat([tokens, markers], dim=1), targets=torch.cat([unscored, data], dim=1), num_told=told
        )
