"""A large batch some rows at a time is the batch at once."""

import copy
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import Case, cases
from tests.laws import assert_near, assert_same_bits_of, assert_same_state
from tests.tolerances import SINGLE
from torch import Tensor

from callosal.memory import LateralMemory, MemoryConfig, MemoryState, blocks, looking


def test_small_batches_stay_whole_and_blocks_of_large_ones_are_small() -> None:
    a_row = 128 * 1024
    for rows in (1, 64, 255):
        assert blocks.rows_at_once(rows, a_row) == rows
    assert blocks.rows_at_once(256, a_row) == blocks.BLOCK // a_row
    # A row that is too large by itself is taken by itself.
    assert blocks.rows_at_once(2, blocks.TOO_LARGE) == 1
    assert blocks.rows_at_once(0, a_row) == 0


@given(case=cases(num_segments=2), num_rows=st.integers(1, 2))
@settings(max_examples=15)
def test_some_rows_at_a_time_are_all_rows_at_once(case: Case, num_rows: int) -> None:
    memory, hidden, state, mask = case
    state = replace(state, version=torch.arange(len(state)))
    salience = torch.where(mask, 0.5, 0.0).to(hidden)
    embedded = hidden if memory.config.embedded else None
    for several in (True, False):
        how = {"commit": several}
        x, there, weighs = (one if several else one[:, 0] for one in (hidden, mask, salience))
        also = embedded if several or embedded is None else embedded[:, 0]
        one = memory._called(x, state, there, weighs, also, **how, lessons=[])
        y, after = blocks.in_blocks(memory._called, num_rows, x, state, there, weighs, also, **how, lessons=[])
        assert_near(y, one[0])
        assert_same_state(after, one[1])


@given(case=cases(num_segments=2), is_open=st.booleans())
@settings(max_examples=15)
def test_training_on_some_rows_at_a_time_learns_and_moves_what_all_rows_at_once_do(case: Case, is_open: bool) -> None:
    memory, hidden, state, mask = case
    embedded, found = hidden if memory.config.embedded else None, []
    for too_large in (2**40, 0):
        learner = copy.deepcopy(memory).train()
        leaves = [leaf for leaf in learner.parameters() if leaf.requires_grad]
        with mock.patch.multiple(blocks, TOO_LARGE=too_large, BLOCK=1):
            if is_open:
                also = None if embedded is None else embedded[:, 0]
                y, after = learner(hidden[:, 0], state, mask[:, 0], embedded=also, commit=False)
                also = None if embedded is None else embedded[:, 1]
                other, after = learner(hidden[:, 1], after, mask[:, 1], embedded=also)
                y = y + other
            else:
                y, after = learner(hidden, state, mask, embedded=embedded)
        total = y.square().sum() + after.trace.square().sum()
        gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        found.append((y, after, [*gradients, *learner.buffers()]))
    (expected_y, expected, others), (y, after, moved) = found
    assert_near(y, expected_y)
    assert_same_state(after, expected)
    for one, other in zip(moved, others, strict=True):
        assert_near(one, other)


@given(case=cases(write="bounded", normalised="slots"), commit=st.booleans())
@settings(max_examples=15)
def test_where_tokens_look_is_scaled_for_many_users_and_reads_and_writes_the_same(case: Case, commit: bool) -> None:
    memory, hidden, state, mask = case
    embedded = hidden[:, :1] if memory.config.embedded else None
    leaves, found = [leaf for leaf in memory.parameters() if leaf.requires_grad], []
    for floats in (0, 2**30):
        with mock.patch.object(looking, "SCALED_FROM", floats):
            y, opened = memory(hidden[:, :1], state, mask[:, :1], embedded=embedded, commit=commit)
            after = memory.commit(opened)
            total = y.square().sum() + after.trace.square().sum()
            found.append((y, after, torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)))
    (y, after, gradients), (expected_y, expected, others) = found
    assert_near(y, expected_y)
    assert_same_state(after, expected)
    for one, other in zip(gradients, others, strict=True):
        assert_near(one, other)


@torch.no_grad()
def test_a_large_call_is_cut_and_a_small_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, calls = LateralMemory(MemoryConfig(width=4, num_slots=3)).eval(), []
    hidden, called = torch.randn(3, 2, 5, 4), memory._called
    expected_y, expected = memory(hidden)

    def counted(hidden: Tensor, *rest: Any, **how: Any) -> tuple[Tensor, MemoryState]:
        calls.append(len(hidden))
        return called(hidden, *rest, **how)

    monkeypatch.setattr(memory, "_called", counted)
    # A row's largest tensor is of 2 segments, 5 tokens, 2 heads and 6 slots: 480 bytes.
    monkeypatch.setattr(blocks, "TOO_LARGE", 3 * 480)
    monkeypatch.setattr(blocks, "BLOCK", 2 * 480)
    y, state = memory(hidden)
    assert calls == [2, 1]
    assert_near(y, expected_y, SINGLE)
    assert_same_state(state, expected, SINGLE)
    memory(hidden[:2])
    memory.train()(hidden)
    assert calls == [2, 1, 2, 2, 1]


def test_a_split_state_is_stacked_again() -> None:
    memory = LateralMemory(MemoryConfig(width=4, num_slots=3, carry=0.5))
    state = replace(memory(torch.randn(3, 5, 4), commit=False)[1], version=torch.arange(3))
    parts = state.split(2)
    assert [len(part) for part in parts] == [2, 1]
    assert_same_bits_of(MemoryState.stack(parts), state)
