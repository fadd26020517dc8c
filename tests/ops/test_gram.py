"""A^T A V W: reading, consolidating in either order, and the write that stays in bounds."""

import itertools
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS, normal
from tests.laws import assert_near, assert_same_bits, assert_twin
from tests.shapes import unchecked
from torch import Tensor

from callosal.ops import gram, reference

SIZES = st.integers(1, 6)
DOUBLE = torch.float64


def attention(seed: int, *sizes: int) -> Tensor:
    return normal(seed, *sizes).softmax(-1)


@given(seed=SEEDS, num_tokens=SIZES, num_banks=SIZES, num_slots=SIZES, width=SIZES)
def test_read_and_transform_equal_their_twins(
    seed: int, num_tokens: int, num_banks: int, num_slots: int, width: int
) -> None:
    weights = attention(seed, 2, num_tokens, 2, num_banks, num_slots)
    values, maps = normal(seed, 2, num_banks, num_slots, width), normal(seed, num_banks, width, 3)
    assert_twin(gram.read, weights, values)
    assert_twin(gram.transform, values, rest=(maps,))


@given(seed=SEEDS, num_tokens=SIZES, num_slots=SIZES, width=SIZES)
def test_all_orders_equal_the_twin_with_gradients(seed: int, num_tokens: int, num_slots: int, width: int) -> None:
    weights = attention(seed, 2, num_tokens, num_slots).requires_grad_()
    values = normal(seed, 2, num_slots, width).requires_grad_()
    maps, probe = normal(seed, 2, width, width).requires_grad_(), normal(seed + 1, 2, num_slots, width)
    twin = torch.stack([reference.consolidate(*bank) for bank in zip(weights, values, strict=True)])
    for w, expected in [((), twin), ((maps,), reference.transform(twin, maps))]:
        leaves = (weights, values, *w)
        slopes = torch.autograd.grad((expected * probe).sum(), leaves, retain_graph=True)
        for order in (*gram.ORDERS, None):
            actual = gram.consolidate(weights, values, None, None, *w, order=order)
            assert_near(actual, expected)
            for one, other in zip(torch.autograd.grad((actual * probe).sum(), leaves), slopes, strict=True):
                assert_near(one, other)
    assert_near(gram.co_activation(weights), torch.stack([reference.co_activation(bank) for bank in weights]))


@given(seed=SEEDS, num_tokens=SIZES, num_slots=SIZES, width=SIZES)
def test_salience_and_observations_equal_the_twin_in_all_orders(
    seed: int, num_tokens: int, num_slots: int, width: int
) -> None:
    weights = attention(seed, num_tokens, num_slots)
    values, observed = normal(seed, num_slots, width), normal(seed + 1, num_tokens, width)
    salience = normal(seed, num_tokens).sigmoid()
    assert_near(gram.co_activation(weights, salience), reference.co_activation(weights, salience))
    for rest in [(observed, None), (None, salience), (observed, salience)]:
        expected = reference.consolidate(weights, values, *rest)
        for order in (*gram.ORDERS, None):
            assert_near(gram.consolidate(weights, values, *rest, order=order), expected)


@given(seed=SEEDS, num_tokens=SIZES, num_slots=SIZES, width=SIZES)
def test_what_is_sent_equals_its_twin_and_is_at_most_its_largest_row_times_the_touches(
    seed: int, num_tokens: int, num_slots: int, width: int
) -> None:
    weights, payload = attention(seed, num_tokens, num_slots), normal(seed, num_tokens, width)
    salience = normal(seed + 1, num_tokens).sigmoid()
    assert_near(gram.send(weights, payload), reference.send(weights, payload))
    sent = gram.send(weights, payload, salience)
    assert_near(sent, reference.send(weights, payload, salience))
    usage = (salience[:, None] * weights).sum(0)
    assert (sent.norm(dim=-1) <= payload.norm(dim=-1).max() * usage * (1 + 1e-12)).all()


