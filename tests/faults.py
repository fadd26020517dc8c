"""Memories with one fault each, for the contract kit to find; each with every law that goes red."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from callosal.memory import LateralMemory, MemoryConfig, MemoryState


class Faulty(LateralMemory):
    """A lateral memory whose calls go through a function that spoils them."""

    def __init__(self, fault: Callable[..., Any]) -> None:
        super().__init__(MemoryConfig(width=4, num_slots=3))
        self.fault, self.steps = fault, 0

    def forward(
        self, hidden: Tensor, state: Any, mask: Tensor | None = None, *, commit: bool = True
    ) -> Any:
        call = Call(self, hidden, state, mask, commit)
        return self.fault(call)


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

    @property
    def plain(self) -> bool:
        """One segment without a mask."""
        return self.mask is None and self.hidden.ndim == 3


def loses_a_token_if_blank(call: Call) -> Any:
    y, after = call.honest()
    return (y if call.state.trace.any() else y[..., 1:, :]), after


def gives_single_precision_if_blank(call: Call) -> Any:
    y, after = call.honest()
    return (y if call.state.trace.any() else y.float()), after


def is_infinite_if_blank(call: Call) -> Any:
    y, after = call.honest()
    return (y if call.state.trace.any() else y + float("inf")), after


def counts_its_calls(call: Call) -> Any:
    call.memory.steps += 1
    return call.honest()


def draws_noise(call: Call) -> Any:
    y, after = call.honest()
    return (y + 1e-12 * torch.rand_like(y) if call.mask is None else y), after


def writes_into_its_input(call: Call) -> Any:
    result = call.honest()
    with torch.no_grad():
        if not call.hidden.requires_grad:
            call.hidden.mul_(1.0 + 1e-12)
    return result


def looks_ahead(call: Call) -> Any:
    y, after = call.honest()
    return (y + 1e-3 * call.hidden.roll(-1, dims=1) if call.plain else y), after


def looks_ahead_over_segments(call: Call) -> Any:
    y, after = call.honest()
    several = call.hidden.ndim == 4 and call.mask is None
    return (y + 1e-3 * call.hidden.roll(-1, dims=1) if several else y), after


def fades_if_many(call: Call) -> Any:
    y, after = call.honest()
    several = call.hidden.ndim == 4 and call.mask is None
    return y, (MemoryState(trace=0.999 * after.trace) if several else after)


def cuts_the_gradient_if_many(call: Call) -> Any:
    several = call.hidden.ndim == 4 and call.mask is None
    return call.honest(state=call.state.detach()) if several else call.honest()


def mixes_rows(call: Call) -> Any:
    y, after = call.honest()
    return (y + 1e-12 * call.hidden.mean(0) if call.mask is None else y), after


def mixes_rows_in_training(call: Call) -> Any:
    y, after = call.honest()
    return (y + call.hidden.mean(0) if call.memory.training else y), after


def differs_for_two_rows(call: Call) -> Any:
    y, after = call.honest()
    return (1.001 * y if len(y) == 2 else y), after


def sees_what_padding_holds(call: Call) -> Any:
    if call.mask is None or call.hidden.ndim == 4:
        return call.honest()
    return call.honest(hidden=call.hidden + 0.0 * call.hidden.sum(-2, keepdim=True))


def answers_at_padding(call: Call) -> Any:
    y, after = call.honest()
    if call.mask is None or call.hidden.ndim == 4:
        return y, after
    return torch.where(call.mask[..., None], y, 1e-12), after


def sends_nan_gradients_to_padding(call: Call) -> Any:
    y, after = call.honest()
    square = call.hidden.square()
    # The classic: where() drops the NaN on the way forward, not on the way back.
    return y + (
        square if call.mask is None else torch.where(call.mask[..., None], square, 0)
    ), after


def moves_without_a_token(call: Call) -> Any:
    y, after = call.honest()
    if call.mask is None or call.mask.any():
        return y, after
    return y, MemoryState(trace=after.trace * (1.0 + 1e-12))


def ignores_the_mask_if_many(call: Call) -> Any:
    if call.mask is None or call.hidden.ndim == 3:
        return call.honest()
    return call.honest(hidden=call.hidden.nan_to_num(), mask=None)


def reads_open_segments_twice(call: Call) -> Any:
    y, after = call.honest()
    return (y if call.commit else 2 * y), after


class Sticky(MemoryState):
    def detach(self) -> "Sticky":
        return self


def passes_a_detach(call: Call) -> Any:
    y, after = call.honest()
    return y, Sticky(**vars(after))


def anneals_beside_the_state_dict(call: Call) -> Any:
    if call.memory.training:
        call.memory.steps += 1
    y, after = call.honest()
    return y * (1.0 + 0.01 * call.memory.steps), after


def never_writes(call: Call) -> Any:
    y, after = call.honest()
    return y, (call.state if call.commit else after)


def detaches_by_itself(call: Call) -> Any:
    y, after = call.honest()
    return y, (after.detach() if call.commit else after)


# Each with all that goes red: some laws say the same of a fault in their own way.
ABSENT, ABSENT_OVER = "masked is absent", "masked is absent over segments"
FAULTS: list[tuple[Callable[..., Any], set[str]]] = [
    (loses_a_token_if_blank, {"shape and dtype"}),
    (gives_single_precision_if_blank, {"shape and dtype"}),
    (is_infinite_if_blank, {"finite", "blank rows"}),
    (counts_its_calls, {"calls agree"}),
    (draws_noise, {"calls agree", "save and load"}),
    (writes_into_its_input, {"calls agree", "rows do not leak", "save and load"}),
    (looks_ahead, {"no look-ahead", "segments at once", "pieces equal whole", ABSENT, ABSENT_OVER}),
    (looks_ahead_over_segments, {"no look-ahead over segments", "segments at once"}),
    (fades_if_many, {"segments at once"}),
    (cuts_the_gradient_if_many, {"segments at once"}),
    (mixes_rows, {"rows do not leak"}),
    (mixes_rows_in_training, {"rows do not leak"}),
    (differs_for_two_rows, {"rows select"}),
    (sees_what_padding_holds, {ABSENT}),
    (answers_at_padding, {ABSENT}),
    (sends_nan_gradients_to_padding, {ABSENT, ABSENT_OVER}),
    (moves_without_a_token, {ABSENT, ABSENT_OVER}),
    (ignores_the_mask_if_many, {ABSENT_OVER}),
    (reads_open_segments_twice, {"pieces equal whole"}),
    (passes_a_detach, {"detach cuts"}),
    (anneals_beside_the_state_dict, {"save and load"}),
    (
        never_writes,
        {
            "segments at once",
            "pieces equal whole",
            ABSENT_OVER,
            "remembers",
            "gradient through the state",
        },
    ),
    (detaches_by_itself, {"segments at once", "gradient through the state"}),
]


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
