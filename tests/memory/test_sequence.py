"""A segment in pieces on two processes is that of one: outputs, memory, buffers, gradients."""

from typing import Any

import pytest
import torch
from hypothesis import given
from tests.apart import ROOT, python
from tests.cases import Case, cases, normal
from tests.laws import assert_near, assert_same_state
from tests.memory.pieces import CASES, run
from tests.shapes import unchecked

from callosal.memory import MemoryConfig, SharedMemory
from callosal.memory.sequence import sequence_parallel

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.memory.pieces"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], ...]:
    """Start two processes on gloo, once for all tests; return what each has found."""
    out = tmp_path_factory.mktemp("pieces") / "found"
    done = python(*TORCHRUN, out, cwd=ROOT, add={"PYTHONPATH": f"{ROOT}/src:{ROOT}"})
    assert done.returncode == 0, done.stderr
    return tuple(torch.load(f"{out}-{rank}") for rank in range(2))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", list(CASES))
def test_pieces_on_two_processes_are_the_segment_on_one(
    name: str, training: bool, found: tuple[dict[str, Any], ...]
) -> None:
    expected = run(name, training=training, group=None)
    for answers in found:
        got = answers[f"{name} {training}"]
        assert set(got) == set(expected)
        for key, tensor in expected.items():
            assert_near(got[key], tensor)


@pytest.mark.parametrize("name", list(CASES))
def test_all_processes_hold_the_same_memory_to_the_bit(name: str, found: tuple[dict[str, Any], ...]) -> None:
    for training in (False, True):
        left, right = (answers[f"{name} {training}"] for answers in found)
        for key in left:
            if not key.startswith(("d ", "y ")):
                assert torch.equal(left[key], right[key]), key


def test_a_planted_fault_is_found(found: tuple[dict[str, Any], ...]) -> None:
    """Pieces that know nothing of each other are not the segment: neither what is read nor what is written."""
    expected = run("paper", training=False, group=None)
    for key in ("y 0", "y 1", "trace", "d maps"):
        assert not torch.allclose(found[0]["apart"][key], expected[key], rtol=1e-6)


@given(cases())
def test_on_one_process_it_is_the_memory_s_own_call(case: Case) -> None:
    memory, hidden, state, mask = case
    with torch.no_grad():
        expected, after = memory(hidden, state, mask)
        y, whole = sequence_parallel(memory, hidden, state, mask, group=None)
        assert_near(y, expected)
        assert_same_state(whole, after)
        # Left open, more can follow.
        time = hidden.shape[1] // 2
        _, opened = sequence_parallel(memory, hidden[:, :time], state, mask[:, :time], group=None, commit=False)
        y, whole = sequence_parallel(memory, hidden[:, time:], opened, mask[:, time:], group=None)
        assert_near(y, expected[:, time:])
        assert_same_state(whole, after)


@given(cases(num_segments=2))
def test_several_segments_are_refused(case: Case) -> None:
    with unchecked(), pytest.raises(ValueError, match="call it once for each segment"):
        sequence_parallel(case.memory, case.hidden, case.state, group=None)


@given(cases())
def test_a_mask_of_another_piece_is_refused(case: Case) -> None:
    longer = torch.ones(case.mask.shape[0], case.mask.shape[1] + 1, dtype=torch.bool)
    with unchecked(), pytest.raises(ValueError, match="it must be of shape"):
        sequence_parallel(case.memory, case.hidden, case.state, longer, group=None)


def test_a_memory_that_several_layers_share_is_refused_in_pieces_and_read_whole() -> None:
    memory = SharedMemory(MemoryConfig(width=4, num_slots=3), 1).double().eval()
    hidden, state = normal(0, 2, 5, 4), memory.blank(2)
    pieces = torch.distributed.ProcessGroup(0, 2)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="is not added up over processes"):
        sequence_parallel(memory, hidden, state, group=pieces)
    with torch.no_grad():
        _, opened = memory.read(0, hidden, state)
        _, whole = sequence_parallel(memory, hidden, opened, group=None, commit=False)
    assert whole.segment is not None
    assert opened.segment is not None
    assert whole.segment.elsewhere is opened.segment.elsewhere
