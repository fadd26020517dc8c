"""Training with state: memories of a model learn from conversations, on as many processes as Accelerate has."""

import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, RandomSampler

from callosal.checks import require_counts
from callosal.hosts.memories import Memories
from callosal.hosts.session import Session
from callosal.memory.config import ADDED, describe
from callosal.memory.disk.format import checksum_of_tensors
from callosal.memory.processes import all_apart
from callosal.training.checkpoint import CheckpointError, seal, sealed
from callosal.training.conversations import Batch, Conversations, evened, num_scored
from callosal.training.loop import Curve, DescentConfig, Progress, learning_rate_at, require_finite

try:
    from accelerate import Accelerator
    from accelerate.data_loader import SeedableRandomSampler, prepare_data_loader
    from accelerate.utils import gather_object
except ImportError as error:
    raise ImportError('training with state runs on Accelerate; install it with pip install "callosal[hf]"') from error

_WHOLE, _UNFINISHED = re.compile(r"step-\d{8,}"), ".unfinished"
_PROGRESS = "progress.json"


@dataclass(frozen=True, kw_only=True)
class StatefulConfig(DescentConfig):
    """How memories are trained on conversations, a batch of which is a step.

    Attributes:
        truncate: turns that a gradient goes back through; None goes through the whole conversation.
        sequence_parallel: each process reads a piece of every turn, rather than conversations of its own. For long
            turns of a model whose layers treat tokens one by one, so that nothing but its memories joins the pieces.
    """

    learning_rate: float = 3e-3
    truncate: int | None = None
    sequence_parallel: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.truncate is not None:
            require_counts(self, "truncate")


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

    All parameters of the model that require a gradient are trained: freeze the base before attaching. The loss of a
    step is the mean over the scored tokens of all conversations of all processes, so neither ``truncate`` nor the
    number of processes changes a token's weight.

    Interrupted at any moment and called again with the same arguments, it continues from the last checkpoint in the
    folder and gives the same curve to the digit on the same machine, if the loader's order does not depend on chance
    that nobody saved (its sampler is sequential or seeded).

    Args:
        memories: what ``callosal.attach`` returned.
        loader: batches of conversations, collated by :func:`callosal.collate_conversations`. Each process takes its
            own, or with ``sequence_parallel`` all of them. It may be a stream without a length (an
            ``IterableDataset``); it is begun again when it ends.
        config: how to train.
        accelerator: says where and in which precision, and where to log; one for this run alone.
        folder: where to keep a checkpoint; None keeps none.
        on_progress: called by the main process with the step and the newest point of the curve.

    Raises:
        TrainingDivergedError: the loss or its gradient is not finite. The last checkpoint stays.
        CheckpointError: the checkpoint in the folder is of another configuration, damaged, or the loader no longer
            gives the batch that it was made after.
        ValueError: nothing requires a gradient, the loader is empty or cannot be continued, the accelerator is not
            set up for this, or with ``sequence_parallel`` the model joins tokens by more than its memories, or the
            loader gives the processes other batches each.
    """
    accelerator = accelerator or Accelerator()
    _check(memories, loader, accelerator, folder)
    conversations = Conversations(memories)
    # A base that was trained before it was frozen may hold old gradients, which would count in the norm.
    conversations.zero_grad(set_to_none=True)
    trained = {n: p for n, p in conversations.named_parameters() if p.requires_grad}
    identity = {
        "config": describe(config),
        "num_processes": accelerator.num_processes,
        "trained": {name: list(parameter.shape) for name, parameter in trained.items()},
    }
    optimiser = torch.optim.AdamW(trained.values(), lr=0.0, betas=(0.9, config.beta2), weight_decay=config.weight_decay)
    model, optimiser = accelerator.prepare(conversations, optimiser)
    loader = _prepared(loader, accelerator, whole=config.sequence_parallel)
    # DDP exchanges gradients while pieces exchange theirs.
    pieces = all_apart() if config.sequence_parallel and accelerator.num_processes > 1 else None
    if accelerator.log_with and not accelerator.trackers:
        settings = {name: value for name, value in asdict(config).items() if value is not None}
        accelerator.init_trackers("callosal", settings)
    was_training, done, curve, last = memories.model.training, 0, [], []
    model.train()
    if folder is not None:
        folder = Path(folder)
        done, curve, last = _load(folder, accelerator, identity)
    batches = _batches(loader, accelerator, max(0, done - 1), config.num_steps)
    if 0 < done < config.num_steps:
        _require_same(next(batches), last, done)
    for step in range(done, config.num_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, config)
        session = memories.session(sequence_group=pieces)
        turns = next(batches)
        if pieces is not None:
            _require_alike(turns)
        point = _step(model, session, optimiser, turns, accelerator, config, step)
        done = step + 1
        if done % config.log_every == 0 or done == config.num_steps:
            curve.append(point)
            accelerator.log({k: v for k, v in point.items() if k != "step"}, step=done)
            if accelerator.is_main_process:
                on_progress(done, point)
        if folder is not None and (done % config.checkpoint_every == 0 or done == config.num_steps):
            _save(folder, accelerator, identity | {"step": done, "curve": curve, "last": _sums_of(turns)})
    model.train(was_training)
    return curve


def _step(
    model: Any,
    session: Session,
    optimiser: Any,
    turns: Batch,
    accelerator: Accelerator,
    config: StatefulConfig,
    step: int,
) -> dict[str, Any]:
    """Take one step and return its point of the curve."""
    turns = evened(turns)
    scored = num_scored(turns)
    if not config.sequence_parallel:
        scored = int(_total(torch.tensor(scored, device=accelerator.device), accelerator))
    window = config.truncate or len(turns)
    losses: list[Tensor] = []
    for start in range(0, len(turns), window):
        last = start + window >= len(turns)
        with nullcontext() if last else accelerator.no_sync(model):
            loss = model(turns[start : start + window], session, scored)["loss"]
            # The gradients of the processes are averaged, but their losses are shares of one mean.
            accelerator.backward(loss * accelerator.num_processes)
        session.stop_gradient()
        losses.append(loss.detach())
    for parameter in model.parameters():
        # What no loss reaches decays all the same: DDP gives it a gradient of zero, one process none at all.
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if accelerator.is_fsdp2:
        _average_whole(model, accelerator)
    loss = _total(torch.stack(losses).sum(), accelerator).item()
    norm = float(accelerator.clip_grad_norm_(model.parameters(), config.clip_norm) or 0.0)
    # In float16 a gradient may overflow: its scale is then lowered and the step left out.
    if accelerator.scaler is None or not math.isfinite(loss):
        require_finite(loss, norm, config, step)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return {
        "step": step + 1,
        "loss": loss,
        "learning_rate": optimiser.param_groups[0]["lr"],
        "gradient_norm": norm,
        "num_scored": scored,
    }


def _average_whole(model: torch.nn.Module, accelerator: Accelerator) -> None:
    """Average the gradients of parameters that FSDP leaves whole, and so does not average itself."""
    for parameter in model.parameters():
        if parameter.grad is not None and not isinstance(parameter.grad, DTensor):
            parameter.grad = _total(parameter.grad, accelerator) / accelerator.num_processes


def _total(number: Tensor, accelerator: Accelerator) -> Tensor:
    """Add up over the processes."""
    total = accelerator.reduce(number, "sum")
    assert isinstance(total, Tensor)
    return total


def _check(memories: Memories, loader: DataLoader[Any], accelerator: Accelerator, folder: object) -> None:
    if not any(p.requires_grad for p in memories.model.parameters()):
        raise ValueError(
            "nothing to train: no parameter requires a gradient; freeze the base before attaching, or call "
            "memories.requires_grad_()"
        )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise ValueError(
            f"{started} processes were started and Accelerate knows of {accelerator.num_processes}: each would train "
            "alone; on CPUs pass Accelerator(cpu=True) or set ACCELERATE_USE_CPU=1"
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            f"gradient_accumulation_steps is {accelerator.gradient_accumulation_steps}; it must be 1: a step is one "
            "batch, whose size the loader has, and truncate bounds what a batch costs"
        )
    if _length(loader) == 0:
        raise ValueError(_NO_BATCH)
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if folder is not None and isinstance(sampler, RandomSampler) and not isinstance(sampler, SeedableRandomSampler):
        raise ValueError(
            "the loader shuffles by chance, and a run that continues could not draw the same; pass "
            "sampler=accelerate.data_loader.SeedableRandomSampler(dataset, data_seed=0) rather than shuffle"
        )


def _length(loader: Any) -> int | None:
    """Return how many batches a loader has; None for a stream."""
    try:
        return len(loader)
    except TypeError:
        return None


_NO_BATCH = "the loader has no batch; give it conversations"


def _prepared(loader: DataLoader[Any], accelerator: Accelerator, *, whole: bool) -> Any:
    """Return a loader of this process's batches; of all of them, if it is to be ``whole``."""
    if _length(loader) is not None and not whole:
        return accelerator.prepare(loader)
    # Accelerate by itself would let one process read a stream and cut its batches up, as if they were tensors.
    number, index = (1, 0) if whole else (accelerator.num_processes, accelerator.process_index)
    return prepare_data_loader(loader, accelerator.device, number, index, put_on_device=True, dispatch_batches=False)


