"""Kill -9 at any moment, and writes that fail: the old file or the new one, whole, and no user lost."""

import json
from pathlib import Path

import pytest
from tests.apart import ROOT, python
from tests.cases import build_memory, fill

from callosal import save_memory
from callosal.memory.disk import format  # noqa: A004
from callosal.memory.disk.format import write_atomically

KILLER = Path(__file__).parent / "kill_rounds.py"
BENCHMARK = ROOT / "benchmarks" / "store.py"
CASE = fill(build_memory(), (3, 5))


def test_a_write_that_fails_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    save_memory(CASE.state, path, CASE.memory)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(format.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_memory(CASE.state, path, CASE.memory)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_200_kills_leave_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    ended = python("-W", "error", KILLER, tmp_path, "200")
    assert ended.returncode == 0, ended.stderr
    damaged, first, second, unfinished, in_place = map(int, ended.stdout.split())
    assert (damaged, first + second) == (0, 200)
    # Kills did come in the middle of a write, and a file written in place does not survive them.
    assert min(second, unfinished, in_place) > 0


def test_a_link_to_nowhere_is_no_escape(tmp_path: Path) -> None:
    """The name is replaced, not what it points at."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_text() == "precious"
    assert (tmp_path / "link").read_bytes() == b"new"


def test_100_kills_lose_nothing_and_mix_nothing_up() -> None:
    """Two writers at a time in processes of their own, killed together, fifty times."""
    ended = python("-W", "error", BENCHMARK, "--users", "40", "--kills", "50", add={"TERM": "dumb"})
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert (result["kills"], result["num_faults"], result["every_user_listed"]) == (100, 0, True)
    # The kills met writers at work.
    assert result["saves_between_kills"] > 20
    assert result["kills_inside_a_write"] > 0
