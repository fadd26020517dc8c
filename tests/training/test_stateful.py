"""The loop on one process: what it trains, truncation, checkpoints, trackers, and errors."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import SeedableRandomSampler
from accelerate.state import AcceleratorState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.hosts.hosts import VOCABULARY
from tests.training.conversations import Stream, conversations, frozen, loader
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from callosal.training.checkpoint import CheckpointError, seal
from callosal.training.conversations import collate_conversations as collate
from callosal.training.loop import Curve, TrainingConfig, TrainingDivergedError, learning_rate_at
from callosal.training.stateful import StatefulConfig, train_stateful

CONFIG = StatefulConfig(num_steps=5, log_every=1, checkpoint_every=2, warmup_steps=1)
Weights = dict[str, torch.Tensor]


def trained(config: StatefulConfig = CONFIG, name: str = "llama", **arguments: Any) -> tuple[Curve, Weights]:
    """Train on three batches, again and again, and return the curve and the memories' weights."""
    memories, data = frozen(name), conversations(12)
    torch.manual_seed(3)  # gpt2 has dropout
    batches = loader(data, sampler=SeedableRandomSampler(data, data_seed=0))
    curve = train_stateful(memories, batches, config, **arguments)
    return curve, memories.state_dict()


def assert_same(one: tuple[Curve, Weights], other: tuple[Curve, Weights]) -> None:
    assert one[0] == other[0]
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def test_memories_learn_and_the_base_keeps_every_bit() -> None:
    memories, data = frozen(), conversations(4, 3)
    before = {name: p.clone() for name, p in memories.model.named_parameters()}
    settings: dict[str, Any] = {"num_steps": 20, "learning_rate": 1e-2, "warmup_steps": 1}
    curve = train_stateful(memories, loader(data), StatefulConfig(**settings, log_every=8))
    assert curve[-1]["loss"] < math.log(VOCABULARY) - 0.3
    assert [point["step"] for point in curve] == [8, 16, 20]
    for point in curve:
        assert point["num_scored"] > 0
        rate = learning_rate_at(point["step"] - 1, TrainingConfig(**settings))
        assert point["learning_rate"] == rate
    still = {n for n, p in memories.model.named_parameters() if torch.equal(p, before[n])}
    assert still == {name for name in before if "callosal" not in name}
    assert not memories.model.training
    assert memories.active is None


def test_truncated_to_one_turn_writing_is_not_learned() -> None:
    """What a turn writes is read in the next one, where the gradient does not get back to it."""
    whole, blank = trained(), frozen().state_dict()
    assert_same(trained(replace(CONFIG, truncate=4)), whole)  # no conversation is longer
    _, after = trained(replace(CONFIG, truncate=1))
    for name in ("maps", "log_inertia"):
        key = f"layers.model-layers-1.{name}"
        assert torch.equal(after[key], blank[key])
        assert not torch.equal(whole[1][key], blank[key])


def test_pieces_on_one_process_are_whole_turns(tmp_path: Path) -> None:
    """And a run by pieces is another run to a checkpoint, since on several processes its batches would be."""
    pieces = replace(CONFIG, sequence_parallel=True)
    assert_same(trained(pieces, folder=tmp_path), trained())
    with pytest.raises(CheckpointError, match="its config differ"):
        trained(folder=tmp_path)


class StoppedError(Exception):
    """Stands in for a kill inside the process."""


@pytest.mark.parametrize("stops", [[1], [4, 5], [2, 2]])
def test_stopped_at_any_step_and_started_again(stops: list[int], tmp_path: Path) -> None:
    """Beyond the end of an epoch too, with dropout, which draws from what the checkpoint keeps."""

    def attempt(stop: int | None, **arguments: Any) -> tuple[Curve, Weights]:
        def on_progress(step: int, _: dict[str, Any]) -> None:
            if step == stop:
                raise StoppedError

        return trained(name="gpt2", on_progress=on_progress, **arguments)

    for stop in stops:
        with pytest.raises(StoppedError):
            attempt(stop, folder=tmp_path)
    assert_same(attempt(None, folder=tmp_path), attempt(None))


