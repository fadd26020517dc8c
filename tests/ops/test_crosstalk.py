"""The coupling between banks: its spectrum, its shares, and what plasticity does with it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import SEEDS, normal
from tests.laws import assert_near, assert_twin
from torch import Tensor

from callosal.ops import crosstalk, reference

BANKS = st.integers(1, 4)
SIGNS = st.floats(-1.0, 1.0)


@pytest.mark.parametrize("num_banks", range(1, 7))
@given(sign=SIGNS)
def test_coupling_has_one_common_and_b_minus_1_differential_modes(num_banks: int, sign: float) -> None:
    coupling = crosstalk.coupling_matrix(num_banks, sign)
    assert_near(coupling, reference.coupling_matrix(num_banks, sign))
    coupling = coupling.double()
    together = torch.ones(num_banks, dtype=torch.float64)
    # The matrix itself is made in float32, to which 3e-7 is three roundings.
    if num_banks == 1:
        assert coupling.item() == 1.0
        return
    assert_near(coupling @ together, (1.0 + sign * (num_banks - 1)) * together, 3e-7)
    for bank in range(1, num_banks):
        apart = torch.zeros_like(together)
        apart[0], apart[bank] = 1.0, -1.0
        assert_near(coupling @ apart, (1.0 - sign) * apart, 3e-7)


@given(seed=SEEDS, num_banks=BANKS, gain=st.floats(0.1, 10.0))
def test_shares_equal_their_twin_and_sum_to_one(seed: int, num_banks: int, gain: float) -> None:
    drive, coupling = normal(seed, 3, num_banks), normal(seed, num_banks, num_banks)
    fast = assert_twin(crosstalk.bank_shares, drive, rest=(coupling, gain))
    assert_near(fast.sum(-1), torch.ones(3))
    assert ((fast >= 0) & (fast <= 1)).all()


@given(seed=SEEDS, num_banks=BANKS, sign=SIGNS, common=st.floats(-5.0, 5.0))
def test_what_banks_share_decides_nothing(seed: int, num_banks: int, sign: float, common: float) -> None:
    """No coupling lets a drive equal everywhere decide; inhibition of two banks does not even see it."""
    drive, coupling = normal(seed, num_banks), crosstalk.coupling_matrix(num_banks, sign).double()
    shares = crosstalk.bank_shares(drive, coupling, 4.0)
    assert_near(crosstalk.bank_shares(drive + common, coupling, 4.0), shares, 1e-6)
    two, inhibited = normal(seed, 2), crosstalk.coupling_matrix(2, -1.0).double()
    assert_near(inhibited @ (two + common), inhibited @ two)
    excited = crosstalk.coupling_matrix(num_banks, 1.0).double()
    even = torch.full((5, num_banks), 1.0 / num_banks, dtype=torch.float64)
    assert_near(crosstalk.bank_shares(normal(seed, 5, num_banks), excited, 10.0), even)


@given(seed=SEEDS, num_banks=BANKS, num_samples=st.integers(1, 4), rate=st.floats(0.0, 1.0))
def test_plasticity_equals_its_twin(seed: int, num_banks: int, num_samples: int, rate: float) -> None:
    axes, coupling = normal(seed, num_banks, 3), normal(seed, num_banks, num_banks)
    shares = normal(seed, num_samples, num_banks).softmax(-1)
    contexts = normal(seed + 1, num_samples, 3)
    arguments = axes, coupling, shares, contexts, rate
    even = torch.full((num_banks,), 1.0 / num_banks, dtype=torch.float64)
    for usual in (None, shares.mean(0)):
        slow = reference.signed_plasticity(*arguments, even if usual is None else usual)
        assert_near(crosstalk.signed_plasticity(*arguments, usual), slow)


def step(axes: Tensor, coupling: Tensor, contexts: Tensor, *, rate: float = 0.05) -> Tensor:
    shares = crosstalk.bank_shares(contexts @ axes.T, coupling, 4.0)
    return crosstalk.signed_plasticity(axes, coupling, shares, contexts, rate)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@given(seed=SEEDS)
@settings(max_examples=6)
def test_excited_banks_learn_the_same_and_inhibited_ones_the_opposite(sign: float, seed: int) -> None:
    """With s = +1 both get the same pull, with s = -1 two pulls sum to zero: that part only decays."""
    coupling, axes = crosstalk.coupling_matrix(2, sign).double(), normal(seed, 2, 4)
    decaying = axes[0] - sign * axes[1]
    for index in range(100):
        axes = step(axes, coupling, normal(seed + index, 6, 4) + 1.0 - sign)
    assert_near(axes[0] - sign * axes[1], 0.95**100 * decaying)


def bimodal(seed: int) -> tuple[Tensor, Tensor]:
    """Return segments of two kinds, and the direction in which the kinds differ."""
    direction = torch.nn.functional.normalize(normal(seed, 6), dim=0)
    kind = torch.tensor([1.0, -1.0] * 8, dtype=torch.float64)
    return kind[:, None] * direction + 0.2 * normal(seed + 7, 16, 6) / 6**0.5, direction


@given(seed=SEEDS)
@settings(max_examples=6)
def test_inhibited_banks_take_opposite_modes_of_a_bimodal_stream(seed: int) -> None:
    coupling, axes = crosstalk.coupling_matrix(2, -1.0).double(), 0.3 * normal(seed + 3, 2, 6)
    contexts, direction = bimodal(seed)
    for index in range(300):
        # Fresh noise, the same two modes.
        axes = step(axes, coupling, contexts + 0.05 * normal(seed + index, 16, 6))
    left, right = axes @ direction
    assert left * right < 0
    shares = crosstalk.bank_shares(contexts @ axes.T, coupling, 4.0)
    winner = shares.argmax(-1)
    assert (winner[::2] == winner[0]).all()
    assert (winner[1::2] == 1 - winner[0]).all()
    assert shares.amax(-1).min() > 0.95


@given(seed=SEEDS)
@settings(max_examples=6)
def test_excited_banks_stay_even_on_the_same_stream(seed: int) -> None:
    coupling, axes = crosstalk.coupling_matrix(2, 1.0).double(), 0.3 * normal(seed + 3, 2, 6)
    contexts, _ = bimodal(seed)
    for _ in range(300):
        axes = step(axes, coupling, contexts)
    shares = crosstalk.bank_shares(contexts @ axes.T, coupling, 4.0)
    assert_near(shares, torch.full((16, 2), 0.5))


@given(seed=SEEDS, num_banks=BANKS)
def test_what_banks_receive_moves_them_as_the_twin_says(seed: int, num_banks: int) -> None:
    contexts, axes, won = normal(seed, 5, 3), normal(seed + 1, num_banks, 3), normal(seed + 2, num_banks, 3)
    coupling = normal(seed, num_banks, num_banks)
    received = torch.stack([reference.received(one, won, coupling) for one in contexts])
    fast = crosstalk.received_drive(contexts, axes, coupling, won)
    assert_near(fast, torch.einsum("nkd,kd->nk", received, axes))
    # Without coupling a bank hears of no other: what it receives is the context.
    uncoupled = crosstalk.coupling_matrix(num_banks, 0.0).double()
    assert_near(crosstalk.received_drive(contexts, axes, uncoupled, won), contexts @ axes.T)
    assert_near(crosstalk.bank_shares(fast, None, 2.0), crosstalk.bank_shares(fast, uncoupled, 2.0))


@given(seed=SEEDS, num_banks=BANKS)
def test_no_bank_hears_of_itself(seed: int, num_banks: int) -> None:
    coupling, won = normal(seed, num_banks, num_banks), normal(seed, num_banks, 3)
    for bank in range(num_banks):
        other = won.clone()
        other[bank] += 1.0
        assert_near(crosstalk.heard(other, coupling)[bank], crosstalk.heard(won, coupling)[bank])


@given(seed=SEEDS, num_banks=BANKS, num_samples=st.integers(1, 4), rate=st.floats(0.0, 1.0))
def test_hebb_s_rule_equals_its_twin_and_keeps_its_bound(
    seed: int, num_banks: int, num_samples: int, rate: float
) -> None:
    axes, coupling, won = normal(seed, num_banks, 3), normal(seed, num_banks, num_banks), normal(seed + 2, num_banks, 3)
    shares = normal(seed, num_samples, num_banks).softmax(-1)
    contexts = normal(seed + 1, num_samples, 3)
    even = torch.full((num_banks,), 1.0 / num_banks, dtype=torch.float64)
    credit = shares / even / num_samples
    fast = crosstalk.hebbian(axes, coupling, credit, contexts, won, rate)
    assert_near(fast, reference.hebbian(axes, coupling, shares, contexts, won, rate, even))
    # A step towards a point: no axis ends beyond the longer of where it was and B times what it may receive.
    longest = torch.stack([reference.received(one, won, coupling) for one in contexts]).norm(dim=-1).amax(0)
    assert (fast.norm(dim=-1) <= torch.maximum(axes.norm(dim=-1), num_banks * longest) + 1e-9).all()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@given(seed=SEEDS)
@settings(max_examples=6)
def test_of_what_they_receive_inhibited_banks_take_a_kind_each_and_excited_ones_leave_all_to_one(
    sign: float, seed: int
) -> None:
    """The second reading on two kinds of segment that have something in common, which nothing takes away."""
    coupling, axes = crosstalk.coupling_matrix(2, sign).double(), 0.3 * normal(seed + 3, 2, 6)
    contexts, direction = bimodal(seed)
    across = torch.nn.functional.normalize(normal(seed + 9, 6) - (normal(seed + 9, 6) @ direction) * direction, dim=0)
    contexts = contexts + across
    won_context, won_share = torch.zeros_like(axes), torch.zeros(2, dtype=torch.float64)
    shares = torch.full((len(contexts), 2), 0.5, dtype=torch.float64)
    for _ in range(400):
        won = won_context / won_share.clamp_min(1e-12)[:, None]
        shares = crosstalk.bank_shares(crosstalk.received_drive(contexts, axes, coupling, won), None, 8.0)
        axes = crosstalk.hebbian(axes, coupling, shares * 2 / len(shares), contexts, won, 0.05)
        won_context = 0.98 * won_context + 0.02 * shares.T @ contexts / len(shares)
        won_share = 0.98 * won_share + 0.02 * shares.mean(0)
        # What a bank wins is a mean of contexts.
        assert won.norm(dim=-1).max() <= contexts.norm(dim=-1).max() + 1e-9
    winner = shares.argmax(-1)
    assert shares.amax(-1).min() > 0.95
    assert (winner[::2] == winner[0]).all()
    assert (winner[1::2] == (1 - winner[0] if sign < 0 else winner[0])).all()
