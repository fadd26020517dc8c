"""Evaluation: the same stream gives the same numbers, and the model does not notice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.lab.tiny import EPISODES, tiny_model, unmoved
from torch import Generator

from callosal.lab.measures.evaluation import BATCH, Evaluation, batch_specialization, domain_losses, evaluate
from callosal.lab.measures.specialization import specialization
from callosal.lab.models.transformer import Transformer
from callosal.lab.report.records import Arm
from callosal.lab.tasks import sample_episodes
from callosal.memory import LateralMemory


def held_out(model: Transformer, num_episodes: int = 40) -> Evaluation:
    return evaluate(model, EPISODES, num_episodes, Generator().manual_seed(1))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arm", ["inhibitory", "no-memory"])
def test_twice_gives_equal_numbers_and_moves_nothing(arm: Arm, training: bool) -> None:
    model = tiny_model(arm).train(training)
    with unmoved(model):
        measured = held_out(model)
        assert held_out(model) == measured
    assert (measured.specialization is None) == (arm == "no-memory")
    assert batch_specialization([], sample_episodes(EPISODES, 1, Generator(), "evaluation")) is None


@pytest.mark.parametrize("num_episodes", [5, BATCH + 3])
def test_every_number_is_the_plain_mean_over_the_stream(num_episodes: int) -> None:
    """Recomputed episode by episode; a last batch of another size counts by its size."""
    model = tiny_model()
    measured = held_out(model, num_episodes)
    stream, left = Generator().manual_seed(1), num_episodes
    losses, hits, shares = [], [], []
    memory = model.memory_at(0)
    assert isinstance(memory, LateralMemory)
    handle = memory.register_forward_pre_hook(lambda _, args: shares.append(memory.bank_share(*args)))
    while left:
        episodes = sample_episodes(EPISODES, min(BATCH, left), stream, "evaluation")
        left -= len(episodes.tokens)
        with torch.no_grad():
            logits, _ = model(episodes.tokens, model.blank(len(episodes.tokens)))
        for row in range(len(episodes.tokens)):
            for domain in range(2):
                where = episodes.domains[:, 0] == domain
                targets = episodes.targets[row, where].flatten()
                guesses = logits[row, where].flatten(0, 1)[targets >= 0]
                targets = targets[targets >= 0]
                scores = torch.log_softmax(guesses, dim=-1)
                losses.append(-scores[range(len(targets)), targets].mean())
                hits.append((guesses.argmax(-1) == targets).float().mean())
    handle.remove()
    loss = torch.stack(losses).reshape(-1, 2).mean(0).tolist()
    hit = torch.stack(hits).reshape(-1, 2).mean(0).tolist()
    assert [measured.episodic_loss, measured.rule_loss] == pytest.approx(loss, rel=1e-5)
    assert [measured.episodic_accuracy, measured.rule_accuracy] == pytest.approx(hit, rel=1e-5)
    assert measured.num_episodes == num_episodes
    domains = sample_episodes(EPISODES, 1, Generator(), "evaluation").domains[:, 0]
    table = np.stack([torch.cat(shares)[:, domains == d].flatten(0, 2).mean(0).numpy() for d in range(2)])
    assert measured.specialization is not None
    assert np.array(measured.specialization.shares) == pytest.approx(table, rel=1e-5)
    assert measured.specialization.separation == pytest.approx(specialization(table.astype(float)).separation, abs=1e-5)


def test_losses_are_of_the_scored_tokens_alone() -> None:
    """Whatever is said where nothing is asked, the losses stay; uniform logits give ln of their number."""
    episodes = sample_episodes(EPISODES, 2, Generator(), "training")
    logits = torch.zeros(*episodes.tokens.shape, EPISODES.vocabulary)
    expected = torch.tensor(float(EPISODES.vocabulary)).log()
    assert torch.allclose(torch.stack(domain_losses(logits, episodes)), expected)
    logits[episodes.targets < 0] = torch.nan
    assert torch.allclose(torch.stack(domain_losses(logits, episodes)), expected)
    # Names of domains only name the losses.
    swapped = replace(episodes, domains=1 - episodes.domains)
    logits = torch.randn(*episodes.tokens.shape, EPISODES.vocabulary)
    assert domain_losses(logits, swapped) == domain_losses(logits, episodes)[::-1]
