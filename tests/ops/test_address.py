"""From hidden states to slots: each function against its slow twin, and some of its laws."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS, normal
from tests.laws import assert_near, assert_same_bits, assert_twin

from callosal.ops import address, reference

SIZES = st.integers(1, 5)


@given(seed=SEEDS, width=SIZES)
def test_norms_equal_their_twins(seed: int, width: int) -> None:
    vectors = normal(seed, 3, width)
    for norm in (address.unit_norm, address.rms_norm):
        assert_twin(norm, vectors)


@given(seed=SEEDS, width=SIZES)
def test_a_vector_times_its_scale_is_its_norm_s_twin(seed: int, width: int) -> None:
    vectors = normal(seed, 3, width)
    slow = torch.stack([reference.rms_norm(vector) for vector in vectors])
    assert_near(vectors * address.rms_scale(vectors)[:, None], slow)
    zero = torch.zeros(1, width, requires_grad=True)
    (zero * address.rms_scale(zero)[:, None]).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_a_zero_vector_stays_zero_with_a_finite_gradient() -> None:
    for norm in (address.unit_norm, address.rms_norm):
        zero = torch.zeros(4, requires_grad=True)
        norm(zero).sum().backward()
        assert_same_bits(norm(zero).detach(), torch.zeros(4))
        assert zero.grad is not None
        assert zero.grad.isfinite().all()


@given(seed=SEEDS, num_tokens=SIZES, num_lags=SIZES, num_heads=SIZES)
def test_lagged_queries_equal_their_twin(seed: int, num_tokens: int, num_lags: int, num_heads: int) -> None:
    hidden, tail = normal(seed, 2, num_tokens, 4), normal(seed + 1, 2, num_lags - 1, 4)
    filters, query_map = normal(seed, num_heads, num_lags, 4), normal(seed, 3, 4)
    assert_twin(address.lagged_queries, hidden, tail, rest=(filters, query_map))


@given(seed=SEEDS, num_tokens=SIZES, num_lags=SIZES)
def test_a_delta_filter_at_lag_h_shows_the_token_h_steps_back(seed: int, num_tokens: int, num_lags: int) -> None:
    hidden, tail = normal(seed, num_tokens, 4), normal(seed + 1, num_lags - 1, 4)
    deltas = torch.eye(num_lags, dtype=torch.float64)[..., None].expand(-1, -1, 4)
    queries = address.lagged_queries(hidden, tail, deltas, torch.eye(4, dtype=torch.float64))
    history = torch.cat([tail, hidden])
    for head in range(num_lags):
        shifted = history[num_lags - 1 - head :][:num_tokens]
        assert_near(queries[:, head], address.unit_norm(shifted))


@given(seed=SEEDS, num_banks=SIZES, num_slots=SIZES)
def test_logits_and_drive_equal_their_twins(seed: int, num_banks: int, num_slots: int) -> None:
    queries, addresses = normal(seed, 3, 2, 4), normal(seed, num_banks, num_slots, 4)
    temperature = torch.tensor(14.0, dtype=torch.float64)
    assert_twin(address.slot_drive, assert_twin(address.slot_logits, queries, rest=(addresses, temperature)))


@given(seed=SEEDS, scale=st.floats(0.5, 50.0))
def test_logits_depend_on_an_address_s_direction_only(seed: int, scale: float) -> None:
    # Addresses of norm well above the floor under the norm, which is not part of the law.
    queries, addresses = address.unit_norm(normal(seed, 2, 4)), 1e4 * normal(seed, 2, 3, 4).sign()
    one = torch.tensor(1.0, dtype=torch.float64)
    logits = address.slot_logits(queries, addresses, one)
    assert_near(address.slot_logits(queries, scale * addresses, one), logits)
    assert logits.abs().max() <= 1.0
