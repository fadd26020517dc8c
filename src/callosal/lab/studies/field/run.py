"""Runs a cell of the field's benchmarks: a model of mixers, trained on sequences drawn anew, in one call or two."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from callosal.checks import require, require_counts
from callosal.lab.models.baselines import FullHistory, FullHistoryConfig, GatedDelta, GatedDeltaConfig
from callosal.lab.models.sequence import SequenceConfig, SequenceModel
from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.upgrade import single_values
from callosal.lab.runner import HELD_OUT_SEED, Report, num_trained, open_place, record_of
from callosal.lab.runs import fingerprint, run_name
from callosal.lab.studies.field.cells import TOLD_AND_ASKED, at_size
from callosal.lab.tasks.sequences import Sequences, SequenceTask
from callosal.memory import LateralMemory, MemoryConfig
from callosal.memory.config import LABEL
from callosal.training import UNSCORED
from callosal.training.loop import Curve, Step, TrainingConfig, optimise
from callosal.training.seeding import generator_for, seeded

# Sequences that are evaluated at once.
EVALUATED_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class FieldRun:
    """Everything that determines the numbers of a run.

    Attributes:
        recipe: the study.
        arm: the name of its cell.
        seed: of model and sequences.
        task: what is drawn.
        calls: 1, or 2: what is told in the first and asked in the second, with nothing of it in context.
        width: of the model.
        attention: attention over a call, whose keys and values are dropped at its end; None is none.
        memory: behind it, or alone; None is none.
        num_layers: so many times the two above.
        training: how the model learns.
        num_evaluated: held-out sequences.
        further: other sizes of the task that the trained model is asked at as well.
        changed: what was set by hand; such a run is no evidence.
        labels: factors that no field holds; no part of the fingerprint.
    """

    recipe: str
    arm: str
    seed: int
    task: Any
    calls: int
    width: int = 64
    attention: FullHistoryConfig | None = None
    memory: MemoryConfig | GatedDeltaConfig | None = None
    num_layers: int = 1
    training: TrainingConfig
    num_evaluated: int = 1024
    further: tuple[int, ...] = ()
    changed: tuple[str, ...] = ()
    labels: dict[str, Any] = field(default_factory=dict, metadata=LABEL)

    def __post_init__(self) -> None:
        require(self, "seed", self.seed >= 0, "it must be at least 0")
        require(self, "calls", self.calls in (1, 2), "it must be 1 or 2")
        require_counts(self, "width", "num_layers", "num_evaluated")
        mixes = self.attention is not None or self.memory is not None
        require(self, "memory", mixes, "without attention it must be a memory: nothing else mixes tokens")

    @property
    def name(self) -> str:
        """A readable, unique folder name."""
        return run_name(self)


def build_model(config: FieldRun) -> SequenceModel:
    """Initialise the run's model. The embedding starts alike in every cell of a seed."""
    mixers: list[nn.Module] = []
    with seeded(config.seed, "memory"):
        for _ in range(config.num_layers):
            if config.attention is not None:
                mixers.append(FullHistory(config.attention))
            if isinstance(config.memory, MemoryConfig):
                mixers.append(LateralMemory(config.memory))
            elif config.memory is not None:
                mixers.append(GatedDelta(config.memory))
    # Attention sees a call and no more.
    within_call = [place for place, mixer in enumerate(mixers) if isinstance(mixer, FullHistory)]
    sizes = SequenceConfig(num_tokens=config.task.vocabulary, width=config.width)
    with seeded(config.seed, "trunk"):
        return SequenceModel(sizes, mixers, within_call)


def answers(model: SequenceModel, sequences: Sequences, num_calls: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits at all scored tokens, and what is right there; only states go from call to call."""
    states = model.blank(len(sequences.tokens))
    logits, right = [], []
    for tokens, targets in sequences.calls(num_calls):
        hidden, states = model(tokens, states)
        scored = targets != UNSCORED
        if scored.any():
            logits.append(model.logits(hidden[scored]))
            right.append(targets[scored])
    return torch.cat(logits), torch.cat(right)


def train(model: SequenceModel, config: FieldRun, **options: Any) -> Curve:
    """Train a model in place on sequences that depend on the seed and the step alone; return its curve.

    ``options`` are those of :func:`callosal.training.loop.optimise`, which also says what is raised.
    """

    def prepare(step: int) -> Step:
        sequences = config.task.sample(config.training.batch_size, generator_for(config.seed, "training", step))
        logits, right = answers(model, sequences, config.calls)
        loss = nn.functional.cross_entropy(logits, right)
        return loss, lambda: {"loss": loss.item()}

    return optimise(model, prepare, config.training, **options)


@torch.no_grad()
def evaluate(model: SequenceModel, task: SequenceTask, config: FieldRun) -> dict[str, float]:
    """Return loss and accuracy on held-out sequences, the same for every run of a study."""
    model.eval()
    generator = generator_for(HELD_OUT_SEED, config.recipe)
    losses, hits, left = [], [], config.num_evaluated
    while left:
        number = min(left, EVALUATED_AT_ONCE)
        logits, right = answers(model, task.sample(number, generator), config.calls)
        losses.append(nn.functional.cross_entropy(logits, right, reduction="none"))
        hits.append(logits.argmax(-1) == right)
        left -= number
    return {"loss": torch.cat(losses).mean().item(), "accuracy": torch.cat(hits).double().mean().item()}


@torch.no_grad()
def bank_shares(model: SequenceModel, config: FieldRun) -> list[Value]:
    """Return each bank's mean share of the tokens of each call; nothing where the first mixer has no two banks."""
    memory = model.mixers[0]
    if config.calls != 2 or not isinstance(memory, LateralMemory) or memory.config.num_banks == 1:
        return []
    drawn = config.task.sample(EVALUATED_AT_ONCE, generator_for(HELD_OUT_SEED, config.recipe))
    return [
        {"measure": "share", "domain": call, "bank": bank, "value": share}
        for call, (tokens, _) in zip(TOLD_AND_ASKED, drawn.calls(2), strict=True)
        for bank, share in enumerate(memory.bank_share(model.embedding(tokens)).mean((0, 1)).tolist())
    ]


def run(config: FieldRun, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Train and ask one; arguments and errors are those of :func:`callosal.lab.runner.run`."""
    begun = time.monotonic()
    torch.set_num_threads(config.training.num_threads)
    place = open_place(config, folder)
    model = build_model(config)
    curve = train(
        model,
        config,
        checkpoint=place / "checkpoint.pt",
        fingerprint=fingerprint(config),
        on_progress=lambda step, point: report(
            config.name, step / config.training.num_steps, f"loss {point['loss']:.3f}"
        ),
    )
    trained = time.monotonic()
    report(config.name, 1.0, "evaluating")
    values: list[Value] = list(single_values(**evaluate(model, config.task, config)))
    for size in config.further:
        accuracy = evaluate(model, config.task.sized(size), config)["accuracy"]
        values.append({"measure": "accuracy", "condition": at_size(size), "value": accuracy})
    values += bank_shares(model, config)
    values += single_values(chance=config.task.chance, state_floats=model.state_floats, train_seconds=trained - begun)
    return record_of(config, values, curve, num_parameters=num_trained(model), wall_seconds=time.monotonic() - begun)
