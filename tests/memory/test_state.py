"""The state as a value: rows selected, cut, cast, copied, blanked, and nothing else touched."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import build_memory, fill
from tests.laws import assert_same_bits, assert_same_state, detach_cuts

from callosal.memory import MemoryConfig, MemoryState

CASE = fill(build_memory(MemoryConfig(width=4, num_slots=3)), (5, 4))


def opened() -> MemoryState:
    return CASE.memory(CASE.hidden, CASE.state, CASE.mask, commit=False)[1]


@pytest.mark.parametrize("state", [CASE.state, opened()], ids=["committed", "open"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (2, [2]),
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
    chosen = state[rows]
    assert len(chosen) == len(expected)
    assert_same_bits(chosen.trace, state.trace[expected])
    assert (chosen.segment is None) == (state.segment is None)
    if chosen.segment is not None and state.segment is not None:
        for name, tensor in vars(state.segment).items():
            assert_same_bits(getattr(chosen.segment, name), tensor[expected])


@pytest.mark.parametrize("state", [CASE.state, opened()], ids=["committed", "open"])
def test_rows_taken_apart_are_stacked_again(state: MemoryState) -> None:
    again = MemoryState.stack([state[:2], state[2], state[3:]])
    assert_same_state(again, state, 0.0)
    assert (again.segment is None) == (state.segment is None)


def test_what_cannot_be_stacked_is_named() -> None:
    with pytest.raises(ValueError, match="no states"):
        MemoryState.stack([])
    with pytest.raises(ValueError, match="some have a segment and some have none"):
        MemoryState.stack([CASE.state, opened()])


@pytest.mark.parametrize("row", [5, -6])
def test_a_row_that_is_not_there_is_named(row: int) -> None:
    with pytest.raises(IndexError, match=f"rows {row} of a memory state with 5 rows"):
        _ = CASE.state[row]


def test_a_row_goes_on_alone_as_it_would_have_in_company() -> None:
    state = opened()
    y, together = CASE.memory(CASE.hidden, state)
    alone_y, alone = CASE.memory(CASE.hidden[2:3], state[2])
    assert_same_state(alone, together[2])
    torch.testing.assert_close(alone_y, y[2:3], rtol=1e-9, atol=1e-9)


def test_detach_cuts_the_gradient() -> None:
    detach_cuts(CASE)
    state = opened().detach()
    assert not state.trace.requires_grad
    assert state.segment is not None
    assert not any(tensor.requires_grad for tensor in vars(state.segment).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_to_casts_every_tensor(dtype: torch.dtype) -> None:
    state = opened().to(dtype)
    assert state.segment is not None
    assert {t.dtype for t in (state.trace, *vars(state.segment).values())} == {dtype}
    assert state.to("cpu").trace.device.type == "cpu"


def test_clone_shares_no_memory() -> None:
    state = opened().detach()
    copy = state.clone()
    assert_same_state(copy, state, 0.0)
    copy.trace.zero_()
    assert copy.segment is not None
    copy.segment.usage.zero_()
    assert_same_state(state, opened().detach(), 0.0)


@given(rows=st.lists(st.booleans(), min_size=5, max_size=5))
def test_reset_blanks_its_rows_and_no_bit_of_others(rows: list[bool]) -> None:
    chosen = torch.tensor(rows)
    for selection in (chosen, chosen.nonzero()[:, 0], chosen.nonzero()[:, 0].tolist()):
        after = CASE.state.reset(selection)
        assert_same_bits(after.trace[~chosen], CASE.state.trace[~chosen])
        assert_same_bits(after.trace[chosen], torch.zeros_like(after.trace[chosen]))


def test_reset_takes_an_int_and_a_slice_and_heals_nan() -> None:
    trace = CASE.state.trace.clone()
    trace[1] = float("nan")
    state = MemoryState(trace=trace)
    for rows in (1, slice(1, 2)):
        after = state.reset(rows)
        assert after.trace.isfinite().all()
        assert_same_bits(after.trace[2:], trace[2:])


def test_reset_rows_are_like_blank_ones() -> None:
    y, after = CASE.memory(CASE.hidden, CASE.state.reset([0, 3]))
    blank_y, blank = CASE.memory(CASE.hidden, CASE.memory.blank(5))
    for row in (0, 3):
        assert_same_bits(y[row], blank_y[row])
        assert_same_bits(after.trace[row], blank.trace[row])


def test_reset_inside_an_open_segment_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"open segment; call memory\.commit\(state\)"):
        opened().reset([0])


def test_blank_has_one_zero_row_per_batch_row_in_the_memory_s_dtype() -> None:
    blank = CASE.memory.blank(7)
    assert len(blank) == 7
    assert blank.segment is None
    assert_same_bits(blank.trace, torch.zeros(7, 2, 3, 4, dtype=torch.float64))


@pytest.mark.parametrize("row", [1, -1, torch.tensor(1), np.int64(1)])
def test_one_row_of_any_kind_of_number_keeps_the_batch_axis(row: Any) -> None:
    state = MemoryState(trace=torch.arange(3.0).reshape(3, 1, 1, 1).expand(3, 2, 4, 5))
    chosen = state[row]
    assert chosen.trace.shape == (1, 2, 4, 5)
    assert chosen.trace.unique().tolist() == [float(range(3)[int(row)])]


def test_an_index_for_more_than_rows_is_refused() -> None:
    state = MemoryState(trace=torch.zeros(3, 2, 4, 5))
    with pytest.raises(IndexError, match=r"\(1, 0\) indexes more than rows"):
        state[1, 0]
