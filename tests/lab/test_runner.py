"""The runner: all arms on record once, nothing twice, and a bad run takes no good one with it."""

import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from rich.console import Console
from tests.lab.tiny import tiny

from callosal.lab.report.records import ARMS, FILE_NAME, RecordError, append_record, read_records
from callosal.lab.runner import (
    WorkerLostError,
    evaluate_held_out,
    load_trained,
    require_writable,
    run,
    run_all,
)
from callosal.lab.runs import RunConfig, build_model, describe, fingerprint, load_config
from callosal.training.checkpoint import CheckpointError
from callosal.training.loop import TrainingDivergedError


@pytest.fixture
def threads() -> Iterator[None]:
    """Put back what a run sets for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def place_of(folder: Path, config: RunConfig) -> Path:
    return folder / "runs" / config.name


@pytest.mark.usefixtures("threads")
def test_a_run_is_recorded_with_all_that_a_report_needs(tmp_path: Path) -> None:
    told: list[tuple[str, float, str]] = []
    config = tiny()
    record = run(config, tmp_path, lambda *message: told.append(message))
    assert record.fingerprint == fingerprint(config)
    assert (record.recipe, record.arm, record.seed, record.changed) == ("tiny", config.arm, 0, [])
    assert record.config == json.loads(json.dumps(describe(config)))
    assert record.probes["state_floats"] == 2 * 8 * 16
    assert 0.0 < record.probes["train_seconds"] <= record.wall_seconds
    assert [point["step"] for point in record.curve] == [2, 4, 6, 8]
    assert record.retention["distractors"] == [0, 2]
    assert record.snapshot is not None
    model = build_model(config)
    assert record.num_parameters == sum(p.numel() for p in model.parameters())
    assert set(record.versions) == {"python", "torch", "callosal"}
    assert record.wall_seconds > 0.0
    # Its folder is enough to evaluate it again, and gives the same numbers.
    place = place_of(tmp_path, config)
    assert load_config(place) == config
    trained = load_trained(config, place)
    assert not trained.training
    assert asdict(evaluate_held_out(trained, config)) == record.evaluation
    # Who watches is told the run's name, how far it is, and what D_sep is.
    assert {name for name, _, _ in told} == {config.name}
    shares = [share for _, share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.25, 1.0)
    assert all("D_sep" in text for _, _, text in told[:4])
    # Through the file and back, nothing is lost.
    append_record(tmp_path, record)
    assert read_records(tmp_path) == [record]


@pytest.mark.usefixtures("threads")
def test_the_held_out_stream_is_the_same_for_every_arm_and_seed() -> None:
    streams = []

    def spy(config: RunConfig) -> None:
        model = build_model(config).eval()

        def look(module, args) -> None:  # noqa: ARG001
            streams.append(args[0].clone())

        model.register_forward_pre_hook(look)
        evaluate_held_out(model, config)

    for config in (tiny("no-memory"), tiny("inhibitory"), tiny("excitatory", seed=3)):
        spy(config)
    assert len(streams) == 3
    assert all(torch.equal(stream, streams[0]) for stream in streams)


def test_an_untrained_run_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train the run first"):
        load_trained(tiny(), tmp_path)


@pytest.mark.usefixtures("threads")
def test_a_checkpoint_of_other_settings_cannot_be_loaded(tmp_path: Path) -> None:
    config = tiny("no-memory")
    run(config, tmp_path)
    other = replace(config, seed=1)
    with pytest.raises(CheckpointError, match="another configuration"):
        load_trained(other, place_of(tmp_path, config))


@pytest.mark.usefixtures("threads")
def test_a_run_that_diverges_says_so_and_leaves_its_configuration(tmp_path: Path) -> None:
    config = tiny(learning_rate=1e30, warmup_steps=0)
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"):
        run(config, tmp_path)
    assert load_config(place_of(tmp_path, config)) == config


def test_all_arms_are_put_on_record_side_by_side_and_then_skipped(tmp_path: Path) -> None:
    """With one that diverges and one whose checkpoint is damaged among them; the others are kept."""
    folder, said = tmp_path / "study", StringIO()
    console = Console(file=said, width=200)
    good = [tiny(arm) for arm in ARMS]
    diverging = tiny("inhibitory", seed=1, learning_rate=1e30, warmup_steps=0)
    damaged = tiny("inhibitory", seed=2)
    place_of(folder, damaged).mkdir(parents=True)
    (place_of(folder, damaged) / "checkpoint.pt").write_bytes(b"not a checkpoint")

    with pytest.raises(CheckpointError, match="delete it and train again"):
        run_all([damaged, diverging, *good], folder, num_workers=2, console=console)
    assert {r.fingerprint for r in read_records(folder)} == {fingerprint(c) for c in good}
    assert len(read_records(folder)) == len(good)

    # The remedy works, what is on record is skipped, and what diverges is said in one line.
    (place_of(folder, damaged) / "checkpoint.pt").unlink()
    before = (folder / FILE_NAME).read_bytes()
    failures = run_all([*good, damaged, diverging], folder, num_workers=2, console=console)
    assert len(failures) == 1
    assert failures[0].startswith(f"{diverging.name}: step 2: the loss is ")
    after = (folder / FILE_NAME).read_bytes()
    assert after.startswith(before)
    assert [r.fingerprint for r in read_records(folder)[4:]] == [fingerprint(damaged)]

    # All done: nothing is started and no byte is added.
    said.truncate(0)
    assert run_all([*good, damaged], folder, console=console) == []
    assert "5 of 5 runs are on record already" in said.getvalue()
    assert (folder / FILE_NAME).read_bytes() == after


def test_a_damaged_file_of_runs_stops_before_anything_is_run(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{}\n")
    with pytest.raises(RecordError, match="line 1"):
        run_all([tiny()], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_what_was_run_in_a_worker_is_what_is_run_here(tmp_path: Path) -> None:
    config = tiny("uncoupled")
    assert run_all([config], tmp_path / "worker", console=Console(file=StringIO())) == []
    before = torch.get_num_threads()
    here = run(config, tmp_path / "here")
    torch.set_num_threads(before)
    (there,) = read_records(tmp_path / "worker")
    # All but the clock.
    one, other = (
        replace(r, wall_seconds=0.0, probes=r.probes | {"train_seconds": 0.0})
        for r in (there, here)
    )
    assert one == other


def test_a_writable_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    require_writable(folder)
    require_writable(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("below", [".", "study", "deep/study"])
def test_a_folder_that_cannot_be_is_refused_with_the_remedy(below: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=r"cannot write to .*file.*; choose another folder"):
        require_writable(file / below)
    assert file.read_bytes() == b""


def test_a_folder_on_which_nothing_can_be_written_is_refused() -> None:
    """The kernel's own folder, where not even root can make a file."""
    with pytest.raises(ValueError, match="cannot write to /proc"):
        require_writable(Path("/proc/self/task"))


def test_a_worker_that_is_killed_is_named_with_the_remedy_and_its_run_goes_on(
    tmp_path: Path,
) -> None:
    config = tiny(num_steps=100_000)
    checkpoint = place_of(tmp_path, config) / "checkpoint.pt"

    def kill() -> None:
        while not checkpoint.exists():
            time.sleep(0.05)
        for child in multiprocessing.active_children():
            if not child.name.startswith("SyncManager"):
                child.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(
        WorkerLostError, match=rf"{config.name} was ended from outside.*--workers 1"
    ):
        run_all([config], tmp_path, console=Console(file=StringIO()))
    killer.join()
    assert not (tmp_path / FILE_NAME).exists()
    assert checkpoint.exists()


def test_two_studies_at_once_in_a_folder_are_refused(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(ValueError, match=r"another process runs in .*; wait until it is done"),
    ):
        run_all([tiny()], tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
