"""The model of mixers: only states go from call to call, attention's not at all, and weights are tied."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from callosal.lab.models.baselines import FullHistory, FullHistoryConfig, GatedDelta, GatedDeltaConfig
from callosal.lab.models.sequence import SequenceConfig, SequenceModel
from callosal.memory import LateralMemory, MemoryConfig

WIDTH, TOKENS = 8, 12


def build(*mixers: nn.Module, within_call: Any = ()) -> SequenceModel:
    return SequenceModel(SequenceConfig(num_tokens=TOKENS, width=WIDTH), mixers, within_call).double().eval()


def attention() -> FullHistory:
    return FullHistory(FullHistoryConfig(width=WIDTH, num_heads=1, num_lags=3))


def delta() -> GatedDelta:
    return GatedDelta(GatedDeltaConfig(width=WIDTH, key_width=4, value_width=5, num_lags=3))


def lateral(num_banks: int = 2) -> LateralMemory:
    return LateralMemory(MemoryConfig(width=WIDTH, num_banks=num_banks, num_slots=4, observe=True, writers="lagged"))


def words(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, TOKENS, shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(model: SequenceModel, *calls: Tensor) -> Tensor:
    """Return the logits of the last call."""
    states, hidden = model.blank(len(calls[0])), None
    for tokens in calls:
        hidden, states = model(tokens, states)
    assert hidden is not None
    return model.logits(hidden)


def test_a_state_carries_what_was_told_and_attention_within_a_call_does_not() -> None:
    told, other, asked = words(2, 5), words(2, 5, seed=1), words(2, 4, seed=2)
    for model, carries in (
        (build(lateral()), True),
        (build(delta()), True),
        (build(attention()), True),
        (build(attention(), within_call=[0]), False),
        (build(attention(), lateral(), within_call=[0]), True),
    ):
        differs = not torch.equal(logits(model, told, asked), logits(model, other, asked))
        assert differs == carries
        # In one call attention sees it all.
        whole = [torch.cat([first, asked], dim=1) for first in (told, other)]
        if isinstance(model.mixers[0], FullHistory):
            assert not torch.equal(logits(model, whole[0])[:, -1], logits(model, whole[1])[:, -1])


def test_a_memory_of_ours_alone_reads_nothing_of_its_own_call() -> None:
    """Why it answers nothing in one call: a token reads what was there before the call, and sees three tokens.

    Of one bank: which of several takes a token depends on the mean of the call so far.
    """
    model = build(lateral(num_banks=1))
    first, second = words(2, 9), words(2, 9, seed=1)
    second[:, -3:] = first[:, -3:]
    torch.testing.assert_close(logits(model, first)[:, -1], logits(model, second)[:, -1], rtol=0.0, atol=1e-12)
    both = build(attention(), lateral(), within_call=[0])
    assert not torch.allclose(logits(both, first)[:, -1], logits(both, second)[:, -1])


def test_a_delta_rule_answers_alike_in_one_call_and_in_two() -> None:
    told, asked = words(3, 6), words(3, 5, seed=1)
    model = build(delta(), delta())
    whole = logits(model, torch.cat([told, asked], dim=1))[:, told.shape[1] :]
    torch.testing.assert_close(logits(model, told, asked), whole, rtol=0.0, atol=1e-12)


def test_the_unembedding_is_the_embedding() -> None:
    model = build(delta())
    assert [name for name, p in model.named_parameters() if TOKENS in p.shape] == ["embedding.weight"]
    hidden = torch.randn(2, 3, WIDTH, dtype=torch.float64)
    expected = model.final_norm(hidden) @ model.embedding.weight.T / WIDTH**0.5
    torch.testing.assert_close(model.logits(hidden), expected, rtol=0.0, atol=1e-12)


def test_what_is_carried_is_counted() -> None:
    assert build(attention(), within_call=[0]).state_floats == 0
    alone = delta().state_floats
    assert alone is not None
    assert build(delta(), attention(), delta(), within_call=[1]).state_floats == 2 * alone


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"within_call is \(1,\); mixers stand at 0 to 0"):
        build(delta(), within_call=[1])
    model = build(delta())
    with pytest.raises(ValueError, match="2 states for 1 mixers; start from"):
        model(words(1, 2), [*model.blank(1), None])
