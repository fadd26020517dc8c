r"""What a memory can hold by counting slots, and what runs held. Ours.

Let a letter x that is asked look at the slots a_x and a letter y that answers at b_y: rows that are not negative and
sum to one. Where y answers x, a token touches both, with the mean of its heads c = (a_x + b_y) / 2, and the update
$A^\top A V W$ adds c c^T V W. What is later read at x is the sum over all tokens of <a_x, c> c^T V W: nothing of other
pairs comes in exactly if the asked rows share no slot with one another or with what answers, so each needs at least
one slot of its own. (Rows that share slots can hold more, at a margin that shrinks; counting does not bound them.)

- Paper's form: what is read is which slots were touched, so an answer is told by its slots. With a slot for each
  answer K letters take 2 K slots, :func:`slot_each`. One and the same slot for a letter in both parts is not enough:
  c c^T is symmetric, so a mapping and its inverse are written alike. But answers may share slots if they touch them
  differently, and rows over two slots can be as many as one likes: K + 2 slots, :func:`asked_alone`.
- With the payload, $A^\top (A V + X U) W$, what is read is what the token was. No answer needs a slot: K slots for K.

The rank of an update is at most the smaller of slots and width. It bounds neither count: at an asked slot one answer is
read, and K answers can be told apart in far fewer than K dimensions.
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


def asked_alone(slots: int, *, observed: bool) -> int:
    """Return how many pairs fit where only what is asked has slots of its own.

    Without payload, two more tell the answers apart, by how a token's touch is split between them.

    >>> asked_alone(16, observed=False), asked_alone(16, observed=True)
    (14, 16)
    """
    return slots if observed else max(slots - 2, 0)


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
