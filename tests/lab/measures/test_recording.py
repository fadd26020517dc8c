"""Recording the banks' shares from outside changes nothing and misses no call."""

import pytest
import torch
from hypothesis import given, settings
from tests.cases import Case, build_memory, cases

from callosal.lab.measures.recording import record_shares
from callosal.lab.models.transformer import Transformer, TransformerConfig
from callosal.memory import LateralMemory, MemoryConfig, MemoryState


@settings(max_examples=10)
@given(cases())
def test_every_way_to_call_is_recorded_as_bank_share_gives_it(case: Case) -> None:
    memory, hidden, state, mask = case.memory, case.hidden, case.state, case.mask
    with record_shares(memory) as shares:
        memory(hidden, state)
        memory(hidden, state, mask)
        memory(hidden, state, mask=mask)
        memory(hidden=hidden, state=state, mask=mask)
        _, opened = memory(hidden, state, mask, commit=False)
        memory(hidden, opened)
    expected = [memory.bank_share(hidden, state), *[memory.bank_share(hidden, state, mask)] * 4]
    expected.append(memory.bank_share(hidden, opened))
    assert len(shares) == len(expected)
    for one, other in zip(shares, expected, strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad


def test_with_gradient_shares_are_the_same_and_lead_back_to_what_made_them() -> None:
    memory = build_memory(MemoryConfig(width=4, num_slots=3, recollection=0.5))
    hidden = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    with record_shares(memory, with_gradient=True) as shares:
        memory(hidden, memory.blank(2))
    assert torch.equal(shares[0], memory.bank_share(hidden))
    shares[0].square().sum().backward()
    assert memory.recollection_map is not None
    assert memory.recollection_map.grad is not None
    assert memory.recollection_map.grad.abs().max() > 0


def test_shares_are_those_the_call_used_even_when_it_moves_the_axes() -> None:
    memory = build_memory(MemoryConfig(width=4, num_slots=3)).train()
    hidden = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    before = memory.bank_share(hidden)
    with record_shares(memory) as shares:
        memory(hidden, memory.blank(2))
    assert torch.equal(shares[0], before)
    assert not torch.equal(memory.bank_share(hidden), before)


@pytest.mark.parametrize("places", [(), (0, 1)])
def test_all_memories_of_a_model_are_recorded_in_order_and_do_not_notice(places: tuple[int, ...]) -> None:
    config = TransformerConfig(num_tokens=7, max_time=4, width=8, num_blocks=2)
    memories = {at: LateralMemory(MemoryConfig(width=8, num_banks=at + 2)) for at in places}
    model = Transformer(config, memories).eval()
    tokens = torch.randint(7, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    silent, _ = model(tokens, model.blank(2))
    with record_shares(model) as shares:
        recorded, _ = model(tokens, model.blank(2))
    assert torch.equal(recorded, silent)
    assert [tuple(one.shape) for one in shares] == [(2, 3, 4, at + 2) for at in places]


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_nothing_is_recorded_any_more(fails: bool) -> None:
    memory = build_memory(MemoryConfig(width=4, num_slots=3))
    hidden, state = torch.zeros(1, 2, 4, dtype=torch.float64), memory.blank(1)
    shares: list[torch.Tensor] = []
    try:
        with record_shares(memory) as shares:
            memory(hidden, state)
            if fails:
                memory(hidden, MemoryState(trace=memory.blank(2).trace))
    except ValueError:
        assert fails
    memory(hidden, state)
    assert len(shares) == 1
    assert not memory._forward_pre_hooks
