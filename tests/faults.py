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
        self,
        hidden: Tensor,
        state: Any = None,
        mask: Any = None,
        *,
        salience: Any = None,
        embedded: Any = None,  # noqa: ARG002
        commit: bool = True,
    ) -> Any:
        return self.fault(Call(self, hidden, state, mask, salience, commit))


@dataclass
class Call:
    memory: Faulty
    hidden: Tensor
    state: Any
    mask: Any
    salience: Any
    commit: bool

    def honest(self, **other: Any) -> tuple[Tensor, Any]:
        given = {name: getattr(self, name) for name in ("hidden", "state", "mask", "salience", "commit")}
        return LateralMemory.forward(self.memory, **given | other)

    def case(self) -> set[str]:
        """Return the names of what this call is a case of."""
        masked, many = self.mask is not None, self.hidden.ndim == 4
        known = {"blank": not self.state.trace.any(), "training": self.memory.training}
        known |= {"unmasked": not masked, "plain": not masked and not many, "always": True}
        known |= {"many": many and not masked, "padded": masked and not many}
        known |= {"committed": self.commit, "open": not self.commit, "two": len(self.hidden) == 2}
        known["empty"] = self.mask is not None and not self.mask.any()
        return {name for name, is_so in known.items() if is_so}

    @property
    def ahead(self) -> Tensor:
        """A little of the next token, or segment."""
        return 1e-3 * self.hidden.roll(-1, dims=1)


def output(when: str, change: Callable[[Call, Tensor], Tensor]) -> Callable[[Call], Any]:
    """Return a fault that changes the output of some calls."""

    def fault(call: Call) -> Any:
        y, after = call.honest()
        return (change(call, y) if when in call.case() else y), after

    return fault


def state(when: str, change: Callable[[Call, Any], Any]) -> Callable[[Call], Any]:
    """Return a fault that changes the state after some calls."""

    def fault(call: Call) -> Any:
        y, after = call.honest()
        return y, (change(call, after) if when in call.case() else after)

    return fault


def counts_its_calls(call: Call) -> Any:
    call.memory.steps += 1
    return call.honest()


def writes_into_its_input(call: Call) -> Any:
    result = call.honest()
    with torch.no_grad():
        if not call.hidden.requires_grad:
            call.hidden.mul_(1.0 + 1e-12)
    return result


def anneals_beside_the_state_dict(call: Call, y: Tensor) -> Tensor:
    call.memory.steps += call.memory.training
    return y * (1.0 + 0.01 * call.memory.steps)


def sends_nan_gradients_to_padding(call: Call, y: Tensor) -> Tensor:
    # The classic: where() drops the NaN on the way forward, not on the way back.
    square, mask = call.hidden.square(), call.mask
    return y + (square if mask is None else torch.where(mask[..., None], square, 0))


def sees_what_padding_holds(call: Call) -> Any:
    seen = call.hidden.sum(-2, keepdim=True) if "padded" in call.case() else 0.0
    return call.honest(hidden=call.hidden + 0.0 * seen)


def ignores_the_mask_if_many(call: Call) -> Any:
    if call.hidden.ndim == 3:
        return call.honest()
    return call.honest(hidden=call.hidden.nan_to_num(), mask=None)


def cuts_the_gradient_if_many(call: Call) -> Any:
    return call.honest(state=call.state.detach() if "many" in call.case() else call.state)


class Sticky(MemoryState):
    def detach(self) -> "Sticky":
        return self


# Laws that several faults turn red.
ABSENT, ABSENT_OVER = "masked is absent", "masked is absent over segments"
PADDING = {ABSENT, ABSENT_OVER, "shares: masked is absent"}
REFERENCE, AT_ONCE, THROUGH = "reference", "segments at once", "gradient through the state"
PIECES = {"pieces equal whole", "pieces anywhere"}
LOOK, LOOK_OVER, SAVED = "no look-ahead", "no look-ahead over segments", "save and load"
QUIET = "quiet tokens"
STAY, ROWS, SHAPE = "calls agree", "rows do not leak", "shape and dtype"
DETACH = {"detach cuts", "detach cuts open segments"}

