"""``callosal memory``: every verb does its work on files alone, every mistake ends in one line."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.cases import build_memory, fill
from tests.laws import assert_same_bits

from callosal import MemoryConfig, MemoryStore, load_memory, save_memory
from callosal.cli import main
from callosal.lab.report.memory_figure import draw_norms

MEMORY = build_memory(MemoryConfig(width=4, num_slots=3))
A, B = fill(MEMORY, (2, 5), seed=1).state, fill(MEMORY, (2, 5), seed=2).state


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two saved memories, and a terminal wide enough."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    save_memory(A, "a", MEMORY, notes="[bold]not markup[/bold]")
    save_memory(B, "b", MEMORY)


def call(*arguments: str) -> int:
    try:
        return main(["memory", *arguments])
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else -1


def test_inspect_shows_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("inspect", "a") == 0
    output = capsys.readouterr()
    assert output.err == ""
    for words in (
        "2 rows, 2 banks of 3 slots, width 4, torch.float64",
        "[bold]not markup[/bold]",
        "0 minutes" if "minute" in output.out else "second",
        "format 1",
        "left",
        "right",
        "of the bound",
    ):
        assert words in output.out
    largest = A.trace.norm(dim=-1).amax((0, 2))
    for norm in largest.tolist():
        assert f"{norm:.4g}" in output.out
        assert f"{norm / MEMORY.max_slot_norm:.1%}" in output.out


def test_inspect_says_whose_memory_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore("store")
    store.save("../é\x1b[31m", A[0], MEMORY)
    assert call("inspect", str(store.path("../é\x1b[31m"))) == 0
    # Nothing in a file reaches the terminal as a command.
    assert r"'../\xe9\x1b[31m'" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [1, 2])
def test_inspect_draws_a_picture(rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    save_memory(A[:rows], "few", MEMORY)
    assert call("inspect", "few", "--picture", "few.png") == 0
    assert "few.png" in capsys.readouterr().out
    with Image.open("few.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(10**6) or []) > 3


def test_a_picture_of_nothing_can_be_drawn() -> None:
    for rows in (0, 1, 2):
        assert draw_norms(torch.zeros(rows, 3, 4).numpy(), ["0", "1", "2"]).startswith(b"\x89PNG")


def test_merge_takes_each_bank_from_its_parent(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("merge", "a", "b", "--bank", "left=A", "right=B", "--out", "c") == 0
    assert "merged of a and b" in capsys.readouterr().out
    merged = load_memory("c", MEMORY)
    assert_same_bits(merged.trace[:, 0], A.trace[:, 0])
    assert_same_bits(merged.trace[:, 1], B.trace[:, 1])
    assert call("diff", "a", "c") == 0
    output = capsys.readouterr()
    assert "Note: B was made of A." in output.out
    assert call("merge", "a", "b", "--out", "d") == 0


def test_fork_copies(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("fork", "a", "c", "d") == 0
    assert capsys.readouterr().out.split() == ["c", "d"]
    for name in "cd":
        assert_same_bits(load_memory(name, MEMORY).trace, A.trace)


def test_reset_blanks_what_it_is_told() -> None:
    assert call("reset", "a", "--bank", "left", "--out", "c") == 0
    assert_same_bits(load_memory("a", MEMORY).trace, A.trace)
    fresh = load_memory("c", MEMORY).trace
    assert not fresh[:, 0].any()
    assert_same_bits(fresh[:, 1], A.trace[:, 1])
    assert call("reset", "a") == 0
    assert not load_memory("a", MEMORY).trace.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "none"], "no memory file at none"),
        (["inspect", "cut"], "cut is truncated"),
        (["inspect", "a", "--picture", "no/folder/a.png"], "no/folder"),
        (["diff", "a", "few"], "diff of traces of shape"),
        (["merge", "a", "b"], "--out"),
        (["merge", "a", "b", "--out", "b"], "there is a file at b"),
        (["merge", "a", "b", "--bank", "left", "--out", "c"], "'left' is not like left=A"),
        (["merge", "a", "b", "--bank", "left=C", "--out", "c"], "'left=C' is not like left=A"),
        (["merge", "a", "b", "--bank", "up=A", "--out", "c"], "bank 'up'"),
        (["merge", "a", "b", "--bank", "0=A", "0=B", "--out", "c"], "names a bank twice"),
        (["fork", "a", "b"], "there is a file at b"),
        (["reset", "a", "--bank", "up"], "bank 'up'"),
        (["reset", "a", "--out", "b"], "there is a file at b"),
        ([], "VERB"),
        (["shout", "a"], "shout"),
    ],
    ids=" ".join,
)
def test_a_mistake_ends_in_one_line_and_changes_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cut").write_bytes(Path("a").read_bytes()[:-5])
    save_memory(A[0], "few", MEMORY)
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("callosal")
    assert error.count("\n") == 1
    assert message in error
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before
