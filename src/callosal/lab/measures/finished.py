"""Is a training at its end, and does the memory then hold everything, or is it full? Ours. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

State = Literal["all", "full", "open"]
# Recall from which on everything counts as held.
ALL = 0.98
# What a cycle of training has to add: to recall, or to take off the loss as a share of it. With less it adds nothing.
LEAST_GAIN, LEAST_FALL = 0.02, 0.05
# A loss above this share of chance is of a training that has not begun to learn.
BEGUN = 0.95


class Check(NamedTuple):
    """What a model is worth on held-out episodes at the end of a cycle of its training.

    Attributes:
        step: steps until then.
        recall: share of questions answered rightly.
        loss: their cross-entropy, in nats.
    """

    step: int
    recall: float
    loss: float

    @property
    def point(self) -> dict[str, float]:
        """What the curve keeps of it."""
        return {"held_out_recall": self.recall, "held_out_loss": self.loss}


def checks_of(curve: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Return the checks that a curve has, in their order."""
    return [
        Check(point["step"], point["held_out_recall"], point["held_out_loss"])
        for point in curve
        if "held_out_recall" in point
    ]


def state_of(checks: Sequence[Check], num_letters: int) -> State:
    """Say whether a memory holds "all", is "full" below that, or whether it is "open" what more training would do.

    It is full where the last cycle, twice as long as the one before, neither raised recall by ``LEAST_GAIN`` nor took
    ``LEAST_FALL`` of the loss away, although something is learned: the loss is below ``BEGUN`` of chance, ln K.

    Args:
        checks: at the end of each cycle so far.
        num_letters: K, at least 2.

    >>> state_of([Check(200, 0.5, 1.0)], 8), state_of([Check(200, 0.5, 1.0), Check(600, 0.51, 0.98)], 8)
    ('open', 'full')
    >>> state_of([Check(200, 0.5, 1.0), Check(600, 0.51, 0.8)], 8), state_of([Check(200, 0.99, 0.1)], 8)
    ('open', 'all')
    """
    if checks and checks[-1].recall >= ALL:
        return "all"
    if len(checks) < 2:
        return "open"
    before, last = checks[-2:]
    has_begun = last.loss < BEGUN * math.log(num_letters)
    stands = last.recall < before.recall + LEAST_GAIN and last.loss > before.loss * (1.0 - LEAST_FALL)
    return "full" if has_begun and stands else "open"
