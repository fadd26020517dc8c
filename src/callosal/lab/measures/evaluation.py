"""What a model is worth on episodes that training cannot have drawn."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from callosal.lab.measures.recording import record_shares
from callosal.lab.measures.specialization import Specialization, domain_shares, specialization
from callosal.lab.models.transformer import Transformer
from callosal.lab.tasks import EpisodeConfig, Episodes, sample_episodes
from callosal.lab.tasks.episodes import TOLD, scored

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Measures over a held-out stream.

    Attributes:
        num_episodes: how many episodes were drawn.
        episodic_loss: cross-entropy of the answers that must be remembered, in nats, averaged over such domains; ln K
            for a cipher without a memory.
        rule_loss: cross-entropy of what the rules predict, in nats, averaged over the rules.
        episodic_accuracy: share of questions answered rightly, averaged over such domains.
        rule_accuracy: share of the rules' tokens predicted rightly.
        losses: cross-entropy of each domain, in the order of ``EpisodeConfig.domains``.
        accuracies: share of right answers of each domain.
        specialization: the banks' measures; None for a model without banks.
    """

    num_episodes: int
    episodic_loss: float
    rule_loss: float
    episodic_accuracy: float
    rule_accuracy: float
    losses: list[float]
    accuracies: list[float]
    specialization: Specialization | None


def domain_losses(logits: Tensor, episodes: Episodes) -> list[Tensor]:
    """Return the mean cross-entropy over each domain's scored tokens, in nats."""
    marks = [scored(episodes, domain) for domain in range(int(episodes.domains.max()) + 1)]
    return [torch.nn.functional.cross_entropy(logits[mark], episodes.targets[mark]) for mark in marks]


def by_kind(values: list[float], config: EpisodeConfig) -> tuple[float, float]:
    """Average a figure of every domain over those that are told, and over the rules; NaN over none."""
    told = [value for value, name in zip(values, config.domains, strict=True) if name in TOLD]
    rules = [value for value, name in zip(values, config.domains, strict=True) if name not in TOLD]
    told_mean, rule_mean = (sum(v) / len(v) if v else math.nan for v in (told, rules))
    return told_mean, rule_mean


def batch_specialization(shares: list[Tensor], episodes: Episodes) -> Specialization | None:
    """Measure the first memory's shares over a batch; None if the model has no banks."""
    return specialization(share_table(shares[0], episodes)) if shares else None


def share_table(shares: Tensor, episodes: Episodes) -> np.ndarray:
    """Average shares [batch, segment, time, bank] into a table [domain, bank]."""
    labels = episodes.domains.expand(shares.shape[:-1])
    return domain_shares(
        shares.flatten(0, -2).double().numpy(), labels.flatten().numpy(), int(episodes.domains.max()) + 1
    )


@torch.no_grad()
def evaluate(model: Transformer, config: EpisodeConfig, num_episodes: int, generator: Generator) -> Evaluation:
    """Measure a model in evaluation mode on episodes of the evaluation split."""
    was_training = model.training
    model.eval()
    num_domains = len(config.domains)
    sums, drawn = np.zeros((2, num_domains)), 0
    tables: list[np.ndarray] = []
    while drawn < num_episodes:
        size = min(BATCH, num_episodes - drawn)
        episodes = sample_episodes(config, size, generator, "evaluation")
        with record_shares(model) as shares:
            logits, _ = model(episodes.tokens, model.blank(size))
        losses = [loss.item() for loss in domain_losses(logits, episodes)]
        right = logits.argmax(-1) == episodes.targets
        hits = [right[scored(episodes, d)].float().mean().item() for d in range(num_domains)]
        sums += size * np.array([losses, hits])
        if shares:
            tables.append(size * share_table(shares[0], episodes))
        drawn += size
    model.train(was_training)
    losses, accuracies = (sums / drawn).tolist()
    episodic_loss, rule_loss = by_kind(losses, config)
    episodic_accuracy, rule_accuracy = by_kind(accuracies, config)
    return Evaluation(
        num_episodes=drawn,
        episodic_loss=episodic_loss,
        rule_loss=rule_loss,
        episodic_accuracy=episodic_accuracy,
        rule_accuracy=rule_accuracy,
        losses=losses,
        accuracies=accuracies,
        specialization=specialization(np.sum(tables, axis=0) / drawn) if tables else None,
    )
