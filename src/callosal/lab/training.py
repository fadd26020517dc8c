"""A model trained on episodes, drawn anew for every step."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from callosal.lab.measures.evaluation import batch_specialization, by_kind, domain_losses
from callosal.lab.measures.recording import record_shares
from callosal.lab.models.transformer import Transformer
from callosal.lab.tasks import EpisodeConfig, sample_episodes
from callosal.memory import LateralMemory, Penalised
from callosal.training.loop import Curve, Step, TrainingConfig, cycle_ends, is_logged, optimise
from callosal.training.seeding import generator_for


def train(
    model: Transformer,
    episodes_config: EpisodeConfig,
    config: TrainingConfig,
    seed: int,
    *,
    measure: Callable[[], dict[str, Any]] = dict,
    **options: Any,
) -> Curve:
    """Train a model in place and return its curve.

    Interrupted at any moment and called again with the same arguments, it continues from the last checkpoint and gives
    the same curve to the digit on the same machine: the episodes of a step depend on the seed and the step alone.

    Args:
        model: freshly initialised; overwritten by the checkpoint if there is one.
        episodes_config: what to train on.
        config: how to train.
        seed: of the run.
        measure: gives what a point at the end of a cycle has besides.
        options: ``checkpoint``, ``fingerprint``, ``on_progress`` and ``is_enough`` of
            :func:`callosal.training.loop.optimise`, which also says what is raised.
    """

    def prepare(step: int) -> Step:
        generator = generator_for(seed, "training", step)
        episodes = sample_episodes(episodes_config, config.batch_size, generator, "training")
        due = is_logged(step + 1, config)
        blank = model.blank(config.batch_size)
        with record_shares(model) if due else nullcontext([]) as shares:
            logits, states = model(episodes.tokens, blank)
        losses = domain_losses(logits, episodes)
        # A memory may add a term of its own, such as a mixture's load balance.
        penalties = [state.penalty for state in states.values() if isinstance(state, Penalised)]

        def make_point() -> dict[str, Any]:
            episodic_loss, rule_loss = by_kind([loss.item() for loss in losses], episodes_config)
            point: dict[str, Any] = {"episodic_loss": episodic_loss, "rule_loss": rule_loss}
            if step + 1 in cycle_ends(config):
                point |= measure()
            measured = batch_specialization(shares, episodes)
            if measured is not None:
                point |= {"separation": measured.separation, "cross_talk": measured.cross_talk}
            coupled = next((module for module in model.modules() if isinstance(module, LateralMemory)), None)
            return point if coupled is None else point | {"coupling": coupled.coupling.detach().tolist()}

        return torch.stack([*losses, *penalties]).sum(), make_point

    return optimise(model, prepare, config, **options)
