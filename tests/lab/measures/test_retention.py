"""Retention: the same questions after more and more that was written, and nothing else."""

from dataclasses import replace

import pytest
import torch
from tests.lab.tiny import EPISODES, tiny, tiny_model, unmoved
from torch import Generator, Tensor

from callosal.lab.measures.retention import CHUNK, Retention, measure_retention
from callosal.lab.models.transformer import Transformer
from callosal.lab.runs import build_model
from callosal.lab.tasks import cipher, sample_episodes
from callosal.lab.training import train

NUM_EPISODES = 16
FIRST = 2 * EPISODES.num_rounds


def measure(model: Transformer, marks: list[int], num_episodes: int = NUM_EPISODES) -> Retention:
    stream = Generator().manual_seed(5)
    return measure_retention(model.eval(), EPISODES, marks, num_episodes, stream)


def asked_once(model: Transformer, most: int, mark: int) -> tuple[float, float]:
    """Recall and loss of a run that sees ``mark`` of the distractors in one call, and is asked once."""
    longest = replace(EPISODES, num_distractors=most)
    episodes = sample_episodes(longest, NUM_EPISODES, Generator().manual_seed(5), "evaluation")
    kept = [*range(FIRST + mark), *range(FIRST + most, episodes.tokens.shape[1])]
    with torch.no_grad():
        logits, _ = model.eval()(episodes.tokens[:, kept], model.blank(NUM_EPISODES))
    question = FIRST + mark
    assert (episodes.domains[kept][question] == 0).all()
    guesses: Tensor = logits[:, question, 0::2]
    answers = episodes.targets[:, kept][:, question, 0::2]
    right = (guesses.argmax(-1) == answers).float().mean().item()
    return right, torch.nn.functional.cross_entropy(guesses.flatten(0, 1), answers.flatten()).item()


@pytest.mark.parametrize("arm", ["inhibitory", "no-memory"])
def test_each_mark_is_as_if_it_had_been_the_only_question(arm) -> None:
    """So the questions before it left no trace; CHUNK + 1 crosses the border of a chunk."""
    marks = [0, 1, CHUNK + 1]
    model = tiny_model(arm)
    with unmoved(model):
        measured = measure(model, marks)
    assert measured.distractors == marks
    for mark, recall, loss in zip(marks, measured.recall, measured.loss, strict=True):
        expected = asked_once(model, marks[-1], mark)
        assert recall == expected[0]
        assert loss == pytest.approx(expected[1], rel=1e-5)


def test_what_is_written_in_between_matters_to_a_memory_and_to_it_alone() -> None:
    with_memory, without = (measure(tiny_model(arm), [0, 5]) for arm in ("inhibitory", "no-memory"))
    assert without.loss[0] == without.loss[1]
    assert with_memory.loss[0] != with_memory.loss[1]


def test_without_a_memory_recall_stays_at_chance_however_long_it_trains() -> None:
    """Four standard errors of 1,024 guesses around 1 / K."""
    config = tiny("no-memory", num_steps=60, batch_size=16)
    model = build_model(config)
    train(model, config.episodes, config.training, config.seed)
    measured = measure(model, [0, 3], num_episodes=256)
    chance = cipher.chance_recall(4)
    for recall in measured.recall:
        assert abs(recall - chance) < 4 * (chance * (1 - chance) / 1024) ** 0.5
    for loss in measured.loss:
        assert -0.02 < loss - cipher.chance_loss(4) < 0.3


def test_progress_counts_up_to_the_last_mark() -> None:
    seen: list[tuple[int, int]] = []
    most = 2 * CHUNK + 1
    stream = Generator().manual_seed(0)
    measure_retention(tiny_model(), EPISODES, [0, 3, most], 2, stream, lambda *counts: seen.append(counts))
    assert seen == [(3, most), (3 + CHUNK, most), (most, most)]
