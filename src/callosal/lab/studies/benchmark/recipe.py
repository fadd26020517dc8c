"""The benchmark's recipes: functions that return the complete configuration of an arm's run."""

from collections.abc import Callable

from callosal.lab.models.transformer import TransformerConfig
from callosal.lab.report.records import Arm
from callosal.lab.runs import RunConfig
from callosal.lab.tasks import EpisodeConfig
from callosal.memory import MemoryConfig
from callosal.training.loop import TrainingConfig

SIGNS: dict[Arm, float] = {"inhibitory": -1.0, "uncoupled": 0.0, "excitatory": 1.0}


def quick(arm: Arm, seed: int) -> RunConfig:
    """Return the small benchmark: 8 letters, about two minutes a run on one core."""
    return _recipe("quick", arm, seed, num_letters=8, pairs=8, num_slots=64, num_steps=750)


def paper(arm: Arm, seed: int) -> RunConfig:
    """Return the paper's size of alphabet: 26 letters, shown 13 to a segment.

    A letter needs a slot where it is asked and one where it answers, so 26 letters want well over 52.
    """
    return _recipe("paper", arm, seed, num_letters=26, pairs=13, num_slots=128, num_steps=1400)


RECIPES: dict[str, Callable[[Arm, int], RunConfig]] = {"quick": quick, "paper": paper}


def _recipe(
    name: str, arm: Arm, seed: int, *, num_letters: int, pairs: int, num_slots: int, num_steps: int
) -> RunConfig:
    episodes = EpisodeConfig(num_letters=num_letters, pairs_per_segment=pairs)
    trunk = TransformerConfig(num_tokens=episodes.vocabulary, max_time=episodes.segment_length)
    memory = None
    if arm in SIGNS:
        memory = MemoryConfig(width=trunk.width, num_slots=num_slots, sign=SIGNS[arm])
    return RunConfig(
        recipe=name,
        arm=arm,
        seed=seed,
        episodes=episodes,
        transformer=trunk,
        memory=memory,
        training=TrainingConfig(num_steps=num_steps),
    )
