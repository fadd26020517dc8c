"""The laws of a memory, for every rival."""

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from tests.lab.baselines import EVERY, MASKABLE, REMEMBERING, RIVALS, build, draw, lived, titans
from tests.laws import assert_near, assert_same_bits
from tests.tolerances import SINGLE

from callosal.lab.models.baselines import (
    FeedForward,
    FeedForwardConfig,
    FullHistory,
    FullHistoryConfig,
    MemoryNetwork,
    MemoryNetworkConfig,
    RecurrentConfig,
    RecurrentTokens,
    SwitchConfig,
    SwitchMixture,
    TitansConfig,
    TuringConfig,
    TuringMemory,
)
from callosal.memory import Memory
from callosal.memory.packing import check_input


def assert_same_state(actual: Any, expected: Any) -> None:
    for field in fields(expected):
        assert_near(getattr(actual, field.name), getattr(expected, field.name))


@EVERY
def test_segments_at_once_equal_calls_one_by_one(name: str) -> None:
    memory, hidden = build(name), draw(2, 3, 4)
    assert isinstance(memory, Memory)
    state = start = lived(memory, 2)
    y, after = memory(hidden, start)
    for index in range(3):
        one, state = memory(hidden[:, index], state)
        assert_near(y[:, index], one)
    assert_same_state(after, state)


@EVERY
def test_no_look_ahead(name: str) -> None:
    memory, hidden = build(name), draw(2, 3, 4)
    before, _ = memory(hidden, lived(memory, 2))
    for index, time in [(0, 1), (1, 0), (1, 3), (2, 2)]:
        changed = hidden.clone()
        changed[:, index, time] += 1.0
        after, _ = memory(changed, lived(memory, 2))
        assert_near(
            after.flatten(1, 2)[:, : index * 4 + time], before.flatten(1, 2)[:, : index * 4 + time]
        )
        assert (after[:, index, time] - before[:, index, time]).abs().max() > 1e-6


@EVERY
def test_rows_do_not_leak(name: str) -> None:
    memory, hidden = build(name), draw(3, 2, 4)
    state = lived(memory, 3)
    y, after = memory(hidden, state)
    for row in range(3):
        alone, after_alone = memory(hidden[[row]], state[row])
        assert_near(alone[0], y[row])
        assert_same_state(after_alone, after[row])
    changed = hidden.clone()
    changed[1] *= -2.0
    other, other_state = memory(changed, state)
    assert_same_bits(other[[0, 2]], y[[0, 2]])
    for field in fields(after):
        one, two = (getattr(s[[0, 2]], field.name) for s in (after, other_state))
        assert_same_bits(one, two)


@EVERY
def test_inputs_stay_and_calls_agree(name: str) -> None:
    memory, hidden = build(name), draw(2, 3, 4)
    state = lived(memory, 2)
    kept, kept_state, names = hidden.clone(), state.clone(), set(vars(memory))
    module = {key: tensor.clone() for key, tensor in memory.state_dict().items()}
    first, second = memory(hidden, state), memory(hidden, state)
    assert_same_bits(first[0], second[0])
    assert_same_bits(hidden, kept)
    for field in fields(state):
        assert_same_bits(getattr(state, field.name), getattr(kept_state, field.name))
        assert_same_bits(getattr(first[1], field.name), getattr(second[1], field.name))
    assert set(vars(memory)) == names, "a call left something on the module"
    for key, tensor in memory.state_dict().items():
        assert_same_bits(tensor, module[key])


@pytest.mark.parametrize("name", MASKABLE)
def test_masked_is_absent(name: str) -> None:
    memory, hidden = build(name), draw(4, 3, 4)
    mask = torch.rand(4, 3, 4, generator=torch.Generator().manual_seed(3)) < 0.6
    mask[0, 1], mask[1], mask[2, 0], mask[3, :, 0] = False, False, True, False
    padded = hidden.masked_fill(~mask[..., None], float("nan")).requires_grad_()
    start = lived(memory, 4)
    y, after = memory(padded, start, mask)
    assert_same_bits(y[~mask], torch.zeros_like(y[~mask]))
    for row in range(4):
        state = start[row]
        for index in range(3):
            there = mask[row, index]
            alone, state = memory(hidden[row, index][there][None], state)
            assert_near(y[row, index][there], alone[0])
        assert_same_state(after[row], state)
    leaves = [padded, *memory.parameters()]
    total = y.sum() + sum(getattr(after, field.name).sum() for field in fields(after))
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    for gradient in gradients:
        assert gradient.isfinite().all()
    assert_same_bits(gradients[0][~mask], torch.zeros_like(gradients[0][~mask]))


@pytest.mark.parametrize("name", MASKABLE)
@pytest.mark.parametrize("is_blank", [True, False])
def test_an_empty_segment_leaves_the_state(name: str, is_blank: bool) -> None:
    memory = build(name)
    state = memory.blank(2) if is_blank else lived(memory, 2)
    hidden, nobody = torch.full_like(draw(2, 2, 4), float("nan")), torch.zeros(2, 2, 4).bool()
    for args in [(hidden, state, nobody), (hidden[:, :, :0], state), (hidden[:, :0], state)]:
        y, after = memory(*args)
        assert_same_bits(y, torch.zeros_like(args[0]))
        for field in fields(state):
            assert_same_bits(getattr(after, field.name), getattr(state, field.name))


@pytest.mark.parametrize("name", REMEMBERING)
def test_gradient_goes_through_the_state(name: str) -> None:
    memory, hidden = build(name), draw(2, 4).requires_grad_()
    _, state = memory(hidden, memory.blank(2))
    y, _ = memory(draw(2, 4, seed=2), state)
    (gradient,) = torch.autograd.grad(y[0].square().sum(), hidden, retain_graph=True)
    assert (gradient[0].abs().amax(-1) > 1e-9).all()
    assert_same_bits(gradient[1], torch.zeros_like(gradient[1]))
    cut, _ = memory(draw(2, 4, seed=2), state.detach())
    assert torch.autograd.grad(cut.sum(), hidden, allow_unused=True)[0] is None


