"""The command line: every verb does its work, and every mistake ends in one line that says what to do."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from shutil import copytree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lab.tiny import tiny

from callosal.cli import main, parse_seeds
from callosal.lab.measures.evaluation import Evaluation
from callosal.lab.report.records import ARMS, FILE_NAME, read_records
from callosal.lab.runner import run
from callosal.lab.runs import override
from callosal.lab.studies.benchmark.recipe import RECIPES

PROGRAM = [sys.executable, "-c", "import sys; from callosal.cli import main; sys.exit(main())"]


def call(*arguments: str) -> int:
    """Call the command line in this process and return its exit code."""
    try:
        return main(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else -1


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``quick`` quicker still."""
    monkeypatch.setitem(RECIPES, "quick", tiny)
    # Tables are as wide as the terminal.
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reproduce the tiny recipe once, by the verb, all arms of one seed."""
    folder = tmp_path_factory.mktemp("study") / "quick"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "quick", tiny)
        assert call("reproduce", "--recipe", "quick", "--seeds", "0", "--out", str(folder)) == 0
    return folder


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced study, to break."""
    return copytree(whole, tmp_path / "quick")


def run_of(study: Path, arm: str) -> Path:
    (place,) = (study / "runs").glob(f"tiny-{arm}-*")
    return place


def assert_one_line(code: int, stderr: str, *words: str) -> None:
    assert code == 2
    assert stderr.startswith("callosal")
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1, stderr
    for word in words:
        assert word in stderr


# What works.


