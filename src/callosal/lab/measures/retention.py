"""How much is still recalled after n further segments that also write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator

from callosal.lab.models.transformer import Transformer
from callosal.lab.tasks import EpisodeConfig, sample_episodes
from callosal.lab.tasks.episodes import scored_questions

CHUNK = 20


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Recall after each number of distractor segments between support and question.

    Attributes:
        distractors: the numbers of segments.
        recall: share of letters answered rightly, in [0, 1].
        loss: cross-entropy of the answers, in nats.
    """

    distractors: list[int]
    recall: list[float]
    loss: list[float]


@torch.no_grad()
def measure_retention(
    model: Transformer,
    config: EpisodeConfig,
    distractors: Sequence[int],
    num_episodes: int,
    generator: Generator,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Retention:
    """Ask the same questions after more and more segments of the rules; the questions leave no trace.

    Args:
        model: a model in evaluation mode, with or without memory.
        config: the episodes; its own number of distractors is ignored.
        distractors: increasing numbers of segments of the rules, each of which writes.
        num_episodes: how many; each asks for all its letters.
        generator: draws the episodes, from the evaluation split.
        on_progress: called with (segments done, segments in all).
    """
    most = max(distractors)
    episodes = sample_episodes(replace(config, num_distractors=most), num_episodes, generator, "evaluation")
    first = config.num_told_segments
    questions = slice(first + most, None)
    tokens, targets = episodes.tokens[:, questions], episodes.targets[:, questions]
    scored = scored_questions(episodes, config)[:, questions]

    _, states = model(episodes.tokens[:, :first], model.blank(num_episodes))
    recall, loss, done = [], [], 0
    for mark in distractors:
        while done < mark:
            stop = min(done + CHUNK, mark)
            _, states = model(episodes.tokens[:, first + done : first + stop], states)
            done = stop
            on_progress(done, most)
        logits, _ = model(tokens, states)
        guesses, answers = logits[scored], targets[scored]
        recall.append((guesses.argmax(-1) == answers).float().mean().item())
        loss.append(torch.nn.functional.cross_entropy(guesses, answers).item())
    return Retention(distractors=list(distractors), recall=recall, loss=loss)