def _batches(loader: Any, accelerator: Accelerator, start: int, num_steps: int) -> Iterator[Any]:
    """Go through the loader again and again, from the batch of a step on."""
    length, epoch, given = _length(loader), 0, 0
    if length:
        epoch, start = divmod(start, length)
    while True:
        loader.set_epoch(epoch)
        # A stream is read up to there, once more.
        skips = start if length else 0
        batches = iter(accelerator.skip_first_batches(loader, skips) if skips else loader)
        # A loader draws a seed when it starts; what the model draws must not depend on that.
        with torch.random.fork_rng(devices=[]):
            first = next(batches, None)
        if first is None:
            raise ValueError(
                f"the loader gave {given} batches and none when it was begun again, and num_steps is {num_steps}; "
                "give it a dataset that can be gone through more than once"
                if given
                else _NO_BATCH
            )
        for batch in chain([first], batches):
            given += 1
            if length or given > start:
                yield batch
        epoch, start = epoch + 1, 0 if length else start


def _sums_of(turns: Batch) -> list[str]:
    """Return the checksum of each process's batch."""
    tensors = {f"{number}.{key}": tensor for number, turn in enumerate(turns) for key, tensor in turn.items()}
    return gather_object([checksum_of_tensors(tensors)])


def _require_alike(turns: Batch) -> None:
    if len(set(_sums_of(turns))) > 1:
        raise ValueError(
            "with sequence_parallel the processes read pieces of the same turns, and their loaders gave different "
            "ones; give each the same data in the same order: sampler=accelerate.data_loader.SeedableRandomSampler("
            "dataset, data_seed=0) rather than shuffle, or a stream that is the same on each"
        )


