"""The runs of pairs against slots, banks and width, each as long as it takes to tell a full memory."""

from collections.abc import Sequence
from dataclasses import replace

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.studies.capacity_decided.cells import CELLS, FEWEST, WIDTH, Cell
from callosal.lab.tasks import EpisodeConfig

# Steps of the first cycle; each is twice as long as the one before.
FIRST_STEPS = 200
LEARNING_RATE = 1.6e-2
DISTRACTORS = (0, 100)


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return every cell's runs: the fewest pairs first, of these two wide banks, each part seed by seed."""
    parts: dict[tuple[bool, bool], list[Cell]] = {}
    for cell in CELLS:
        parts.setdefault((cell.pairs > FEWEST, not cell.plain), []).append(cell)
    return [_run(cell, seed) for part in sorted(parts) for seed in seeds for cell in parts[part]]


def _run(cell: Cell, seed: int) -> RunConfig:
    made = small(
        "capacity_decided",
        cell.name,
        seed,
        # The whole cipher in a segment, twice.
        episodes=EpisodeConfig(num_letters=cell.pairs, pairs_per_segment=cell.pairs, num_rounds=2),
        memory=small_memory(
            num_slots=cell.slots,
            num_banks=cell.banks,
            observe=cell.observed,
            inner_width=None if cell.width == WIDTH else cell.width,
        ),
        num_steps=FIRST_STEPS * (2**cell.cycles - 1),
        learning_rate=LEARNING_RATE,
        distractors=DISTRACTORS,
        labels={"observed": cell.observed, "slot_width": cell.width},
    )
    return replace(made, training=replace(made.training, cycles=cell.cycles))
