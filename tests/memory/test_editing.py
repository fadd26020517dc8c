"""Memories merged, forked, reset and compared: each does what it says, and nothing else moves."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS, build_memory, fill
from tests.laws import assert_near, assert_same_bits, assert_same_bits_of
from torch import Tensor

from callosal import LateralMemory, MemoryConfig, MemoryState, load_memory, merge, save_memory
from callosal.memory import MemoryFileError, diff, fork, read_header, reset_banks, summarise
from callosal.memory.disk.files import diff_files, fork_file, merge_files, reset_file
from callosal.memory.editing import bank_name, bank_number

CONFIG = MemoryConfig(width=4, num_slots=3, carry=0.5, recollection=0.3)
MEMORY = build_memory(CONFIG)
A, B = fill(MEMORY, (3, 5), seed=1).state, fill(MEMORY, (3, 5), seed=2).state
LEFT_A: dict[Any, str] = {"left": "A", "right": "B"}


# Banks by name.


def test_banks_have_names() -> None:
    assert [bank_name(bank, 2) for bank in range(2)] == ["left", "right"]
    assert [bank_name(bank, 3) for bank in range(3)] == ["0", "1", "2"]
    for num_banks in (1, 2, 3):
        for bank in range(num_banks):
            assert bank_number(bank_name(bank, num_banks), num_banks) == bank
            assert bank_number(bank, num_banks) == bank


# Merging.


@pytest.mark.parametrize("banks", [LEFT_A, {0: "A", "1": "B"}])
def test_a_bank_of_each_parent_is_taken_whole_and_answers_as_there(banks: Any) -> None:
    merged = merge(A, B, banks)
    for bank, parent in enumerate((A, B)):
        for of in (lambda state: state.trace, lambda state: MEMORY.values(state.trace)):
            assert_same_bits(of(merged)[:, bank], of(parent)[:, bank])


def test_what_is_of_one_parent_or_meets_itself_or_a_blank_stays_in_any_order() -> None:
    blank = MEMORY.blank(3)
    for name, parent in (("A", A), ("B", B)):
        assert_same_bits_of(merge(A, B, dict.fromkeys(["left", "right"], name)), parent)
    for one, other, expected in ((A, A, A), (A, blank, A), (blank, A, A), (blank, blank, blank)):
        assert_same_bits(merge(one, other).trace, expected.trace)
    assert_near(merge(A, B).trace, merge(B, A).trace, 1e-12)


def test_the_carried_context_and_what_is_recollected_are_means_of_the_parents_taken_from() -> None:
    contexts: list[Any] = [state.context for state in (A, B, merge(A, B))]
    one, other, merged = contexts
    assert_near(merged.signal_sum, (one.signal_sum + other.signal_sum) / 2)
    assert_near(merged.num_tokens, (one.num_tokens + other.num_tokens) / 2)
    assert merge(replace(A, context=None), replace(B, context=None)).context is None
    averages: list[Any] = [state.recollected for state in (A, B, merge(A, B))]
    assert_near(averages[2], (averages[0] + averages[1]) / 2)
    assert merge(replace(A, recollected=None), replace(B, recollected=None)).recollected is None


@given(seed=SEEDS, scales=st.tuples(*[st.sampled_from([0.0, 1e-200, 1e-3, 1.0, 1e200])] * 2))
def test_no_slot_leaves_the_ball_of_its_parents(seed: int, scales: tuple[float, float]) -> None:
    """And where one is blank the other keeps every bit."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 2, 3, 4)
    a, b = (scale * torch.randn(shape, generator=generator, dtype=torch.float64) for scale in scales)
    a[torch.rand(shape[:-1], generator=generator) < 0.3] = 0.0
    merged = merge(MemoryState(trace=a), MemoryState(trace=b)).trace
    larger = a.norm(dim=-1).maximum(b.norm(dim=-1))
    assert (merged.norm(dim=-1) <= larger * (1.0 + 1e-12)).all()
    blank = (a == 0.0).all(-1)
    assert_same_bits(merged[blank], b[blank])


def keyed(width: int = 16) -> LateralMemory:
    """Return a memory of which each token reads one slot: the j-th unit vector reads slot j."""
    memory = build_memory(width=width, num_slots=width, num_heads=1, num_lags=1, temperature=60.0)
    with torch.no_grad():
        memory.addresses.copy_(torch.eye(width).expand_as(memory.addresses))
        memory.query_map.copy_(torch.eye(width))
        memory.filters.fill_(1.0)
        memory.log_temperature.fill_(4.0)
    return memory


def tokens(memory: LateralMemory, slots: list[int]) -> Tensor:
    return torch.eye(memory.config.width, dtype=torch.float64)[slots][None]