@pytest.mark.parametrize("name", ["os.replace", "json.dumps", "torch.save"])
def test_a_crash_while_writing_leaves_the_checkpoint_before_whole(name: str, tmp_path: Path) -> None:
    trained(replace(CONFIG, num_steps=2), folder=tmp_path / "old")
    config = replace(CONFIG, num_steps=4)

    def crash(step: int, _: dict[str, Any]) -> None:
        if step == 4:
            patch.start()

    patch = mock.patch(name, side_effect=OSError("the disk is full"))
    try:
        with pytest.raises(OSError, match="disk is full"):
            trained(config, folder=tmp_path, on_progress=crash)
    finally:
        patch.stop()
    assert [p.name for p in tmp_path.glob("step-*")] == ["step-00000002"]
    assert_same(trained(config, folder=tmp_path), trained(config))
    assert [p.name for p in tmp_path.glob("step-*")] == ["step-00000004"]


def test_a_checkpoint_holds_the_memories_alone_and_is_continued_by_its_own_run_alone(tmp_path: Path) -> None:
    seen: list[int] = []
    again = trained(folder=tmp_path, on_progress=lambda step, _: seen.append(step))
    assert seen == [1, 2, 3, 4, 5]
    assert_same(trained(folder=tmp_path, on_progress=lambda step, _: seen.append(step)), again)
    assert seen == [1, 2, 3, 4, 5]
    memories = frozen()
    num_trained = sum(p.numel() for p in memories.parameters())
    num_base = sum(p.numel() for p in memories.model.parameters()) - num_trained
    size = (tmp_path / "step-00000005" / "model.safetensors").stat().st_size
    assert 8 * num_trained < size < 8 * (num_trained + num_base)
    assert {path.name for path in (tmp_path / "step-00000005").iterdir()} == {
        "model.safetensors",
        "optimizer.bin",
        "progress.json",
        "random_states_0.pkl",
    }
    with pytest.raises(CheckpointError, match=r"of another run: its config differ.*delete it"):
        trained(replace(CONFIG, learning_rate=1.0), folder=tmp_path)


