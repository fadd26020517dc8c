"""Runs on record: what is appended is read, a kill harms nothing, and damage is named."""

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lab import recorded, synthetic

from callosal.lab.report.records import FILE_NAME, KEYS, RecordError, RunRecord, append_record, read_records
from callosal.lab.report.study import Quantity, of
from callosal.lab.report.upgrade import upgrade
from callosal.lab.studies.catalog import read_report

RECORD = synthetic.run("inhibitory", 0)
NUMBERED = [replace(RECORD, seed=seed) for seed in range(4)]
# What a damaged file may hold in any place.
JUNK = (None, "x", "", 0, -1, 1.5, float("nan"), float("inf"), True, [], {}, [1], {"a": 1}, 10**400)
OLD = ("quick", "rivals", "persona", "rates", "map", "banks")


def line_of(record: RunRecord) -> bytes:
    return json.dumps(asdict(record)).encode()


def file_of(folder: Path, *lines: bytes) -> Path:
    (folder / FILE_NAME).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@given(st.text(), st.floats(allow_nan=False), st.lists(st.text(), max_size=3))
def test_a_record_comes_back_as_it_was(folder: Path, text: str, number: float, changed: list[str]) -> None:
    """Any text, line ends included, and every digit of any number, infinity included."""
    values = [{"measure": text, "after": 3, "value": number}]
    record = replace(RECORD, recipe=text, changed=changed, values=values, wall_seconds=number)
    file_of(folder)
    append_record(folder, record)
    append_record(folder, RECORD)
    assert read_records(folder) == [record, RECORD]


def test_appending_makes_the_folder_and_rewrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "quick"
    before = b""
    for record in NUMBERED:
        append_record(folder, record)
        after = (folder / FILE_NAME).read_bytes()
        assert after == before + line_of(record) + b"\n"
        before = after
    assert read_records(folder) == NUMBERED
    # An editor may leave a last run without its line end, which the next run brings.
    path = folder / FILE_NAME
    path.write_bytes(before.removesuffix(b"\n"))
    assert read_records(folder) == NUMBERED
    append_record(folder, RECORD)
    assert path.read_bytes() == before + line_of(RECORD) + b"\n"


@given(st.integers(0, 3), st.floats(0.0, 1.0, exclude_max=True))
def test_a_line_that_a_kill_cut_short_is_no_run_and_the_next_one_heals_it(
    folder: Path, whole: int, share: float
) -> None:
    last = line_of(RECORD)
    path = file_of(folder, *map(line_of, NUMBERED[:whole])) / FILE_NAME
    content = path.read_bytes() + last[: int(share * len(last))]
    path.write_bytes(content)
    assert read_records(folder) == NUMBERED[:whole]
    assert path.read_bytes() == content, "reading changed the file"
    append_record(folder, RECORD)
    assert read_records(folder) == [*NUMBERED[:whole], RECORD]


NO_RUNS = (b"", b"{}", b"[1]", b"null", b"3", b'"values"', b'["values"]', b"not json", b"\xff\xfe")
# Fields that are not what they must be, and rows of values.
WRONG = """[{"unknown":1}, {"seed":"0"}, {"seed":true}, {"arm":null}, {"changed":[1]}, {"config":[]},
{"curve":[{"loss":1}]}, {"curve":[3]}, {"values":{}}, {"values":[3]}, {"values":[{"value":0.1}]}]"""
WRONG_ROWS = """[{}, {"value":"0.1"}, {"value":null}, {"value":1,"unknown":1}, {"value":1,"measure":1},
{"value":1,"bank":"left"}, {"value":1,"domain":null}]"""
FIELDS = [*json.loads(WRONG), {"values": [{"measure": "P_ct", "value": 0.1}] * 2}]
FIELDS += [{"values": [{"measure": "P_ct"} | row]} for row in json.loads(WRONG_ROWS)]
DAMAGES = [json.dumps(asdict(RECORD) | fields).encode() for fields in FIELDS]
DAMAGES += [json.dumps({k: v for k, v in asdict(RECORD).items() if k != "seed"}).encode()]
DAMAGES += [*NO_RUNS, b"[" * 100_000 + b"]" * 100_000, b"9" * 5000, line_of(RECORD)[:40]]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda line: line[-40:].decode(errors="replace"))
@pytest.mark.parametrize("number", [1, 3])
def test_a_damaged_line_is_named_with_the_remedy(damage: bytes, number: int, tmp_path: Path) -> None:
    lines = list(map(line_of, NUMBERED))
    lines[number - 1] = damage
    expected = rf"^line {number} of .*{FILE_NAME} is not a run; delete that line and run again$"
    with pytest.raises(RecordError, match=expected):
        read_records(file_of(tmp_path, *lines))
    # The remedy works.
    del lines[number - 1]
    assert len(read_records(file_of(tmp_path, *lines))) == 3


