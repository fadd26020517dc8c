"""Induction heads: what followed a token when it came before?"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator

from callosal.checks import require, require_counts
from callosal.lab.tasks.sequences import Sequences
from callosal.training import UNSCORED


@dataclass(frozen=True, kw_only=True)
class InductionHeads:
    """Random tokens, once among them a prefix, and the prefix again at the end, at which its follower is asked.

    The task of arXiv 2312.00752, section 4.1.2, after that of arXiv 2212.14052: a vocabulary of 16, trained at 256
    tokens and asked at up to a million. The last token of the vocabulary is the prefix. The code is ours.

    Attributes:
        vocab_size: number of tokens, at least 2.
        length: tokens in a sequence, at least 3.
    """

    vocab_size: int = 16
    length: int = 256

    def __post_init__(self) -> None:
        require_counts(self, "vocab_size", "length")
        require(self, "vocab_size", self.vocab_size >= 2, "the prefix and what follows it need at least 2")
        require(self, "length", self.length >= 3, "the prefix, what follows it and the question need at least 3")

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.vocab_size

    @property
    def chance(self) -> float:
        """Share of right answers of a guess among the tokens that can follow."""
        return 1 / (self.vocab_size - 1)

    def sized(self, size: int) -> Self:
        """Return the task with so many tokens."""
        return replace(self, length=size)

    def sample(self, num_sequences: int, generator: Generator) -> Sequences:
        """Draw sequences; the prefix has a follower, wherever it stands."""
        told, prefix = self.length - 1, self.vocab_size - 1
        tokens = torch.randint(0, prefix, (num_sequences, self.length), generator=generator)
        places = torch.randint(0, told - 1, (num_sequences, 1), generator=generator)
        answers = tokens.gather(1, places + 1)
        tokens.scatter_(1, places, prefix)
        tokens[:, -1] = prefix
        targets = torch.full_like(tokens, UNSCORED)
        targets[:, -1:] = answers
        return Sequences(tokens=tokens, targets=targets, num_told=told)
