"""Two processes give the losses, the weights and the moved buffers of one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.laws import assert_near
from tests.training.two_processes import main

ROOT = Path(__file__).parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def launch(*command: str) -> str:
    """Start two processes on gloo and return what they printed."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = f"{ROOT}/src:{ROOT}"
    done = subprocess.run(  # noqa: S603  (our own program)
        [sys.executable, *TORCHRUN, *command],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return each run's outcome, of one process and of two."""
    folder = tmp_path_factory.mktemp("answers")
    launch("-m", "tests.training.two_processes", str(folder / "two"))
    main(folder / "one")
    one, two = (torch.load(folder / name) for name in ("one", "two"))
    return {name: (one[name], two[name]) for name in one}


@pytest.mark.parametrize("run", ["whole", "pairs", "single", "sharded"])
def test_two_processes_give_the_run_of_one(run: str, answers: dict[str, Any]) -> None:
    one, two = answers[run]
    assert (one["processes"], two["processes"]) == (1, 2)
    assert (one["base"], two["base"]) == (
        "Parameter",
        "DTensor" if run == "sharded" else "Parameter",
    )
    for point, other in zip(one["curve"], two["curve"], strict=True):
        assert point["num_scored"] == other["num_scored"]
        for name in ("loss", "gradient_norm"):
            assert_near(torch.tensor(other[name]).double(), torch.tensor(point[name]).double())
    assert set(one["weights"]) == set(two["weights"])
    for name, tensor in one["weights"].items():
        assert_near(two["weights"][name], tensor)


def test_a_planted_fault_is_found(answers: dict[str, Any]) -> None:
    """Buffers that move by a process's own rows are not those of one process."""
    one, two = answers["apart"]
    differ = {
        name.rsplit(".", 1)[1]
        for name, tensor in one["weights"].items()
        if not torch.allclose(two["weights"][name], tensor, rtol=1e-6)
    }
    assert {"axes", "slow_mean", "slow_scatter", "excitability"} <= differ


def test_truncation_changes_gradients_only(answers: dict[str, Any]) -> None:
    first = [answers[name][0]["curve"][0] for name in ("whole", "pairs", "single")]
    for point in first[1:]:
        assert_near(torch.tensor(point["loss"]), torch.tensor(first[0]["loss"]))
    assert len({round(point["gradient_norm"], 6) for point in first}) == 3


def test_processes_of_unequal_rows_and_turns_are_evened(answers: dict[str, Any]) -> None:
    one, two = answers["uneven"]
    assert_near(two["loss"], one["loss"])
    for name, tensor in one["buffers"].items():
        assert_near(two["buffers"][name], tensor)
