"""The laws of the layer in evaluation mode, for 1, 2 and 3 banks, every sign, drive and write."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import laws
from tests.cases import Case, Drive, Write, build_memory, cases, configs, fill
from tests.tolerances import SINGLE

from callosal.memory import MemoryConfig, MemoryState
from callosal.ops import address

BANKS = pytest.mark.parametrize("num_banks", [1, 2, 3])


@BANKS
@pytest.mark.parametrize("sign", [-1.0, 0.0, 1.0])
@given(data=st.data())
@settings(max_examples=6)
def test_fast_equals_slow_twin(num_banks: int, sign: float, data: st.DataObject) -> None:
    laws.matches_twin(data.draw(cases(num_banks=num_banks, sign=sign)))


@pytest.mark.parametrize("write", ["bounded", "additive", "delta"])
@pytest.mark.parametrize("drive", ["axis", "gradient", "slots"])
@pytest.mark.parametrize("homeostasis", [True, False])
@given(data=st.data())
@settings(max_examples=4)
def test_fast_equals_slow_twin_in_every_variant(
    write: Write, drive: Drive, homeostasis: bool, data: st.DataObject
) -> None:
    case = data.draw(cases(write=write, drive=drive, homeostasis=homeostasis, num_tokens=5))
    laws.matches_twin(case)


@BANKS
@given(data=st.data())
@settings(max_examples=12)
def test_many_segments_at_once_equal_calls_one_by_one(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks, num_segments=data.draw(st.integers(1, 4))))
    laws.segments_at_once_equal_calls(case)


@BANKS
@given(data=st.data())
@settings(max_examples=15)
def test_a_segment_cut_anywhere_is_the_segment(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks))
    length = case.hidden.shape[1]
    # A cut at either end, or twice at the same place, leaves an empty piece: that is allowed.
    cuts = data.draw(st.lists(st.integers(0, length), max_size=4))
    laws.pieces_equal_one_call(case, cuts, masked=data.draw(st.booleans()))


@BANKS
@given(data=st.data())
@settings(max_examples=10)
def test_token_by_token_is_at_once(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks))
    laws.pieces_equal_one_call(case, range(1, case.hidden.shape[1]))


@given(data=st.data())
def test_pieces_send_the_same_gradients(data: st.DataObject) -> None:
    case = data.draw(cases(num_tokens=4))
    memory, cut = case.memory, data.draw(st.integers(1, 3))
    leaves = [case.hidden, case.state.trace, *memory.parameters()]
    for leaf in leaves:
        leaf.requires_grad_()

    def gradients(y: torch.Tensor, state: MemoryState) -> tuple[torch.Tensor, ...]:
        total = y.square().sum() + state.trace.square().sum()
        return torch.autograd.grad(total, leaves, materialize_grads=True)

    first, state = memory(case.hidden[:, :cut], case.state, case.mask[:, :cut], commit=False)
    second, state = memory(case.hidden[:, cut:], state, case.mask[:, cut:])
    pieces = gradients(torch.cat([first, second], dim=1), state)
    for one, other in zip(
        pieces, gradients(*memory(case.hidden, case.state, case.mask)), strict=True
    ):
        laws.assert_near(one, other)


@given(case=cases())
def test_committing_nothing_changes_nothing(case: Case) -> None:
    memory, state = case.memory, case.state
    assert memory.commit(state) is state
    empty = case.hidden[:, :0]
    for y, opened in (memory(empty, state, commit=False), memory(empty, state)):
        assert y.shape == empty.shape
        laws.assert_same_bits(memory.commit(opened).trace, state.trace)
    y, opened = memory(case.hidden, state, torch.zeros_like(case.mask), commit=False)
    laws.assert_same_bits(y, torch.zeros_like(y))
    laws.assert_same_bits(memory.commit(opened).trace, state.trace)


@BANKS
@given(data=st.data())
@settings(max_examples=12)
def test_no_look_ahead(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks))
    laws.no_look_ahead(case, data.draw(st.integers(0, case.hidden.shape[1] - 1)))
    case = data.draw(cases(num_banks=num_banks, num_segments=3))
    laws.no_look_ahead_over_segments(case, data.draw(st.integers(0, 2)))


@given(case=cases(num_segments=2, num_tokens=3, num_slots=4, width=4))
def test_what_was_written_is_read_in_the_next_segment(case: Case) -> None:
    """The counterpart of no look-ahead: without it a memory that never writes would pass."""
    changed = case.hidden.clone()
    changed[:, 0] = -changed[:, 0]
    before, _ = case.memory(case.hidden, case.state)
    after, _ = case.memory(changed, case.state)
    assert (after[:, 1] - before[:, 1]).abs().max() > 1e-6


@given(data=st.data())
def test_rows_do_not_leak(data: st.DataObject) -> None:
    case = data.draw(cases(num_segments=data.draw(st.sampled_from([None, 2]))))
    laws.rows_do_not_leak(case, data.draw(st.integers(0, len(case.state) - 1)))


@given(data=st.data())
def test_inputs_stay_and_two_calls_agree(data: st.DataObject) -> None:
    case = data.draw(cases(num_segments=data.draw(st.sampled_from([None, 2]))))
    laws.inputs_stay_and_calls_agree(case)


@pytest.mark.parametrize("num_banks", [2, 3])
@given(data=st.data())
@settings(max_examples=10)
def test_banks_have_no_places(num_banks: int, data: st.DataObject) -> None:
    case = data.draw(cases(num_banks=num_banks))
    order = data.draw(st.sampled_from(list(itertools.permutations(range(num_banks)))))
    laws.banks_permute(case, order)


@BANKS
@given(data=st.data())
@settings(max_examples=12)
def test_a_masked_token_is_as_if_absent(num_banks: int, data: st.DataObject) -> None:
    segments = data.draw(st.sampled_from([None, 3]))
    laws.masked_is_absent(data.draw(cases(num_banks=num_banks, num_segments=segments)))


@pytest.mark.parametrize(
    "mask",
    [[0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]],
    ids=["left", "right", "hole", "holes", "none", "all"],
)
@pytest.mark.parametrize("drive", ["axis", "slots"])
def test_each_shape_of_mask(mask: list[int], drive: Drive) -> None:
    memory = build_memory(MemoryConfig(width=4, num_slots=3, drive=drive))
    case = fill(memory, (2, 4))
    case.mask[0] = torch.tensor(mask, dtype=torch.bool)
    laws.masked_is_absent(case)


@given(case=cases())
def test_a_mask_of_ones_is_no_mask(case: Case) -> None:
    y, state = case.memory(case.hidden, case.state)
    masked, other = case.memory(case.hidden, case.state, torch.ones_like(case.mask))
    laws.assert_near(masked, y)
    laws.assert_same_state(other, state)


@given(data=st.data())
def test_shares_are_shares(data: st.DataObject) -> None:
    case = data.draw(cases(num_segments=data.draw(st.sampled_from([None, 2]))))
    shares = case.memory.bank_share(case.hidden, mask=case.mask)
    assert shares.shape == (*case.mask.shape, case.memory.config.num_banks)
    laws.assert_near(shares.sum(-1), case.mask.double())
    assert ((shares >= 0) & (shares <= 1)).all()


@given(case=cases(num_segments=2))
def test_float32_is_near_float64(case: Case) -> None:
    y, state = case.memory(case.hidden, case.state, case.mask)
    shares = case.memory.bank_share(case.hidden, mask=case.mask)
    memory = case.memory.float()
    single, after = memory(case.hidden.float(), case.state.to(torch.float32), case.mask)
    assert single.dtype == after.trace.dtype == torch.float32
    laws.assert_near(memory.bank_share(case.hidden.float(), mask=case.mask), shares, SINGLE)
    laws.assert_near(single, y, SINGLE)
    laws.assert_near(after.trace, state.trace, SINGLE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@given(config=configs())
@settings(max_examples=8)
def test_dtype_is_kept_everywhere(dtype: torch.dtype, config: MemoryConfig) -> None:
    memory = build_memory(config).to(dtype)
    x = torch.ones(2, 3, config.width, dtype=dtype)
    for training in (False, True):
        memory.train(training)
        y, opened = memory(x, memory.blank(2), commit=False)
        tensors = [y, memory.commit(opened).trace, memory.bank_share(x), opened.trace]
        assert opened.segment is not None
        # All but the count of tokens, which half precision could not hold.
        parts = {n: part for n, part in vars(opened.segment).items() if n != "num_tokens"}
        tensors += [*parts.values(), *memory.state_dict().values()]
        assert {tensor.dtype for tensor in tensors} == {dtype}


@pytest.mark.parametrize("drive", ["axis", "slots"])
@pytest.mark.parametrize("num_tokens", [257, 259, 301])
def test_a_long_segment_is_counted_right_in_bfloat16(drive: Drive, num_tokens: int) -> None:
    """Odd numbers above 256 do not exist in bfloat16: tokens must not be counted in it."""
    memory = build_memory(MemoryConfig(width=4, num_slots=2, drive=drive)).to(torch.bfloat16)
    x = fill(memory, (1, num_tokens)).hidden.to(torch.bfloat16)
    state = memory.blank(1)
    for piece in (x[:, :200], x[:, 200:-1], x[:, -1:]):
        _, state = memory(piece, state, commit=False)
    _, whole = memory(x, memory.blank(1), commit=False)
    assert state.segment is not None
    assert whole.segment is not None
    for segment in (state.segment, whole.segment):
        assert segment.num_tokens.item() == num_tokens
        laws.assert_same_bits(segment.tail, address.rms_norm(x[:, -2:]))
    memory.train().commit(state)
    assert memory.axes.isfinite().all()


def test_a_segment_axis_of_length_zero_is_no_segment() -> None:
    memory = build_memory(MemoryConfig(width=4, num_slots=2))
    state = fill(memory, (2, 3)).state
    y, after = memory(torch.zeros(2, 0, 5, 4, dtype=torch.float64), state)
    assert y.shape == (2, 0, 5, 4)
    laws.assert_same_bits(after.trace, state.trace)
