"""The runs of the options: each set alone, and the telling ones together, on three tasks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from callosal.lab import runner
from callosal.lab.report.records import RunRecord
from callosal.lab.runner import Report
from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.options.cells import APART, OPTIONS, READ, SHARED, USERS, shared_cell, users_cell
from callosal.lab.studies.persona import recipe as persona
from callosal.lab.studies.persona.recipe import PersonaRun
from callosal.lab.studies.rivals.recipe import NUM_STEPS
from callosal.lab.tasks import EpisodeConfig

RECIPE = "options"
# The rivals' steps and rate, so that the paper's form is their inhibitory memory.
LEARNING_RATE = 8e-3
DISTRACTORS = (0, 10, 100, 1000)
# Eleven letters and numbers mod 11: over a segment, every token is as frequent in both.
ONE_ALPHABET = EpisodeConfig(num_letters=11, pairs_per_segment=11, shared_alphabet=True)


def configs(seeds: Sequence[int]) -> list[RunConfig | PersonaRun]:
    """Return the options on the cipher, seed by seed, then on the persona task, the dearest."""
    ciphers = [
        run
        for seed in seeds
        for run in (
            *(_cipher(option, option, seed, EpisodeConfig()) for option in APART),
            *(_cipher(shared_cell(option), option, seed, ONE_ALPHABET) for option in SHARED),
        )
    ]
    return [*ciphers, *(_users(option, seed) for seed in seeds for option in USERS)]


def run(config: RunConfig | PersonaRun, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Run one, as the study does that its task is of; see :func:`callosal.lab.runner.run`."""
    if isinstance(config, PersonaRun):
        return persona.run(config, folder, report)
    return runner.run(config, folder, report)


def _cipher(cell: str, option: str, seed: int, episodes: EpisodeConfig) -> RunConfig:
    apart = not episodes.shared_alphabet
    return small(
        RECIPE,
        cell,
        seed,
        episodes=episodes,
        memory=small_memory(**OPTIONS[option]),
        num_steps=NUM_STEPS,
        learning_rate=LEARNING_RATE,
        distractors=DISTRACTORS,
        extras=("own words",) if apart else (),
    )


def _users(option: str, seed: int) -> PersonaRun:
    run = persona.cell(users_cell(option), seed, **OPTIONS[option])
    return replace(
        run,
        layers=READ.get(option, run.layers),
        shared=option in READ,
        recipe=RECIPE,
        evaluation_conversations=128,
        marks=(0, 100),
        chatter_marks=DISTRACTORS,
        recalled_conversations=32,
    )
