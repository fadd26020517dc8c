"""A law that cannot go red says nothing: each meets a library broken in just its respect."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tests import laws
from tests.cases import build_memory, fill
from torch import Tensor

from callosal.memory import LateralMemory, MemoryConfig, MemoryState
from callosal.memory.packing import Packed
from callosal.ops import address, context, crosstalk, gram

READ_OUT = LateralMemory._read_out
LAGGED = address.lagged_queries
PACK = Packed.pack
SHARES = crosstalk.bank_shares
WRITE = gram.bounded_write
VALUES = LateralMemory.values
MEAN = context.causal_mean
LOGITS = address.slot_logits


def reads_what_comes_next(self: LateralMemory, weights: Tensor, values: Tensor) -> Tensor:
    return READ_OUT(self, weights, values.roll(-1, dims=1))


def reads_what_comes_after_the_next(self: LateralMemory, weights: Tensor, values: Tensor) -> Tensor:
    return READ_OUT(self, weights, values.roll(-2, dims=1))


def looks_one_token_ahead(hidden: Tensor, *rest: Tensor) -> Tensor:
    return LAGGED(hidden.roll(-1, dims=-2), *rest)


def ignores_the_mask(_: type, hidden: Tensor, mask: Tensor | None) -> Packed:
    del mask
    return PACK(hidden.nan_to_num(), None)


def shares_over_rows(drive: Tensor, coupling: Tensor, gain: float) -> Tensor:
    return SHARES(drive - drive.mean(0), coupling, gain)


def prefers_the_left(drive: Tensor, coupling: Tensor, gain: float) -> Tensor:
    favour = torch.zeros(drive.shape[-1], dtype=drive.dtype)
    favour[0] = 0.01
    return SHARES(drive + favour, coupling, gain)


def forgets_everywhere(trace: Tensor, update: Tensor, usage: Tensor, inertia: Tensor) -> Tensor:
    return 0.999 * WRITE(trace, update, usage, inertia)


def writes_unbounded(trace: Tensor, update: Tensor, usage: Tensor, inertia: Tensor) -> Tensor:
    del usage, inertia
    return trace + update


def writes_in_place(trace: Tensor, update: Tensor, usage: Tensor, inertia: Tensor) -> Tensor:
    return trace.copy_(WRITE(trace, update, usage, inertia).detach())


def starts_over_in_each_piece(hidden: Tensor, past_sum: Tensor, past_tokens: Tensor) -> Tensor:
    return MEAN(hidden, 0 * past_sum, 0 * past_tokens)


def averages_the_whole_segment(hidden: Tensor, past_sum: Tensor, past_tokens: Tensor) -> Tensor:
    return MEAN(hidden, past_sum, past_tokens)[..., -1:, :].expand_as(hidden)


def consolidates_once_too_often(weights: Tensor, values: Tensor, **_: Any) -> Tensor:
    return weights.mT @ weights @ (weights.mT @ (weights @ values))


def cuts_the_gradient_of_the_state(self: LateralMemory, trace: Tensor) -> Tensor:
    return VALUES(self, trace.detach())


def remembers_on_the_module(self: LateralMemory, trace: Tensor) -> Tensor:
    self.last_trace = trace.detach()
    return VALUES(self, trace)


def is_random(queries: Tensor, addresses: Tensor, temperature: Tensor) -> Tensor:
    logits = LOGITS(queries, addresses, temperature)
    return logits + 1e-3 * torch.rand_like(logits)


def keeps_the_gradient(self: MemoryState) -> MemoryState:
    return self


def on_case(
    sizes: tuple[int, ...], check: Callable[..., None], *arguments: Any
) -> Callable[[], None]:
    def run() -> None:
        case = fill(build_memory(MemoryConfig(width=4, num_slots=3)), sizes)
        case.mask[0] = False  # one row that sees nothing at all
        check(case, *arguments)

    return run


one_segment, segments = partial(on_case, (3, 5)), partial(on_case, (3, 3, 5))


def bound() -> None:
    memory = build_memory(MemoryConfig(width=4, num_slots=3))
    largest = laws.largest_norm_over(memory, 1_000)
    assert math.isfinite(largest)
    assert largest <= memory.max_slot_norm


TWIN = one_segment(laws.matches_twin)
AT_ONCE = segments(laws.segments_at_once_equal_calls)
PIECES = one_segment(laws.pieces_equal_one_call, [2, 3])
LOOK = one_segment(laws.no_look_ahead, 2)
LOOK_OVER = segments(laws.no_look_ahead_over_segments, 1)
ROWS = one_segment(laws.rows_do_not_leak, 1)
STAY = one_segment(laws.inputs_stay_and_calls_agree)
PERMUTE = one_segment(laws.banks_permute, [1, 0])
ABSENT = one_segment(laws.masked_is_absent)
ABSENT_OVER = segments(laws.masked_is_absent)
DETACH = one_segment(laws.detach_cuts)

FAULTS = [
    (AT_ONCE, LateralMemory, "_read_out", reads_what_comes_next),
    (LOOK_OVER, LateralMemory, "_read_out", reads_what_comes_after_the_next),
    (LOOK, address, "lagged_queries", looks_one_token_ahead),
    (TWIN, address, "lagged_queries", looks_one_token_ahead),
    (ABSENT, Packed, "pack", classmethod(ignores_the_mask)),
    (ABSENT_OVER, Packed, "pack", classmethod(ignores_the_mask)),
    (ROWS, crosstalk, "bank_shares", shares_over_rows),
    (PERMUTE, crosstalk, "bank_shares", prefers_the_left),
    (TWIN, gram, "bounded_write", forgets_everywhere),
    (ABSENT, gram, "bounded_write", forgets_everywhere),
    (bound, gram, "bounded_write", writes_unbounded),
    (STAY, gram, "bounded_write", writes_in_place),
    (PIECES, context, "causal_mean", starts_over_in_each_piece),
    (LOOK, context, "causal_mean", averages_the_whole_segment),
    (TWIN, gram, "consolidate", consolidates_once_too_often),
    (TWIN, LateralMemory, "values", cuts_the_gradient_of_the_state),
    (STAY, LateralMemory, "values", remembers_on_the_module),
    (STAY, address, "slot_logits", is_random),
    (DETACH, MemoryState, "detach", keeps_the_gradient),
]
LAWS = [
    TWIN, AT_ONCE, PIECES, LOOK, LOOK_OVER, ROWS, STAY, PERMUTE, ABSENT, ABSENT_OVER, DETACH, bound,
]  # fmt: skip


@pytest.mark.parametrize("check", LAWS)
def test_the_law_is_green_on_the_library_as_it_is(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("check", "owner", "name", "fault"), FAULTS, ids=[f"{i}-{f[2]}" for i, f in enumerate(FAULTS)]
)
def test_the_law_goes_red_on_a_planted_fault(
    check: Callable[[], None],
    owner: Any,
    name: str,
    fault: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(AssertionError):
        check()


def test_every_law_has_a_fault() -> None:
    assert {check for check, *_ in FAULTS} == set(LAWS)