AROUND: dict[str, tuple[Callable[[Call], Any], set[str]]] = {
    "loses a token if blank": (output("blank", lambda _, y: y[..., 1:, :]), {SHAPE}),
    "gives single precision if blank": (output("blank", lambda _, y: y.float()), {SHAPE}),
    "is infinite if blank": (output("blank", lambda _, y: y / 0), {"finite", "blank rows"}),
    "counts its calls": (counts_its_calls, {STAY}),
    "draws noise": (output("unmasked", lambda _, y: y + 1e-12 * torch.rand_like(y)), {STAY, SAVED}),
    "writes into its input": (writes_into_its_input, {STAY, ROWS, SAVED}),
    "looks ahead": (
        output("plain", lambda call, y: y + call.ahead),
        {LOOK, AT_ONCE, "pieces equal whole", ABSENT, ABSENT_OVER, QUIET},
    ),
    "looks ahead over segments": (output("many", lambda call, y: y + call.ahead), {LOOK_OVER, AT_ONCE}),
    "fades if many": (state("many", lambda _, after: MemoryState(trace=0.999 * after.trace)), {AT_ONCE}),
    "cuts the gradient if many": (cuts_the_gradient_if_many, {AT_ONCE}),
    "mixes rows": (output("unmasked", lambda call, y: y + 1e-12 * call.hidden.mean(0)), {ROWS}),
    "mixes rows in training": (output("training", lambda call, y: y + call.hidden.mean(0)), {ROWS}),
    "differs for two rows": (output("two", lambda _, y: 1.001 * y), {"rows select"}),
    "sees what padding holds": (sees_what_padding_holds, PADDING - {ABSENT_OVER}),
    "answers at padding": (output("padded", lambda call, y: torch.where(call.mask[..., None], y, 1e-12)), {ABSENT}),
    "sends NaN gradients to padding": (
        output("always", sends_nan_gradients_to_padding),
        {ABSENT, ABSENT_OVER, REFERENCE},
    ),
    "moves without a token": (state("empty", lambda _, after: MemoryState(trace=after.trace * (1.0 + 1e-12))), PADDING),
    "ignores the mask if many": (ignores_the_mask_if_many, {ABSENT_OVER}),
    "reads open segments twice": (output("open", lambda _, y: 2 * y), {QUIET} | PIECES),
    "hears quiet tokens": (lambda call: call.honest(salience=None), {QUIET}),
    "passes a detach": (state("always", lambda _, after: Sticky(**vars(after))), DETACH),
    "anneals beside the state_dict": (output("always", anneals_beside_the_state_dict), {SAVED}),
    "never writes": (
        state("committed", lambda call, _: call.state),
        {AT_ONCE, *PIECES, ABSENT_OVER, REFERENCE, "remembers", THROUGH},
    ),
    "detaches by itself": (state("committed", lambda _, after: after.detach()), {AT_ONCE, REFERENCE, THROUGH}),
}

WRITE, MEAN = (gram, "step"), (context, "causal_mean")

# What part of the library, what is called in its place (given the original first), and what turns red.
INSIDE: dict[str, tuple[tuple[Any, str], Callable[..., Any], set[str]]] = {
    "queries of the next token": (
        (address, "lagged_queries"),
        lambda queries, hidden, *rest: queries(hidden.roll(-1, dims=-2), *rest),
        {REFERENCE, LOOK, QUIET} | PIECES | PADDING,
    ),
    "no mask": (
        (Packed, "pack"),
        lambda pack, hidden, *_: pack(hidden.nan_to_num(), None),
        {REFERENCE, QUIET} | PADDING,
    ),
    "a favoured bank": (
        (crosstalk, "bank_shares"),
        lambda shares, drive, *rest: shares(drive + torch.tensor([0.01, 0.0]), *rest),
        {"banks permute", REFERENCE},
    ),
    "a trace that fades": (WRITE, lambda write, *given: 0.999 * write(*given), {REFERENCE} | PADDING),
    "a write without a bound": (WRITE, lambda _, old, new, *__: old + new, {"norms stay bounded", REFERENCE}),
    "a write in place": (
        WRITE,
        lambda write, trace, *rest: write(trace.data.mul_(1 + 1e-12), *rest),
        {STAY, ROWS, SAVED, REFERENCE, QUIET} | PADDING,
    ),
    "a mean that starts over in each piece": (
        MEAN,
        lambda mean, x, total, count, *place: mean(x, 0 * total, 0 * count, *place),
        {QUIET} | PIECES,
    ),
    "a mean of the whole segment": (
        MEAN,
        lambda mean, hidden, *past: mean(hidden, *past)[..., -1:, :].expand_as(hidden),
        {LOOK, "shares: no look-ahead", REFERENCE, QUIET} | PIECES | PADDING,
    ),
    "one consolidation too many": (
        (gram, "sent"),
        lambda sent, sending, v, *rest: sent(sending, sent(sending, v, *rest), *rest),
        {REFERENCE, "norms stay bounded"} | PIECES,
    ),
    "values cut off from the trace": (
        (LateralMemory, "values"),
        lambda values, self, trace: values(self, trace.detach()),
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
