"""Checkpoints: whole or not there, plain values only, and errors that say what to do."""

import os
import pickle
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosal.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

CONTENT = {"step": 7, "curve": [{"loss": 0.5}], "model": {"weight": torch.arange(300.0)}}
DAMAGED = r"is damaged \(\w+\); delete it and train again"
OTHER = "another configuration; delete it or use another"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "checkpoint.pt"


def assert_whole(path: Path, step: int = 7) -> None:
    content = load_checkpoint(path, "mine")
    assert content["step"] == step
    assert content["curve"] == CONTENT["curve"]
    assert torch.equal(content["model"]["weight"], torch.arange(300.0))


def test_what_was_saved_last_is_loaded(path: Path) -> None:
    path.parent.rmdir()
    for step in (7, 8):
        save_checkpoint(path, CONTENT | {"step": step}, "mine")
        assert_whole(path, step)
        assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize(("owner", "name"), [(torch, "save"), (os, "fsync"), (os, "replace")])
def test_a_crash_while_writing_leaves_the_old_one_whole(
    path: Path, owner: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(path, CONTENT, "mine")

    def crash(*arguments: Any) -> None:
        if name == "save":
            arguments[1].write(b"half of ")
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, crash)
        with pytest.raises(OSError, match="disk is full"):
            save_checkpoint(path, CONTENT | {"step": 8}, "mine")
    assert_whole(path)
    # What the crash left behind does not stop the next one.
    save_checkpoint(path, CONTENT | {"step": 9}, "mine")
    assert_whole(path, step=9)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"step": 1}, "text"])
def test_what_is_no_checkpoint_of_this_run_is_refused(path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*; train the run first"):
        load_checkpoint(path, "mine")
    save_checkpoint(path, CONTENT, "other")
    with pytest.raises(CheckpointError, match=OTHER):
        load_checkpoint(path, "mine")
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=OTHER):
        load_checkpoint(path, "mine")


ONCE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
JUNK = st.binary(max_size=60) | st.binary(max_size=60).map(lambda end: b"\x80\x02" + end)


@ONCE
@given(damage=st.floats(0.0, 1.0, exclude_max=True) | JUNK)
def test_part_of_one_and_any_other_bytes_say_to_delete_it(path: Path, damage: float | bytes) -> None:
    save_checkpoint(path, CONTENT, "mine")
    whole = path.read_bytes()
    kept = damage if isinstance(damage, bytes) else whole[: int(damage * len(whole))]
    path.write_bytes(kept)
    with pytest.raises(CheckpointError, match=DAMAGED):
        load_checkpoint(path, "mine")


@ONCE
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_a_flipped_byte_is_an_error_or_harms_nothing(path: Path, place: int, flip: int) -> None:
    """Padding and time stamps carry nothing; everything else has a checksum or a meaning."""
    save_checkpoint(path, CONTENT, "mine")
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= flip
    path.write_bytes(content)
    with suppress(CheckpointError):
        assert_whole(path)


class Malicious:
    """Unpickling this runs a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("plain", [False, True])
def test_nothing_in_a_file_is_executed(path: Path, tmp_path: Path, plain: bool) -> None:
    trap = {"fingerprint": "mine", "step": Malicious(tmp_path / "executed")}
    if plain:
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save(trap, path)
    with pytest.raises(CheckpointError, match=DAMAGED):
        load_checkpoint(path, "mine")
    assert not (tmp_path / "executed").exists()
    # The trap is a real one.
    pickle.loads(pickle.dumps(trap))  # noqa: S301  (our own bytes)
    assert (tmp_path / "executed").exists()
