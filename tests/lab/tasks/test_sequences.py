"""The field's recall tasks: the same sequence in one call or two, told first, asked once, drawn from a seed."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS
from torch import Generator

from callosal.lab.tasks.induction_heads import InductionHeads
from callosal.lab.tasks.mqar import FILLER, Mqar
from callosal.lab.tasks.selective_copying import NOISE, SelectiveCopying
from callosal.training import UNSCORED

mqars = st.builds(
    lambda pairs, more, extra, power, noise: Mqar(
        num_kv_pairs=pairs,
        input_seq_len=4 * pairs + 2 * more,
        vocab_size=2 * (pairs + 1 + extra),
        power_a=power,
        random_non_queries=noise,
    ),
    st.integers(1, 5),
    st.integers(0, 6),
    st.integers(0, 8),
    st.sampled_from([0.01, 1.0]),
    st.booleans(),
)
copyings = st.builds(
    lambda vocabulary, noise, data: SelectiveCopying(vocab_size=vocabulary, num_noise=noise, num_data=data),
    st.integers(3, 9),
    st.integers(0, 12),
    st.integers(1, 5),
)
inductions = st.builds(
    lambda vocabulary, length: InductionHeads(vocab_size=vocabulary, length=length),
    st.integers(2, 9),
    st.integers(3, 20),
)
tasks = st.one_of(mqars, copyings, inductions)


def drawn(task: Any, seed: int, number: int = 8) -> Any:
    return task.sample(number, Generator().manual_seed(seed))


@given(tasks, SEEDS)
def test_a_sequence_is_the_same_in_one_call_and_in_two(task: Any, seed: int) -> None:
    sequences = drawn(task, seed)
    ((tokens, targets),) = sequences.calls(1)
    told, asked = sequences.calls(2)
    assert torch.equal(torch.cat([told[0], asked[0]], dim=1), tokens)
    assert torch.equal(torch.cat([told[1], asked[1]], dim=1), targets)
    # Nothing is asked before all is told, and what is asked is asked of every row alike often.
    assert (told[1] == UNSCORED).all()
    scored = (asked[1] != UNSCORED).sum(1)
    assert scored.min() == scored.max() > 0
    with pytest.raises(ValueError, match="3 calls; a sequence is seen in 1, or in 2"):
        sequences.calls(3)


@given(tasks, SEEDS)
def test_tokens_are_of_the_vocabulary_and_follow_from_the_seed(task: Any, seed: int) -> None:
    sequences, again = drawn(task, seed), drawn(task, seed)
    assert torch.equal(sequences.tokens, again.tokens)
    assert torch.equal(sequences.targets, again.targets)
    for values in (sequences.tokens, sequences.targets[sequences.targets != UNSCORED]):
        assert 0 <= values.min() <= values.max() < task.vocabulary
    assert 0.0 < task.chance <= 1.0
    other = drawn(task, seed, 64)
    assert len(other.tokens) == 64


@given(mqars, SEEDS)
def test_every_key_is_asked_once_for_the_value_behind_it(task: Mqar, seed: int) -> None:
    sequences, told, half = drawn(task, seed), task.num_told, task.vocab_size // 2
    assert sequences.tokens.shape[1] == task.input_seq_len
    assert told == sequences.num_told == 2 * task.num_kv_pairs
    for tokens, targets in zip(sequences.tokens, sequences.targets, strict=True):
        pairs = dict(tokens[:told].reshape(-1, 2).tolist())
        # Keys are of the lower half, values of the upper, and none is there twice.
        assert len(pairs) == len(set(pairs.values())) == task.num_kv_pairs
        assert all(FILLER < key < half <= value < task.vocab_size for key, value in pairs.items())
        (places,) = torch.where(targets != UNSCORED)
        assert {int(tokens[place]): int(targets[place]) for place in places} == pairs
        assert all((place - told) % 2 == 0 for place in places.tolist())
        others = torch.ones_like(tokens, dtype=torch.bool)
        others[:told], others[places] = False, False
        assert task.random_non_queries or (tokens[others] == FILLER).all()


def test_questions_stand_behind_the_pairs_by_a_power_law() -> None:
    def first_share(power: float) -> tuple[float, float]:
        task = Mqar(num_kv_pairs=1, input_seq_len=22, vocab_size=16, power_a=power)
        places = drawn(task, 0, 20_000).targets[:, 2::2] != UNSCORED
        assert task.gap_weights.sum().item() == pytest.approx(1.0)
        return places[:, 0].double().mean().item(), task.gap_weights[0].item()

    # One of ten places: by the law, and evenly.
    for power, wanted in ((0.01, sum(n**-0.99 for n in range(1, 11)) ** -1), (1.0, 0.1)):
        measured, said = first_share(power)
        assert said == pytest.approx(wanted)
        assert measured == pytest.approx(wanted, abs=0.015)


@given(copyings, SEEDS)
def test_data_is_asked_in_the_order_in_which_it_came(task: SelectiveCopying, seed: int) -> None:
    sequences, marker = drawn(task, seed), task.vocab_size - 1
    told = task.num_noise + task.num_data
    assert sequences.num_told == told
    assert (sequences.tokens[:, told:] == marker).all()
    for tokens, targets in zip(sequences.tokens, sequences.targets, strict=True):
        shown = tokens[:told]
        assert shown[shown != NOISE].tolist() == targets[told:].tolist()


@given(inductions, SEEDS)
def test_the_prefix_is_asked_for_what_followed_it(task: InductionHeads, seed: int) -> None:
    sequences, prefix = drawn(task, seed), task.vocab_size - 1
    for tokens, targets in zip(sequences.tokens, sequences.targets, strict=True):
        first, last = torch.where(tokens == prefix)[0].tolist()
        assert last == task.length - 1 == sequences.num_told
        assert targets[last] == tokens[first + 1] != prefix


@given(tasks)
def test_a_task_at_another_size_is_the_same_task(task: Any) -> None:
    size = {Mqar: "num_kv_pairs", SelectiveCopying: "num_noise", InductionHeads: "length"}[type(task)]
    assert task.sized(getattr(task, size)) == task


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mqar(vocab_size=8, num_kv_pairs=4), "vocab_size is 8; 4 keys of half of it need at least 10"),
        (lambda: Mqar(vocab_size=11), "vocab_size is 11; it must be even"),
        (lambda: Mqar(input_seq_len=14), "input_seq_len is 14; 4 pairs and as many questions need at least 16"),
        (lambda: Mqar(power_a=0.0), "power_a is 0.0"),
        (lambda: SelectiveCopying(vocab_size=2), "vocab_size is 2; noise, marker and data need at least 3"),
        (lambda: SelectiveCopying(num_noise=-1), "num_noise is -1; it must be at least 0"),
        (lambda: InductionHeads(length=2), "length is 2; the prefix, what follows it"),
        (lambda: InductionHeads(vocab_size=1), "vocab_size is 1; the prefix and what follows it"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