def damaged(content: Any, random: Random) -> Any:
    """Delete or replace something anywhere in a record, up to three times."""
    content = copy.deepcopy(content)
    for _ in range(random.randint(1, 3) if content else 0):
        owner, key = content, random.choice(list(content))
        while owner[key] and isinstance(owner[key], dict | list) and random.random() < 0.7:
            owner = owner[key]
            key = random.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
        if random.random() < 0.4:
            del owner[key]
        else:
            owner[key] = copy.deepcopy(random.choice(JUNK))
    return content


# The oldest form on record, and the form of today.
CONTENTS = [json.loads(recorded.line(name, 3)) for name in OLD]
CONTENTS += [asdict(recorded.records(name)[3]) for name in OLD]


@settings(max_examples=150)
@given(st.sampled_from(CONTENTS), st.randoms(use_true_random=False))
def test_whatever_is_damaged_a_line_is_a_run_or_named(folder: Path, content: Any, random: Random) -> None:
    file_of(folder, json.dumps(damaged(content, random)).encode())
    try:
        (record,) = read_records(folder)
        line = line_of(record)
    except RecordError as error:
        said, line = str(error), line_of(RECORD)
    else:
        said = "line 1 of a whole run"
        assert all(set(row) <= {*KEYS, "value"} for row in record.values)
    assert said.startswith("line 1 of ")
    # A run that was read is one that is written and read again.
    assert list(map(line_of, read_records(file_of(folder, line)))) == [line]


@settings(max_examples=100)
@given(st.sampled_from(CONTENTS), st.randoms(use_true_random=False))
def test_a_damaged_run_gives_a_report_or_an_error_of_one_line(folder: Path, content: Any, random: Random) -> None:
    file_of(folder, json.dumps(damaged(content, random)).encode())
    try:
        said = f"{len(read_report(folder).tables)} tables"
    except ValueError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


def test_a_record_of_this_version_is_handed_on() -> None:
    content = asdict(RECORD)
    assert upgrade(content) is content


# What the committed tables do not show, by folder: an arm, some of its factors, and where some of its values stood.
QUICK = {"sign": -1.0, "gain": 4.0, "num_letters": 8, "context": "segment", "carry": 0.0}
OLD_PLACES: dict[str, tuple[str, dict[str, Any], dict[str, Quantity]]] = {
    "quick": (
        "inhibitory",
        QUICK,
        {"arithmetic_accuracy": of("accuracy", "rule"), "retention.loss.0": of("recall loss", after=0)},
    ),
    "rivals": (
        "uncoupled",
        {"sign": 0.0, "num_banks": 2},
        {"losses.1": of("loss", "arithmetic"), "banks.shares.1.0": of("share", "arithmetic", bank=0)},
    ),
    "persona": ("Llama", {"layers": [2], "base_model": "Llama"}, {"banks.0.cross_talk": of("P_ct", place=0)}),
    "rates": ("no memory at 0.002", {"memory": "no memory"}, {"train_seconds": of("train_seconds")}),
}


@pytest.mark.parametrize("folder", OLD_PLACES)
def test_an_old_run_has_its_factors_and_values(folder: str) -> None:
    arm, factors, places = OLD_PLACES[folder]
    number, record = next((n, r) for n, r in enumerate(recorded.records(folder)) if r.arm == arm)
    old = json.loads(recorded.line(folder, number))
    evaluation = old["evaluation"]
    parts = {"banks": evaluation["specialization"], "retention": old["retention"]} | old.get("probes", {}) | evaluation
    assert record.factors | factors == record.factors
    found = {synthetic.quantity_of(row): row["value"] for row in record.values}
    for place, quantity in places.items():
        value: Any = parts
        for part in place.split("."):
            value = value[int(part) if isinstance(value, list) else part]
        assert found[quantity] == value, place
    assert (record.config, record.fingerprint) == (old["config"], old["fingerprint"])
    assert record.extras.get("snapshot") == old["snapshot"]
    assert [point["step"] for point in record.curve] == [point["step"] for point in old["curve"]]
    if "cipher_loss" in old["curve"][0]:
        assert record.curve[-1]["episodic_loss"] == old["curve"][-1]["cipher_loss"]


def test_a_state_without_bound_is_infinite() -> None:
    sizes = {run.arm: run.get("state_floats") for run in recorded.records("rivals")}
    assert sizes["full history"] == float("inf")
    assert sizes["no memory"] == 0


def test_an_empty_file_is_of_no_runs_and_a_missing_one_says_how_to_make_one(tmp_path: Path) -> None:
    for missing in (tmp_path, tmp_path / "none"):
        with pytest.raises(RecordError, match=r"no runs\.jsonl in .*; make one with callosal"):
            read_records(missing)
    assert read_records(file_of(tmp_path)) == []
