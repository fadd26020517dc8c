"""Kill -9 at any moment, and writes that fail: the old file or the new one, whole, and no user lost."""

import os
from pathlib import Path

import pytest
from tests.apart import python
from tests.cases import build_memory, fill

from callosal import load_memory, save_memory
from callosal.memory import MemoryFileError
from callosal.memory.disk import atomic
from callosal.memory.disk.atomic import write_atomically

KILLER = Path(__file__).parent / "kill_rounds.py"
CASE = fill(build_memory(), (3, 5))


def test_a_write_that_fails_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    save_memory(CASE.state, path, CASE.memory)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
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


def test_a_link_stays_one_and_a_mode_is_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    link.symlink_to(target)
    for mode in (0o600, 0o400, 0o640):
        if target.exists():
            target.chmod(mode)
        save_memory(CASE.state, link, CASE.memory)
        assert link.is_symlink()
        assert (target.stat().st_mode & 0o777) == mode
        assert [path.name for path in target.parent.iterdir()] == ["target"]
    write_atomically(tmp_path / "plain", b"as the process makes files")
    assert (tmp_path / "plain").stat().st_mode & 0o044


@pytest.mark.parametrize("special", ["pipe", "/dev/null"])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(special: str, tmp_path: Path) -> None:
    path = tmp_path / special
    if special == "pipe":
        os.mkfifo(path)
    for use in (load_memory, lambda path, memory: save_memory(CASE.state, path, memory)):
        with pytest.raises(MemoryFileError, match=r"is a (pipe|device); give the path of a file"):
            use(path, CASE.memory)
    assert not path.is_file()


def test_what_killed_writers_left_goes_with_a_later_save(tmp_path: Path) -> None:
    old, new = tmp_path / ".0123456789abcdef.unfinished", tmp_path / ".f.unfinished"
    for left in (old, new):
        left.write_bytes(b"half a memory")
    os.utime(old, (0, 0))
    save_memory(CASE.state, tmp_path / "a", CASE.memory)
    assert not old.exists()
    assert new.exists()  # whose writer may live
