"""How much a token weighs: both kinds against their twins."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS, normal
from tests.laws import assert_near, assert_twin

from callosal.ops import reference, salience

SIZES = st.integers(1, 5)


@given(seed=SEEDS, num_tokens=SIZES, width=SIZES)
def test_the_gate_equals_its_twin(seed: int, num_tokens: int, width: int) -> None:
    hidden, weight = normal(seed, num_tokens, width), normal(seed + 1, width)
    assert_twin(salience.gate, hidden, rest=(weight, torch.tensor(0.3, dtype=torch.float64)))


@given(seed=SEEDS, num_tokens=SIZES, num_heads=SIZES, width=SIZES, usual=st.sampled_from([0.0, 0.5, 2.0]))
def test_prominence_equals_its_twin(seed: int, num_tokens: int, num_heads: int, width: int, usual: float) -> None:
    retrieved, mean = normal(seed, num_tokens, num_heads, width), torch.tensor(usual, dtype=torch.float64)
    for one, other in zip(
        salience.prominence(retrieved, mean),
        zip(*[reference.prominence(token, mean) for token in retrieved], strict=True),
        strict=True,
    ):
        assert_near(one, torch.stack(other))


def test_what_retrieves_nothing_is_not_salient_and_keeps_its_gradient_finite() -> None:
    nothing = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    s, _ = salience.prominence(nothing, torch.tensor(1.0, dtype=torch.float64))
    assert s.item() < 1e-5
    (gradient,) = torch.autograd.grad(s.sum(), nothing)
    assert gradient.isfinite().all()
