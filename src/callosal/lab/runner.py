"""Runs recipes: skips what is done, two at a time, and puts every run on record."""

import json
import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from multiprocessing.managers import SyncManager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.console import Console

from callosal.lab.allocation import keep_freed_memory
from callosal.lab.measures.evaluation import Evaluation, evaluate
from callosal.lab.measures.finished import Check, checks_of, state_of
from callosal.lab.measures.interventions import measure_interventions
from callosal.lab.measures.retention import measure_own_words, measure_retention
from callosal.lab.measures.snapshot import take_snapshot
from callosal.lab.models.transformer import Transformer
from callosal.lab.progress import Tally, displays
from callosal.lab.report import upgrade
from callosal.lab.report.records import FILE_NAME, RunRecord, Value, append_record, read_records
from callosal.lab.runs import RunConfig, build_model, describe, fingerprint
from callosal.lab.training import train
from callosal.training.checkpoint import load_checkpoint
from callosal.training.loop import Curve, TrainingDivergedError
from callosal.training.seeding import generator_for


class WorkerLostError(ValueError):
    """A worker was ended from outside, by the system when memory ran out, say."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the worker of {name} was ended from outside (was there enough memory?); run the same "
            "command again, with --workers 1 if need be: it goes on from the last checkpoints"
        )


Report = Callable[[str, float, str], None]
# What a worker does: a configuration, the study's folder and a reporter make a record.
Run = Callable[[Any, Path, Report], RunRecord]

# The held-out streams are the same for every run, so that arms and seeds are compared on equal terms.
HELD_OUT_SEED = 0
INTERVENED_EPISODES = 256
# Of a stream of its own, so that a training does not end where it happens to be good at what is then measured.
CHECKED_EPISODES = 256
# At 100 nothing is left of any memory of ours that was not trained for it (LOG.md).
OWN_WORDS_MARKS = (0, 1, 10, 100)


def run(config: RunConfig, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Train, evaluate and measure one run; its checkpoint stays in ``folder / runs / name``.

    Args:
        config: the complete configuration.
        folder: the study's folder.
        report: called with the run's name, the share done in [0, 1] and a line of text.

    Raises:
        TrainingDivergedError: the loss is no longer a number.
        CheckpointError: an earlier part of this run is damaged.
    """
    begun = time.monotonic()
    torch.set_num_threads(config.training.num_threads)
    place = open_place(config, folder)
    model = build_model(config)

    def on_progress(step: int, point: dict[str, Any]) -> None:
        text = f"loss {point['episodic_loss'] + point['rule_loss']:.3f}"
        if "separation" in point:
            text += "  D_sep " + " ".join(f"{value:+.2f}" for value in point["separation"])
        report(config.name, step / config.training.num_steps, text)

    resumed = {"checkpoint": place / "checkpoint.pt", "fingerprint": fingerprint(config)}
    more: dict[str, Any] = until_decided(model, config) if config.training.cycles > 1 else {}
    more |= {"label_weight": config.label_weight}
    curve = train(model, config.episodes, config.training, config.seed, **resumed, **more, on_progress=on_progress)
    trained = time.monotonic()
    report(config.name, 1.0, "evaluating")
    evaluation = evaluate_held_out(model, config)
    retention = measure_retention(
        model,
        config.episodes,
        config.retention.distractors,
        config.retention.num_episodes,
        generator_for(HELD_OUT_SEED, "retention"),
        lambda done, total: report(config.name, 1.0, f"retention, {done} of {total} segments"),
    )
    names = upgrade.domain_names(describe(config))
    # Of a row's state; None without bound, and 0 without a memory.
    state_floats = getattr(model.memory_at(config.memory_behind), "state_floats", 0)
    values = [
        *upgrade.evaluation_values(asdict(evaluation), names),
        *upgrade.retention_values(asdict(retention)),
        *upgrade.single_values(train_seconds=trained - begun, state_floats=state_floats),
    ]
    if "interventions" in config.extras:
        stream = generator_for(HELD_OUT_SEED, "interventions")
        found = measure_interventions(model, config.episodes, INTERVENED_EPISODES, stream)
        values += upgrade.intervention_values(asdict(found), names)
    if "own words" in config.extras:
        stream, number = generator_for(HELD_OUT_SEED, "own words"), config.retention.num_episodes
        kept = measure_own_words(model, config.episodes, OWN_WORDS_MARKS, number, stream)
        values += [row for what, found in kept.items() for row in upgrade.retention_values(asdict(found), what)]
    snapshot = take_snapshot(model, config.episodes) if "snapshot" in config.extras else None
    return record_of(
        config,
        values,
        curve,
        num_parameters=num_trained(model),
        wall_seconds=time.monotonic() - begun,
        extras={} if snapshot is None else {"snapshot": snapshot},
    )


def num_trained(module: torch.nn.Module) -> int:
    """Return how many parameters of a module learn."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def open_place(config: Any, folder: Path) -> Path:
    """Make a run's own folder, with its complete configuration in it."""
    place = folder / "runs" / config.name
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps(describe(config), indent=1) + "\n")
    return place


def record_of(config: Any, values: Iterable[Value], curve: Curve, **measured: Any) -> RunRecord:
    """Make the record of a run of any study, with its factors and of which versions it is.

    Args:
        config: the complete configuration.
        values: tidy rows, as ``report.upgrade`` makes them.
        curve: of the training.
        measured: the fields that are left.
    """
    plain = json.loads(json.dumps(describe(config)))
    return RunRecord(
        fingerprint=fingerprint(config),
        recipe=config.recipe,
        arm=config.arm,
        seed=config.seed,
        changed=list(config.changed),
        factors=upgrade.factors_of(plain) | getattr(config, "labels", {}),
        config=plain,
        values=list(values),
        curve=curve,
        versions={"python": platform.python_version(), "torch": torch.__version__, "callosal": version("callosal")},
        **measured,
    )


