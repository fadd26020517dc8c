"""The smallest run that still has everything: four letters, one round, a trunk of one block."""

from dataclasses import replace
from typing import Any

from callosal.lab.report.records import Arm
from callosal.lab.runs import RetentionConfig, RunConfig
from callosal.lab.studies.benchmark.recipe import quick
from callosal.lab.tasks import EpisodeConfig

EPISODES = EpisodeConfig(num_letters=4, pairs_per_segment=4, num_rounds=1, modulus=5)


def tiny(arm: Arm = "inhibitory", seed: int = 0, **training: Any) -> RunConfig:
    """Return a complete run of eight steps; ``training`` changes fields of its TrainingConfig."""
    config = quick(arm, seed)
    width = 16
    memory = config.memory
    settings = {
        "num_steps": 8,
        "batch_size": 4,
        "warmup_steps": 2,
        "log_every": 2,
        "checkpoint_every": 3,
    }
    return replace(
        config,
        recipe="tiny",
        episodes=EPISODES,
        transformer=replace(
            config.transformer,
            num_tokens=EPISODES.vocabulary,
            max_time=EPISODES.segment_length,
            width=width,
            num_blocks=1,
            num_heads=2,
            feed_forward=2,
        ),
        memory=memory and replace(memory, width=width, num_slots=8),
        training=replace(config.training, **(settings | training)),
        evaluation_episodes=64,
        retention=RetentionConfig(distractors=(0, 2), num_episodes=8),
    )
