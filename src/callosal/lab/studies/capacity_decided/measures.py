r"""What a memory can hold by counting slots, and what runs held. Ours.

Let a letter x that is asked look at the slots a_x and a letter y that answers at b_y: rows that are not negative and
sum to one. Where y answers x, a token touches both, with the mean of its heads c = (a_x + b_y) / 2, and the update
$A^\top A V W$ adds c c^T V W. What is later read at x is the sum over all tokens of <a_x, c> c^T V W: nothing of other
pairs comes in exactly if the asked rows share no slot with one another or with what answers.

:func:`slot_each`: a slot for each asked letter. In the paper's form what is read is which slots were touched, so each
answer has one too, 2 K slots for K letters. (One and the same slot for a letter in both parts is not enough: c c^T is
symmetric, so a mapping and its inverse are written alike.) With the payload, $A^\top (A V + X U) W$, what is read is
what the token was, so no answer needs a slot.

:func:`told_apart`: what is enough for the right answer to score highest, with a decision that is linear. Paper's form:
answers may share two slots if their touches are split differently, K + 2 slots. With the payload the score of an
answer whose vector is orthogonal to the others' is <a_x, a_p>, with p the letter that it was told of: highest for
p = x if asked rows are of one length and differ, which any number of rows over three slots can. So K up to the width;
or, with asked rows of their own, up to the slots. Margins shrink with K. What all rows share adds the same to each
answer, since each occurs once.

Both are numbers of pairs that surely fit, not bounds. Nor is the rank of an update, at most the smaller of slots and
width: the right answer can score highest at rank two.
"""

from collections.abc import Iterator

from callosal.lab.measures.finished import State, checks_of, state_of
from callosal.lab.report.records import RunRecord, Value


def slot_each(slots: int, *, observed: bool) -> int:
    """Return how many pairs fit where each letter has a slot as it is asked and, without payload, one as it answers.

    >>> slot_each(16, observed=False), slot_each(16, observed=True)
    (8, 16)
    """
    return slots if observed else slots // 2


def told_apart(slots: int, *, observed: bool, width: int) -> int:
    """Return how many pairs fit where the right answer has to score highest, and slots may be shared.

    >>> told_apart(16, observed=False, width=32), told_apart(16, observed=True, width=32)
    (14, 32)
    """
    if not observed:
        return max(slots - 2, 0)
    return max(slots, width) if slots >= 3 else slots


def pairs_held(recall: float, pairs: int) -> float:
    """Return how many pairs a recall stands for once what is guessed rightly is taken away.

    >>> pairs_held(1.0, 8), pairs_held(0.125, 8), pairs_held(0.5625, 8)
    (8.0, 0.0, 4.0)
    """
    known = (recall - 1.0 / pairs) / (1.0 - 1.0 / pairs)
    return pairs * min(max(known, 0.0), 1.0)


def state(run: RunRecord) -> State:
    """Say whether a run holds all, is full, or was still learning when its steps ended."""
    return state_of(checks_of(run.curve), run.config["episodes"]["num_letters"])


def derive(run: RunRecord) -> Iterator[Value]:
    """Give the pairs held, the steps that were taken, and whether it stayed open what the memory can hold."""
    recall = run.get("accuracy", domain="episodic")
    if recall is not None:
        yield {"measure": "pairs held", "value": pairs_held(recall, run.config["episodes"]["num_letters"])}
    yield {"measure": "steps", "value": float(run.curve[-1]["step"])}
    yield {"measure": "undecided", "value": float(state(run) == "open")}
