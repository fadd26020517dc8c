"""What every memory owes, and what a wrong size or input is answered, for every baseline."""

import re
from dataclasses import fields
from typing import Any

import pytest
import torch
from tests.lab.baselines import EVERY, MASKABLE, REMEMBERING, WIDTH, build, draw, make, written_state
from tests.laws import assert_near, assert_same_bits
from tests.tolerances import SINGLE

from callosal.contract import LAWS, check_memory
from callosal.lab.models import baselines as b
from callosal.memory import Memory
from callosal.memory.packing import check_input


def assert_same_fields(actual: Any, expected: Any) -> None:
    for field in fields(expected):
        assert_same_bits(getattr(actual, field.name), getattr(expected, field.name))


@EVERY
def test_every_law_of_the_contract_is_kept(name: str) -> None:
    """All but that none takes a segment in pieces, that titans takes no mask, that two remember nothing."""
    memory = build(name)
    laws = [law for law in LAWS if law.name != "bounded"]
    report = check_memory(memory, width=WIDTH, num_tokens=4, laws=laws)
    expected = {"pieces equal whole": "not offered"}
    if name not in MASKABLE:
        masked = ("masked is absent", "masked is absent over segments")
        expected |= dict.fromkeys(masked, "not offered")
    if name not in REMEMBERING:
        expected |= dict.fromkeys(("remembers", "gradient through the state"), "no")
    left = {r.name: r.status for r in report.results if r.status != "kept"}
    assert left == expected, str(report)
    assert isinstance(memory, Memory)


@EVERY
def test_every_token_counts_and_every_parameter_learns(name: str) -> None:
    memory, hidden = build(name).train(), draw(2, 3, 4)
    y, state = memory(hidden, written_state(memory, 2))
    for place in [(0, 1), (1, 0), (1, 3), (2, 2)]:
        changed = hidden.clone()
        changed[:, *place] += 1.0
        after, _ = memory(changed, written_state(memory, 2))
        assert (after[:, *place] - y[:, *place]).abs().max() > 1e-6
    y, state = memory(hidden, memory.blank(2))
    (y.square().sum() + (state.penalty if name == "switch" else 0.0)).backward()
    learning = {key: p.grad for key, p in memory.named_parameters() if p.requires_grad}
    assert not [key for key, grad in learning.items() if grad is None or not grad.isfinite().all()]
    # Every token of a row gets gradient through the state.
    if name in REMEMBERING:
        memory, first = build(name), draw(2, 4).requires_grad_()
        y, _ = memory(draw(2, 4, seed=2), memory(first, memory.blank(2))[1])
        (gradient,) = torch.autograd.grad(y[0].square().sum(), first)
        assert (gradient[0].abs().amax(-1) > 1e-9).all()
        assert_same_bits(gradient[1], torch.zeros_like(gradient[1]))


@pytest.mark.parametrize("name", MASKABLE)
@pytest.mark.parametrize("is_blank", [True, False])
def test_an_empty_segment_leaves_the_state(name: str, is_blank: bool) -> None:
    memory = build(name)
    state = memory.blank(2) if is_blank else written_state(memory, 2)
    hidden, nobody = torch.full_like(draw(2, 2, 4), float("nan")), torch.zeros(2, 2, 4).bool()
    for args in [(hidden, state, nobody), (hidden[:, :, :0], state), (hidden[:, :0], state)]:
        y, after = memory(*args)
        assert_same_bits(y, torch.zeros_like(args[0]))
        assert_same_fields(after, state)