@given(seed=SEEDS, num_segments=SIZES, num_tokens=SIZES, data=st.data())
def test_what_segments_send_is_what_each_sends(
    seed: int, num_segments: int, num_tokens: int, data: st.DataObject
) -> None:
    order = data.draw(st.sampled_from(gram.ORDERS))
    weights, values = attention(seed, num_segments, 2, num_tokens, 3), normal(seed, 2, 3, 4)
    observed, maps = normal(seed, num_segments, 1, num_tokens, 4), normal(seed, 2, 4, 4)
    first, second = normal(seed + 1, 2, num_segments, 1, num_tokens).sigmoid()
    parts = gram.sending(weights, observed, first, maps, order).segments()
    for part, *one, later in zip(parts, weights, observed, first, second, strict=True):
        part, salience = (part, one[2]) if order == "gram" else (part.weighed(later), one[2] * later)  # noqa: PLW2901
        assert_near(gram.sent(part, values), gram.consolidate(one[0], values, one[1], salience, maps))
        assert_near(part.usage, (one[0] * salience[..., None]).sum(-2))


@given(num_tokens=SIZES, num_slots=SIZES, width=SIZES, observed=st.booleans(), transformed=st.booleans())
def test_the_chosen_order_is_the_one_with_fewest_multiplications(
    num_tokens: int, num_slots: int, width: int, observed: bool, transformed: bool
) -> None:
    counts = {
        order: reference.count_multiplications(
            order, num_tokens, num_slots, width, observed=observed, transformed=transformed
        )
        for order in gram.ORDERS
    }
    order = gram.cheapest_order(num_tokens, num_slots, width, observed=observed, transformed=transformed)
    assert counts[order] == min(counts.values())
    weights, values = attention(0, 1, num_tokens, num_slots), normal(0, 1, num_slots, width)
    tokens = normal(0, 1, num_tokens, width) if observed else None
    maps = normal(0, 1, width, width) if transformed else None
    with mock.patch.object(gram, "sending", wraps=gram.sending) as chosen:
        gram.consolidate(weights, values, tokens, None, maps)
    assert chosen.call_args.args[-1] == order


@unchecked()
def test_an_order_is_chosen_in_compiled_code_whose_sizes_vary() -> None:
    torch.compiler.reset()
    compiled = torch.compile(gram.consolidate, fullgraph=True, dynamic=True, backend="eager")
    for num_tokens, num_slots in [(3, 2), (2, 5), (9, 2)]:
        given_inputs = (
            attention(0, 1, num_tokens, num_slots),
            normal(0, 1, num_slots, 4),
            None,
            None,
            normal(0, 1, 4, 4),
        )
        assert_near(compiled(*given_inputs), gram.consolidate(*given_inputs))


@given(seed=SEEDS, num_tokens=SIZES, data=st.data())
def test_co_activation_of_pieces_adds_up(seed: int, num_tokens: int, data: st.DataObject) -> None:
    weights = attention(seed, num_tokens, 4)
    cut = data.draw(st.integers(0, num_tokens))
    pieces = gram.co_activation(weights[:cut]) + gram.co_activation(weights[cut:])
    assert_near(pieces, gram.co_activation(weights))


@given(seed=SEEDS, num_slots=SIZES, width=SIZES)
def test_writes_equal_their_twins(seed: int, num_slots: int, width: int) -> None:
    trace, update = normal(seed, 2, num_slots, width), normal(seed + 1, 2, num_slots, width)
    usage, inertia = normal(seed, 2, num_slots).abs(), torch.tensor(3.0, dtype=DOUBLE)
    assert_twin(gram.bounded_write, trace, update, usage, rest=(inertia,))
    assert_same_bits(gram.additive_write(trace, update), reference.additive_write(trace, update))


@given(seed=SEEDS, num_tokens=SIZES, num_slots=SIZES, width=SIZES)
def test_the_delta_write_equals_its_twin(seed: int, num_tokens: int, num_slots: int, width: int) -> None:
    weights, inertia = attention(seed, num_tokens, num_slots), torch.tensor(3.0, dtype=DOUBLE)
    trace, values = normal(seed + 1, num_slots, width), normal(seed + 2, num_slots, width)
    maps = normal(seed, width, width)
    correction = gram.consolidate(weights, values @ maps - trace)
    fast = gram.delta_write(trace, correction, weights.sum(0), inertia)
    assert_near(fast, reference.delta_write(trace, weights, values, maps, inertia))
    observed, salience = normal(seed + 3, num_tokens, width), normal(seed, num_tokens).sigmoid()
    correction = gram.consolidate(weights, values @ maps - trace, observed @ maps, salience)
    fast = gram.delta_write(trace, correction, (weights * salience[:, None]).sum(0), inertia)
    assert_near(fast, reference.delta_write(trace, weights, values, maps, inertia, observed, salience))


