"""The transformer: what crosses a segment, with a memory and without, and no look-ahead."""

import inspect
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.laws import assert_near, assert_same_bits, assert_same_bits_of
from torch import Tensor

from callosal.lab.models.transformer import Transformer, TransformerConfig
from callosal.memory import LateralMemory, MemoryConfig

CONFIG = TransformerConfig(num_tokens=11, max_time=6, width=8, num_blocks=3, num_heads=2)
NO_MEMORY: tuple[int, ...] = ()
SEEDS = st.integers(0, 100)
PLACES = st.sampled_from([(0,), (1,), (2,), (0, 1), (0, 1, 2)])


def build(places: tuple[int, ...], *, num_banks: int = 2, seed: int = 0) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings_of_memory = MemoryConfig(width=8, num_slots=4, num_banks=num_banks)
        memories = {place: LateralMemory(settings_of_memory) for place in places}
        torch.manual_seed(seed)
        return Transformer(CONFIG, memories).double().eval()


def draw_tokens(seed: int, num_segments: int = 3, num_steps: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(11, (2, num_segments, num_steps), generator=generator)


def change(tokens: Tensor, *place: int) -> Tensor:
    changed = tokens.clone()
    changed[:, *place] = (changed[:, *place] + 3) % 11
    return changed


@settings(max_examples=10)
@given(SEEDS)
def test_without_memories_nothing_crosses_a_segment(seed: int) -> None:
    model, tokens = build(NO_MEMORY), draw_tokens(seed)
    before, states = model(tokens, model.blank(2))
    assert states == {}
    after, _ = model(change(tokens, 0), {})
    assert_same_bits(after[:, 1:], before[:, 1:])
    assert (after[:, 0] - before[:, 0]).abs().max() > 1e-6
    # So the order of segments does not matter either.
    assert_near(model(tokens.flip(1), {})[0].flip(1), before)


@given(SEEDS, PLACES, st.integers(1, 4))
def test_with_a_memory_something_crosses_and_nothing_looks_ahead(seed: int, places: Any, step: int) -> None:
    model, tokens = build(places), draw_tokens(seed)
    before, _ = model(tokens, model.blank(2))
    after, _ = model(change(tokens, 1), model.blank(2))
    assert_same_bits(after[:, 0], before[:, 0])
    assert (after[:, 2] - before[:, 2]).abs().max() > 1e-6
    # Inside a segment neither.
    after, _ = model(change(tokens, 2, step), model.blank(2))
    assert_near(after[:, :2], before[:, :2])
    assert_near(after[:, 2, :step], before[:, 2, :step])


@given(SEEDS, PLACES, st.integers(1, 3))
def test_an_episode_at_once_is_its_segments_in_turn(seed: int, places: Any, num_banks: int) -> None:
    model, tokens = build(places, num_banks=num_banks), draw_tokens(seed)
    logits, after = model(tokens, model.blank(2))
    states, in_turn = model.blank(2), []
    for index in range(3):
        one, states = model(tokens[:, index : index + 1], states)
        in_turn.append(one)
    assert_near(torch.cat(in_turn, dim=1), logits)
    assert after.keys() == states.keys() == set(places)
    for place in places:
        assert_near(after[place].trace, states[place].trace)


@settings(max_examples=8)
@given(SEEDS, PLACES)
def test_rows_do_not_leak_and_states_are_not_changed(seed: int, places: tuple[int, ...]) -> None:
    model, tokens, states = build(places), draw_tokens(seed), build(places).blank(2)
    kept = {place: state.clone() for place, state in states.items()}
    before, _ = model(tokens, states)
    changed = tokens.clone()
    changed[0] = (changed[0] + 1) % 11
    after, _ = model(changed, states)
    assert_same_bits(after[1], before[1])
    for place, state in states.items():
        assert_same_bits(state.trace, kept[place].trace)


@given(seed=SEEDS, places=st.one_of(PLACES, st.just(NO_MEMORY)))
def test_what_is_remembered_is_what_a_prediction_leaves(seed: int, places: tuple[int, ...]) -> None:
    model, tokens = build(places, seed=seed), draw_tokens(seed)
    for start in (model.blank(2), model(tokens, model.blank(2))[1]):
        expected, found = model(tokens, start)[1], model.remember(tokens, start)
        assert list(found) == list(places)
        for place in places:
            assert_same_bits_of(found[place], expected[place])


def test_with_and_without_memory_the_trunk_is_the_same() -> None:
    """The baseline differs by the memory alone: from one seed the rest starts the same."""
    bare, full = build(NO_MEMORY), build((1,))
    assert isinstance(full.memory_at(1), LateralMemory)
    assert full.memory_at(0) is None
    trunk = {name: p for name, p in full.named_parameters() if not name.startswith("memories.")}
    assert trunk.keys() == dict(bare.named_parameters()).keys()
    for name, parameter in bare.named_parameters():
        assert_same_bits(trunk[name].detach(), parameter.detach())


def test_gradient_reaches_every_parameter() -> None:
    model = build((0, 1)).train()
    model(draw_tokens(0), model.blank(2))[0].square().mean().backward()
    left = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not left


SIZES = ("num_tokens", "max_time", "width", "num_blocks", "num_heads", "feed_forward")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [*((name, 0, "at least 1") for name in SIZES), ("width", 9, "a multiple of num_heads (2)")],
)
def test_a_size_out_of_range_is_named(field: str, value: int, allowed: str) -> None:
    message = f"TransformerConfig.{field} is {value}; it must be {allowed}"
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(CONFIG, **{field: value})


def test_memories_and_inputs_that_do_not_fit_are_named() -> None:
    places = "a memory behind block {}; blocks are 0 to 2"
    wrong = ((-1, 8, places.format(-1)), (3, 8, places.format(3)), (0, 4, "width 4 in a transformer of width 8"))
    for place, width, message in wrong:
        with pytest.raises(ValueError, match=message):
            Transformer(CONFIG, {place: LateralMemory(MemoryConfig(width=width, num_slots=2))})
    bare, full, tokens = build(NO_MEMORY), build((1,)), draw_tokens(0)
    with pytest.raises(ValueError, match="segments of 7 tokens; this transformer takes at most 6"):
        bare(draw_tokens(0, num_steps=7), {})
    with pytest.raises(ValueError, match=r"places \[\]; the memories stand at \[1\].*model\.blank"):
        full(tokens, {})
    with pytest.raises(ValueError, match=r"places \[1\]; the memories stand at \[\]"):
        bare(tokens, full.blank(2))
    # Past the shape checker of the tests, as a user would.
    with pytest.raises(ValueError, match=r"\(2, 3\).*tokens\[:, None\]"):
        inspect.unwrap(Transformer.forward)(bare, torch.zeros(2, 3, dtype=torch.long), {})
