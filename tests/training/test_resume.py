"""Killed at any moment and started again, a run gives the same curve and parameters to the digit."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.lab.tiny import tiny
from torch import nn

from callosal.lab.runs import RunConfig, build_model
from callosal.lab.training import train
from callosal.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from callosal.training.loop import Curve

ROOT = Path(__file__).parents[2]
# Two attempts at one run: each is a process of its own, which the imports are done for beforehand.
PROGRAM = """
import os, sys
from pathlib import Path
import torch, torch._dynamo  # which the first step of an optimiser would import
from tests.lab.tiny import tiny
from tests.training.test_resume import trained

torch.set_num_threads(1)
config = tiny(num_steps=int(sys.argv[2]), log_every=1, checkpoint_every=2)
for _ in range(2):
    if not (child := os.fork()):
        print("pid", os.getpid(), flush=True)
        trained(config, Path(sys.argv[1]), on_progress=lambda step, _: print(step, flush=True))
        os._exit(0)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class KilledError(Exception):
    """Stands in for a kill inside the process."""


def trained(config: RunConfig, checkpoint: Path | None = None, **arguments: Any) -> tuple[Curve, nn.Module]:
    model = build_model(config)
    settled = (config.episodes, config.training, config.seed)
    curve = train(model, *settled, checkpoint=checkpoint, fingerprint="mine", **arguments)
    return curve, model


@cache
def whole(num_steps: int) -> tuple[Curve, nn.Module]:
    """Train without interruption."""
    torch.set_num_threads(1)
    return trained(tiny(num_steps=num_steps, log_every=1))


def assert_same_run(checkpoint: Path, num_steps: int) -> None:
    saved, (curve, model) = load_checkpoint(checkpoint, "mine"), whole(num_steps)
    assert saved["step"] == num_steps
    assert saved["curve"] == curve
    assert set(saved["model"]) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(saved["model"][name], tensor), name


def test_killed_at_a_random_moment_and_started_again(tmp_path: Path) -> None:
    """SIGKILL, a random while behind a random step: no two runs of this test try the same moment."""
    num_steps, moments = 60, random.Random(time.time_ns())
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "checkpoint.pt"), str(num_steps)]
    last = moments.randint(1, 40)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        child = int(process.stdout.readline().removeprefix("pid "))
        for step in range(1, last + 1):
            assert int(process.stdout.readline()) == step
        time.sleep(moments.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, again = process.stdout.read().split(f"ended {-signal.SIGKILL}\n")
    first, *steps, ended = again.splitlines()
    assert (first.split()[0], ended) == ("pid", "ended 0")
    # It went on from a checkpoint: of the steps that were reported, it repeats at most two.
    assert int(steps[0]) >= last - 1
    assert_same_run(tmp_path / "checkpoint.pt", num_steps)


NUM_STEPS = 9
BOUNDED = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@BOUNDED
@given(stops=st.lists(st.integers(1, NUM_STEPS), max_size=3), checkpoint_every=st.integers(1, NUM_STEPS + 1))
def test_stopped_at_any_steps_and_started_again(
    stops: list[int], checkpoint_every: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkpoint = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    config = tiny(num_steps=NUM_STEPS, log_every=1, checkpoint_every=checkpoint_every)
    for stop in [*stops, None]:

        def on_progress(step: int, _: dict[str, Any], stop: int | None = stop) -> None:
            if step == stop:
                raise KilledError

        try:
            trained(config, checkpoint, on_progress=on_progress)
        except KilledError:
            assert stop is not None
    assert_same_run(checkpoint, NUM_STEPS)


def test_a_finished_run_is_not_trained_further_and_another_s_is_not_continued(tmp_path: Path) -> None:
    checkpoint, seen = tmp_path / "checkpoint.pt", []
    curve, first = trained(tiny(), checkpoint)
    again, second = trained(tiny(seed=7), checkpoint, on_progress=lambda step, _: seen.append(step))
    assert again == curve
    assert seen == []
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)
    save_checkpoint(checkpoint, {"step": 3}, "other")
    with pytest.raises(CheckpointError, match="another configuration"):
        trained(tiny(), checkpoint)