def test_reproduce_trains_every_arm_and_reports(study: Path) -> None:
    assert sorted(record.arm for record in read_records(study)) == sorted(ARMS)
    claims = json.loads((study / "claims.json").read_text())
    assert {"id", "claim", "reported", "measured", "low", "high", "seeds", "verdict"} <= set(
        claims[0]
    )
    page = (study / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")


def test_reproduce_again_trains_nothing_and_prints_the_tables(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (study / FILE_NAME).read_bytes()
    assert call("reproduce", "--seeds", "0", "--out", str(study)) == 0
    assert (study / FILE_NAME).read_bytes() == before
    output = capsys.readouterr()
    assert "4 of 4 runs are on record already" in output.err
    assert "inhibitory" in output.out
    assert "verdict" in output.out
    assert str(study / "report.html") in output.out.replace("\n", "")


def test_report_rebuilds_what_was_lost(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {name: (study / name).read_bytes() for name in ("claims.json", "report.html")}
    for name in made:
        (study / name).unlink()
    assert call("report", str(study)) == 0
    for name, content in made.items():
        assert (study / name).read_bytes() == content
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arm", ["inhibitory", "no-memory"])
def test_evaluate_prints_the_numbers_on_record(
    arm: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", str(run_of(study, arm))) == 0
    output = capsys.readouterr()
    printed = json.loads(output.out)
    assert printed.pop("run") == run_of(study, arm).name
    (record,) = (record for record in read_records(study) if record.arm == arm)
    assert set(printed) == set(Evaluation.__dataclass_fields__)
    for name in ("cipher_loss", "arithmetic_loss", "cipher_recall", "arithmetic_accuracy"):
        assert printed[name] == pytest.approx(record.evaluation[name], rel=1e-5)
    assert (printed["specialization"] is None) == (arm == "no-memory")
    assert output.err == ""


def test_train_notes_what_was_changed_and_prints_where_the_run_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["memory.gain=6", "training.num_steps=3"]
    settings = [part for change in changes for part in ("--set", change)]
    command = ["train", "--arm", "uncoupled", "--seed", "5", *settings, "--out", str(tmp_path)]
    assert call(*command) == 0
    (record,) = read_records(tmp_path)
    assert (record.arm, record.seed, record.changed) == ("uncoupled", 5, changes)
    assert record.curve[-1]["step"] == 3
    expected = override(tiny("uncoupled", 5), changes)
    assert capsys.readouterr().out.strip() == str(tmp_path / "runs" / expected.name)


def test_a_run_that_diverges_is_said_in_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callosal.cli.run_all", lambda *_, **__: ["name: step 3: the loss is nan"])
    assert call("train", "--out", str(tmp_path)) == 1
    assert capsys.readouterr().err == "callosal: name: step 3: the loss is nan\n"


def test_an_interrupt_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("callosal.cli.run_all", interrupt)
    assert call("train", "--out", str(tmp_path)) == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("verb", [(), ("reproduce",), ("train",), ("evaluate",), ("report",)])
def test_help_is_given_for_every_verb(
    verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*verb, "--help") == 0
    output = capsys.readouterr()
    assert output.out.startswith("usage: callosal")
    assert output.err == ""
    for name in verb or ("reproduce", "train", "evaluate", "report"):
        assert name in output.out


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=4))
def test_seeds_are_read_as_they_are_written(ranges: list[tuple[int, int]]) -> None:
    expected, parts, first = [], [], 0
    for gap, length in ranges:
        first += gap + 1
        expected += range(first, first + length + 1)
        parts.append(f"{first}-{first + length}" if length else str(first))
        first += length
    assert parse_seeds(",".join(parts)) == expected


# What does not.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["VERB", "--help"]),
        (("reprduce",), ["reprduce", "reproduce", "--help"]),
        (("reproduce", "--recipe", "slow"), ["slow", "quick", "paper", "--help"]),
        (("reproduce", "--workers", "0"), ["'0' is not a whole number from 1 on"]),
        (("reproduce", "--unknown"), ["--unknown", "--help"]),
        (("train", "--arm", "left"), ["left", "inhibitory"]),
        (("train", "--seed", "-1"), ["--help"]),
        (("train", "--seed", "1.5"), ["'1.5' is not a whole number"]),
        (("evaluate",), ["run", "--help"]),
        (("report",), ["folder", "--help"]),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(call(*arguments), capsys.readouterr().err, *words)


@pytest.mark.parametrize(
    "seeds", ["4-", "-4", "a", "1,1", "0-3,2", "3-1", "0,3-1", "", ",", "1-2-3", "1.5", "1 2"]
)
def test_wrong_seeds(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = call("reproduce", f"--seeds={seeds}")
    assert_one_line(code, capsys.readouterr().err, "--seeds", seeds, "--help")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("memory.gian=6", ["no field 'memory.gian'", "gain"]),
        ("memory.gain=x", ["memory.gain takes a value like 4.0"]),
        ("memory.gain", ["field=value"]),
        ("memory.width=8", ["MemoryConfig.width is 8", "transformer (16)"]),
    ],
)
def test_wrong_changes(
    change: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call("train", "--set", change, "--out", str(tmp_path / "out"))
    assert_one_line(code, capsys.readouterr().err, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["reproduce", "train"])
def test_a_folder_that_cannot_be_written(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code = call(verb, "--out", str(tmp_path / "file" / "study"))
    assert_one_line(code, capsys.readouterr().err, "cannot write to", "choose another folder")


def test_a_report_of_no_folder_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call("report", str(tmp_path / "typo"))
    assert_one_line(code, capsys.readouterr().err, "no folder", "typo", "callosal reproduce")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = call("report", str(tmp_path))
    assert_one_line(code, capsys.readouterr().err, "no runs.jsonl", "callosal reproduce")


def test_a_missing_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = call("evaluate", str(tmp_path / "none"))
    assert_one_line(code, capsys.readouterr().err, "is not the folder of a run")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("checkpoint.pt", b"", ["checkpoint.pt is damaged", "delete it and train again"]),
        ("checkpoint.pt", b"PK\x03\x04", ["checkpoint.pt is damaged", "delete it"]),
        ("checkpoint.pt", None, ["no checkpoint", "train the run first"]),
        ("config.json", b"{", ["config.json is damaged"]),
        ("config.json", b'{"a":\n\n1}', ["config.json is damaged"]),
        ("config.json", None, ["is not the folder of a run"]),
    ],
)
def test_a_damaged_run(
    name: str,
    content: bytes | None,
    words: list[str],
    study: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = run_of(study, "inhibitory")
    (place / name).unlink()
    if content is not None:
        (place / name).write_bytes(content)
    assert_one_line(call("evaluate", str(place)), capsys.readouterr().err, *words)


def test_a_configuration_that_was_edited_is_not_that_of_the_checkpoint(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of(study, "inhibitory") / "config.json"
    path.write_text(path.read_text().replace('"gain": 4.0', '"gain": 5.0'))
    assert_one_line(
        call("evaluate", str(path.parent)), capsys.readouterr().err, "another configuration"
    )


@pytest.mark.parametrize("verb", ["report", "reproduce"])
def test_a_damaged_file_of_runs(verb: str, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'"fingerprint"', b'"fingerprnt"', 1))
    arguments = [str(study)] if verb == "report" else ["--out", str(study)]
    assert_one_line(call(verb, *arguments), capsys.readouterr().err, "line 1", "delete that line")


def test_a_damaged_checkpoint_met_while_reproducing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error as the worker raises it, without the worker: test_runner has the whole way."""
    place = tmp_path / "runs" / tiny().name
    place.mkdir(parents=True)
    (place / "checkpoint.pt").write_bytes(b"damaged")

    def in_this_process(configs, folder, **_) -> list[str]:
        for config in configs:
            run(config, folder)
        return []

    monkeypatch.setattr("callosal.cli.run_all", in_this_process)
    code = call("train", "--out", str(tmp_path))
    assert_one_line(code, capsys.readouterr().err, "damaged", "delete it and train again")


# The same as a program of its own: nothing else on stderr, no traceback.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reprduce"], ["reprduce"]),
        (["evaluate", "none"], ["is not the folder of a run"]),
        (["report", "."], ["no runs.jsonl"]),
    ],
)
def test_mistakes_as_a_program(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(  # noqa: S603  (our own program)
        [*PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert_one_line(ended.returncode, ended.stderr, *words)
    assert ended.stdout == ""


def test_an_interrupt_ends_all_workers_and_starts_no_further_run(tmp_path: Path) -> None:
    """What Ctrl-C does: SIGINT to the whole group, with runs in work and more of them waiting."""
    command = [*PROGRAM, "reproduce", "--seeds", "0-3", "--out", str(tmp_path / "study")]
    with subprocess.Popen(  # noqa: S603  (our own program)
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            runs = tmp_path / "study" / "runs"
            while process.poll() is None and not (runs.is_dir() and any(runs.iterdir())):
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)
            # Returns when nobody holds the pipes any more: the workers are gone too.
            _, stderr = process.communicate(timeout=100)
            begun = len(list(runs.iterdir()))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("callosal: stopped; the same command goes on")
    assert "Traceback" not in stderr
    assert begun <= 3


def test_an_error_out_of_an_interrupt_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def torn(_: Path) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise BrokenPipeError("a worker's pipe")

    monkeypatch.setattr("callosal.cli.build_report", torn)
    assert main(["report", str(tmp_path)]) == 130
    assert capsys.readouterr().err.startswith("callosal: stopped;")


def test_nobody_goes_on_when_the_program_is_killed(tmp_path: Path) -> None:
    """Neither worker nor manager outlives it, though nothing could tell them."""
    command = [*PROGRAM, "train", "--set", "training.checkpoint_every=1", "--out", str(tmp_path)]
    with subprocess.Popen(  # noqa: S603  (our own program)
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            while process.poll() is None and not any(tmp_path.glob("runs/*/checkpoint.pt")):
                time.sleep(0.1)
            process.kill()
            # Returns when nobody holds the pipes any more.
            process.communicate(timeout=100)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / FILE_NAME).exists()


def test_what_evaluate_prints_is_plain_json(study: Path) -> None:
    """As a program, with nothing but the JSON on stdout, for whoever pipes it on."""
    command = [*PROGRAM, "evaluate", str(run_of(study, "inhibitory"))]
    ended = subprocess.run(  # noqa: S603  (our own program)
        command, capture_output=True, text=True, check=True
    )
    assert asdict(tiny())["arm"] in json.loads(ended.stdout)["run"]
    assert ended.stderr == ""