def _require_same(turns: Batch, last: list[str], done: int) -> None:
    if _sums_of(turns) != last:
        raise CheckpointError(
            f"the loader gives other conversations for step {done} than those that the checkpoint was made after, so "
            "the run cannot go on: give it the same data in the same order (sampler="
            "accelerate.data_loader.SeedableRandomSampler(dataset, data_seed=0), or a stream that begins alike each "
            "time), or use another folder"
        )


def _save(folder: Path, accelerator: Accelerator, progress: dict[str, Any]) -> None:
    """Write a checkpoint: a kill at any moment leaves the one before or this one, whole."""
    whole = folder / f"step-{progress['step']:08d}"
    unfinished = whole.with_suffix(_UNFINISHED)
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
    accelerator.wait_for_everyone()
    hook = accelerator.register_save_state_pre_hook(_leave_out_frozen)
    try:
        accelerator.save_state(str(unfinished))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            seal(unfinished, _PROGRESS, progress)
            os.replace(unfinished, whole)
            for other in folder.iterdir():
                if other != whole and _is_ours(other):
                    shutil.rmtree(other)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    finally:
        hook.remove()
    accelerator.wait_for_everyone()


def _is_ours(path: Path) -> bool:
    """Whether this is a checkpoint, or one that a kill left unfinished; whatever else lies there is somebody's."""
    whole = (path / _PROGRESS).is_file()
    return bool(_WHOLE.fullmatch(path.name.removesuffix(_UNFINISHED))) and (whole or path.suffix == _UNFINISHED)


def _load(folder: Path, accelerator: Accelerator, identity: dict[str, Any]) -> tuple[int, Curve, list[str]]:
    """Go on from the newest checkpoint, if there is one."""
    found = [path for path in folder.glob("step-*") if _WHOLE.fullmatch(path.name) and path.is_dir()]
    whole = max(found, key=lambda path: int(path.name.removeprefix("step-")), default=None)
    if whole is None:
        return 0, [], []
    progress = sealed(whole, _PROGRESS)
    wrong = " and ".join(name for name, value in identity.items() if progress.get(name) != value)
    if wrong:
        raise CheckpointError(
            f"the checkpoint {whole} is of another run: its {wrong} differ; delete it or use another folder"
        )
    accelerator.load_state(str(whole), strict=False)
    return progress["step"], progress["curve"], progress["last"]


def _leave_out_frozen(models: list[torch.nn.Module], weights: list[dict[str, Tensor]], _: str) -> None:
    """Keep frozen weights out of a checkpoint: they are as they were, and may be most of the model."""
    # Sharded models are saved by other means, and no weights come here.
    for model, state in zip(models, weights, strict=False):
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if not parameter.requires_grad:
                state.pop(name, None)
