"""The laws of the layer in evaluation mode, for 1, 2 and 3 banks, every sign, drive and write."""

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import laws
from tests.cases import Case, Drive, Write, build_memory, cases, configs, fill, normal
from tests.shapes import unchecked
from tests.tolerances import SINGLE

from callosal.contract import laws as owed
from callosal.memory import MemoryConfig, MemoryState
from callosal.memory.packing import Packed
from callosal.ops import address

BANKS = pytest.mark.parametrize("num_banks", [1, 2, 3])


@BANKS
@pytest.mark.parametrize("sign", [-1.0, 0.0, 1.0])
@given(data=st.data())
@settings(max_examples=6)
def test_fast_equals_slow_twin(num_banks: int, sign: float, data: st.DataObject) -> None:
    laws.matches_reference(*data.draw(cases(num_banks=num_banks, sign=sign)))


@pytest.mark.parametrize("write", ["bounded", "additive", "delta"])
@pytest.mark.parametrize("drive", ["axis", "gradient", "slots"])
@pytest.mark.parametrize("homeostasis", [True, False])
@given(data=st.data())
@settings(max_examples=4)
def test_fast_equals_slow_twin_in_every_variant(
    write: Write, drive: Drive, homeostasis: bool, data: st.DataObject
) -> None:
    case = data.draw(cases(write=write, drive=drive, homeostasis=homeostasis, num_tokens=5))
    laws.matches_reference(*case)


@given(cases(output_gate=True))
@settings(max_examples=20)
def test_fast_equals_slow_twin_with_an_output_gate(case: Any) -> None:
    laws.matches_reference(*case)


@given(cases(gates="hidden", inner_width=2, salience="learned", output_gate=True))
@settings(max_examples=12)
def test_fast_equals_slow_twin_with_gates_on_the_whole_state(case: Any) -> None:
    laws.matches_reference(*case)


@pytest.mark.parametrize("write", ["bounded", "additive", "delta"])
@given(data=st.data())
@settings(max_examples=8)
def test_fast_equals_slow_twin_where_what_is_retrieved_is_normalised(write: Write, data: st.DataObject) -> None:
    laws.matches_reference(*data.draw(cases(normalised="retrieved", write=write)))


@pytest.mark.parametrize("write", ["bounded", "additive", "delta"])
@given(data=st.data())
@settings(max_examples=10)
def test_fast_equals_slow_twin_with_the_tokens_embeddings(write: Write, data: st.DataObject) -> None:
    case = data.draw(cases(observe=True, embedded=True, write=write))
    laws.matches_reference(*case, embedded=laws.embedding_of(case.hidden))


@pytest.mark.parametrize(
    "fault", [lambda packed, tensor: packed.hidden, lambda packed, tensor: tensor[:, None]], ids=["ignored", "unmoved"]
)
def test_embeddings_that_go_astray_are_found(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = fill(build_memory(observe=True, embedded=True), (2, 5))
    embedded = laws.embedding_of(case.hidden)
    laws.matches_reference(*case, embedded=embedded)
    monkeypatch.setattr(Packed, "along", fault)
    with pytest.raises(AssertionError):
        laws.matches_reference(*case, embedded=embedded)


@pytest.mark.parametrize(
    ("law", "num_segments"),
    [
        (owed.no_look_ahead, [None, 3]),
        (owed.masked_is_absent, [None, 3]),
        (owed.rows_do_not_leak, [None, 2]),
        (owed.segments_at_once_equal_calls, [3]),
        (owed.inputs_stay_and_calls_agree, [None, 2]),
        (laws.quiet_tokens_leave_no_trace, [None]),
        (laws.pieces_equal_one_call, [None]),
    ],
)
@given(data=st.data())
@settings(max_examples=8)
@unchecked()
def test_every_law_holds_of_the_tokens_embeddings(
    law: Any, num_segments: list[int | None], data: st.DataObject
) -> None:
    many = data.draw(st.sampled_from(num_segments))
    tokens = 5 if law is laws.pieces_equal_one_call else None
    case = data.draw(cases(observe=True, embedded=True, num_segments=many, num_tokens=tokens))
    law(laws.Embedding(case.memory), *case[1:])


def test_embeddings_of_any_size_keep_the_bound() -> None:
    memory = build_memory(observe=True, embedded=True, inner_width=2, inertia=1e-4)
    state, generator = memory.blank(2), torch.Generator().manual_seed(0)
    with torch.no_grad():
        # All of a segment's tokens alike, and huge: what is written has nothing to cancel it.
        for _ in range(100):
            hidden, embedded = torch.randn(2, 2, 1, 4, generator=generator, dtype=torch.float64).expand(2, 2, 6, 4)
            _, state = memory(hidden, state, embedded=1e6 * embedded)
            assert state.trace.norm(dim=-1).max().item() <= memory.max_slot_norm


@pytest.mark.parametrize("salience", ["even", "learned", "retrieved"])
@pytest.mark.parametrize("write", ["bounded", "additive", "delta"])
@given(data=st.data())
@settings(max_examples=6)
def test_fast_equals_slow_twin_with_salience_from_outside(salience: Any, write: Write, data: st.DataObject) -> None:
    case = data.draw(cases(salience=salience, write=write))
    given_salience = torch.rand(case.mask.shape, generator=torch.Generator().manual_seed(1)).double()
    laws.matches_reference(*case, salience=given_salience * (given_salience > 0.3))


@BANKS
@given(data=st.data())
@settings(max_examples=12)
@unchecked()
def test_many_segments_at_once_equal_calls_one_by_one(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks, num_segments=data.draw(st.integers(1, 4))))
    owed.segments_at_once_equal_calls(*case)