def trained_on(memory: LateralMemory, slots: list[int]) -> MemoryState:
    """Return what a memory holds after it has seen these tokens in a few segments."""
    state = memory.blank(1)
    for _ in range(4):
        state = memory(tokens(memory, slots), state)[1]
    return state


def recalled(memory: LateralMemory, state: MemoryState, slots: list[int]) -> Tensor:
    """Return what the memory adds to a blank one's answer, token by token in segments of their own."""
    queries = tokens(memory, slots)[0][:, None]
    return memory(queries, state[[0] * len(slots)])[0] - memory(queries)[0]


def test_both_parents_are_recalled_where_slots_do_not_collide() -> None:
    memory = keyed()
    first, second = [0, 1, 2, 3, 4, 5, 6], [8, 9, 10, 11, 12, 13]
    a, b = trained_on(memory, first), trained_on(memory, second)
    merged = merge(a, b)
    for parent, slots in ((a, first), (b, second)):
        expected = recalled(memory, parent, slots)
        assert expected.norm(dim=-1).min() > 0.01  # something is recalled, far above the tolerance
        assert_near(recalled(memory, merged, slots), expected, 1e-6)
    # Neither parent knew the other's: the test would see a merge that drops one.
    assert (recalled(memory, a, second) - recalled(memory, b, second)).norm() > 0.1


def test_where_slots_collide_the_stronger_prevails_within_the_bound() -> None:
    memory = keyed()
    a, b = trained_on(memory, [0, 1, 2, 3]), trained_on(memory, [2, 3, 4, 5])
    # Slots 2 and 3 of B, opposed to what A holds there, and weaker.
    b.trace[:, :, 2:4] = -0.3 * a.trace[:, :, 2:4]
    merged = merge(a, b)
    norms, both, strong = merged.trace.norm(dim=-1), merged.trace[:, :, 2:4], a.trace[:, :, 2:4]
    assert norms.max() <= memory.max_slot_norm
    assert (torch.cosine_similarity(both, strong, dim=-1) > 0.999).all()
    assert (norms[:, :, 2:4] < strong.norm(dim=-1)).all()
    # What did not collide is as it was.
    for parent, slots in ((a, [0, 1]), (b, [4, 5])):
        assert_near(recalled(memory, merged, slots), recalled(memory, parent, slots), 1e-6)


OPENED = MEMORY(torch.zeros(3, 1, 4).double(), A, commit=False)[1]


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: merge(A, A[:2]), "merge of traces of shape"),
        (lambda: merge(A, A.to(torch.float32)), "float64, and .*float32"),
        (lambda: merge(A, OPENED), "open segment"),
        (lambda: merge(A, B, {"middle": "A"}), "bank 'middle'"),
        (lambda: merge(A, B, {"left": "C"}), "from 'C'; it may come from A, B or"),
        (lambda: merge(A, B, {"left": "A", 0: "B"}), "bank 0 is named twice"),
        (lambda: fork(A, 0), "num_copies is 0"),
        (lambda: reset_banks(A, [5]), "bank 5"),
        (lambda: reset_banks(OPENED), "open segment"),
        (lambda: diff(A, OPENED), "open segment"),
        *[
            (lambda pair=pair: bank_number(*pair), "bank {!r} of a memory of {}; it may be 0, 1")
            for pair in [("left", 3), (2, 2), (-1, 2), ("", 2), ("Left", 2)]
        ],
    ],
)
def test_what_cannot_be_done_is_said(act: Any, message: str) -> None:
    pair = (act.__defaults__ or ((),))[0]
    with pytest.raises(ValueError, match=message.format(*pair)):
        act()


# Forking and resetting.


def test_forks_are_copies_that_go_on_alone() -> None:
    forks = fork(A, 2)
    assert_same_bits_of(forks, A[[0, 0, 1, 1, 2, 2]])
    forks.trace.zero_()
    assert A.trace.abs().sum() > 0.0


def test_reset_blanks_the_banks_named_and_no_other() -> None:
    before = A.trace.clone()
    fresh = reset_banks(A, ["right"])
    assert_same_bits(fresh.trace[:, 0], A.trace[:, 0])
    assert not fresh.trace[:, 1].any()
    assert fresh.context is A.context
    assert_same_bits_of(reset_banks(A), MEMORY.blank(3))
    assert_same_bits_of(reset_banks(A, []), A)
    assert_same_bits(A.trace, before)


# Looking.


