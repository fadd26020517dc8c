"""Multi-query associative recall (MQAR), as the field's benchmark zoology has it."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from callosal.checks import require, require_counts, require_positive
from callosal.lab.tasks.sequences import Sequences
from callosal.training import UNSCORED

# Stands wherever neither a key nor a value does.
FILLER = 0


@dataclass(frozen=True, kw_only=True)
class Mqar:
    r"""Pairs of key and value, then every key once more, at which its value is asked; the value is not shown again.

    Keys are of the lower half of the vocabulary without the filler, values of the upper half; neither repeats within a
    sequence. Keys are asked at even distances from the end of the pairs, drawn without replacement from a power law,
    $p(g) \propto g^{a-1}$ for g = 1, 2, ..., so that most stand soon behind the pairs. Sizes, names and distribution
    are those of arXiv 2312.04927 and its code (github HazyResearch/zoology, ``data/multiquery_ar.py``); the code here
    is ours.

    Attributes:
        vocab_size: number of tokens, even; the published figures have 8,192.
        input_seq_len: tokens in a sequence, even.
        num_kv_pairs: pairs; four tokens of the sequence for each.
        power_a: a; 1 is even.
        random_non_queries: tokens drawn evenly from the whole vocabulary in the filler's places.
    """

    vocab_size: int = 8192
    input_seq_len: int = 64
    num_kv_pairs: int = 4
    power_a: float = 0.01
    random_non_queries: bool = False

    def __post_init__(self) -> None:
        require_counts(self, "vocab_size", "input_seq_len", "num_kv_pairs")
        require_positive(self, "power_a")
        pairs = self.num_kv_pairs
        for name in ("vocab_size", "input_seq_len"):
            require(self, name, getattr(self, name) % 2 == 0, "it must be even")
        least = 2 * (pairs + 1)
        require(self, "vocab_size", self.vocab_size >= least, f"{pairs} keys of half of it need at least {least}")
        remedy = f"{pairs} pairs and as many questions need at least {4 * pairs}"
        require(self, "input_seq_len", self.input_seq_len >= 4 * pairs, remedy)

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.vocab_size

    @property
    def chance(self) -> float:
        """Share of right answers of a guess among all values, which is all that is left without the pairs."""
        return 2 / self.vocab_size

    @property
    def num_told(self) -> int:
        """Tokens that tell the pairs."""
        return 2 * self.num_kv_pairs

    @property
    def gap_weights(self) -> Float[Tensor, "place"]:
        """How likely each place behind the pairs is to be asked at first."""
        places = torch.arange(1, (self.input_seq_len - self.num_told) // 2 + 1, dtype=torch.float64)
        weights = places ** (self.power_a - 1.0)
        return weights / weights.sum()

    def sized(self, size: int) -> Self:
        """Return the task with so many pairs in as many tokens."""
        return replace(self, num_kv_pairs=size)

    def sample(self, num_sequences: int, generator: Generator) -> Sequences:
        """Draw sequences. Fresh pairs in each, so no pair can be in a model's weights."""
        half, told, shape = self.vocab_size // 2, self.num_told, (num_sequences, self.input_seq_len)

        def draw(weights: Tensor) -> Tensor:
            return torch.multinomial(weights.expand(num_sequences, -1), self.num_kv_pairs, generator=generator)

        keys = 1 + draw(torch.ones(half - 1))
        values = half + draw(torch.ones(half))
        places = told + 2 * draw(self.gap_weights)
        tokens = torch.full(shape, FILLER)
        tokens[:, :told:2], tokens[:, 1:told:2] = keys, values
        tokens.scatter_(1, places, keys)
        if self.random_non_queries:
            noise = torch.randint(0, self.vocab_size, shape, generator=generator)
            tokens = torch.where(tokens == FILLER, noise, tokens)
        targets = torch.full(shape, UNSCORED).scatter_(1, places, values)
        return Sequences(tokens=tokens, targets=targets, num_told=told)
