"""Training with state: memories of a model learn from conversations, on as many processes as Accelerate has."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from callosal.models import Memories
from callosal.training.checkpoint import CheckpointError
from callosal.training.conversations import Batch, Conversations, num_scored
from callosal.training.loop import Curve, Progress, TrainingDivergedError, learning_rate_at

try:
    from accelerate import Accelerator
    from accelerate.data_loader import SeedableRandomSampler
except ImportError as error:
    raise ImportError(
        'training with state runs on Accelerate; install it with pip install "callosal[hf]"'
    ) from error


@dataclass(frozen=True, kw_only=True)
class StatefulConfig:
    """How memories are trained on conversations.

    Attributes:
        num_steps: optimiser steps, a batch of conversations each.
        learning_rate: its peak.
        warmup_steps: linear rise to the peak; then a cosine falls to ``final_fraction`` of it.
        final_fraction: of the peak, at the last step.
        beta2: AdamW's second moment decay; the first is 0.9.
        weight_decay: AdamW's.
        clip_norm: largest gradient norm.
        truncate: turns that a gradient goes back through; None goes through the whole conversation.
        log_every: steps between points of the curve.
        checkpoint_every: steps between checkpoints.
    """

    num_steps: int
    learning_rate: float = 3e-3
    warmup_steps: int = 40
    final_fraction: float = 0.02
    beta2: float = 0.95
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    truncate: int | None = None
    log_every: int = 10
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        for name in ("num_steps", "truncate", "log_every", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"StatefulConfig.{name} is {value}; it must be at least 1")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0.0:
                raise ValueError(
                    f"StatefulConfig.{name} is {getattr(self, name)}; it must be above 0"
                )


def train_stateful(
    memories: Memories,
    loader: DataLoader[Any],
    config: StatefulConfig,
    *,
    accelerator: Accelerator | None = None,
    folder: str | Path | None = None,
    on_progress: Progress = lambda step, point: None,
) -> Curve:
    """Train memories in place, within the model they are attached to, and return the curve.

    All parameters of the model that require a gradient are trained: freeze the base before attaching.
    The loss of a step is the mean over the scored tokens of all conversations of all processes, so
    neither ``truncate`` nor the number of processes changes a token's weight.

    Interrupted at any moment and called again with the same arguments, it continues from the last
    checkpoint in the folder and gives the same curve to the digit on the same machine, if the loader's
    order does not depend on chance that nobody saved (its sampler is sequential or seeded).

    Args:
        memories: what ``callosal.attach`` returned.
        loader: batches of conversations, collated by
            :func:`~callosal.training.conversations.collate_conversations`. Each process takes batches of its own.
        config: how to train.
        accelerator: says where and in which precision, and where to log; one for this run alone.
        folder: where to keep a checkpoint; None keeps none.
        on_progress: called by the main process with the step and the newest point of the curve.

    Raises:
        TrainingDivergedError: the loss or its gradient is not finite. The last checkpoint stays.
        CheckpointError: the checkpoint in the folder is of another configuration.
        ValueError: nothing requires a gradient, or the loader cannot be continued.
    """
    accelerator = accelerator or Accelerator()
    _check(memories, loader, accelerator, folder)
    conversations = Conversations(memories)
    parameters = [p for p in conversations.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=0.0, betas=(0.9, config.beta2), weight_decay=config.weight_decay
    )
    model, optimiser, loader = accelerator.prepare(conversations, optimiser, loader)
    was_training, done, curve = conversations.training, 0, []
    model.train()
    if folder is not None:
        folder = Path(folder)
        done, curve = _load(folder, accelerator, config)
    batches = _batches(loader, accelerator, done)
    for step in range(done, config.num_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, config)
        point = _step(model, optimiser, next(batches), accelerator, config, step)
        done = step + 1
        if done % config.log_every == 0 or done == config.num_steps:
            curve.append(point)
            accelerator.log({k: v for k, v in point.items() if k != "step"}, step=done)
            if accelerator.is_main_process:
                on_progress(done, point)
        if folder is not None and (done % config.checkpoint_every == 0 or done == config.num_steps):
            _save(folder, accelerator, config, done, curve)
    model.train(was_training)
    return curve


def _step(
    model: Any,
    optimiser: Any,
    turns: Batch,
    accelerator: Accelerator,
    config: StatefulConfig,
    step: int,
) -> dict[str, Any]:
    """Take one step and return its point of the curve."""
    scored = num_scored(turns)
    session = model.memories.session()
    window = config.truncate or len(turns)
    losses: list[Tensor] = []
    for start in range(0, len(turns), window):
        last = start + window >= len(turns)
        with nullcontext() if last else accelerator.no_sync(model):
            loss = model(turns[start : start + window], session, scored)["loss"]
            accelerator.backward(loss)
        session.detach()
        losses.append(loss.detach())
    loss = torch.stack(losses).sum().item()
    norm = float(accelerator.clip_grad_norm_(model.parameters(), config.clip_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise TrainingDivergedError(
            f"step {step + 1}: the loss is {loss:.3g} and its gradient norm {norm:.3g}; lower the "
            f"learning rate ({config.learning_rate:g}) or clip_norm ({config.clip_norm:g})"
        )
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return {
        "step": step + 1,
        "loss": loss,
        "learning_rate": optimiser.param_groups[0]["lr"],
        "gradient_norm": norm,
        "num_scored": scored,
    }


def _check(
    memories: Memories, loader: DataLoader[Any], accelerator: Accelerator, folder: object
) -> None:
    if not any(p.requires_grad for p in memories.model.parameters()):
        raise ValueError(
            "nothing to train: no parameter requires a gradient; freeze the base before attaching, or "
            "call memories.requires_grad_()"
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            f"gradient_accumulation_steps is {accelerator.gradient_accumulation_steps}; it must be 1: a step "
            "is one batch, whose size the loader has, and truncate bounds what a batch costs"
        )
    if not len(loader):
        raise ValueError("the loader has no batch; give it conversations")
    sampler = loader.sampler
    seeded = isinstance(sampler, SeedableRandomSampler)
    if folder is not None and isinstance(sampler, RandomSampler) and not seeded:
        raise ValueError(
            "the loader shuffles by chance, and a run that continues could not draw the same; pass "
            "sampler=accelerate.data_loader.SeedableRandomSampler(dataset, data_seed=0) rather than shuffle"
        )


def _batches(loader: Any, accelerator: Accelerator, done: int) -> Iterator[Batch]:
    """Go through the loader again and again, from the batch of a step on."""
    epoch, skipped = divmod(done, len(loader))
    while True:
        loader.set_epoch(epoch)
        rest = accelerator.skip_first_batches(loader, skipped) if skipped else loader
        # A loader draws a seed when it starts; what the model draws must not depend on that.
        with torch.random.fork_rng(devices=[]):
            batches = iter(rest)
            first = next(batches)
        yield first
        yield from batches
        epoch, skipped = epoch + 1, 0


def _save(
    folder: Path, accelerator: Accelerator, config: StatefulConfig, done: int, curve: Curve
) -> None:
    """Write a checkpoint: a kill at any moment leaves the one before or this one, whole."""
    name = f"step-{done:08d}"
    unfinished = folder / f"{name}.unfinished"
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        progress = {"step": done, "config": asdict(config), "curve": curve}
        (unfinished / "progress.json").write_text(json.dumps(progress))
        shutil.rmtree(folder / name, ignore_errors=True)
        os.replace(unfinished, folder / name)
        for other in folder.glob("step-*"):
            if other.name != name:
                shutil.rmtree(other)
    accelerator.wait_for_everyone()


def _load(folder: Path, accelerator: Accelerator, config: StatefulConfig) -> tuple[int, Curve]:
    """Go on from the newest checkpoint, if there is one."""
    whole = sorted(p for p in folder.glob("step-*") if p.suffix != ".unfinished")
    if not whole:
        return 0, []
    progress = json.loads((whole[-1] / "progress.json").read_text())
    if progress["config"] != asdict(config):
        raise CheckpointError(
            f"the checkpoint {whole[-1]} is of another configuration; delete it or use another folder"
        )
    accelerator.load_state(str(whole[-1]))
    return progress["step"], progress["curve"]