def no_look_ahead_when_open(memory: Any, *rest: Any) -> None:
    owed.no_look_ahead(partial(memory, commit=False), *rest)


@BANKS
@pytest.mark.parametrize(
    ("law", "num_segments"),
    [
        (owed.no_look_ahead, [None, 3]),
        (no_look_ahead_when_open, [None]),
        (laws.shares_do_not_look_ahead, [None]),
        (laws.quiet_tokens_leave_no_trace, [None]),
        (owed.masked_is_absent, [None, 3]),
        (laws.masked_shares_are_absent, [None, 3]),
        (owed.rows_do_not_leak, [None, 2]),
        (owed.inputs_stay_and_calls_agree, [None, 2]),
    ],
)
@given(data=st.data())
@settings(max_examples=8)
@unchecked()
def test_every_law_holds(law: Any, num_segments: list[int | None], num_banks: int, data: st.DataObject) -> None:
    many = data.draw(st.sampled_from(num_segments))
    case = data.draw(cases(num_banks=num_banks, num_segments=many))
    law(*case)
    if law is owed.inputs_stay_and_calls_agree and many is None:
        law(*case._replace(state=case.memory(case.hidden, case.state, commit=False)[1]))


@BANKS
@given(data=st.data())
@settings(max_examples=15)
@unchecked()
def test_a_segment_cut_anywhere_is_the_segment(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks))
    length = case.hidden.shape[1]
    if data.draw(st.booleans()):
        case = case._replace(mask=torch.ones_like(case.mask))
    # A cut at either end, or twice at the same place, leaves an empty piece: that is allowed.
    laws.pieces_equal_one_call(*case, data.draw(st.lists(st.integers(0, length), max_size=4)))
    laws.pieces_equal_one_call(*case, range(1, length))


@given(data=st.data())
@unchecked()
def test_pieces_send_the_same_gradients(data: st.DataObject) -> None:
    memory, hidden, start, mask = data.draw(cases(num_tokens=4))
    cut = data.draw(st.integers(1, 3))
    leaves = [hidden, start.trace, *memory.parameters()]
    for leaf in leaves:
        leaf.requires_grad_()

    def gradients(y: torch.Tensor, state: MemoryState) -> tuple[torch.Tensor, ...]:
        total = y.square().sum() + state.trace.square().sum()
        return torch.autograd.grad(total, leaves, materialize_grads=True)

    first, state = memory(hidden[:, :cut], start, mask[:, :cut], commit=False)
    second, state = memory(hidden[:, cut:], state, mask[:, cut:])
    pieces = gradients(torch.cat([first, second], dim=1), state)
    for one, other in zip(pieces, gradients(*memory(hidden, start, mask)), strict=True):
        laws.assert_near(one, other)


@given(case=cases())
def test_committing_nothing_changes_nothing(case: Case) -> None:
    memory, hidden, state, mask = case
    assert memory.commit(state) is state
    empty, absent = hidden[:, :0], torch.zeros_like(mask)
    for y, opened in (
        memory(empty, state, commit=False),
        memory(empty, state),
        memory(hidden, state, absent, commit=False),
    ):
        laws.assert_same_bits(y, torch.zeros_like(y))
        laws.assert_same_bits(memory.commit(opened).trace, state.trace)
    y, after = memory(hidden[:, None][:, :0], state)
    assert y.shape == (len(hidden), 0, *hidden.shape[1:])
    laws.assert_same_bits(after.trace, state.trace)


@given(case=cases())
@unchecked()
def test_without_a_state_it_starts_blank_and_a_mask_of_ones_is_none(case: Case) -> None:
    memory, hidden, _, mask = case
    for given_mask in (None, mask):
        expected = memory(hidden, memory.blank(len(hidden)), given_mask)
        laws.assert_same_bits_of(memory(hidden, mask=given_mask), expected)
    y, state = memory(hidden)
    masked, other = memory(hidden, mask=torch.ones_like(mask))
    laws.assert_near(masked, y)
    laws.assert_same_state(other, state)


