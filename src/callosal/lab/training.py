"""A model trained on episodes, drawn anew for every step."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from callosal.lab.measures.evaluation import batch_specialization, by_kind, domain_losses
from callosal.lab.measures.recording import record_shares
from callosal.lab.models.transformer import Transformer
from callosal.lab.tasks import EpisodeConfig, sample_episodes
from callosal.memory import LateralMemory, Penalised
from callosal.training.loop import Curve, Progress, Step, TrainingConfig, optimise
from callosal.training.seeding import generator_for


def train(
    model: Transformer,
    episodes_config: EpisodeConfig,
    config: TrainingConfig,
    seed: int,
    *,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    on_progress: Progress = lambda step, point: None,
) -> Curve:
    """Train a model in place and return its curve.

    Interrupted at any moment and called again with the same arguments, it continues from the last checkpoint and gives
    the same curve to the digit on the same machine: the episodes of a step depend on the seed and the step alone.

    Args:
        model: freshly initialised; overwritten by the checkpoint if there is one.
        episodes_config: what to train on.
        config: how to train.
        seed: of the run.
        checkpoint: where to keep one; None keeps none.
        fingerprint: says which configuration a checkpoint belongs to.
        on_progress: called with the step and the newest point of the curve, at every such point.

    Raises:
        TrainingDivergedError: the loss or the gradient norm is not finite. The last checkpoint stays.
        CheckpointError: a checkpoint is there but damaged or of another configuration.
    """

    def prepare(step: int) -> Step:
        return _episodes_step(model, episodes_config, config, seed, step)

    return optimise(model, prepare, config, checkpoint=checkpoint, fingerprint=fingerprint, on_progress=on_progress)


def _episodes_step(
    model: Transformer, episodes_config: EpisodeConfig, config: TrainingConfig, seed: int, step: int
) -> Step:
    """Draw a step's episodes and return its loss."""
    generator = generator_for(seed, "training", step)
    episodes = sample_episodes(episodes_config, config.batch_size, generator, "training")
    due = (step + 1) % config.log_every == 0 or step + 1 == config.num_steps
    blank = model.blank(config.batch_size)
    with record_shares(model) if due else nullcontext([]) as shares:
        logits, states = model(episodes.tokens, blank)
    losses = domain_losses(logits, episodes)
    # A memory may add a term of its own, such as a mixture's load balance.
    penalties = [state.penalty for state in states.values() if isinstance(state, Penalised)]

    def make_point() -> dict[str, Any]:
        episodic_loss, rule_loss = by_kind([loss.item() for loss in losses], episodes_config)
        point: dict[str, Any] = {"episodic_loss": episodic_loss, "rule_loss": rule_loss}
        measured = batch_specialization(shares, episodes)
        if measured is not None:
            point["separation"] = measured.separation
            point["cross_talk"] = measured.cross_talk
        coupled = [module for module in model.modules() if isinstance(module, LateralMemory)]
        if coupled:
            point["coupling"] = coupled[0].coupling.detach().tolist()
        return point

    return torch.stack([*losses, *penalties]).sum(), make_point
