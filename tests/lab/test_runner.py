"""The runner: all arms on record once, nothing twice, and a bad run takes no good one with it."""

import json
import multiprocessing
import pickle
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from filelock import FileLock
from rich.console import Console
from tests.lab.tiny import tiny

from callosal.lab import runner
from callosal.lab.measures import finished
from callosal.lab.measures.finished import checks_of
from callosal.lab.report.records import ARMS, FILE_NAME, RecordError, append_record, read_records
from callosal.lab.report.upgrade import evaluation_values
from callosal.lab.runner import load_trained, require_writable, run, run_all
from callosal.lab.runs import RunConfig, build_model, describe, fingerprint, load_config
from callosal.training.checkpoint import CheckpointError

CONFIG = tiny("uncoupled")
# A learning rate at which the loss is soon no number.
DIVERGING = {"learning_rate": 1e30, "warmup_steps": 0}


class Threads(ThreadPoolExecutor):
    """Stands in for a pool of processes, each of which takes ten seconds to load torch."""

    def __init__(self, max_workers: int, **_: Any) -> None:
        super().__init__(max_workers)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run in this process: its folder, its record, and what was reported while it ran."""
    folder, reports = tmp_path_factory.mktemp("here"), []
    record = run(CONFIG, folder, lambda *report: reports.append(report))
    return SimpleNamespace(folder=folder, record=record, reports=reports)


def test_a_training_in_cycles_ends_where_it_is_decided_and_is_checked_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(num_steps=7, cycles=3, log_every=7)
    record = run(config, tmp_path)
    checks = checks_of(record.curve)
    assert [check.step for check in checks] == [1, 3, 7]
    assert all(0.0 <= check.recall <= 1.0 < check.loss for check in checks)
    # Where everything is held from the start it is over after the first.
    monkeypatch.setattr(finished, "ALL", 0.0)
    assert checks_of(run(config, tmp_path / "other").curve) == checks[:1]


def place_of(folder: Path, config: RunConfig) -> Path:
    return folder / "runs" / config.name


def test_a_run_is_recorded_with_all_that_a_report_needs(here: Any, tmp_path: Path) -> None:
    record = here.record
    assert record.fingerprint == fingerprint(CONFIG)
    assert (record.recipe, record.arm, record.seed, record.changed) == ("tiny", CONFIG.arm, 0, [])
    assert record.config == json.loads(json.dumps(describe(CONFIG)))
    assert record.factors["sign"] == 0.0
    assert record.get("state_floats") == 2 * 8 * 16
    assert 0.0 < (record.get("train_seconds") or 0.0) <= record.wall_seconds
    assert [point["step"] for point in record.curve] == [2, 4, 6, 8]
    assert [row["after"] for row in record.rows("recall")] == [0, 2]
    assert record.extras["snapshot"] is not None
    model = build_model(CONFIG)
    assert record.num_parameters == sum(p.numel() for p in model.parameters())
    assert set(record.versions) == {"python", "torch", "callosal"}
    # Its folder is enough to evaluate it again, and gives the same numbers.
    place = place_of(here.folder, CONFIG)
    assert load_config(place) == CONFIG
    trained = load_trained(CONFIG, place)
    assert not trained.training
    again = asdict(runner.evaluate_held_out(trained, CONFIG))
    fresh = list(evaluation_values(again, ("cipher", "arithmetic")))
    assert fresh == record.values[: len(fresh)]
    assert len(fresh) == 8 + 9
    # While it ran, its name, how far it was and D_sep were reported.
    assert {name for name, _, _ in here.reports} == {CONFIG.name}
    shares = [share for _, share, _ in here.reports]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.25, 1.0)
    assert all("D_sep" in text for _, _, text in here.reports[:4])
    # Through the file and back, nothing is lost.
    append_record(tmp_path, record)
    assert read_records(tmp_path) == [record]


def test_the_held_out_stream_is_the_same_for_every_arm_and_seed() -> None:
    streams: list[torch.Tensor] = []
    for config in (tiny("no-memory"), tiny("inhibitory"), tiny("excitatory", seed=3)):
        model = build_model(config).eval()
        model.register_forward_pre_hook(lambda _, args: streams.append(args[0].clone()))
        runner.evaluate_held_out(model, config)
    assert len(streams) == 3
    assert all(torch.equal(stream, streams[0]) for stream in streams)


def test_a_run_without_its_own_checkpoint_cannot_be_loaded(here: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train the run first"):
        load_trained(CONFIG, tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        load_trained(replace(CONFIG, seed=1), place_of(here.folder, CONFIG))


def test_all_arms_are_put_on_record_and_then_skipped(
    here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one that diverges, one whose worker is killed and one whose checkpoint is damaged; the others are kept."""
    folder, said = tmp_path / "study", StringIO()
    console = Console(file=said, width=200)
    good = [tiny(arm) for arm in ARMS]
    diverging, damaged = tiny("inhibitory", seed=1, **DIVERGING), tiny("inhibitory", seed=2)
    endless = tiny("inhibitory", seed=3, num_steps=100_000)
    checkpoint, runs = place_of(folder, endless) / "checkpoint.pt", folder / FILE_NAME

    def kill() -> None:
        while not (checkpoint.exists() and runs.exists() and runs.read_bytes().count(b"\n") == len(good)):
            time.sleep(0.05)
        for child in multiprocessing.active_children():
            if not child.name.startswith("SyncManager"):
                child.kill()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(runner.WorkerLostError, match=rf"{endless.name} was ended from outside.*--workers 1"):
        run_all([diverging, *good, endless], folder, num_workers=2, console=console)
    assert checkpoint.exists()
    # Where there is no terminal, lines say how far all of it is; the last when all have ended, in whichever way.
    lines = [line for line in said.getvalue().splitlines() if " of 6 runs done" in line]
    assert [int(re.findall(r"(\d) of 6", line)[0]) for line in lines] == sorted(
        int(re.findall(r"(\d) of 6", line)[0]) for line in lines
    )
    assert "0 of 6 runs done, 0 % of the steps" in lines[0]
    assert lines[-1].endswith("6 of 6 runs done, 100 % of the steps")
    assert any(endless.name in line for line in lines)
    records = {record.fingerprint: record for record in read_records(folder)}
    assert records.keys() == {fingerprint(config) for config in good}
    # What a worker records is what is recorded here, but for the clock.
    one, other = (
        replace(r, wall_seconds=0.0, values=[v for v in r.values if v["measure"] != "train_seconds"])
        for r in (records[fingerprint(CONFIG)], here.record)
    )
    assert one == other

    # From here on in threads. What is on record is skipped, and what a damaged checkpoint stops comes last.
    manager = MagicMock()
    manager.return_value.Queue = Queue
    monkeypatch.setattr(runner, "SyncManager", manager)
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Threads)
    before, another = runs.read_bytes(), tiny("no-memory", seed=1)
    place_of(folder, damaged).mkdir(parents=True)
    (place_of(folder, damaged) / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="delete it and train again") as refused:
        run_all([*good, damaged, another], folder, num_workers=1, console=console)
    # An error comes from a worker as it was raised.
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)  # noqa: S301
    # The remedy works, and what diverges is said in one line and leaves its configuration.
    (place_of(folder, damaged) / "checkpoint.pt").unlink()
    (failure,) = run_all([*good, damaged, another, diverging], folder, num_workers=1, console=console)
    assert failure.startswith(f"{diverging.name}: step 2: the loss is ")
    assert "lower the learning rate" in failure
    assert load_config(place_of(folder, diverging)) == diverging
    after = runs.read_bytes()
    assert after.startswith(before)
    assert [r.fingerprint for r in read_records(folder)[4:]] == [fingerprint(another), fingerprint(damaged)]

    # All done: nothing is started and no byte is added.
    said.truncate(0)
    assert run_all([*good, damaged], folder, console=console) == []
    assert "5 of 5 runs are on record already" in said.getvalue()
    assert runs.read_bytes() == after


def test_another_study_or_a_damaged_file_stops_before_anything_is_run(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(ValueError, match=r"another process runs in .*; wait until it is done"),
    ):
        run_all([CONFIG], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]
    (tmp_path / FILE_NAME).write_text("{}\n")
    with pytest.raises(RecordError, match="line 1"):
        run_all([CONFIG], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {".lock", FILE_NAME}


# The last is the kernel's own folder, where not even root can make a file.
@pytest.mark.parametrize("folder", ["file", "file/study", "file/deep/study", "/proc/self/task"])
def test_a_folder_that_cannot_be_is_refused_with_the_remedy(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=rf"cannot write to .*{folder}.*; choose another folder"):
        require_writable(tmp_path / folder)
    assert (tmp_path / "file").read_bytes() == b""
    for _ in range(2):
        require_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
