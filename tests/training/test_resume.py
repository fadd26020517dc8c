"""Killed at any moment and started again, a run gives the same curve and parameters to the digit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.lab.tiny import tiny

from callosal.lab.runs import build_model
from callosal.lab.training import train
from callosal.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
import torch
from tests.lab.tiny import tiny
from callosal.lab.runs import build_model
from callosal.lab.training import train

torch.set_num_threads(1)
config = tiny(num_steps=int(sys.argv[2]), log_every=1, checkpoint_every=2)
train(
    build_model(config), config.episodes, config.training, config.seed,
    checkpoint=Path(sys.argv[1]), fingerprint="mine",
    on_progress=lambda step, point: print(step, flush=True),
)
"""


class KilledError(Exception):
    """Stands in for a kill inside the process."""


def whole(num_steps: int) -> dict[str, Any]:
    """Train without interruption and return what its last checkpoint must hold."""
    torch.set_num_threads(1)
    config = tiny(num_steps=num_steps, log_every=1)
    model = build_model(config)
    curve = train(model, config.episodes, config.training, config.seed)
    return {"curve": curve, "model": model.state_dict()}


def assert_same_run(checkpoint: Path, expected: dict[str, Any], num_steps: int) -> None:
    saved = load_checkpoint(checkpoint, "mine")
    assert saved["step"] == num_steps
    assert saved["curve"] == expected["curve"]
    assert set(saved["model"]) == set(expected["model"])
    for name, tensor in expected["model"].items():
        assert torch.equal(saved["model"][name], tensor), name


def test_killed_at_a_random_moment_and_started_again(tmp_path: Path) -> None:
    """SIGKILL, a random while behind a random step: no two runs of this test try the same moment."""
    num_steps, moments = 150, random.Random(time.time_ns())
    checkpoint = tmp_path / "checkpoint.pt"
    command = [sys.executable, "-c", PROGRAM, str(checkpoint), str(num_steps)]
    last = moments.randint(1, 40)
    with subprocess.Popen(  # noqa: S603  (our own program)
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(last)]
        time.sleep(moments.uniform(0.0, 0.02))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert told == list(range(1, last + 1))
    again = subprocess.run(  # noqa: S603  (our own program)
        command, cwd=ROOT, check=True, capture_output=True, text=True
    )
    # It went on from a checkpoint: of the steps that were told, it repeats at most two.
    assert int(again.stdout.split()[0]) >= last - 1
    assert_same_run(checkpoint, whole(num_steps), num_steps)


NUM_STEPS = 9
BOUNDED = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@BOUNDED
@given(
    stops=st.lists(st.integers(1, NUM_STEPS), max_size=3),
    checkpoint_every=st.integers(1, NUM_STEPS + 1),
)
def test_stopped_at_any_steps_and_started_again(
    stops: list[int], checkpoint_every: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkpoint = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    config = tiny(num_steps=NUM_STEPS, log_every=1, checkpoint_every=checkpoint_every)

    def attempt(stop: int | None) -> None:
        def on_progress(step: int, _: dict[str, Any]) -> None:
            if step == stop:
                raise KilledError

        model = build_model(config)
        arguments = (config.episodes, config.training, config.seed)
        train(model, *arguments, checkpoint=checkpoint, fingerprint="mine", on_progress=on_progress)

    for stop in [*stops, None]:
        try:
            attempt(stop)
        except KilledError:
            assert stop is not None
    assert_same_run(checkpoint, whole(NUM_STEPS), NUM_STEPS)


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    checkpoint, config, told = tmp_path / "checkpoint.pt", tiny(), []
    arguments = (config.episodes, config.training, config.seed)
    first = build_model(config)
    curve = train(first, *arguments, checkpoint=checkpoint)
    second = build_model(tiny(seed=7))
    again = train(
        second, *arguments, checkpoint=checkpoint, on_progress=lambda step, _: told.append(step)
    )
    assert again == curve
    assert told == []
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)


def test_a_checkpoint_of_another_run_is_not_continued(tmp_path: Path) -> None:
    checkpoint, config = tmp_path / "checkpoint.pt", tiny()
    save_checkpoint(checkpoint, {"step": 3}, "other")
    model = build_model(config)
    with pytest.raises(CheckpointError, match="another configuration"):
        train(
            model,
            config.episodes,
            config.training,
            config.seed,
            checkpoint=checkpoint,
            fingerprint="mine",
        )
