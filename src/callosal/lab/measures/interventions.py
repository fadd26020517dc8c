"""The same questions with the memory as it is, taken away, lesioned and swapped."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Generator, Tensor

from callosal.lab.models.transformer import States, Transformer
from callosal.lab.tasks import EpisodeConfig, Episodes, sample_episodes
from callosal.lab.tasks.episodes import scored, scored_questions
from callosal.memory import LateralMemory
from callosal.training import UNSCORED


@dataclass(frozen=True, kw_only=True)
class Interventions:
    """Accuracy of each domain at the questions, in [0, 1], under each condition.

    Attributes:
        domains: their names, the order of every list below.
        warm: the memory as the supports left it.
        fresh: the state replaced by a blank one before the questions.
        frozen: nothing was ever written, so that every segment meets a blank memory.
        lesioned: each bank's trace zeroed before the questions, one list per bank.
        silenced: each bank taken out altogether (prototypes and writes too), one list per bank.
        swapped: before the questions each row gets its neighbour's state: (own answers, the neighbour's answers), over
            the questions that need a memory.
        swapped_banks: the same with one bank alone exchanged, one pair per bank.
    """

    domains: list[str]
    warm: list[float]
    fresh: list[float]
    frozen: list[float]
    lesioned: list[list[float]]
    silenced: list[list[float]]
    swapped: list[float]
    swapped_banks: list[list[float]]


@torch.no_grad()
def measure_interventions(
    model: Transformer, config: EpisodeConfig, num_episodes: int, generator: Generator
) -> Interventions:
    """Show each episode's supports once, then ask its questions under every condition.

    Args:
        model: a model in evaluation mode; without banks the lists per bank are empty.
        config: the episodes.
        num_episodes: at least 2, since neighbours are swapped.
        generator: draws them, from the evaluation split.

    Raises:
        ValueError: fewer than 2 episodes.
    """
    if num_episodes < 2:
        raise ValueError(f"{num_episodes} episodes; at least 2 are needed to swap their memories")
    episodes = sample_episodes(config, num_episodes, generator, "evaluation")
    first = config.num_told_segments + config.num_distractors
    questions = Episodes(
        tokens=episodes.tokens[:, first:], targets=episodes.targets[:, first:], domains=episodes.domains[first:]
    )
    _, written = model(episodes.tokens[:, :first], model.blank(num_episodes))

    def accuracy(states: States, variant: Transformer = model) -> list[float]:
        return share_right(variant(questions.tokens, states)[0])

    def share_right(logits: Tensor) -> list[float]:
        right = logits.argmax(-1) == questions.targets
        marks = [scored(questions, domain) for domain in range(len(config.domains))]
        return [right[mark].float().mean().item() for mark in marks]

    def answers(states: States) -> list[float]:
        return _own_and_other(model(questions.tokens, states)[0], questions, config)

    neighbours = torch.arange(num_episodes).roll(1)
    banks = range(_num_banks(model))
    silenced = []
    for bank in banks:
        without = _silence(model, bank)
        _, states = without(episodes.tokens[:, :first], without.blank(num_episodes))
        silenced.append(accuracy(states, without))
    return Interventions(
        domains=list(config.domains),
        warm=accuracy(written),
        fresh=accuracy(model.blank(num_episodes)),
        frozen=share_right(_each_alone(model, questions.tokens)),
        lesioned=[accuracy(_on_bank(written, bank, torch.zeros_like)) for bank in banks],
        silenced=silenced,
        swapped=answers({place: state[neighbours] for place, state in written.items()}),
        swapped_banks=[answers(_on_bank(written, bank, lambda trace: trace[neighbours])) for bank in banks],
    )


def _num_banks(model: Transformer) -> int:
    memories = [module for module in model.modules() if isinstance(module, LateralMemory)]
    return memories[0].config.num_banks if memories else 0


def _each_alone(model: Transformer, tokens: Tensor) -> Tensor:
    """Answer every segment from a blank memory, as if nothing had been written."""
    rows = rearrange(tokens, "batch segment time -> (batch segment) 1 time")
    logits, _ = model(rows, model.blank(len(rows)))
    return rearrange(logits, "(batch seg) 1 time token -> batch seg time token", batch=len(tokens))


def _on_bank(states: States, bank: int, change: Callable[[Tensor], Tensor]) -> States:
    """Change one bank's trace in every state."""
    changed = {}
    for place, state in states.items():
        trace = state.trace.clone()
        trace[:, bank] = change(state.trace[:, bank])
        changed[place] = replace(state, trace=trace)
    return changed


@torch.no_grad()
def _silence(model: Transformer, bank: int) -> Transformer:
    """Copy a model without one bank: it holds nothing, so it reads out and writes nothing."""
    without = deepcopy(model)
    for module in without.modules():
        if isinstance(module, LateralMemory):
            module.prototypes[bank] = 0.0
            module.maps[bank] = 0.0
    return without


def _own_and_other(logits: Tensor, questions: Episodes, config: EpisodeConfig) -> list[float]:
    """Return how often a row answers as it should, and as its neighbour should."""
    where = scored_questions(questions, config)
    num_rows = len(logits)
    # Each row's right answer for each letter; every letter stands in one question.
    table = torch.full((num_rows, config.vocabulary), UNSCORED)
    rows = torch.arange(num_rows)[:, None, None].expand_as(questions.tokens)
    table[rows[where], questions.tokens[where]] = questions.targets[where]
    theirs = table.roll(1, 0)[rows, questions.tokens]
    guesses = logits.argmax(-1)
    own = (guesses == questions.targets)[where].float().mean().item()
    other = (guesses == theirs)[where].float().mean().item()
    return [own, other]
