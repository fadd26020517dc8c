"""A memory behind several layers: each reader by the slow twin, one write, and nothing that depends on the order."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import SEEDS, build_memory, configs, fill, normal
from tests.laws import assert_near, assert_same_bits_of, assert_same_state
from tests.shapes import unchecked
from torch import Tensor, nn

from callosal import check_memory
from callosal.memory import LateralMemory, MemoryConfig, SharedMemory, calibrate, load_memory, merge, save_memory
from callosal.ops import reference

SCALARS = ("gain", "drive", "write", "homeostasis", "context", "contrast", "balance", "writers")
SCALARS += ("crosstalk", "detach_context", "normalised", "gates", "recollection")
READERS = 2


def build(config: MemoryConfig | None = None, seed: int = 0, **fields: Any) -> SharedMemory:
    """Build a shared memory in float64, of which no reader's parameter or mean is at a special value."""
    memory = build_memory(config, seed, **fields)
    shared = SharedMemory(memory.config, READERS).double().eval()
    shared.load_state_dict(memory.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in shared.readers.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.3 * noise)
        for number in range(READERS):
            reader = shared.reader(number)
            reader.slow_weight.fill_(0.5)
            reader.slow_norm.fill_(0.2)
            noise = torch.randn(reader.slow_mean.shape, generator=generator, dtype=torch.float64)
            reader.slow_mean.copy_(0.1 * noise)
    return shared


def parameters_of(memory: SharedMemory, number: int) -> dict[str, Tensor]:
    """Return what the reference reads of a memory, behind one of the layers that only read."""
    own = dict(memory.readers[number].named_parameters()) | dict(memory.readers[number].named_buffers())
    return dict(memory.named_parameters()) | dict(memory.named_buffers()) | own


@st.composite
def shared_cases(draw: st.DrawFn, **fixed: Any) -> tuple[SharedMemory, Tensor, Any, Tensor]:
    config, seed = draw(configs(**fixed)), draw(SEEDS)
    memory = build(config, seed)
    _, hidden, state, mask = fill(memory, (draw(st.integers(1, 3)), draw(st.integers(1, 6))), seed)
    return memory, hidden, state, mask


@given(shared_cases(), st.integers(0, READERS - 1), st.booleans())
@settings(max_examples=40)
def test_a_reader_equals_the_slow_twin_with_its_own_ways(case: Any, number: int, is_weighed: bool) -> None:
    memory, hidden, state, mask = case
    salience = torch.linspace(-1.0, 1.0, mask.numel()).clamp_min(0.0).view(mask.shape) if is_weighed else None
    config, context = memory.config, state.context
    hidden, trace = hidden.clone().requires_grad_(), state.trace.clone().requires_grad_()
    y, after = memory.read(number, hidden, replace(state, trace=trace), mask, salience=salience)
    twin, *_ = reference.segment(
        hidden,
        trace,
        mask,
        parameters_of(memory, number),
        carried=None if context is None else (context.signal_sum, context.num_tokens),
        salience=salience,
        recollected=state.recollected,
        **{name: getattr(config, name) for name in SCALARS},
    )
    assert_near(y, twin)
    assert_same_bits_of(after.trace, trace)
    leaves = [hidden, trace, *(p for p in memory.parameters() if p.requires_grad)]
    probe = torch.cos(torch.arange(y.numel()).double()).view(y.shape)
    both = (
        torch.autograd.grad((out * probe).sum() + 0.0 * trace.sum(), leaves, allow_unused=True, materialize_grads=True)
        for out in (y, twin)
    )
    for one, other in zip(*both, strict=True):
        assert_near(one, other)


@given(shared_cases(), st.permutations(range(READERS + 1)))
@settings(max_examples=15)
def test_neither_the_order_of_layers_nor_what_others_read_matters(case: Any, order: list[int]) -> None:
    memory, hidden, state, mask = case
    others = [hidden, hidden.flip(1), hidden.square()]

    def behind(layer: int, given: Any) -> tuple[Tensor, Any]:
        if layer == READERS:
            return memory(others[layer], given, mask, commit=False)
        return memory.read(layer, others[layer], given, mask)

    after, ys = state, {}
    for layer in order:
        ys[layer], after = behind(layer, after)
        assert_same_bits_of(ys[layer], behind(layer, state)[0])
    plain, expected = memory(others[READERS], state, mask)
    assert_same_bits_of(ys[READERS], plain)
    # One write, from one layer: as if nobody else had read.
    assert_same_state(memory.commit(after), expected)
    elsewhere = after.segment.elsewhere
    assert_same_bits_of(elsewhere.num_tokens, mask.sum(1, keepdim=True).expand(-1, READERS).double())


@given(shared_cases(), st.data())
@settings(max_examples=15)
def test_a_segment_in_pieces_is_the_segment_at_once_for_every_reader(case: Any, data: st.DataObject) -> None:
    memory, hidden, state, mask = case
    cuts = sorted(data.draw(st.lists(st.integers(0, hidden.shape[1]), max_size=3)))
    whole, at_once = memory.read(1, hidden, state, mask)
    after, ys = state, []
    for start, end in itertools.pairwise([0, *cuts, hidden.shape[1]]):
        y, after = memory.read(1, hidden[:, start:end], after, mask[:, start:end])
        _, after = memory(hidden[:, start:end], after, mask[:, start:end], commit=False)
        ys.append(y)
    assert_near(torch.cat(ys, 1), whole)
    assert_same_state(after.segment.elsewhere, at_once.segment.elsewhere)
    absent = memory.read(0, hidden.masked_fill(~mask[..., None], torch.nan), state, mask)[0]
    assert_near(absent, memory.read(0, hidden, state, mask)[0])