def until_decided(model: Transformer, config: RunConfig) -> dict[str, Any]:
    """Return options of a training in cycles: it is checked after each, and ends where everything is held or full."""

    def check() -> dict[str, Any]:
        stream = generator_for(HELD_OUT_SEED, "finished")
        found = evaluate(model, config.episodes, CHECKED_EPISODES, stream)
        return Check(0, found.episodic_accuracy, found.episodic_loss).point

    def is_enough(curve: Curve) -> bool:
        return state_of(checks_of(curve), config.episodes.num_letters) != "open"

    return {"measure": check, "is_enough": is_enough}


def evaluate_held_out(model: Transformer, config: RunConfig) -> Evaluation:
    """Evaluate on the fixed held-out stream that all runs of a benchmark share."""
    stream = generator_for(HELD_OUT_SEED, "evaluation")
    return evaluate(model, config.episodes, config.evaluation_episodes, stream)


def load_trained(config: RunConfig, place: Path) -> Transformer:
    """Load the model of a run's folder.

    Raises:
        CheckpointError: its checkpoint is missing, damaged, or of another configuration.
    """
    saved = load_checkpoint(place / "checkpoint.pt", fingerprint(config))
    model = build_model(config)
    model.load_state_dict(saved["model"])
    return model.eval()


def _work(run: Run, config: Any, folder: Path, messages: "Queue[tuple[str, float, str]]") -> RunRecord:
    return run(config, folder, lambda *message: messages.put(message))


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that happened."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _start_worker() -> None:
    """Let an interrupt or a lost parent end a worker at once; what it did is in its checkpoint."""
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with_parent()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold interrupts back while workers start, where the system can.

    A worker inherits this and lets them through once it is up: before that, it would answer an interrupt with a
    traceback out of an import.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_noted() -> Iterator[list[int]]:
    """Keep note of interrupts: one that falls into a finaliser is dropped there by Python."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def run_all(
    configs: Sequence[Any], folder: Path, *, run: Run = run, num_workers: int = 2, console: Console | None = None
) -> list[str]:
    """Run what is not yet on record in ``folder``, ``num_workers`` side by side, and show how far they are.

    Args:
        configs: complete configurations, with a ``name`` and ``training.num_steps``.
        folder: the study's folder.
        run: turns one into a record; a function of a module, since workers import it.
        num_workers: processes.
        console: where to show progress; by default see :func:`callosal.lab.progress.displays`.

    Returns:
        One line per run that diverged; the others are on record all the same.

    Raises:
        ValueError: another process runs in this folder; or a run could not start, such as from a damaged checkpoint, or
            lost its worker, raised when the others are done and on record.
    """
    if (folder / FILE_NAME).is_file():
        read_records(folder)  # if it is damaged, before anything is made
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Two processes at once would write each other's checkpoints.
        with FileLock(folder / ".lock", timeout=0):
            return _run_all(configs, folder, run, num_workers, console)
    except Timeout as error:
        raise ValueError(
            f"another process runs in {folder}; wait until it is done, or choose another folder"
        ) from error


def _run_all(configs: Sequence[Any], folder: Path, run: Run, num_workers: int, console: Console | None) -> list[str]:
    known = read_records(folder) if (folder / FILE_NAME).is_file() else []
    done = {record.fingerprint for record in known}
    todo = [config for config in configs if fingerprint(config) not in done]
    if len(todo) < len(configs):
        (console or Console(stderr=True)).print(
            f"{len(configs) - len(todo)} of {len(configs)} runs are on record already"
        )
    if not todo:
        return []
    failures: list[str] = []
    refused: list[ValueError] = []
    context = get_context("spawn")
    manager = SyncManager(ctx=context)
    with _interrupts_held():
        manager.start(initializer=_end_with_parent)
    num_workers = min(num_workers, len(todo))
    tally = Tally({config.name: config.training.num_steps for config in todo}, num_workers)
    with (
        _interrupts_noted() as interrupts,
        manager,
        ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker) as pool,
        displays(console) as show,
    ):
        messages = manager.Queue()
        with _interrupts_held():
            waiting: dict[Future[RunRecord], Any] = {
                pool.submit(_work, run, config, folder, messages): config for config in todo
            }
        try:
            show(tally)
            while waiting:
                _listen(messages, tally)
                for future in [future for future in waiting if future.done()]:
                    config = waiting.pop(future)
                    try:
                        append_record(folder, future.result())
                    except TrainingDivergedError as error:
                        failures.append(f"{config.name}: {error}")
                    except ValueError as error:
                        refused.append(error)
                    except BrokenProcessPool:
                        refused.append(WorkerLostError(config.name))
                    tally.end(config.name)
                show(tally)
        finally:
            pool.shutdown(cancel_futures=True)
    if interrupts:
        # Its workers were lost to it, not to want of memory.
        raise KeyboardInterrupt
    if refused:
        raise refused[0]
    return failures


def _listen(messages: Any, tally: Tally) -> None:
    """Note what the workers said since, waiting a little for something to be said."""
    try:
        tally.hear(*messages.get(timeout=0.5))
    except Empty:
        return


def require_writable(folder: Path) -> None:
    """Make a study's folder.

    Raises:
        ValueError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {folder} ({error.strerror}); choose another folder") from error