def test_a_summary_counts_what_is_there() -> None:
    trace = torch.zeros(2, 2, 3, 4)
    trace[0, 0, 1] = 1.0  # norm 2
    trace[1, 0, 2, 0] = 0.05
    left, right = summarise(MemoryState(trace=trace), bound=8.0)
    assert (left.bank, left.num_slots, left.num_used) == ("left", 6, 1)
    assert left.max_norm == pytest.approx(2.0)
    assert left.mean_norm == pytest.approx(2.05 / 6)
    assert left.share_of_bound == pytest.approx(0.25)
    assert (right.num_used, right.max_norm) == (0, 0.0)
    # Without a bound, a slot is held against the largest.
    assert summarise(MemoryState(trace=trace), bound=None)[0].num_used == 2
    assert summarise(MemoryState(trace=trace), bound=None)[0].share_of_bound is None
    assert summarise(MemoryState(trace=trace[:0]), bound=None)[0].num_slots == 0


def test_a_diff_says_where_and_how_much() -> None:
    trace = A.trace.clone()
    trace[1, 0, 2] *= 2.0
    changes = diff(A, replace(A, trace=trace))
    assert [(change.row, change.bank) for change in changes] == list(product(range(3), ("left", "right")))
    changed = changes[2]
    assert (changed.num_changed, changed.largest_slot) == (1, 2)
    assert changed.distance == pytest.approx(A.trace[1, 0, 2].norm().item())
    assert changed.relative == pytest.approx(changed.distance / trace[1, 0].norm().item())
    for change in [*changes[:2], *changes[3:]]:
        assert (change.num_changed, change.distance, change.largest_slot) == (0, 0.0, None)
    assert diff(MEMORY.blank(1), MEMORY.blank(1))[0].relative == 0.0


# Files, without the model.


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    places = (tmp_path / "a", tmp_path / "b")
    for place, state in zip(places, (A, B), strict=True):
        save_memory(state, place, MEMORY, notes=f"of {place.name}")
    return places


def test_merged_files_load_into_the_model_that_wrote_them(files: tuple[Path, Path]) -> None:
    into = files[0].with_name("merged")
    stored = merge_files(*files, into, LEFT_A)
    assert_same_bits_of(load_memory(into, MEMORY), merge(A, B, LEFT_A))
    assert (len(stored.header.parents), stored.header.notes) == (2, "merged of a and b")
    assert diff_files(files[0], into)[1] == ["B was made of A"]
    assert diff_files(into, files[0])[1] == ["A was made of B"]


def test_memories_of_other_models_are_not_merged(files: tuple[Path, Path]) -> None:
    first, second = files
    into = first.with_name("merged")
    for memory, what in (
        (build_memory(CONFIG, seed=9), "weights"),
        (build_memory(replace(CONFIG, gain=9.0)), "configurations"),
    ):
        save_memory(B, second, memory)
        with pytest.raises(MemoryFileError, match=f"written by other {what}"):
            merge_files(first, second, into)
        assert any("do not mean the same" in remark for remark in diff_files(first, second)[1])
    assert not into.exists()


def test_a_fork_is_a_file_of_its_own(files: tuple[Path, Path]) -> None:
    copies = [files[0].with_name("c"), files[0].with_name("d")]
    original = fork_file(files[0], copies)
    for copy in copies:
        assert_same_bits_of(load_memory(copy, MEMORY), A)
        header = read_header(copy)
        assert (header.parents, header.notes) == ((original.checksum,), "of a")
    assert diff_files(files[0], files[0])[1] == ["the files are the same"]


def test_no_file_is_written_over_and_no_copy_twice(files: tuple[Path, Path]) -> None:
    first, second = files
    new = first.with_name("e")
    for act, message in (
        (lambda: merge_files(first, second, second), "there is a file at"),
        (lambda: fork_file(first, [new, second]), "there is a file at"),
        (lambda: fork_file(first, [new, new]), "named twice"),
        (lambda: reset_file(first, into=second), "there is a file at"),
    ):
        with pytest.raises(MemoryFileError, match=message):
            act()
    assert not new.exists()
    assert_same_bits_of(load_memory(second, MEMORY), B)


def test_a_reset_is_in_place_or_beside(files: tuple[Path, Path]) -> None:
    beside = files[0].with_name("c")
    reset_file(files[0], ["left"], beside)
    assert_same_bits_of(load_memory(files[0], MEMORY), A)
    assert_same_bits_of(load_memory(beside, MEMORY), reset_banks(A, ["left"]))
    reset_file(files[0])
    assert_same_bits_of(load_memory(files[0], MEMORY), MEMORY.blank(3))
    with pytest.raises(ValueError, match="bank 7"):
        reset_file(files[1], [7])
    assert_same_bits_of(load_memory(files[1], MEMORY), B)