@EVERY
def test_gradient_reaches_every_parameter(name: str) -> None:
    memory = build(name).train()
    y, state = memory(draw(3, 3, 4), memory.blank(3))
    penalty = state.penalty if name == "switch" else 0.0
    (y.square().sum() + penalty).backward()
    for key, parameter in memory.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


@EVERY
def test_a_state_is_a_value(name: str) -> None:
    """Neither casting loses anything, nor does a training step move a state that exists."""
    memory = build(name)
    blank, again = memory.blank(2), memory.blank(2).clone()
    assert len(blank) == 2
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(1.0)
    for field in fields(blank):
        assert_same_bits(getattr(blank, field.name), getattr(again, field.name))
    hidden, start = draw(2, 4), lived(memory, 2)
    y, state = memory(hidden, start)
    single, after = memory.float()(hidden.float(), start.to(torch.float32))
    assert single.dtype == torch.float32
    assert_near(single, y, SINGLE)
    assert_near(memory(hidden.float()[1:], start.to(torch.float32)[1:].clone())[0], y[1:], SINGLE)
    assert type(after) is type(state)


@pytest.mark.parametrize("name", MASKABLE)
def test_what_does_not_fit_is_named(name: str) -> None:
    memory, hidden = RIVALS[name](), draw(2, 4).float()
    state, mask = memory.blank(2), torch.ones(2, 4).bool()
    # Past the shape checker of the tests, as a user would.
    with pytest.raises(ValueError, match=r"\(2, 4, 5\); this memory takes \[batch, time, 6\]"):
        check_input(hidden[..., :5], None, 2, memory.width)
    with pytest.raises(ValueError, match=r"2 rows .* 3 rows; make one with memory.blank\(2\)"):
        memory(hidden, memory.blank(3))
    with pytest.raises(ValueError, match=r"torch.float32; .* pass mask.bool\(\)"):
        check_input(hidden, mask.float(), 2, memory.width)
    with pytest.raises(ValueError, match=r"a mask of shape \(2, 3\)"):
        check_input(hidden, mask[:, :3], 2, memory.width)
    assert memory(hidden, state, mask)[0].shape == hidden.shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            lambda: FeedForwardConfig(width=4, hidden_width=0),
            "hidden_width is 0; it must be at least 1",
        ),
        (
            lambda: FullHistoryConfig(width=5, num_heads=2),
            "width is 5; it must be a multiple of num_heads (2)",
        ),
        (lambda: FullHistoryConfig(width=4, num_heads=0), "num_heads is 0; it must be at least 1"),
        (
            lambda: FullHistoryConfig(width=4, feed_forward=-1),
            "feed_forward is -1; it must be at least 0",
        ),
        (lambda: MemoryNetworkConfig(width=4, capacity=0), "capacity is 0; it must be at least 1"),
        (lambda: MemoryNetworkConfig(width=4, num_hops=0), "num_hops is 0; it must be at least 1"),
        (lambda: TuringConfig(width=0), "TuringConfig.width is 0; it must be at least 1"),
        (lambda: TuringConfig(width=4, num_slots=-2), "num_slots is -2; it must be at least 1"),
        (lambda: SwitchConfig(width=4, num_experts=0), "num_experts is 0; it must be at least 1"),
        (
            lambda: SwitchConfig(width=4, alpha=-0.1),
            "SwitchConfig.alpha is -0.1; it must be at least 0",
        ),
        (
            lambda: RecurrentConfig(width=6, num_heads=4),
            "width is 6; it must be a multiple of num_heads (4)",
        ),
        (lambda: RecurrentConfig(width=4, num_tokens=0), "num_tokens is 0; it must be at least 1"),
        (
            lambda: RecurrentConfig(width=4, feed_forward=0),
            "feed_forward is 0; it must be at least 1",
        ),
        (lambda: TitansConfig(width=4, chunk_size=0), "chunk_size is 0; it must be at least 1"),
        (lambda: TitansConfig(width=4, max_step=0.0), "max_step is 0.0; it must be above 0"),
        (lambda: TitansConfig(width=4, expansion=0.5), "expansion is 0.5; it must be at least 1"),
        (
            lambda: TitansConfig(width=4, num_heads=1, head_width=2),
            "head_width is 2; it must be width (4) where there is one head",
        ),
    ],
)
def test_a_config_out_of_range_is_named(config: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        config()


@pytest.mark.parametrize(
    ("memory", "num_parameters", "state_floats"),
    [
        (lambda: FeedForward(FeedForwardConfig(width=32, hidden_width=145)), 9489, 0),
        (lambda: FullHistory(FullHistoryConfig(width=32, feed_forward=3)), 10432, None),
        (lambda: MemoryNetwork(MemoryNetworkConfig(width=32)), 9248, 2112),
        (lambda: TuringMemory(TuringConfig(width=32, controller_width=37)), 9501, 2176),
        (lambda: SwitchMixture(SwitchConfig(width=32, hidden_width=71)), 9454, 6),
        (lambda: RecurrentTokens(RecurrentConfig(width=32)), 10432, 2048),
        (lambda: titans(TitansConfig(width=32)), 9868, 2176),
    ],
)
def test_sizes_that_match_two_banks_of_32_slots(
    memory: Callable[[], Any], num_parameters: int, state_floats: int | None
) -> None:
    built = memory()
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == num_parameters
    assert built.state_floats == state_floats
