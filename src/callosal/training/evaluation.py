"""What a model is worth on episodes that training cannot have drawn."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from callosal.measures.recording import record_shares
from callosal.measures.specialization import Specialization, domain_shares, specialization
from callosal.models import Transformer
from callosal.tasks import Domain, EpisodeConfig, Episodes, sample_episodes
from callosal.tasks.episodes import scored

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Measures over a held-out stream.

    Attributes:
        num_episodes: how many episodes were drawn.
        cipher_loss: cross-entropy of the cipher's answers, in nats; ln K without a memory.
        arithmetic_loss: cross-entropy of the progressions' terms, in nats.
        cipher_recall: share of letters answered rightly.
        arithmetic_accuracy: share of terms predicted rightly.
        specialization: the banks' measures; None for a model without memory.
    """

    num_episodes: int
    cipher_loss: float
    arithmetic_loss: float
    cipher_recall: float
    arithmetic_accuracy: float
    specialization: Specialization | None


def domain_losses(logits: Tensor, episodes: Episodes) -> list[Tensor]:
    """Return the mean cross-entropy over each domain's scored tokens, cipher first, in nats."""
    losses = []
    for domain in Domain:
        where = scored(episodes, domain)
        losses.append(torch.nn.functional.cross_entropy(logits[where], episodes.targets[where]))
    return losses


def batch_specialization(shares: list[Tensor], episodes: Episodes) -> Specialization | None:
    """Measure the first memory's shares over a batch; None if the model has no memory."""
    return specialization(share_table(shares[0], episodes)) if shares else None


def share_table(shares: Tensor, episodes: Episodes) -> np.ndarray:
    """Average shares [batch, segment, time, bank] into a table [domain, bank]."""
    labels = episodes.domains[None, :, None].expand(shares.shape[:-1])
    return domain_shares(
        shares.flatten(0, -2).double().numpy(), labels.flatten().numpy(), len(Domain)
    )


@torch.no_grad()
def evaluate(
    model: Transformer, config: EpisodeConfig, num_episodes: int, generator: Generator
) -> Evaluation:
    """Measure a model in evaluation mode on episodes of the evaluation split."""
    was_training = model.training
    model.eval()
    sums, drawn = np.zeros(4), 0
    tables: list[np.ndarray] = []
    while drawn < num_episodes:
        size = min(BATCH, num_episodes - drawn)
        episodes = sample_episodes(config, size, generator, "evaluation")
        with record_shares(model) as shares:
            logits, _ = model(episodes.tokens, model.blank(size))
        losses = [loss.item() for loss in domain_losses(logits, episodes)]
        right = logits.argmax(-1) == episodes.targets
        hits = [right[scored(episodes, d)].float().mean().item() for d in Domain]
        sums += size * np.array([*losses, *hits])
        if shares:
            tables.append(size * share_table(shares[0], episodes))
        drawn += size
    model.train(was_training)
    cipher_loss, arithmetic_loss, recall, accuracy = (sums / drawn).tolist()
    return Evaluation(
        num_episodes=drawn,
        cipher_loss=cipher_loss,
        arithmetic_loss=arithmetic_loss,
        cipher_recall=recall,
        arithmetic_accuracy=accuracy,
        specialization=specialization(np.sum(tables, axis=0) / drawn) if tables else None,
    )