def test_what_else_lies_in_the_folder_is_nobody_s_checkpoint(tmp_path: Path) -> None:
    for name in ("step-by-step-notes", "step-2", "step-99999999x", "step-00000001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.txt").write_text("mine")
    (tmp_path / "step-00000099").write_text("mine")
    (tmp_path / "step-00000003.unfinished").mkdir()  # this is ours: a kill left it
    (tmp_path / "step-00000001").rename(tmp_path / "elsewhere")
    before = {path.name for path in tmp_path.iterdir()} - {"step-00000003.unfinished"}
    assert_same(trained(folder=tmp_path), trained())
    assert {path.name for path in tmp_path.iterdir()} == before | {"step-00000005"}
    (tmp_path / "step-00000005").rename(tmp_path / "kept")
    (tmp_path / "elsewhere").rename(tmp_path / "step-00000001")
    with pytest.raises(CheckpointError, match=r"step-00000001 is damaged, or not of this version .*delete it"):
        trained(folder=tmp_path)
    assert (tmp_path / "step-00000001" / "results.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "progress.json"])
def test_a_checkpoint_with_a_flipped_bit_or_a_part_missing_is_refused(name: str, tmp_path: Path) -> None:
    trained(replace(CONFIG, num_steps=2), folder=tmp_path)
    path = tmp_path / "step-00000002" / name
    whole = path.read_bytes()
    for place in range(len(whole) // 7, len(whole), len(whole) // 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"step-00000002 is damaged.*delete it and train again"):
            trained(replace(CONFIG, num_steps=2), folder=tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"step-00000002 is damaged.*delete it and train again"):
        trained(replace(CONFIG, num_steps=2), folder=tmp_path)


def test_a_stream_trains_and_goes_on_as_the_list_that_it_is(tmp_path: Path) -> None:
    data = conversations(12)

    def run(dataset: Any, stop: int | None = None, **settings: Any) -> tuple[Curve, Weights]:
        def on_progress(step: int, _: dict[str, Any]) -> None:
            if step == stop:
                raise StoppedError

        memories = frozen()
        return train_stateful(memories, loader(dataset), CONFIG, on_progress=on_progress, **settings), (
            memories.state_dict()
        )

    whole = run(data)
    assert_same(run(Stream(data)), whole)
    with pytest.raises(StoppedError):
        run(Stream(data), stop=5, folder=tmp_path)
    assert_same(run(Stream(data), folder=tmp_path), whole)
    with pytest.raises(ValueError, match="gave 3 batches and none when it was begun again, and num_steps is 5"):
        run(Stream(iter(data)))
    with pytest.raises(ValueError, match="the loader has no batch; give it conversations"):
        run(Stream([]))


@pytest.mark.parametrize("how", ["other data", "another order", "a sampler that went on by itself"])
def test_a_run_goes_on_with_the_data_that_it_began_with_or_not_at_all(how: str, tmp_path: Path) -> None:
    data, order = conversations(24), list(range(24))

    def run(data: Any, order: Any, num_steps: int) -> None:
        batches = loader(data, sampler=order)
        train_stateful(frozen(), batches, replace(CONFIG, num_steps=num_steps), folder=tmp_path)

    run(data, order, 5)
    progress = tmp_path / "step-00000005" / "progress.json"
    content = json.loads(progress.read_text())
    del content["sha256"]
    files = content.pop("files")
    # As if it had been stopped: a longer run is another one.
    content["config"]["num_steps"] = 6
    progress.unlink()
    seal(progress.parent, progress.name, content)
    assert json.loads(progress.read_text())["files"] == files
    changed = conversations(25)[1:] if how == "other data" else data
    with pytest.raises(CheckpointError, match=r"the loader gives other conversations for step 5 .*another folder"):
        run(changed, {"another order": order[::-1], "other data": order}.get(how, order[4:] + order[:4]), 6)
    run(data, order, 6)


def test_a_tracker_is_told_the_curve(tmp_path: Path) -> None:
    accelerator = Accelerator(log_with="tensorboard", project_dir=tmp_path)
    curve, _ = trained(accelerator=accelerator)
    accelerator.end_training()
    events = EventAccumulator(str(tmp_path / "callosal"))
    events.Reload()
    for name in ("loss", "learning_rate", "gradient_norm", "num_scored"):
        points = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in points] == [1, 2, 3, 4, 5]
        for (_, value), point in zip(points, curve, strict=True):
            assert math.isclose(value, point[name], rel_tol=1e-6)  # events hold single precision


def test_mixed_precision_leaves_the_memories_in_full(request: pytest.FixtureRequest) -> None:
    # Accelerate's precision is a process's: it is forgotten before and after.
    AcceleratorState._reset_state()
    request.addfinalizer(AcceleratorState._reset_state)
    memories = frozen()
    memories.model.float()
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    curve = train_stateful(memories, loader(conversations(4)), CONFIG, accelerator=accelerator)
    assert all(math.isfinite(point["loss"]) for point in curve)
    assert all(tensor.dtype == torch.float32 for tensor in memories.state_dict().values())


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_number_gone_stops_the_run_and_keeps_the_checkpoint(where: str, tmp_path: Path) -> None:
    memories = frozen()
    calls = []

    def poison(_: nn.Module, __: Any, logits: torch.Tensor) -> torch.Tensor | None:
        calls.append(1)
        if len(calls) < 14:
            return None
        if where == "loss":
            return logits * math.nan
        logits.register_hook(lambda gradient: gradient * math.inf)
        return None

    head: Any = memories.model.get_submodule("lm_head")
    head.register_forward_hook(poison)
    with pytest.raises(TrainingDivergedError, match=r"^step 4: .*lower the learning rate \(0.003\)"):
        train_stateful(memories, loader(conversations(12, 4)), CONFIG, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memories, data = frozen(), conversations(4)
    anything: Any = data
    shuffled = DataLoader(anything, batch_sampler=BatchSampler(RandomSampler(data), 4, False), collate_fn=collate)
    twice = Accelerator(gradient_accumulation_steps=2)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        # First: what Accelerate knows of gradients is a process's, and the next accelerator's.
        (loader(data), {"accelerator": twice}, "accumulation_steps is 2; it must be 1"),
        (loader([]), {}, "give it conversations"),
        (loader(data, shuffle=True), {"folder": tmp_path}, "SeedableRandomSampler"),
        (shuffled, {"folder": tmp_path}, "SeedableRandomSampler"),
    ]
    for batches, settings, message in cases:
        with pytest.raises(ValueError, match=message):
            train_stateful(memories, batches, CONFIG, **settings)
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ValueError, match="2 processes were started and Accelerate knows of 1"):
            train_stateful(memories, loader(data), CONFIG)
    memories.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        train_stateful(memories, loader(data), CONFIG)
