"""How much is still recalled after n further segments that also write."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Generator, Tensor

from callosal.lab.models.transformer import States, Transformer
from callosal.lab.tasks import EpisodeConfig, Episodes, sample_episodes
from callosal.lab.tasks.episodes import TOLD, scored_questions

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


# What may be said in a cipher's own words after it was shown, and what is asked then (see measure_own_words).
OWN_WORDS = ("questions", "other ciphers", "newest cipher")


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
    further = episodes.tokens[:, first : first + most]
    states = model.remember(episodes.tokens[:, :first], model.blank(num_episodes))
    asked = _questions(episodes, config)
    found = [_ask(model, then, *asked) for then in _followed(model, states, further, distractors, on_progress)]
    return _retention(distractors, found)


@torch.no_grad()
def measure_own_words(
    model: Transformer, config: EpisodeConfig, marks: Sequence[int], num_episodes: int, generator: Generator
) -> dict[str, Retention]:
    """Ask for a cipher after more and more segments in its own letters, each of which writes.

    Args:
        model: a model in evaluation mode, with or without memory.
        config: the episodes, unmixed; its own number of distractors is ignored.
        marks: increasing numbers of what comes in between.
        num_episodes: how many; each asks for all its letters.
        generator: draws the episodes, from the evaluation split.

    Returns:
        By ``OWN_WORDS``: recall of the cipher after it was asked for so many times, each letter once, the answer never
        shown; after so many other ciphers were shown once each; and of the last of these, where a memory is to know
        what holds now. After none, the newest cipher is the cipher itself.
    """
    most, letters = max(marks), config.num_letters
    a_round = config.pairs_per_segment * min(config.turns)
    once = replace(config, num_distractors=0, num_rounds=-(-letters // a_round))
    episodes = sample_episodes(replace(config, num_distractors=0), num_episodes, generator, "evaluation")
    others = sample_episodes(once, num_episodes * most, generator, "evaluation")
    told, is_told = once.num_told_segments, torch.tensor([name in TOLD for name in once.domains])[others.domains[:, 0]]
    places = torch.arange(len(is_told))
    between = {"questions": is_told & (places >= told), "other ciphers": is_told & (places < told)}
    tokens, targets, wanted = _questions(others, once)
    tokens, targets = (
        rearrange(t, "(row further) ... -> row further ...", row=num_episodes) for t in (tokens, targets)
    )
    wanted = rearrange(wanted, "(row further) ... -> row further ...", row=num_episodes)

    states = model.remember(episodes.tokens[:, : config.num_told_segments], model.blank(num_episodes))
    asked = _questions(episodes, config)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in OWN_WORDS}
    for name, kept in between.items():
        further = rearrange(
            others.tokens[:, kept], "(row further) seg time -> row (further seg) time", row=num_episodes
        )
        segments = [mark * int(kept.sum()) for mark in marks]
        for mark, then in zip(marks, _followed(model, states, further, segments), strict=True):
            found[name].append(_ask(model, then, *asked))
            if name == "other ciphers":
                newest = (tokens[:, mark - 1], targets[:, mark - 1], wanted[:, mark - 1]) if mark else asked
                found["newest cipher"].append(_ask(model, then, *newest))
    return {name: _retention(marks, values) for name, values in found.items()}


def _followed(
    model: Transformer,
    states: States,
    further: Tensor,
    marks: Sequence[int],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[States]:
    """Read further segments [row, segment, time] and give the states after each number of them."""
    done = 0
    for mark in marks:
        while done < mark:
            stop = min(done + CHUNK, mark)
            states = model.remember(further[:, done:stop], states)
            done = stop
            on_progress(done, max(marks))
        yield states


def _questions(episodes: Episodes, config: EpisodeConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens and targets of the questions' segments, and where an answer is asked for."""
    asked = slice(-config.num_questions * len(config.domains), None)
    return episodes.tokens[:, asked], episodes.targets[:, asked], scored_questions(episodes, config)[:, asked]


def _ask(model: Transformer, states: States, tokens: Tensor, targets: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Return the share of right answers and their cross-entropy; the states stay as they are."""
    logits, _ = model(tokens, states)
    guesses, answers = logits[wanted], targets[wanted]
    right = (guesses.argmax(-1) == answers).float().mean().item()
    return right, torch.nn.functional.cross_entropy(guesses, answers).item()


def _retention(marks: Sequence[int], found: Sequence[tuple[float, float]]) -> Retention:
    return Retention(distractors=list(marks), recall=[r for r, _ in found], loss=[loss for _, loss in found])