@given(case=cases(num_segments=2, num_tokens=3, num_slots=4, width=4))
def test_what_was_written_is_read_in_the_next_segment(case: Case) -> None:
    """The counterpart of no look-ahead: without it a memory that never writes would pass."""
    changed = case.hidden.clone()
    changed[:, 0] = -changed[:, 0]
    before, after = (case.memory(hidden, case.state)[0] for hidden in (case.hidden, changed))
    assert (after[:, 1] - before[:, 1]).abs().max() > 1e-6


@pytest.mark.parametrize("num_banks", [2, 3])
@given(data=st.data())
@settings(max_examples=10)
def test_banks_have_no_places(num_banks: int, data: st.DataObject) -> None:
    order = data.draw(st.sampled_from(list(itertools.permutations(range(num_banks)))))
    laws.banks_permute(*data.draw(cases(num_banks=num_banks)), order)


@pytest.mark.parametrize("mask", ["0011", "1100", "1001", "0101", "0000", "1111"])
@pytest.mark.parametrize("drive", ["axis", "slots"])
def test_each_shape_of_mask(mask: str, drive: Drive) -> None:
    case = fill(build_memory(drive=drive), (2, 4))
    case.mask[0] = torch.tensor([one == "1" for one in mask])
    owed.masked_is_absent(*case)
    laws.masked_shares_are_absent(*case)


@given(data=st.data())
def test_shares_are_shares(data: st.DataObject) -> None:
    case = data.draw(cases(num_segments=data.draw(st.sampled_from([None, 2]))))
    shares = case.memory.bank_share(case.hidden, mask=case.mask)
    assert shares.shape == (*case.mask.shape, case.memory.config.num_banks)
    laws.assert_near(shares.sum(-1), case.mask.double())
    assert ((shares >= 0) & (shares <= 1)).all()


@given(case=cases(num_segments=2))
def test_float32_is_near_float64(case: Case) -> None:
    memory, hidden, state, mask = case
    y, after = memory(hidden, state, mask)
    shares = memory.bank_share(hidden, mask=mask)
    single, written = memory.float()(hidden.float(), state.to(torch.float32), mask)
    assert single.dtype == written.trace.dtype == torch.float32
    laws.assert_near(memory.bank_share(hidden.float(), mask=mask), shares, SINGLE)
    laws.assert_near(single, y, SINGLE)
    laws.assert_near(written.trace, after.trace, SINGLE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@given(config=configs())
@settings(max_examples=8)
def test_dtype_is_kept_everywhere(dtype: torch.dtype, config: MemoryConfig) -> None:
    memory = build_memory(config).to(dtype)
    x = torch.ones(2, 3, config.width, dtype=dtype)
    for training in (False, True):
        memory.train(training)
        y, opened = memory(x, commit=False)
        assert opened.segment is not None
        assert {y.dtype, *(parameter.dtype for parameter in memory.parameters())} == {dtype}
        # What is kept is in single precision at least.
        tensors = [memory.commit(opened).trace, memory.bank_share(x), opened.trace, *memory.buffers()]
        tensors += [part for part in vars(opened.segment).values() if part is not None]
        assert {tensor.dtype for tensor in tensors} == {torch.promote_types(dtype, torch.float32)}


@given(config=configs(write="bounded"), training=st.booleans())
@settings(max_examples=20)
def test_half_precision_stays_a_number_from_the_first_segment_on(config: MemoryConfig, training: bool) -> None:
    memory = build_memory(config, trained=False).half().train(training)
    state = memory.blank(2)
    for seed in range(3):
        y, state = memory(normal(seed, 2, 5, config.width).half(), state)
        assert y.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in (state.trace, *memory.buffers()))


@pytest.mark.parametrize("drive", ["axis", "slots"])
@pytest.mark.parametrize("num_tokens", [257, 259, 301])
def test_a_long_segment_is_counted_right_in_bfloat16(drive: Drive, num_tokens: int) -> None:
    """Odd numbers above 256 do not exist in bfloat16: tokens must not be counted in it."""
    memory = build_memory(drive=drive).to(torch.bfloat16)
    x = fill(memory, (1, num_tokens)).hidden.to(torch.bfloat16)
    state = memory.blank(1)
    for piece in (x[:, :200], x[:, 200:-1], x[:, -1:]):
        _, state = memory(piece, state, commit=False)
    for segment in (state.segment, memory(x, commit=False)[1].segment):
        assert segment.num_tokens.item() == num_tokens
        laws.assert_same_bits(segment.tail, address.rms_norm(x[:, -2:]).float())
    memory.train().commit(state)
    assert memory.axes.isfinite().all()
