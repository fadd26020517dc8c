"""The state as a value: rows selected, cut, cast, copied, blanked, and nothing else touched."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import build_memory, fill
from tests.laws import assert_near, assert_same_bits, assert_same_bits_of, assert_same_state

from callosal.contract import laws
from callosal.contract.states import map_tensors, tensors_of
from callosal.memory import MemoryState

CASE = fill(build_memory(carry=0.5, recollection=0.3), (5, 4))
OPENED = CASE.memory(CASE.hidden, CASE.state, CASE.mask, commit=False)[1].detach()
EITHER = pytest.mark.parametrize("state", [CASE.state, OPENED], ids=["committed", "open"])


@EITHER
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        *[(one, [2]) for one in (2, torch.tensor(2), np.int64(2))],
        (-1, [4]),
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, 2), [0, 2, 4]),
        ([3, 0, 3], [3, 0, 3]),
        ([], []),
        (torch.tensor([4, 1]), [4, 1]),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
    ],
    ids=str,
)
def test_rows_are_selected_whole(state: MemoryState, rows: Any, expected: list[int]) -> None:
    assert len(state[rows]) == len(expected)
    assert_same_bits_of(state[rows], map_tensors(state, lambda tensor: tensor[expected]))


@EITHER
def test_rows_taken_apart_are_stacked_again(state: MemoryState) -> None:
    assert_same_bits_of(MemoryState.stack([state[:2], state[2], state[3:]]), state)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: MemoryState.stack([]), ValueError, "no states"),
        (lambda: MemoryState.stack([CASE.state, OPENED]), ValueError, "some have a segment and some have none"),
        (lambda: CASE.state[5], IndexError, "rows 5 of a memory state with 5 rows"),
        (lambda: CASE.state[-6], IndexError, "rows -6 of a memory state with 5 rows"),
        (lambda: CASE.state[1, 0], IndexError, r"\(1, 0\) indexes more than rows"),
        (lambda: OPENED.reset([0]), ValueError, r"open segment; call memory\.commit\(state\)"),
    ],
    ids=["none", "unlike", "above", "below", "axes", "open"],
)
def test_what_cannot_be_done_is_said(act: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act()


def test_a_row_goes_on_alone_as_it_would_have_in_company() -> None:
    y, together = CASE.memory(CASE.hidden, OPENED)
    alone_y, alone = CASE.memory(CASE.hidden[2:3], OPENED[2])
    assert_same_state(alone, together[2])
    assert_near(alone_y, y[2:3])


def test_detach_cuts_the_gradient() -> None:
    # Without this there would be nothing to cut.
    laws.gradient_through_state(CASE.memory, CASE.hidden, CASE.state)
    for commit in (True, False):
        laws.detach_cuts(CASE.memory, CASE.hidden, CASE.state, commit=commit)
        state = CASE.memory(CASE.hidden, CASE.state, commit=commit)[1]
        assert any(tensor.requires_grad for tensor in tensors_of(state).values())
        assert not any(tensor.requires_grad for tensor in tensors_of(state.detach()).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_to_casts_every_tensor(dtype: torch.dtype) -> None:
    state = OPENED.to(dtype)
    assert len(tensors_of(state)) == 10
    assert {tensor.dtype for tensor in tensors_of(state).values()} == {dtype}
    assert state.to("cpu").trace.device.type == "cpu"


def test_clone_shares_no_memory() -> None:
    copy, again = OPENED.clone(), OPENED.clone()
    assert_same_bits_of(copy, OPENED)
    for tensor in tensors_of(copy).values():
        tensor.fill_(7.0)
    assert_same_bits_of(OPENED, again)


@given(rows=st.lists(st.booleans(), min_size=5, max_size=5))
def test_reset_blanks_its_rows_and_no_bit_of_others(rows: list[bool]) -> None:
    chosen = torch.tensor(rows)
    for selection in (chosen, chosen.nonzero()[:, 0], chosen.nonzero()[:, 0].tolist()):
        after = CASE.state.reset(selection)
        assert_same_bits_of(after[~chosen], CASE.state[~chosen])
        assert_same_bits_of(after[chosen], CASE.memory.blank(sum(rows)))


def test_reset_takes_an_int_and_a_slice_and_heals_nan() -> None:
    trace = CASE.state.trace.clone()
    trace[1] = float("nan")
    for rows in (1, slice(1, 2)):
        after = MemoryState(trace=trace).reset(rows)
        assert after.trace.isfinite().all()
        assert_same_bits(after.trace[2:], trace[2:])


def test_reset_rows_are_like_blank_ones() -> None:
    y, after = CASE.memory(CASE.hidden, CASE.state.reset([0, 3]))
    blank_y, blank = CASE.memory(CASE.hidden, CASE.memory.blank(5))
    assert_same_bits(y[[0, 3]], blank_y[[0, 3]])
    assert_same_bits_of(after[[0, 3]], blank[[0, 3]])


def test_blank_has_one_zero_row_per_batch_row_in_the_memory_s_dtype() -> None:
    blank = CASE.memory.blank(7)
    assert len(blank) == 7
    assert blank.segment is None
    assert_same_bits(blank.trace, torch.zeros(7, 2, 3, 4, dtype=torch.float64))
