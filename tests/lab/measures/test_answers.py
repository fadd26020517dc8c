"""Answers: each condition is what its name says, on a tiny language model whose memory is made up."""

from itertools import combinations, islice
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from tests.hosts.hosts import SIZES, llama
from tests.lab.tiny import unmoved
from torch import Tensor

from callosal import MemoryConfig, attach
from callosal.hosts.memories import Memories
from callosal.lab.measures import answers
from callosal.lab.measures.answers import Answers, measure_answers, measure_recall
from callosal.lab.tasks.persona import Conversation, PersonaConfig, sample_conversation, texts
from callosal.lab.tasks.words import ATTRIBUTES

CONFIG = PersonaConfig(num_facts=2, num_examples=1)


TEXTS = islice(texts(PersonaConfig(), Random(0), "training"), 600)
WORDS = {word: number for number, word in enumerate(sorted({word for text in TEXTS for word in text.split()}))}


def encode(text: str) -> list[int]:
    return [WORDS[word] for word in text.split()]


@pytest.fixture
def memories() -> Memories:
    torch.manual_seed(0)
    sizes: dict[str, Any] = SIZES | {"vocab_size": len(WORDS), "max_position_embeddings": 320}
    model = llama.LlamaForCausalLM(llama.LlamaConfig(**sizes)).eval().requires_grad_(False)
    width = sizes["hidden_size"]
    return attach(model, layers=[0, 1], config=MemoryConfig(width=width, num_slots=8))


def measure(memories: Memories, number: int = 6) -> Answers:
    return measure_answers(memories, CONFIG, encode, number, Random(1))


def draw_users(number: int) -> tuple[list[Conversation], Tensor]:
    """Return users, and the labels of their questions."""
    users = [sample_conversation(CONFIG, Random(seed), "evaluation") for seed in range(number)]
    later = answers._collated([user.later for user in users], encode)
    return users, later[0]["labels"][:, 1:]


def test_untrained_memories_change_no_answer(memories: Memories) -> None:
    found = measure(memories)
    assert found.memory == found.reset == found.others == found.no_memory
    assert found.rule == found.rule_before
    assert all(pair == [found.memory, found.rule] for pair in found.lesioned)
    assert found.num_conversations == 6
    assert set(found.by_attribute) <= set(ATTRIBUTES)
    right = sum(pair[0] for pair in found.by_attribute.values())
    assert (right > 0.0) == (found.memory > 0.0)
    # Measures are of every memory, and their shares add up.
    assert len(found.specialization) == len(found.shares) == len(memories) == 2
    for measured, (stating, asking, rule) in zip(found.specialization, found.shares, strict=True):
        left = np.array([(stating + asking) / 2, rule])
        assert np.array(measured.shares) == pytest.approx(np.stack([left, 1 - left], axis=1))
        assert measured.separation == pytest.approx(2 * left - 1)


def test_measuring_leaves_everything_as_it_was(memories: Memories) -> None:
    with unmoved(memories.model.train()):
        assert measure(memories) == measure(memories)
    assert memories.active is None
    # One user has no other to swap with.
    with pytest.raises(ValueError, match="1 conversations; at least 2 are needed"):
        measure(memories, 1)


def test_every_condition_gives_other_answers(memories: Memories) -> None:
    """With random output maps every condition is another computation."""
    torch.manual_seed(1)
    for name in memories:
        torch.nn.init.normal_(memories[name].output.weight, std=3.0)
    users, _ = draw_users(4)
    told, later = (answers._collated([getattr(user, part) for user in users], encode) for part in ("told", "later"))

    def listen(states: Any, **how: Any) -> Tensor:
        return answers._listen(memories, states, later, **how)[1][0]

    with torch.no_grad(), answers._evaluating(memories):
        states, _ = answers._listen(memories, {}, told)
        others = {name: state[torch.arange(-1, 3)] for name, state in states.items()}
        alone, own, reset = answers._logits(memories, later[0]), listen(states), listen({})
        lesioned = [listen(states, lesion=bank) for bank in (0, 1)]
        heard = [alone, own, reset, listen(others), *lesioned]
    for one, other in combinations(range(len(heard)), 2):
        assert not torch.allclose(heard[one], heard[other]), (one, other)


def test_hits_are_counted_where_a_label_is() -> None:
    logits = torch.nn.functional.one_hot(torch.tensor([[1, 2, 3, 0]]), 4).float()
    labels = torch.tensor([[1, -100, 0]])
    assert answers._hits(logits, labels).tolist() == [1.0, 2.0]


def test_in_context_everything_stated_comes_before_the_questions() -> None:
    users, _ = draw_users(3)
    turn, labels = answers._whole(users, encode)
    for row, user in enumerate(users):
        said = " ".join(t.text for t in (*user.told, user.later[0]))
        length = int(turn["attention_mask"][row].sum())
        assert turn["input_ids"][row, :length].tolist() == encode(said)
        due = labels[row][labels[row] != -100].tolist()
        assert due == [WORDS[value] for value in user.facts.values()]


def test_the_others_answers_are_scored_where_they_differ() -> None:
    users, facts = draw_users(40)
    others = answers._others_answers(users, facts, encode)
    seen = 0
    for row, user in enumerate(users):
        theirs = users[row - 1].facts
        places = (facts[row] != -100).nonzero().flatten().tolist()
        for place, (name, value) in zip(places, user.facts.items(), strict=True):
            same = theirs.get(name, value) == value
            assert others[row, place].item() == (-100 if same else WORDS[theirs[name]])
            seen += not same
    assert seen
    assert int((others != -100).sum()) == seen


def test_answers_about_an_attribute_are_those_that_are_left() -> None:
    users, facts = draw_users(12)
    seen = torch.zeros_like(facts, dtype=torch.bool)
    for name in {name for user in users for name in user.facts}:
        labels = answers._only(name, users, facts)
        due = labels != -100
        assert not (due & seen).any()
        seen |= due
        expected = [WORDS[user.facts[name]] for user in users if name in user.facts]
        assert labels[due].tolist() == expected
    assert torch.equal(seen, facts != -100)


@pytest.mark.parametrize("number", [2, 63, 64, 65, 128, 129])
def test_no_batch_has_one_user(number: int) -> None:
    sizes = [len(batch) for batch in answers._batches(CONFIG, number, Random(0))]
    assert sum(sizes) == number
    assert 2 <= min(sizes) <= max(sizes) <= answers.BATCH


def test_shares_are_summed_by_turn_and_memory() -> None:
    mask = torch.tensor([[1, 1, 0]])
    turns: Any = [{"attention_mask": mask}] * 2
    shares = [torch.full((1, 3, 2), float(value)) for value in (1, 2, 3, 4)]
    table = answers._table(shares, turns, [0, 2], num_memories=2)
    assert table[:, 0].tolist() == [[2, 2, 2], [4, 4, 2]]
    assert table[:, 2].tolist() == [[6, 6, 2], [8, 8, 2]]
    assert not table[:, 1].any()


def test_recall_after_nothing_is_what_the_answers_say(memories: Memories) -> None:
    torch.manual_seed(1)
    for name in memories:
        torch.nn.init.normal_(memories[name].output.weight)
    whole = measure_recall(memories, CONFIG, encode, "rule", (0, 1, 3), 5, Random(1))
    assert whole.distractors == [0, 1, 3]
    assert all(0.0 <= recall <= 1.0 for recall in whole.recall)
    assert np.isfinite(whole.loss).all()
    alone = measure_recall(memories, CONFIG, encode, "chatter", (0,), 5, Random(1))
    # What comes between is drawn after the users, who are the same.
    assert alone.recall == whole.recall[:1]