@pytest.mark.parametrize(
    "fields", [{}, {"context": "token"}, {"carry": 0.5}, {"drive": "slots"}, {"recollection": 0.5}], ids=str
)
def test_a_commit_in_training_moves_each_reader_s_means_by_what_it_saw(fields: dict[str, Any]) -> None:
    memory = build(**fields).train()
    config, kept = memory.config, 1.0 - memory.config.momentum
    _, hidden, state, _ = fill(memory, (3, 5))
    parameters = {key: value.clone() for key, value in parameters_of(memory, 1).items()}
    _, after = memory.read(1, hidden, state)
    _, after = memory(hidden, after, commit=False)
    memory.commit(after)
    reader = memory.reader(1)
    seen = torch.stack([torch.stack([reference.led_in(x, parameters) for x in row]) for row in hidden])
    if state.recollected is not None:
        seen = seen + (state.recollected @ memory.recollection_map.T)[:, None]  # pyright: ignore[reportOptionalMemberAccess]
    means = seen.mean(1)
    if config.context == "token":
        means = seen[:, -1]
    if state.context is not None:
        total = seen.sum(1) + state.context.signal_sum
        means = total / (5 + state.context.num_tokens)[:, None]
    if config.drive == "slots":
        assert after.segment is not None
        assert after.segment.elsewhere is not None
        means = after.segment.elsewhere.signal_sum[:, 1] / 5
    assert_near(reader.slow_mean, config.momentum * parameters["slow_mean"] + kept * means.mean(0))
    assert_near(reader.slow_weight, config.momentum * parameters["slow_weight"] + kept)
    # Nobody asked the other reader.
    assert_same_bits_of(memory.reader(0).slow_weight, torch.tensor(0.5, dtype=torch.float64))


def test_it_keeps_the_contract_of_a_memory_and_its_states_are_values(tmp_path: Path) -> None:
    memory = build(num_banks=2)
    with unchecked():
        assert not check_memory(memory, width=4).broken
    _, hidden, state, _ = fill(memory, (3, 5))
    _, opened = memory.read(0, hidden, state)
    assert_same_bits_of(opened[[2, 0]][1], opened[0])
    assert_same_bits_of(type(opened).stack([opened[0], opened[1:]]), opened)
    state = memory.commit(memory(hidden, opened, commit=False)[1])
    save_memory(state, tmp_path / "file", memory)
    assert_same_bits_of(load_memory(tmp_path / "file", memory), state)
    merged = merge(state[0], state[1])
    assert_same_bits_of(memory.read(1, hidden[:1], merge(merged, merged))[0], memory.read(1, hidden[:1], merged)[0])


def test_bfloat16_and_what_cannot_be_read() -> None:
    memory = SharedMemory(MemoryConfig(width=4, num_slots=3), 1).bfloat16().eval()
    hidden = normal(0, 2, 3, 4).bfloat16()
    y, state = memory.read(0, hidden, memory.blank(2))
    assert y.dtype == torch.bfloat16
    assert not y.any()  # output maps start at zero
    assert state.segment is not None
    assert state.segment.elsewhere is not None
    assert state.segment.elsewhere.num_tokens.dtype == torch.float32
    with pytest.raises(ValueError, match="num_readers is 0"):
        SharedMemory(memory.config, 0)
    with unchecked():
        with pytest.raises(ValueError, match=r"a reader takes \[batch, time, width\]"):
            memory.read(0, hidden[:, None], memory.blank(2))
        with pytest.raises(ValueError, match="2 rows of hidden states meet a memory of 3"):
            memory.read(0, hidden, memory.blank(3))
        alone = LateralMemory(memory.config).bfloat16()
        with pytest.raises(ValueError, match="a memory that no other layer reads"):
            memory.read(0, hidden, alone(hidden, commit=False)[1])


@pytest.mark.parametrize("inner_width", [None, 8])
@torch.no_grad()
def test_calibrated_readers_see_what_the_writing_layer_sees(inner_width: int | None) -> None:
    """Where one layer's states are a linear function of the other's, for tokens that nothing was fitted to."""
    width = 16
    memory = SharedMemory(MemoryConfig(width=width, num_slots=8, inner_width=inner_width), 2).double().eval()
    turned = nn.init.orthogonal_(torch.empty(width, width, dtype=torch.float64))
    spread = torch.linspace(0.5, 4.0, width, dtype=torch.float64)

    def layers(seed: int) -> list[Tensor]:
        hidden = normal(seed, 600, width)
        return [hidden, 3.0 * (hidden * spread) @ turned + 5.0, hidden @ turned]

    def alike() -> list[float]:
        held_out = layers(1)
        seen = memory.led_in(held_out[0])
        return [
            torch.cosine_similarity(memory.reader(n).led_in(held_out[n + 1]), seen, dim=-1).mean().item()
            for n in range(2)
        ]

    assert max(alike()) < 0.5
    hidden, *elsewhere = layers(0)
    calibrate(memory, hidden, elsewhere)
    assert min(alike()) > 0.98
    assert memory.reader(1).config.calibrated
    for wrong in ([], [hidden], [hidden, hidden[1:]]):
        with unchecked(), pytest.raises(ValueError, match="behind each of the 2 layers that only read"):
            calibrate(memory, hidden, wrong)
    with pytest.raises(ValueError, match="NaN or infinity"):
        calibrate(memory, hidden, [hidden, hidden * torch.inf])
