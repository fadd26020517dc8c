"""Memories with one fault each, and every law that turns red on it: a law that cannot says nothing.

Some faults stand around a memory's calls, to be found by the contract kit whatever a memory is made of;
others take the place of a part of the library.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from callosal.memory import LateralMemory, MemoryConfig, MemoryState
from callosal.memory.packing import Packed
from callosal.ops import address, context, crosstalk, gram

CONFIG = MemoryConfig(width=4, num_slots=3)


class Faulty(LateralMemory):
    """A lateral memory whose calls go through a function that spoils them."""

    def __init__(self, fault: Callable[["Call"], Any]) -> None:
        super().__init__(CONFIG)
        self.fault, self.steps = fault, 0

    def forward(
        self, hidden: Tensor, state: Any, mask: Tensor | None = None, *, commit: bool = True
    ) -> Any:
        return self.fault(Call(self, hidden, state, mask, commit))


@dataclass
class Call:
    memory: Faulty
    hidden: Tensor
    state: Any
    mask: Tensor | None
    commit: bool

    def honest(self, **other: Any) -> tuple[Tensor, MemoryState]:
        given = {"hidden": self.hidden, "state": self.state, "mask": self.mask} | other
        return LateralMemory.forward(self.memory, **given, commit=self.commit)

    def spoiled(
        self, when: Any = True, y: Callable[..., Any] | None = None, state: Any = None
    ) -> Any:
        """Return the honest result, its output or its state put through a function in some cases."""
        out, after = self.honest()
        if not when:
            return out, after
        return (y(out) if y else out), (state(after) if state else after)

    @property
    def blank(self) -> bool:
        return not self.state.trace.any()

    @property
    def many(self) -> bool:
        """Several segments at once, without a mask."""
        return self.hidden.ndim == 4 and self.mask is None

    @property
    def padded(self) -> bool:
        """One segment with a mask."""
        return self.hidden.ndim == 3 and self.mask is not None

    @property
    def ahead(self) -> Tensor:
        """A little of the next token, or segment."""
        return 1e-3 * self.hidden.roll(-1, dims=1)


def counts_its_calls(call: Call) -> Any:
    call.memory.steps += 1
    return call.honest()


def writes_into_its_input(call: Call) -> Any:
    result = call.honest()
    with torch.no_grad():
        if not call.hidden.requires_grad:
            call.hidden.mul_(1.0 + 1e-12)
    return result


def anneals_beside_the_state_dict(call: Call) -> Any:
    call.memory.steps += call.memory.training
    return call.spoiled(y=lambda y: y * (1.0 + 0.01 * call.memory.steps))


def sends_nan_gradients_to_padding(call: Call) -> Any:
    # The classic: where() drops the NaN on the way forward, not on the way back.
    square, mask = call.hidden.square(), call.mask
    there = square if mask is None else torch.where(mask[..., None], square, 0)
    return call.spoiled(y=lambda y: y + there)


class Sticky(MemoryState):
    def detach(self) -> "Sticky":
        return self


# Laws that several faults turn red.
ABSENT, ABSENT_OVER = "masked is absent", "masked is absent over segments"
REFERENCE, AT_ONCE, PIECES = "reference", "segments at once", "pieces equal whole"
ANYWHERE, SHARES_ABSENT = "pieces anywhere", "shares: masked is absent"
LOOK, LOOK_OVER, SAVED = "no look-ahead", "no look-ahead over segments", "save and load"
THROUGH, STAY, ROWS = "gradient through the state", "calls agree", "rows do not leak"

AROUND: dict[str, tuple[Callable[[Call], Any], set[str]]] = {
    "loses a token if blank": (
        lambda call: call.spoiled(call.blank, y=lambda y: y[..., 1:, :]),
        {"shape and dtype"},
    ),
    "gives single precision if blank": (
        lambda call: call.spoiled(call.blank, y=lambda y: y.float()),
        {"shape and dtype"},
    ),
    "is infinite if blank": (
        lambda call: call.spoiled(call.blank, y=lambda y: y + float("inf")),
        {"finite", "blank rows"},
    ),
    "counts its calls": (counts_its_calls, {STAY}),
    "draws noise": (
        lambda call: call.spoiled(call.mask is None, y=lambda y: y + 1e-12 * torch.rand_like(y)),
        {STAY, SAVED},
    ),
    "writes into its input": (writes_into_its_input, {STAY, ROWS, SAVED}),
    "looks ahead": (
        lambda call: call.spoiled(
            call.mask is None and call.hidden.ndim == 3, y=lambda y: y + call.ahead
        ),
        {LOOK, AT_ONCE, PIECES, ABSENT, ABSENT_OVER},
    ),
    "looks ahead over segments": (
        lambda call: call.spoiled(call.many, y=lambda y: y + call.ahead),
        {LOOK_OVER, AT_ONCE},
    ),
    "fades if many": (
        lambda call: call.spoiled(call.many, state=lambda s: MemoryState(trace=0.999 * s.trace)),
        {AT_ONCE},
    ),
    "cuts the gradient if many": (
        lambda call: call.honest(state=call.state.detach() if call.many else call.state),
        {AT_ONCE},
    ),
    "mixes rows": (
        lambda call: call.spoiled(call.mask is None, y=lambda y: y + 1e-12 * call.hidden.mean(0)),
        {ROWS},
    ),
    "mixes rows in training": (
        lambda call: call.spoiled(call.memory.training, y=lambda y: y + call.hidden.mean(0)),
        {ROWS},
    ),
    "differs for two rows": (
        lambda call: call.spoiled(len(call.hidden) == 2, y=lambda y: 1.001 * y),
        {"rows select"},
    ),
    "sees what padding holds": (
        lambda call: call.honest(
            hidden=call.hidden + 0.0 * (call.hidden.sum(-2, keepdim=True) if call.padded else 0.0)
        ),
        {ABSENT, SHARES_ABSENT},
    ),
    "answers at padding": (
        lambda call: call.spoiled(
            call.padded, y=lambda y: torch.where(call.mask[..., None], y, 1e-12)
        ),
        {ABSENT},
    ),
    "sends NaN gradients to padding": (
        sends_nan_gradients_to_padding,
        {ABSENT, ABSENT_OVER, REFERENCE},
    ),
    "moves without a token": (
        lambda call: call.spoiled(
            call.mask is not None and not call.mask.any(),
            state=lambda s: MemoryState(trace=s.trace * (1.0 + 1e-12)),
        ),
        {ABSENT, ABSENT_OVER, SHARES_ABSENT},
    ),
    "ignores the mask if many": (
        lambda call: call.honest(
            **({"hidden": call.hidden.nan_to_num(), "mask": None} if call.hidden.ndim == 4 else {})
        ),
        {ABSENT_OVER},
    ),
    "reads open segments twice": (
        lambda call: call.spoiled(not call.commit, y=lambda y: 2 * y),
        {PIECES, ANYWHERE},
    ),
    "passes a detach": (
        lambda call: call.spoiled(state=lambda s: Sticky(**vars(s))),
        {"detach cuts", "detach cuts open segments"},
    ),
    "anneals beside the state_dict": (anneals_beside_the_state_dict, {SAVED}),
    "never writes": (
        lambda call: call.spoiled(call.commit, state=lambda _: call.state),
        {AT_ONCE, PIECES, ANYWHERE, ABSENT_OVER, REFERENCE, "remembers", THROUGH},
    ),
    "detaches by itself": (
        lambda call: call.spoiled(call.commit, state=lambda s: s.detach()),
        {AT_ONCE, REFERENCE, THROUGH},
    ),
}


def prefers_the_left(original: Any) -> Any:
    def shares(drive: Tensor, coupling: Tensor, gain: float) -> Tensor:
        favour = torch.zeros(drive.shape[-1], dtype=drive.dtype)
        favour[0] = 0.01
        return original(drive + favour, coupling, gain)

    return shares


# Whose part, which one, what takes its place (given the original), and what turns red.
INSIDE: dict[str, tuple[Any, str, Callable[[Any], Any], set[str]]] = {
    "queries of the next token": (
        address,
        "lagged_queries",
        lambda original: lambda hidden, *rest: original(hidden.roll(-1, dims=-2), *rest),
        {REFERENCE, LOOK, PIECES, ANYWHERE, ABSENT, ABSENT_OVER, SHARES_ABSENT},
    ),
    "no mask": (
        Packed,
        "pack",
        lambda original: lambda hidden, _: original(hidden.nan_to_num(), None),
        {ABSENT, ABSENT_OVER, SHARES_ABSENT, REFERENCE},
    ),
    "a favoured bank": (crosstalk, "bank_shares", prefers_the_left, {"banks permute", REFERENCE}),
    "a trace that fades": (
        gram,
        "bounded_write",
        lambda original: lambda *given: 0.999 * original(*given),
        {REFERENCE, ABSENT, ABSENT_OVER, SHARES_ABSENT},
    ),
    "a write without a bound": (
        gram,
        "bounded_write",
        lambda _: lambda trace, update, *_: trace + update,
        {"norms stay bounded", REFERENCE},
    ),
    "a write in place": (
        gram,
        "bounded_write",
        lambda original: lambda trace, *rest: original(trace.data.mul_(1 + 1e-12), *rest),
        {STAY, ROWS, SAVED, ABSENT, ABSENT_OVER, SHARES_ABSENT, REFERENCE},
    ),
    "a mean that starts over in each piece": (
        context,
        "causal_mean",
        lambda original: lambda x, total, count: original(x, 0 * total, 0 * count),
        {ANYWHERE, PIECES},
    ),
    "a mean of the whole segment": (
        context,
        "causal_mean",
        lambda original: lambda x, *past: original(x, *past)[..., -1:, :].expand_as(x),
        {
            LOOK,
            "shares: no look-ahead",
            REFERENCE,
            PIECES,
            ANYWHERE,
            ABSENT,
            ABSENT_OVER,
            SHARES_ABSENT,
        },
    ),
    "one consolidation too many": (
        gram,
        "consolidate",
        lambda original: lambda a, v: original(a, original(a, v)),
        {REFERENCE, PIECES, ANYWHERE, "norms stay bounded"},
    ),
    "values cut off from the trace": (
        LateralMemory,
        "values",
        lambda original: lambda self, trace: original(self, trace.detach()),
        {REFERENCE, THROUGH},
    ),
}


class Leftover(LateralMemory):
    """A blank state of several rows is not blank."""

    def blank(self, batch_size: int) -> MemoryState:
        state = super().blank(batch_size)
        return MemoryState(trace=state.trace + (batch_size > 1))


class Cache(nn.Module):
    """A memory that keeps everything, in a tuple: it grows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def blank(self, batch_size: int) -> tuple[Tensor]:
        return (torch.zeros(batch_size, 1, self.width, dtype=torch.float64),)

    def forward(self, hidden: Tensor, state: tuple[Tensor]) -> tuple[Tensor, tuple[Tensor]]:
        if hidden.ndim != 3:
            raise ValueError("one segment a call")
        (seen,) = state
        return hidden + seen.mean(1, keepdim=True), (torch.cat([seen, hidden], dim=1),)


class Forgetful(Cache):
    """No memory at all: a feed-forward layer with a state to pass the time."""

    def forward(self, hidden: Tensor, state: tuple[Tensor]) -> tuple[Tensor, tuple[Tensor]]:
        return hidden.sin(), state
