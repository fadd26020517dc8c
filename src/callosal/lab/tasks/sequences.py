"""Sequences whose answers stand in the sequence: told in its first part, asked in the rest."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self, runtime_checkable

from jaxtyping import Int
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """A batch of sequences, in one piece or cut into several calls of a model.

    Attributes:
        tokens: what the model sees.
        targets: the right answer at each token; UNSCORED where there is none.
        num_told: the first tokens, in which everything is told and nothing is asked; the rest asks.
    """

    tokens: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]
    num_told: int

    def calls(self, num_calls: int) -> list[tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]]:
        """Return tokens and targets of each call: all in one, or what is told and what is asked in two.

        Raises:
            ValueError: neither one call nor two.
        """
        if num_calls not in (1, 2):
            raise ValueError(f"{num_calls} calls; a sequence is seen in 1, or in 2: what is told, then what is asked")
        ends = [0, *([self.num_told] if num_calls == 2 else []), self.tokens.shape[1]]
        return [(self.tokens[:, start:end], self.targets[:, start:end]) for start, end in pairwise(ends)]


@runtime_checkable
class SequenceTask(Protocol):
    """What draws sequences: a frozen configuration."""

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        ...

    @property
    def chance(self) -> float:
        """Share of right answers of the best guess that knows the task and not what was told."""
        ...

    def sized(self, size: int) -> Self:
        """Return the same task at another size: of what there is to tell, or of what it is told among."""
        ...

    def sample(self, num_sequences: int, generator: Generator) -> Sequences:
        """Draw sequences."""
        ...
