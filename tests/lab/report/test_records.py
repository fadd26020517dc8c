"""Runs on record: what is appended is read, and a kill in the middle harms nothing."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosal.lab.report.records import (
    FILE_NAME,
    RecordError,
    RunRecord,
    append_record,
    read_records,
)

RECORD = RunRecord(
    fingerprint="abc",
    recipe="tiny",
    arm="inhibitory",
    seed=0,
    changed=[],
    config={"seed": 0, "memory": None},
    evaluation={"cipher_loss": 0.1 + 0.2},
    retention={"distractors": [0, 10], "recall": [1.0, 0.5]},
    curve=[{"step": 1, "cipher_loss": 1e-30}],
    snapshot=None,
    num_parameters=5,
    wall_seconds=1.5,
    versions={"python": "3.11"},
)
NUMBERED = [replace(RECORD, seed=seed) for seed in range(4)]


def file_of(folder: Path) -> Path:
    return folder / FILE_NAME


def line_of(record: RunRecord) -> bytes:
    return json.dumps(asdict(record)).encode() + b"\n"


@given(st.text(), st.floats(allow_nan=False), st.lists(st.text(), max_size=3))
def test_a_record_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, text: str, number: float, changed: list[str]
) -> None:
    """Any text, line ends included, and every digit of any number."""
    folder = tmp_path_factory.mktemp("study")
    record = replace(
        RECORD, recipe=text, changed=changed, evaluation={text: number}, wall_seconds=number
    )
    append_record(folder, record)
    append_record(folder, RECORD)
    assert read_records(folder) == [record, RECORD]


def test_appending_makes_the_folder_and_rewrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "quick"
    before = b""
    for record in NUMBERED:
        append_record(folder, record)
        after = file_of(folder).read_bytes()
        assert after == before + line_of(record)
        before = after
    assert read_records(folder) == NUMBERED


@given(st.integers(0, 3), st.floats(0.0, 1.0, exclude_max=True))
def test_a_line_that_a_kill_cut_short_is_no_run_and_the_next_one_heals_it(
    tmp_path_factory: pytest.TempPathFactory, whole: int, share: float
) -> None:
    folder = tmp_path_factory.mktemp("study")
    last = line_of(RECORD)
    content = b"".join(map(line_of, NUMBERED[:whole])) + last[: int(share * len(last))]
    file_of(folder).write_bytes(content)
    assert read_records(folder) == NUMBERED[:whole]
    assert file_of(folder).read_bytes() == content, "reading changed the file"
    append_record(folder, RECORD)
    assert read_records(folder) == [*NUMBERED[:whole], RECORD]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"[1]",
        b"null",
        b"not json",
        b"\xff\xfe",
        line_of(RECORD)[:40],
        json.dumps(asdict(RECORD) | {"unknown": 1}).encode(),
        json.dumps({k: v for k, v in asdict(RECORD).items() if k != "seed"}).encode(),
    ],
)
@pytest.mark.parametrize("number", [1, 3])
def test_a_damaged_line_is_named_with_the_remedy(
    damage: bytes, number: int, tmp_path: Path
) -> None:
    lines = list(map(line_of, NUMBERED))
    lines[number - 1] = damage + b"\n"
    file_of(tmp_path).write_bytes(b"".join(lines))
    expected = rf"^line {number} of .*{FILE_NAME} is not a run; delete that line and run again$"
    with pytest.raises(RecordError, match=expected):
        read_records(tmp_path)
    # The remedy works.
    del lines[number - 1]
    file_of(tmp_path).write_bytes(b"".join(lines))
    assert len(read_records(tmp_path)) == 3


@pytest.mark.parametrize("folder", [".", "none"])
def test_a_missing_file_says_how_to_make_one(folder: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no runs\.jsonl in .*; make one with callosal"):
        read_records(tmp_path / folder)


def test_an_empty_file_is_of_no_runs(tmp_path: Path) -> None:
    file_of(tmp_path).touch()
    assert read_records(tmp_path) == []
