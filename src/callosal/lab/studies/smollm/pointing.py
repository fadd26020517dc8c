"""Where a memory looks once it was told something: what is learned before the model above it runs.

What a slot of the bounded rule holds is a convex mixture of what was written to it, so where a question looks gives a
distribution over the tokens that were said. Ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from callosal.lab.studies.smollm.texts import Rows, Text
from callosal.memory import LateralMemory

# Tokens of a reply to what is not about the user that have to be decided in silence. Held silent throughout, replies in
# words of the model's own are silent about users too (LOG.md).
OPENING = 3


@dataclass(frozen=True, eq=False)
class Pointed:
    """Where a memory looks once it was told something.

    Attributes:
        chance: for each token of the answers' values, the share of what is read there that came from tokens like it.
        weighs: what each token that was told weighs in the write.
        open: how much is given out where an answer is decided, up to the end of its value.
        closed: and everywhere else.
        idle: and in replies to questions out of place, where any were asked, and where an answer's value has ended, if
            that was to be told apart.
    """

    chance: Float[Tensor, "value"]
    weighs: Float[Tensor, "user turn time"]
    open: Float[Tensor, "answer"]
    closed: Float[Tensor, "token"]
    idle: Float[Tensor, "reply"] | None = None


def pointed(
    memory: LateralMemory,
    told: Rows,
    asked: Sequence[Text],
    owners: Int[Tensor, "text"],
    repeats: Float[Tensor, "user turn"] | None = None,
    blank: float = 0.0,
    level: float | None = None,
    idle: Sequence[Sequence[Text]] | None = None,
    *,
    ends: bool = False,
) -> Pointed:
    r"""Return where a memory looks at the answers' tokens and elsewhere, after it was told something.

    After segments g a slot holds $\sum_t c_t x_t$, with $c_t = \frac{a_t}{n_g + \kappa} \prod_{g' > g}
    \frac{\kappa}{n_{g'} + \kappa}$ and a the salient touch: a convex mixture, of nothing for the rest. A turn that
    repeats takes its share from what came before as often. Where what is retrieved is normalised, all that is found
    and ``blank``, what a memory without content gives beside it, come to one. A ``level`` takes the blank's place, and
    then what is closed is as loud as the share of it that is no blank. ``idle`` are questions out of place, user by
    user; with ``ends`` the token that ends a value is among what is to be idle.
    """
    looks, weighs, gives = memory.look(told.hidden, told.mask)
    # [user, turn, time, place]: the lagged heads write.
    touch = looks[..., 1:, :, :].mean(-3).flatten(-2) * weighs[..., None]
    used, inertia = touch.sum(2), memory.log_inertia.exp()
    kept = (inertia / (used + inertia)).log()
    if repeats is not None:
        kept = kept * repeats[..., None]
    later = (kept.flip(1).cumsum(1).flip(1) - kept).exp()
    mixture = touch * (later / (used + inertia))[:, :, None]
    rows = Rows.of(asked)
    reads, asked_give = _reading(memory, rows)
    row, at = decided(asked)
    answers = reads[row, at - 1]
    chances = []
    for number in range(len(told.tokens)):
        own = owners[row] == number
        found = answers[own] @ mixture[number].flatten(0, 1).T
        same = told.tokens[number].flatten() == rows.tokens[row, at][own][:, None]
        right = (found * same).sum(1)
        chances.append(
            right / (found.sum(1) + (blank if level is None else level))
            if memory.config.normalised == "retrieved"
            else right
        )
    heard, asked_heard, idle_heard = gives, asked_give, None
    if level is not None:
        held = mixture.flatten(1, 2).sum(1)
        heard = gives * _loudness(torch.einsum("utnp,up->utn", looks[..., 0, :, :].flatten(-2), held), level)
        found = torch.einsum("qnp,qp->qn", reads, held[owners])
        asked_heard = asked_give * _loudness(found, level)
        if idle is not None:
            idle_heard = _idle(memory, idle, held, level)
            if ends:
                last = torch.tensor([_value(text)[1] - 1 for text in asked])
                idle_heard = torch.cat([idle_heard, asked_heard[torch.arange(len(asked)), last]])
    answering = torch.zeros_like(rows.mask)
    for number, text in enumerate(asked):
        answering[number, text.prompt - 1 : _value(text)[1] - 1] = True
    closed = torch.cat([heard[told.mask], asked_heard[rows.mask & ~answering]])
    # Texts come user by user.
    return Pointed(torch.cat(chances), weighs, asked_give[answering], closed, idle_heard)


def _reading(memory: LateralMemory, rows: Rows) -> tuple[Float[Tensor, "row time place"], Float[Tensor, "row time"]]:
    """Return where each token reads, and how much of that is given out."""
    reads, _, gives = memory.look(rows.hidden[:, None], rows.mask[:, None])
    return reads[:, 0, :, 0].flatten(-2), gives[:, 0]


def _idle(
    memory: LateralMemory, idle: Sequence[Sequence[Text]], held: Float[Tensor, "user place"], level: float
) -> Float[Tensor, "reply"]:
    """Return what is heard of what a user holds, where a reply to a question out of place is decided."""
    texts = [text for some in idle for text in some]
    rows, whose = Rows.of(texts), torch.tensor([number for number, some in enumerate(idle) for _ in some])
    reads, gives = _reading(memory, rows)
    heard = gives * _loudness(torch.einsum("qnp,qp->qn", reads, held[whose]), level)
    replying = torch.zeros_like(rows.mask)
    for number, text in enumerate(texts):
        until = text.value[1] - 1 if text.value else text.prompt - 1 + OPENING
        replying[number, text.prompt - 1 : until] = True
    return heard[replying]


def _loudness(found: Float[Tensor, "*batch"], level: float) -> Float[Tensor, "*batch"]:
    return found / (found + level)


def decided(asked: Sequence[Text]) -> tuple[Int[Tensor, "value"], Int[Tensor, "value"]]:
    """Return text and place of every token of the values. What is said at a place is decided one before it."""
    row, at = torch.tensor([(row, at) for row, text in enumerate(asked) for at in range(*_value(text))]).T
    return row, at


def _value(text: Text) -> tuple[int, int]:
    assert text.value is not None
    return text.value
