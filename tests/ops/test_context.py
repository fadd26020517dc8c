"""What a segment has been about so far, and the slow mean behind homeostasis."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS, normal
from tests.laws import assert_near, assert_twin

from callosal.ops import context, reference


@given(seed=SEEDS, num_tokens=st.integers(1, 6), past=st.integers(0, 5))
def test_causal_mean_equals_its_twin(seed: int, num_tokens: int, past: int) -> None:
    hidden, past_sum = normal(seed, 2, num_tokens, 3), normal(seed, 2, 3)
    count = torch.full((2,), float(past), dtype=torch.float64)
    assert_twin(context.causal_mean, hidden, past_sum, count)


@given(seed=SEEDS, num_tokens=st.integers(2, 6), data=st.data())
def test_causal_mean_continues_where_a_piece_ended(seed: int, num_tokens: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, num_tokens))
    hidden = normal(seed, num_tokens, 3)
    none, zero = hidden.new_zeros(3), hidden.new_zeros(())
    whole = context.causal_mean(hidden, none, zero)
    rest = context.causal_mean(hidden[cut:], hidden[:cut].sum(0), zero + cut)
    assert_near(rest, whole[cut:])
    assert_near(whole[-1], hidden.mean(0))


@given(samples=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=20))
def test_running_mean_equals_its_twin_and_its_bias_is_known(samples: list[float]) -> None:
    mean, slow, weight = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    one = torch.ones_like(mean)
    for sample in samples:
        mean = context.running_mean(mean, one * sample, 0.9)
        slow = reference.running_mean(slow, one * sample, 0.9)
        weight = context.running_mean(weight, one, 0.9)
    assert_near(mean, slow)
    assert_near(weight, one - 0.9 ** len(samples))
    # Divided by its weight it is an average: it lies among what it averaged.
    average = (mean / weight).item()
    assert min(samples) - 1e-9 <= average <= max(samples) + 1e-9


@given(seed=SEEDS, width=st.integers(1, 5), contrast=st.floats(0.0, 20.0))
def test_the_contrast_metric_equals_its_twin(seed: int, width: int, contrast: float) -> None:
    scatter = (root := normal(seed, width, width + 2)) @ root.T
    assert_near(context.contrast_metric(scatter, contrast), reference.contrast_metric(scatter, contrast))


def test_contrast_weighs_down_where_tokens_of_a_segment_differ() -> None:
    scatter = torch.diag(torch.tensor([4.0, 0.0]))
    # kappa = 1, width 2: relative scatter is (2, 0), so weights are 1 / (1 + 2) and 1.
    assert_near(context.contrast_metric(scatter, 1.0), torch.diag(torch.tensor([1 / 3, 1.0])), 1e-6)
    assert_near(context.contrast_metric(torch.zeros(2, 2), 10.0), torch.eye(2))
    assert_near(context.contrast_metric(scatter, 0.0), torch.eye(2))


@given(seed=SEEDS, num_tokens=st.integers(0, 4), rate=st.floats(0.0, 1.0))
def test_what_is_recollected_equals_its_twin_and_never_leaves_the_ball(seed: int, num_tokens: int, rate: float) -> None:
    before, width = 2.0 * normal(seed, 3), 3
    before = before * (width**0.5 / before.norm()).clamp_max(1.0)
    retrieved = 100.0 * normal(seed, num_tokens, 2, width)
    count = torch.tensor(float(num_tokens))
    after = context.recollect(before, retrieved.mean(1).sum(0), count, rate)
    assert_near(after, reference.recollect(before, retrieved, rate))
    assert after.norm() <= width**0.5 + 1e-9
    if num_tokens == 0:
        assert torch.equal(after, before)