@given(seed=SEEDS, num_slots=SIZES)
def test_the_delta_write_rests_where_tokens_read_what_they_would_write(seed: int, num_slots: int) -> None:
    """Written again and again, what tokens read of the trace comes nearer to their values."""
    weights, inertia = attention(seed, 2, num_slots), torch.tensor(0.1, dtype=DOUBLE)
    values, trace = normal(seed + 2, num_slots, 3), torch.zeros(num_slots, 3, dtype=DOUBLE)
    errors = []
    for _ in range(60):
        errors.append((weights @ (values - trace)).norm().item())
        correction = gram.consolidate(weights, values - trace)
        trace = gram.delta_write(trace, correction, weights.sum(0), inertia)
    assert errors[-1] <= 0.9 * errors[0] + 1e-9
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@given(seed=SEEDS, unused=st.lists(st.booleans(), min_size=4, max_size=4))
def test_an_unused_slot_keeps_every_bit(dtype: torch.dtype, seed: int, unused: list[bool]) -> None:
    weights = attention(seed, 5, 4) * ~torch.tensor(unused)
    trace, values = (normal(seed + i, 4, 3) for i in range(2))
    weights, trace, values = weights.to(dtype), trace.to(dtype), values.to(dtype)
    usage = weights.sum(0)
    update = gram.consolidate(weights, values)
    written = gram.bounded_write(trace, update, usage, torch.tensor(3.0, dtype=dtype))
    assert_same_bits(written[unused], trace[unused])


@given(seed=SEEDS, num_tokens=SIZES, num_slots=SIZES, order=st.sampled_from(gram.ORDERS), unused=st.booleans())
def test_steps_taken_on_the_way_make_the_same_write(
    seed: int, num_tokens: int, num_slots: int, order: gram.Order, unused: bool
) -> None:
    weights, values = attention(seed, num_tokens, num_slots)[None], normal(seed, 1, num_slots, 3)
    if unused:
        weights[..., 0] = 0.0
    observed, salience = normal(seed + 1, 1, num_tokens, 3), normal(seed, 1, num_tokens).sigmoid()
    maps, trace, inertia = normal(seed + 2, 1, 3, 3), normal(seed + 3, 1, num_slots, 3), torch.tensor(1.3, dtype=DOUBLE)
    sending = gram.sending(weights, observed, salience, maps, order)
    written = gram.bounded_write(trace, gram.sent(sending, values), sending.usage, inertia)
    stepped = gram.sent(sending.stepped(inertia), values)
    assert_near(gram.step(trace, stepped, sending.usage, inertia), written)
    if unused:
        assert_same_bits(gram.step(trace, stepped, sending.usage, inertia)[:, 0], trace[:, 0])
    # The delta rule's correction likewise.
    correction = gram.sent(gram.sending(weights, observed, salience, maps, "tokens"), values, trace)
    early = gram.sent(gram.sending(weights, observed, salience, maps, "tokens").stepped(inertia), values, trace)
    assert_near(trace + early, gram.delta_write(trace, correction, sending.usage, inertia))


@given(seed=SEEDS, num_tokens=SIZES, num_slots=SIZES, inertia=st.floats(1e-3, 10.0), strength=st.floats(0.0, 1.0))
def test_a_write_never_leaves_the_ball(
    seed: int, num_tokens: int, num_slots: int, inertia: float, strength: float
) -> None:
    """Values of norm r and a map of norm w keep every slot within r * w, from anywhere within."""
    width, w = 3, 4.0
    values = width**0.5 * torch.nn.functional.normalize(normal(seed, num_slots, width), dim=-1)
    turn = torch.linalg.qr(normal(seed, width, width)).Q
    bound = w * width**0.5
    trace = bound * torch.nn.functional.normalize(normal(seed + 1, num_slots, width), dim=-1)
    weights = strength * attention(seed, num_tokens, num_slots)
    update = gram.consolidate(weights, values) @ (w * turn)
    kappa = torch.tensor(inertia, dtype=DOUBLE)
    written = gram.bounded_write(trace, update, weights.sum(0), kappa)
    assert written.norm(dim=-1).max() <= bound * (1 + 1e-9)
