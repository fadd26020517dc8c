"""The smallest run that still has everything: four letters, one round, a trunk of one block."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from callosal.lab.models.transformer import Transformer, TransformerConfig
from callosal.lab.report.records import Arm
from callosal.lab.runs import RetentionConfig, RunConfig, build_model
from callosal.lab.studies.benchmark.recipe import quick
from callosal.lab.tasks import EpisodeConfig

EPISODES = EpisodeConfig(num_letters=4, pairs_per_segment=4, num_rounds=1, modulus=5)
SIZES = {"num_tokens": EPISODES.vocabulary, "max_time": EPISODES.segment_length, "width": 16}
SIZES |= {"num_blocks": 1, "num_heads": 2, "feed_forward": 2}
STEPS = {"num_steps": 8, "batch_size": 4, "warmup_steps": 2, "log_every": 2, "checkpoint_every": 3}


def tiny(arm: Arm = "inhibitory", seed: int = 0, **training: Any) -> RunConfig:
    """Return a complete run of eight steps; ``training`` changes fields of its TrainingConfig."""
    config = quick(arm, seed)
    return replace(
        config,
        recipe="tiny",
        episodes=EPISODES,
        transformer=TransformerConfig(**SIZES),
        memory=config.memory and replace(config.memory, width=SIZES["width"], num_slots=8),
        training=replace(config.training, **(STEPS | training)),
        evaluation_episodes=64,
        retention=RetentionConfig(distractors=(0, 2), num_episodes=8),
    )


def tiny_model(arm: Arm = "inhibitory") -> Transformer:
    """Return the untrained model of a tiny run, in evaluation mode."""
    return build_model(tiny(arm)).eval()


@contextmanager
def unmoved(model: nn.Module) -> Iterator[None]:
    """Assert that what is done inside moves no parameter, buffer, mode or gradient of a model."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    yield
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