@EVERY
def test_a_state_is_a_value(name: str) -> None:
    """Neither casting loses anything, nor does a training step move a state that exists."""
    memory = build(name)
    blank, again = memory.blank(2), memory.blank(2).clone()
    assert len(blank) == 2
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(1.0)
    assert_same_fields(blank, again)
    hidden, start = draw(2, 4), written_state(memory, 2)
    y, state = memory(hidden, start)
    single, after = memory.float()(hidden.float(), start.to(torch.float32))
    assert single.dtype == torch.float32
    assert_near(single, y, SINGLE)
    assert_near(memory(hidden.float()[1:], start.to(torch.float32)[1:].clone())[0], y[1:], SINGLE)
    assert type(after) is type(state)
    with pytest.raises(ValueError, match=r"2 rows .* 3 rows; make one with memory.blank\(2\)"):
        memory(draw(2, 4).float(), memory.blank(3))


@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((2, 4, 5), None, r"\(2, 4, 5\); this memory takes \[batch, time, 6\]"),
        ((2, 4, 6), torch.ones(2, 4), r"torch.float32; .*mask.bool\(\)"),
        ((2, 4, 6), torch.ones(2, 3).bool(), r"a mask of shape \(2, 3\)"),
    ],
)
def test_an_input_that_does_not_fit_is_named(shape: tuple, mask: Any, message: str) -> None:
    """Past the shape checker of the tests, as a user would."""
    with pytest.raises(ValueError, match=message):
        check_input(torch.zeros(shape), mask, 2, WIDTH)


COUNTS = {b.FeedForwardConfig: "hidden_width", b.FullHistoryConfig: "num_heads", b.TuringConfig: "width"}
COUNTS |= {b.MemoryNetworkConfig: "capacity num_hops", b.SwitchConfig: "num_experts", b.TitansConfig: "chunk_size"}
COUNTS |= {b.RecurrentConfig: "num_tokens feed_forward"}
COUNTS |= {b.GatedDeltaConfig: "num_heads key_width value_width num_lags chunk_size"}


@pytest.mark.parametrize(
    ("config", "field", "value", "allowed"),
    [
        *((config, name, 0, "at least 1") for config, names in COUNTS.items() for name in names.split()),
        (b.FullHistoryConfig, "width", 5, "a multiple of num_heads (4)"),
        (b.FullHistoryConfig, "feed_forward", -1, "at least 0"),
        (b.TuringConfig, "num_slots", -2, "at least 1"),
        (b.SwitchConfig, "alpha", -0.1, "at least 0"),
        (b.RecurrentConfig, "width", 6, "a multiple of num_heads (4)"),
        (b.TitansConfig, "max_step", 0.0, "above 0"),
        (b.TitansConfig, "expansion", 0.5, "at least 1"),
        (b.TitansConfig, "head_width", 2, "width (4) where there is one head"),
    ],
)
def test_a_size_out_of_range_is_named(config: type, field: str, value: float, allowed: str) -> None:
    sizes = {"width": 4} | ({"num_heads": 1} if field == "head_width" else {}) | {field: value}
    with pytest.raises(ValueError, match=re.escape(f".{field} is {value}; it must be {allowed}")):
        config(**sizes)


@pytest.mark.parametrize(
    ("config", "parameters", "floats"),
    [
        (b.FeedForwardConfig(width=32, hidden_width=145), 9489, 0),
        (b.FullHistoryConfig(width=32, feed_forward=3), 10432, None),
        (b.MemoryNetworkConfig(width=32), 9248, 2112),
        (b.TuringConfig(width=32, controller_width=37), 9501, 2176),
        (b.SwitchConfig(width=32, hidden_width=71), 9454, 6),
        (b.RecurrentConfig(width=32), 10432, 2048),
        (b.TitansConfig(width=32), 9868, 2176),
        # With as many floats of state as ours but for the filters' last inputs.
        (b.GatedDeltaConfig(width=32, num_lags=3), 8738, 2048 + 2 * 128),
    ],
)
def test_sizes_match_two_banks_of_32_slots(config: Any, parameters: int, floats: int | None) -> None:
    memory = make(config)
    assert sum(p.numel() for p in memory.parameters() if p.requires_grad) == parameters
    assert memory.state_floats == floats
