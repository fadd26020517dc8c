"""Two processes give the losses, the weights and the moved buffers of one; the example runs on two."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.apart import ROOT, python
from tests.laws import assert_near
from tests.training.two_processes import main

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


class Outcome(NamedTuple):
    """Of each run by name: of one process and of two; and of the example."""

    runs: dict[str, tuple[Any, Any]]
    printed: str
    folder: Path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Start two processes on gloo, once for all tests, and do the same in this one."""
    folder = tmp_path_factory.mktemp("answers")
    settings = {"ACCELERATE_USE_CPU": "1", "PYTHONPATH": f"{ROOT}/src:{ROOT}"}
    program = ("-m", "tests.training.two_processes", folder / "two", folder / "example")
    done = python(*TORCHRUN, *program, cwd=ROOT, add=settings)
    assert done.returncode == 0, done.stderr
    main(folder / "one")
    one, two = (torch.load(folder / name) for name in ("one", "two"))
    runs = {name: (one[name], two[name]) for name in one}
    return Outcome(runs, done.stdout, folder / "example")


@pytest.mark.parametrize("run", ["whole", "pairs", "single", "sharded", "stream"])
def test_two_processes_give_the_run_of_one(run: str, outcome: Outcome) -> None:
    one, two = outcome.runs[run]
    assert (one["processes"], two["processes"]) == (1, 2)
    sharded = "DTensor" if run == "sharded" else "Parameter"
    assert (one["base"], two["base"]) == ("Parameter", sharded)
    for point, other in zip(one["curve"], two["curve"], strict=True):
        assert point["num_scored"] == other["num_scored"]
        for name in ("loss", "gradient_norm"):
            assert_near(torch.tensor(other[name]).double(), torch.tensor(point[name]).double())
    assert set(one["weights"]) == set(two["weights"])
    for name, tensor in one["weights"].items():
        assert_near(two["weights"][name], tensor)


def test_a_planted_fault_is_found(outcome: Outcome) -> None:
    """Buffers that move by a process's own rows are not those of one process."""
    one, two = outcome.runs["apart"]
    differ = {
        name.rsplit(".", 1)[1]
        for name, tensor in one["weights"].items()
        if not torch.allclose(two["weights"][name], tensor, rtol=1e-6)
    }
    assert {"axes", "slow_mean", "slow_scatter", "excitability"} <= differ


@pytest.mark.parametrize("run", ["whole", "pairs", "options", "sharded"])
def test_pieces_of_turns_on_two_processes_give_the_run_of_one(run: str, outcome: Outcome) -> None:
    """And every token's loss: of turns that are cut in halves, or have one token alone."""
    one, two = (every[run] for every in outcome.runs["pieces"])
    assert (one["processes"], two["processes"]) == (1, 2)
    for point, other in zip(one["curve"], two["curve"], strict=True):
        assert point["num_scored"] == other["num_scored"]
        for name in ("loss", "gradient_norm"):
            assert_near(torch.tensor(other[name]).double(), torch.tensor(point[name]).double())
    for whole, joined in zip(one["losses"], two["losses"], strict=True):
        # A turn of one token is filled up with what does not exist.
        assert_near(joined[:, : whole.shape[1]], whole)
        assert not joined[:, whole.shape[1] :].any()
    assert set(one["weights"]) == set(two["weights"])
    for name, tensor in one["weights"].items():
        assert_near(two["weights"][name], tensor)


def test_pieces_that_know_nothing_of_each_other_are_found(outcome: Outcome) -> None:
    one, two = (every["apart"] for every in outcome.runs["pieces"])
    for name in ("layers-0.axes", "layers-0.maps", "layers-1.start"):
        key = f"callosal.layers.{name}"
        assert not torch.allclose(two["weights"][key], one["weights"][key], rtol=1e-6)
    assert any(not torch.allclose(a, b[:, : a.shape[1]]) for a, b in zip(one["losses"], two["losses"], strict=True))


def test_a_model_that_joins_pieces_itself_has_memories_of_the_whole_text(outcome: Outcome) -> None:
    """In a loop of the user's, whose model attends across processes: logits, memories, sums of gradients."""
    one, two = (every["loop"] for every in outcome.runs["pieces"])
    assert set(one) == set(two)
    for name, tensor in one.items():
        assert_near(two[name], tensor)


def test_what_pieces_would_be_read_wrongly_by_is_refused(outcome: Outcome) -> None:
    one, two = (every["refused"] for every in outcome.runs["pieces"])
    assert one == {}
    assert "LlamaForCausalLM joins pieces by more than its memories" in two["attention"]
    assert "PerToken joins pieces by more than its memories" in two["positions"]
    assert "their loaders gave different ones" in two["loaders"]


def test_truncation_changes_gradients_only(outcome: Outcome) -> None:
    first = [outcome.runs[name][0]["curve"][0] for name in ("whole", "pairs", "single")]
    for point in first[1:]:
        assert_near(torch.tensor(point["loss"]), torch.tensor(first[0]["loss"]))
    assert len({round(point["gradient_norm"], 6) for point in first}) == 3


def test_processes_of_unequal_rows_and_turns_are_evened(outcome: Outcome) -> None:
    one, two = outcome.runs["uneven"]
    assert_near(two["loss"], one["loss"])
    for name, tensor in one["buffers"].items():
        assert_near(two["buffers"][name], tensor)


def test_the_example_with_accelerate_runs_on_two_processes(outcome: Outcome) -> None:
    # Once: the other process is silent.
    assert outcome.printed.count("nats; a model that forgets has 3.00") == 1
    assert {path.name for path in outcome.folder.iterdir()} == {"callosal", "checkpoint", "memories"}
    states = (outcome.folder / "checkpoint/step-00000004").glob("random_states_*")
    assert sorted(path.name for path in states) == ["random_states_0.pkl", "random_states_1.pkl"]
    saved = {path.name for path in (outcome.folder / "memories").iterdir()}
    assert saved == {"callosal_config.json", "callosal_memory.safetensors"}
