"""What a token costs in a session, by what is computed for it: no look at a clock."""

from typing import Any
from unittest import mock

import pytest
import torch
from tests.hosts.hosts import ALL, WIDTH, make, prompts, remembering, same_bits, trained
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from callosal import LateralMemory, MemoryConfig, attach


class Shapes(TorchDispatchMode):
    """Takes down the shape of every tensor that is computed inside."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call, and take down."""
        out = func(*args, **(kwargs or {}))
        self.seen |= {tuple(one.shape) for one in tree_leaves(out) if isinstance(one, Tensor)}
        return out


def memory_masks(model: Any, call: Any) -> list[Tensor | None]:
    """Return the masks that the memories of a model are given in a call."""
    given, forward = [], LateralMemory.forward

    def listening(memory: LateralMemory, hidden: Tensor, state: Any, mask: Tensor | None, **how: Any) -> Any:
        given.append(mask)
        return forward(memory, hidden, state, mask, **how)

    with mock.patch.object(LateralMemory, "forward", listening):
        call(model)
    return given


@ALL
def test_a_mask_under_which_all_tokens_exist_is_as_none_to_the_bit(name: str) -> None:
    (model, memories), tokens = remembering(name), prompts()
    ones, answers = torch.ones_like(tokens), []
    for mask in (None, ones):
        with memories.session() as session:
            model(tokens, attention_mask=mask)
            reply = model.generate(tokens, attention_mask=mask, max_new_tokens=5, do_sample=False)
            answers.append((reply, session.states))
    assert torch.equal(answers[0][0], answers[1][0])
    assert same_bits(answers[0][1], answers[1][1])


def test_a_memory_is_given_a_mask_only_where_a_token_is_missing() -> None:
    (model, memories), tokens = remembering(), prompts()
    hole, ones = torch.ones_like(tokens), torch.ones_like(tokens)
    hole[1, :2] = 0
    settings = {"max_new_tokens": 4, "do_sample": False}
    with memories.session():
        assert memory_masks(model, lambda m: m(tokens, attention_mask=ones)) == [None] * 2
        whole = memory_masks(model, lambda m: m.generate(tokens, attention_mask=ones, eos_token_id=1, **settings))
        assert whole == [None] * 8
        holed = memory_masks(model, lambda m: m.generate(tokens, attention_mask=hole, **settings))
    # The prompt has a hole; no token of a reply is missing.
    assert all(mask is not None and torch.equal(mask, hole.bool()) for mask in holed[:2])
    assert holed[2:] == [None] * 6


def test_one_token_in_a_session_touches_no_matrix_of_slots_by_slots() -> None:
    slots = 37
    model = make()
    memories = trained(attach(model, [0, -1], MemoryConfig(width=WIDTH, num_slots=slots)))
    with memories.session(), torch.no_grad(), Shapes() as computed:
        cache = model(prompts()).past_key_values
        computed.seen.clear()
        model(prompts(time=1), past_key_values=cache)
    assert any(slots in shape for shape in computed.seen)
    assert not [shape for shape in computed.seen if shape.count(slots) > 1]
    with Shapes() as planted:
        torch.zeros(slots, slots)
    assert [shape for shape in planted.seen if shape.count(slots) > 1]


def test_a_generation_commits_once_for_the_turn_before_it_and_never_for_a_token() -> None:
    (model, memories), tokens = remembering(), prompts()
    commit = LateralMemory.commit
    with memories.session() as session:
        model(tokens)
        with mock.patch.object(LateralMemory, "commit", autospec=True, side_effect=commit) as commits:
            model.generate(tokens, max_new_tokens=6, do_sample=False)
            assert commits.call_count == len(memories)
            session.turn()
            assert commits.call_count == 2 * len(memories)


def test_a_call_that_fails_moves_no_buffer_even_where_it_was_replaced() -> None:
    """Compiled code gives a memory other buffers instead of moving those that it has."""
    (model, memories), tokens = remembering(), prompts()
    model.train()

    def fails(*_: Any) -> Any:
        raise KeyError("stop")

    def replaces(memory: LateralMemory, name: str, value: Tensor) -> None:
        setattr(memory, name, value)

    with memories.session():
        model(tokens)
        before = {name: buffer.clone() for name, buffer in memories.named_buffers()}
        with mock.patch.object(LateralMemory, "move", replaces), pytest.raises(KeyError, match="stop"):
            # The first call commits the turn before; the fault comes after it.
            model.generate(tokens, max_new_tokens=3, logits_processor=[fails])
        for name, buffer in memories.named_buffers():
            assert torch.equal(buffer, before[name]), name
        model(tokens)
    assert any(not torch.equal(buffer, before[name]) for name, buffer in memories.named_buffers())
