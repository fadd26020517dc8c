"""The training loop: AdamW with warm-up and cosine, a curve, checkpoints, exact resume."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from callosal.checks import require, require_counts, require_positive
from callosal.memory.config import ADDED
from callosal.training.checkpoint import load_checkpoint, save_checkpoint

Curve = list[dict[str, Any]]
Progress = Callable[[int, dict[str, Any]], None]
# A loss, and what makes the step's point of the curve once the step was taken.
Step = tuple[Tensor, Callable[[], dict[str, Any]]]


class TrainingDivergedError(RuntimeError):
    """The loss or its gradient is no longer a number."""


@dataclass(frozen=True, kw_only=True)
class DescentConfig:
    """How a loss is minimised, whatever the model and its data: AdamW, warm-up and cosine.

    Attributes:
        num_steps: optimiser steps.
        learning_rate: its peak.
        warmup_steps: linear rise to the peak; then a cosine falls to ``final_fraction`` of it.
        final_fraction: of the peak, at the last step.
        beta2: AdamW's second moment decay; the first is 0.9.
        weight_decay: AdamW's.
        clip_norm: largest gradient norm.
        log_every: steps between points of the curve.
        checkpoint_every: steps between checkpoints.
        cycles: falls of the cosine, each from the peak and twice as long as the one before. At the end of each the rate
            is as low as at the end of a whole training, so that what was learned by then can be compared.
    """

    num_steps: int
    learning_rate: float
    warmup_steps: int = 40
    final_fraction: float = 0.02
    beta2: float = 0.95
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    log_every: int = 10
    checkpoint_every: int = 100
    cycles: int = field(default=1, metadata=ADDED)

    def __post_init__(self) -> None:
        require_counts(self, "num_steps", "log_every", "checkpoint_every", "cycles")
        parts = 2**self.cycles - 1
        whole = self.num_steps % parts == 0
        require(self, "cycles", whole, f"num_steps ({self.num_steps}) must be a multiple of 2**cycles - 1, {parts}")
        require_positive(self, "learning_rate")
        require(self, "clip_norm", self.clip_norm > 0.0, "it must be above 0")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(DescentConfig):
    """How a model is trained on what is drawn anew for every step.

    Attributes:
        batch_size: episodes per step.
        num_threads: torch threads; part of the configuration because it can change the last digits.
    """

    learning_rate: float = 4e-3
    batch_size: int = 32
    num_threads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "batch_size", "num_threads")


def cycle_ends(config: DescentConfig) -> tuple[int, ...]:
    """Return the number of steps after which each fall of the cosine ends; the last is the whole training.

    >>> cycle_ends(TrainingConfig(num_steps=700, cycles=3))
    (100, 300, 700)
    """
    first = config.num_steps // (2**config.cycles - 1)
    return tuple(first * (2**number - 1) for number in range(1, config.cycles + 1))


def is_logged(done: int, config: DescentConfig) -> bool:
    """Whether the curve has a point after so many steps: every ``log_every``, and at the end of each cycle."""
    return done % config.log_every == 0 or done in cycle_ends(config)


def learning_rate_at(step: int, config: DescentConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine, or one for each of the cycles."""
    rise = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    begun, end = next(pair for pair in pairwise((0, *cycle_ends(config))) if step < pair[1])
    fall = 0.5 * (1.0 + math.cos(math.pi * (step - begun) / (end - begun)))
    floor = config.final_fraction
    return config.learning_rate * rise * (floor + (1.0 - floor) * fall)


def optimise(
    model: nn.Module,
    prepare: Callable[[int], Step],
    config: TrainingConfig,
    *,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    on_progress: Progress = lambda step, point: None,
    is_enough: Callable[[Curve], bool] = lambda curve: False,
) -> Curve:
    """Minimise what ``prepare`` gives for each step, and return the curve.

    Interrupted at any moment and called again with the same arguments, it continues from the last checkpoint and gives
    the same curve to the digit on the same machine.

    Args:
        model: trained in place; overwritten by the checkpoint if there is one.
        prepare: returns a step's loss, which may depend on nothing but the step, and what makes its point of the curve,
            called after the step where one is due.
        config: how to train.
        checkpoint: where to keep one; None keeps none.
        fingerprint: says which configuration a checkpoint belongs to.
        on_progress: called with the step and the newest point of the curve, at every such point.
        is_enough: asked at every new point whether to stop there; it may look at nothing but the curve.

    Raises:
        TrainingDivergedError: the loss or the gradient norm is not finite. The last checkpoint stays.
        CheckpointError: a checkpoint is there but damaged or of another configuration.
    """
    optimiser = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )
    done, curve = 0, []
    if checkpoint is not None and checkpoint.exists():
        saved = load_checkpoint(checkpoint, fingerprint)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        done, curve = saved["step"], saved["curve"]

    model.train()
    ended = is_enough(curve)
    for step in range(done, config.num_steps):
        if ended:
            break
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, config)
        loss, make_point = prepare(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        require_finite(loss.item(), norm.item(), config, step)
        optimiser.step()
        done = step + 1
        if is_logged(done, config):
            curve.append({"step": done} | make_point())
            on_progress(done, curve[-1])
            ended = done == config.num_steps or is_enough(curve)
        if checkpoint is not None and (done % config.checkpoint_every == 0 or ended):
            content = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": done, "curve": curve}
            save_checkpoint(checkpoint, content, fingerprint)
    model.eval()
    return curve


def require_finite(loss: float, norm: float, config: DescentConfig, step: int) -> None:
    """Raise TrainingDivergedError where the loss or the gradient norm is not finite."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise TrainingDivergedError(
            f"step {step + 1}: the loss is {loss:.3g} and its gradient norm {norm:.3g}; lower the learning rate "
            f"({config.learning_rate:g}) or clip_norm ({config.clip_norm:g})"
        )
