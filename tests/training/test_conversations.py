"""Batches of conversations, and what a model makes of a stretch of one."""

from typing import Any

import pytest
import torch
from tests.laws import assert_near
from tests.tolerances import EXACT, SINGLE
from tests.training.conversations import conversation, conversations, frozen

from callosal.training.conversations import Conversations, collate_conversations, evened, num_scored


def test_a_batch_has_a_turn_of_every_conversation() -> None:
    one = {"input_ids": [5, 6], "labels": [-100, 6]}
    two = {"input_ids": [7, 8, 9], "labels": [7, 8, 9]}
    first, second = collate_conversations([[one, two], [two]], pad_id=3)
    assert first["input_ids"].tolist() == [[5, 6, 3], [7, 8, 9]]
    assert first["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert first["labels"].tolist() == [[-100, 6, -100], [7, 8, 9]]
    assert second["input_ids"].tolist() == [[7, 8, 9], [3, 3, 3]]
    assert second["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert second["labels"].tolist() == [[7, 8, 9], [-100, -100, -100]]
    assert num_scored([first, second]) == 1 + 2 + 2
    nothing = {"input_ids": [], "labels": []}
    (empty,) = collate_conversations([[nothing]])
    assert empty["attention_mask"].tolist() == [[0]]
    assert num_scored([empty]) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "at least one conversation of at least one turn"),
        ([[], []], "at least one conversation of at least one turn"),
        (
            [[conversation(0)[0], {"input_ids": [1, 2], "labels": [1]}]],
            "turn 1 of conversation 0 has 2 input_ids and 1 labels",
        ),
    ],
)
def test_what_cannot_be_collated_is_refused(wrong: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate_conversations(wrong)


@pytest.mark.parametrize(
    ("name", "attention", "tolerance"),
    [
        ("gpt2", "sdpa", EXACT),
        ("llama", "sdpa", EXACT),
        # transformers' own softmax is in single precision whatever the model is.
        ("llama", "eager", SINGLE),
        ("gemma2", "eager", SINGLE),
    ],
)
def test_a_batch_is_its_conversations_one_by_one(name: str, attention: str, tolerance: float) -> None:
    """Unequal turns, unequal lengths: the loss, its gradient and the memories of each alone."""
    memories = frozen(name)
    model: Any = memories.model
    model.set_attn_implementation(attention)
    if tolerance == SINGLE:
        model.float()
    model, data = Conversations(memories).eval(), conversations(4)
    assert len({len(turns) for turns in data}) > 1
    batch = collate_conversations(data)
    session = memories.session()
    loss = model(batch, session)["loss"]
    loss.backward()
    together = [p.grad.clone() for p in memories.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in together)
    memories.zero_grad()
    total, traces = torch.zeros(()), []
    for turns in data:
        alone = memories.session()
        total = total + model(collate_conversations([turns]), alone, num_scored(batch))["loss"]
        traces.append([state.trace for state in alone.states.values()])
    total.backward()
    assert_near(total, loss, tolerance)
    alone = [p.grad for p in memories.parameters() if p.grad is not None]
    for one, gradient in zip(alone, together, strict=True):
        assert_near(one, gradient, tolerance)
    for layer, state in enumerate(session.states.values()):
        assert_near(torch.cat([trace[layer] for trace in traces]), state.trace, tolerance)


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_turn_changes_nothing(training: bool) -> None:
    turns = conversation(3, num_turns=3)
    nothing = {"input_ids": (), "labels": ()}
    answers = []
    for said in (turns, [turns[0], nothing, *turns[1:], nothing]):
        memories = frozen()
        model, session = Conversations(memories).train(training), memories.session()
        loss = model(collate_conversations([said]), session)["loss"]
        loss.backward()
        traces = [state.trace for state in session.states.values()]
        gradients = [p.grad for p in memories.parameters() if p.grad is not None]
        answers.append([loss, *traces, *gradients, *memories.buffers()])
    for one, other in zip(*answers, strict=True):
        assert_near(one, other)


def test_every_trained_parameter_has_a_gradient_even_of_what_nobody_read() -> None:
    """DDP waits for each; of a single turn nobody reads what it wrote."""
    memories = frozen()
    Conversations(memories)(collate_conversations(conversations(2, 1)))["loss"].backward()
    wanted = {name: p for name, p in memories.named_parameters() if p.requires_grad}
    assert [name for name, p in wanted.items() if p.grad is None] == []
    unread = memories["model.layers.1"].maps.grad
    assert unread is not None
    assert not unread.any()


def test_without_a_scored_token_the_loss_is_zero() -> None:
    batch = collate_conversations([[{"input_ids": [4, 5], "labels": [-100, -100]}]])
    assert evened(batch) is batch  # one process is even already
    loss = Conversations(frozen())(batch)["loss"]
    loss.backward()
    assert loss == 0.0


def test_under_autocast_the_memories_stay_in_single_precision() -> None:
    """A commit inside autocast writes what one outside writes, bit for bit."""
    memories, batch = frozen(), collate_conversations(conversations(2, 1))
    memories.model.float()
    memory, written = memories["model.layers.0"], []
    for enabled in (False, True):
        session = memories.session()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            Conversations(memories).eval()(batch, session)
        written.append(session.states["model.layers.0"].trace)
        assert written[-1].dtype == torch.float32
    session = memories.session()
    with torch.autocast("cpu", torch.bfloat16), session:
        memories.model(batch[0]["input_ids"], attention_mask=batch[0]["attention_mask"])
        opened = session.states["model.layers.0"]
    assert torch.equal(memory.commit(opened).trace, written[1])
