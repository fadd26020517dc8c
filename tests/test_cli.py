"""The command line: every verb does its work, and every mistake ends in one line that says what to do."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.apart import python
from tests.cases import build_memory, fill
from tests.lab.tiny import tiny
from tests.laws import assert_same_bits

from callosal import MemoryConfig, MemoryStore, __version__, cli, load_memory, save_memory
from callosal.cli import main, parse_seeds
from callosal.lab import studies
from callosal.lab.measures.evaluation import Evaluation
from callosal.lab.report.memory_picture import draw_norms
from callosal.lab.report.records import ARMS, FILE_NAME, append_record, read_records
from callosal.lab.runner import Run, run
from callosal.lab.runs import RunConfig, override
from callosal.lab.studies import NAMES as STUDIES
from callosal.lab.studies.benchmark.recipe import RECIPES

VERBS = ("reproduce", "study", "contract", "train", "evaluate", "report", "demo")
MEMORY_VERBS = ("inspect", "diff", "merge", "fork", "reset")
MEMORY = build_memory(MemoryConfig(width=4, num_slots=3))
A, B = fill(MEMORY, (2, 5), seed=1).state, fill(MEMORY, (2, 5), seed=2).state
Said = pytest.CaptureFixture[str]


def run_here(configs: Sequence[RunConfig], folder: Path, *, num_workers: int, run: Run = run) -> list[str]:
    """Run in this process what ``run_all`` does in workers, which each take seconds to start."""
    assert num_workers > 0
    for config in configs:
        append_record(folder, run(config, folder, lambda *_: None))
    return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reproduce the tiny recipe once, by the verb, all arms of one seed."""
    folder = tmp_path_factory.mktemp("study") / "quick"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "quick", tiny)
        patch.setattr("callosal.lab.runner.run_all", run_here)
        assert main(["reproduce", "--recipe", "quick", "--seeds", "0", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with two memory files, a quicker ``quick``, a terminal wide enough."""
    monkeypatch.setitem(RECIPES, "quick", tiny)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    save_memory(A, "a", MEMORY, notes="[bold]not markup[/bold]")
    save_memory(B, "b", MEMORY)
    return tmp_path


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callosal.lab.runner.run_all", run_here)


@pytest.fixture
def study(whole: Path, place: Path) -> Path:
    """A copy of the reproduced study, to break."""
    return copytree(whole, place / "quick")


def run_of(study: Path, arm: str = "inhibitory") -> Path:
    (folder,) = (study / "runs").glob(f"tiny-{arm}-*")
    return folder


def assert_one_line(code: int, stderr: str, *words: str) -> None:
    assert code == 2
    assert stderr.startswith("callosal")
    assert stderr.find("\n") == len(stderr) - 1, stderr
    assert [word for word in words if word not in stderr] == []


# Calls the program with each of its arguments but the first, which names modules to hide.
CALLS = """
import sys
hidden, *calls = sys.argv[1:]
sys.modules |= dict.fromkeys(hidden.split())
from callosal.__main__ import main
for call in calls:
    sys.argv[1:] = call.split()
    print(main(), file=sys.stderr)
"""


# What works.


def test_reproduce_trains_every_arm_and_reports(study: Path) -> None:
    assert sorted(record.arm for record in read_records(study)) == sorted(ARMS)
    claims = json.loads((study / "claims.json").read_text())
    keys = {"id", "claim", "reported", "measured", "low", "high", "seeds", "verdict"}
    assert keys <= set(claims[0])
    page = (study / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("verb", ["reproduce --seeds 0 --out", "report"])
def test_again_nothing_is_trained_and_what_was_lost_is_rebuilt(verb: str, study: Path, capsys: Said) -> None:
    made = {name: (study / name).read_bytes() for name in (FILE_NAME, "claims.json", "report.html")}
    for name in ("claims.json", "report.html"):
        (study / name).unlink()
    assert main([*verb.split(), str(study)]) == 0
    assert {name: (study / name).read_bytes() for name in made} == made
    output = capsys.readouterr()
    assert "4 of 4 runs are on record already" in output.err if "reproduce" in verb else output.err == ""
    assert "inhibitory" in output.out
    assert "verdict" in output.out
    assert str(study / "report.html") in output.out.replace("\n", "")


@pytest.mark.parametrize("arm", ["inhibitory", "no-memory"])
def test_evaluate_prints_the_numbers_on_record(arm: str, study: Path, capsys: Said) -> None:
    assert main(["evaluate", str(run_of(study, arm))]) == 0
    output = capsys.readouterr()
    printed = json.loads(output.out)
    assert printed.pop("run") == run_of(study, arm).name
    (record,) = (record for record in read_records(study) if record.arm == arm)
    assert set(printed) == set(Evaluation.__dataclass_fields__)
    for kind, measure in product(("episodic", "rule"), ("loss", "accuracy")):
        assert printed[f"{kind}_{measure}"] == pytest.approx(record.get(measure, domain=kind), rel=1e-5)
    assert (printed["specialization"] is None) == (arm == "no-memory")
    assert output.err == ""


@pytest.mark.usefixtures("_here")
def test_train_notes_what_was_changed_and_prints_where_the_run_is(place: Path, capsys: Said) -> None:
    changes = ["memory.gain=6", "training.num_steps=3"]
    settings = [part for change in changes for part in ("--set", change)]
    assert main(["train", "--arm", "uncoupled", "--seed", "5", *settings, "--out", "."]) == 0
    (record,) = read_records(place)
    assert (record.arm, record.seed, record.changed) == ("uncoupled", 5, changes)
    assert record.curve[-1]["step"] == 3
    expected = override(tiny("uncoupled", 5), changes)
    assert capsys.readouterr().out.strip() == f"runs/{expected.name}"


def test_a_run_that_diverges_is_said_in_one_line_and_exit_code_1(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = ["name: step 3: the loss is nan"]
    monkeypatch.setattr("callosal.lab.runner.run_all", lambda *_, **__: failures)
    assert main(["train"]) == 1
    assert capsys.readouterr().err == "callosal: name: step 3: the loss is nan\n"


def test_an_interrupt_says_how_to_go_on(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def tear(_: Path) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise BrokenPipeError("a worker's pipe")

    # What an interrupt tears apart is an interrupt too.
    monkeypatch.setattr("callosal.lab.runner.run_all", interrupt)
    monkeypatch.setattr("callosal.lab.studies.catalog.read_report", tear)
    for arguments in (["train"], ["report", "."]):
        assert main(arguments) == 130
        stopped = "callosal: stopped; the same command goes on from the last checkpoint\n"
        assert capsys.readouterr().err == stopped


@pytest.mark.parametrize("verb", ["", *VERBS, "memory", *(f"memory {v}" for v in MEMORY_VERBS)])
def test_help_is_given_for_every_verb(verb: str, capsys: Said) -> None:
    assert main([*verb.split(), "--help"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"Usage: callosal {verb}".strip())
    assert output.err == ""
    assert output.out.isascii()
    for name in {"": (*VERBS, "memory"), "memory": MEMORY_VERBS, "study": STUDIES}.get(verb, ()):
        assert name in output.out.replace("\n", "")


def test_the_choices_are_those_of_the_library() -> None:
    assert set(get_args(cli.Recipe)) == set(RECIPES)
    assert get_args(cli.Arm) == ARMS
    homes = Path(studies.__path__[0]).glob("*/study.toml")
    assert {*STUDIES, studies.BENCHMARK} == {home.parent.name for home in homes}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=4))
def test_seeds_are_read_as_they_are_written(ranges: list[tuple[int, int]]) -> None:
    expected, parts, first = [], [], 0
    for gap, length in ranges:
        first += gap + 1
        expected += range(first, first + length + 1)
        parts.append(f"{first}-{first + length}" if length else str(first))
        first += length
    assert parse_seeds(",".join(parts)) == expected


# Memory files.


def test_inspect_shows_what_is_there(capsys: Said) -> None:
    assert main(["memory", "inspect", "a"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    unit = "0 minutes" if "minute" in output.out else "second"
    facts = ("2 rows, 2 banks of 3 slots, width 4, torch.float64", "[bold]not markup[/bold]", "format 1")
    for words in (*facts, unit, "left", "right", "of the bound"):
        assert words in output.out
    largest = A.trace.norm(dim=-1).amax((0, 2))
    for norm in largest.tolist():
        assert f"{norm:.4g}" in output.out
        assert f"{norm / MEMORY.max_slot_norm:.1%}" in output.out


def test_nothing_in_a_file_reaches_the_terminal_as_a_command(capsys: Said) -> None:
    store = MemoryStore("store")
    store.save("../é\x1b[31m", A[0], MEMORY)
    assert main(["memory", "inspect", str(store.path("../é\x1b[31m"))]) == 0
    assert r"'../\xe9\x1b[31m'" in capsys.readouterr().out
    hostile = "h\x1b[2J\x9b\u202e"
    save_memory(A, hostile, MEMORY, notes="café\nchecksum  fits\r\x1b]0;title\x07")
    assert main(["memory", "inspect", hostile]) == 0
    assert main(["memory", "fork", hostile, hostile + "2"]) == 0
    assert main(["memory", "diff", hostile, hostile + "\x07"]) == 2
    said = "".join(capsys.readouterr())
    assert r"café\nchecksum  fits\r\x1b]0;title\x07" in said
    assert said.count(r"h\x1b[2J\x9b\u202e") == 3
    assert all(character.isprintable() for character in said.replace("\n", ""))


def test_a_store_is_looked_at_and_a_user_goes_elsewhere_or_is_forgotten(capsys: Said) -> None:
    user, store = "\x1b[2Jada@example.org", MemoryStore("store")
    shown = r"'\x1b[2Jada@example.org'"
    store.save_layers(user, {"h.0": A[0], "h.1": B[0]}, {"h.0": MEMORY, "h.1": MEMORY})
    store.save("bob", A[1], MEMORY)
    store.path("eve").parent.mkdir(exist_ok=True)
    store.path("eve").write_text("nothing of ours")

    def said(call: str, *more: str, code: int = 0) -> str:
        assert main(["memory", *call.split(), *more]) == code
        output = "".join(capsys.readouterr())
        assert all(character.isprintable() for character in output.replace("\n", ""))
        return output

    assert said("users --store store").splitlines()[:2] == [shown[1:-1], "bob"]
    assert said("inspect --store store --user", user).count(f"user             {shown}") == 2
    assert "h.0, layer h.1" in said("export --store store", user, "ada.callosal")
    assert said("import ada.callosal --store other") == f"other: {shown}\n"
    assert "is there already" in said("import ada.callosal --store other", code=2)
    assert_same_bits(MemoryStore("other").load_layers(user, {"h.1": MEMORY})["h.1"].trace, B[0].trace)
    assert "Nothing is left" in said("forget --store store", user)
    assert "does not know" in said("forget --store store", user, code=1)
    assert "does not know" in said("inspect --store store --user", user, code=1)
    assert not store.load_layers(user, {"h.0": MEMORY})["h.0"].trace.any()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_terminal_can_show_it(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, shown = "caf\u00e9 \u65e5 \U0001f600", io.BytesIO()
    save_memory(A, "\u00e4", MEMORY, notes=notes)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    assert main(["memory", "inspect", "\u00e4"]) == 0
    sys.stdout.flush()
    assert notes.encode(encoding, "backslashreplace") in shown.getvalue()


@pytest.mark.parametrize("rows", [1, 2])
def test_inspect_draws_a_picture(rows: int, capsys: Said) -> None:
    save_memory(A[:rows], "few", MEMORY)
    for _ in range(2):  # the second time over the first picture
        assert main(["memory", "inspect", "few", "--picture", "few.png"]) == 0
        assert "few.png" in capsys.readouterr().out
    with Image.open("few.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(10**6) or []) > 3


def test_a_picture_of_nothing_can_be_drawn() -> None:
    for rows in (0, 1, 2):
        assert draw_norms(torch.zeros(rows, 3, 4).numpy(), ["0", "1", "2"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("banks", ["--bank left=A right=B", "--bank left=A --bank right=B"])
def test_merge_takes_each_bank_from_its_parent(banks: str, capsys: Said) -> None:
    assert main(["memory", "merge", "a", "b", *banks.split(), "--out", "c"]) == 0
    assert "merged of a and b" in capsys.readouterr().out
    merged = load_memory("c", MEMORY)
    assert_same_bits(merged.trace[:, 0], A.trace[:, 0])
    assert_same_bits(merged.trace[:, 1], B.trace[:, 1])
    assert main(["memory", "diff", "a", "c"]) == 0
    assert "Note: B was made of A." in capsys.readouterr().out
    assert main(["memory", "merge", "a", "b", "--out", "d"]) == 0


def test_fork_copies(capsys: Said) -> None:
    assert main(["memory", "fork", "a", "c", "d"]) == 0
    assert capsys.readouterr().out.split() == ["c", "d"]
    for name in "cd":
        assert_same_bits(load_memory(name, MEMORY).trace, A.trace)


def test_reset_blanks_the_named_banks_or_all() -> None:
    assert main(["memory", "reset", "a", "--bank", "left", "--out", "c"]) == 0
    assert_same_bits(load_memory("a", MEMORY).trace, A.trace)
    fresh = load_memory("c", MEMORY).trace
    assert not fresh[:, 0].any()
    assert_same_bits(fresh[:, 1], A.trace[:, 1])
    for name, banks in (("a", []), ("b", ["--bank", "left", "right"])):
        assert main(["memory", "reset", name, *banks]) == 0
        assert not load_memory(name, MEMORY).trace.any()


# What does not work ends in one line, and changes no file.

SEEDS = ["4-", "-4", "a", "1,1", "0-3,2", "3-1", "0,3-1", "", ",", "1-2-3", "1.5", "1 2"]
MISTAKES: list[tuple[str, list[str]]] = [
    ("", ["VERB", *VERBS, "memory", "--help"]),
    ("reprduce", ["reprduce", "reproduce", "--help"]),
    ("--verson", ["--verson", "--version", "--help"]),
    ("reproduce --recipe slow", ["slow", "quick", "paper", "--help"]),
    ("reproduce --workers 0", ["--workers", "'0' is not a whole number from 1 on"]),
    ("reproduce --unknown", ["--unknown", "--recipe, --seeds, --out, --workers", "--help"]),
    ("reproduce --seeds", ["--seeds", "--help"]),
    ("reproduce more", ["more", "--help"]),
    *((f"reproduce '--seeds={seeds}'", ["--seeds", seeds, "--help"]) for seeds in SEEDS),
    ("study maps", ["maps", *STUDIES, "--help"]),
    ("study", [*STUDIES, "--help"]),
    ("study map --seeds 3-1", ["--seeds", "'3-1'", "--help"]),
    ("train --arm left", ["left", *ARMS]),
    ("train --seed -1", ["'-1' is not a whole number from 0 on", "--help"]),
    ("train --seed 1.5", ["'1.5' is not a whole number"]),
    ("train --set memory.gian=6", ["no field 'memory.gian'", "gain"]),
    ("train --set memory.gain=x", ["memory.gain takes a value like 4.0"]),
    ("train --set memory.gain", ["field=value"]),
    ("train --set memory.width=8", ["MemoryConfig.width is 8", "transformer (16)"]),
    ("train --out cut/study", ["cannot write to", "choose another folder"]),
    ("reproduce --out cut/study", ["cannot write to", "choose another folder"]),
    ("evaluate", ["run", "--help"]),
    ("evaluate none", ["is not the folder of a run"]),
    ("report", ["folder", "--help"]),
    ("report typo", ["no folder", "typo", "callosal reproduce"]),
    ("report .", ["no runs.jsonl", "callosal reproduce"]),
    ("memory", ["VERB", *MEMORY_VERBS]),
    ("memory shout a", ["shout", *MEMORY_VERBS]),
    ("memory inspect none", ["no memory file at none"]),
    ("memory inspect cut", ["cut is truncated"]),
    ("memory inspect a --picture no/folder/a.png", ["no/folder"]),
    ("memory inspect", ["name one of the two"]),
    ("memory inspect a --user ada --store store", ["name one of the two"]),
    ("memory users --store nowhere", ["there is no folder nowhere"]),
    ("memory users --store redis://127.0.0.1:1/0", ["no Redis server answers at 127.0.0.1:1/0"]),
    ("memory export ada new --store .", ["does not know user 'ada'"]),
    ("memory inspect a --picture a", ["a is there and no picture"]),
    ("memory inspect a --picture ./b", ["b is there and no picture"]),
    ("memory diff a few", ["diff of traces of shape"]),
    ("memory merge a b", ["--out"]),
    ("memory merge a b --out b", ["there is a file at b"]),
    ("memory merge a b --bank left --out c", ["'left' is not like left=A"]),
    ("memory merge a b --bank left=C --out c", ["'left=C' is not like left=A"]),
    ("memory merge a b --bank up=A --out c", ["bank 'up'"]),
    ("memory merge a b --bank 0=A 0=B --out c", ["names a bank twice"]),
    ("memory fork a b", ["there is a file at b"]),
    ("memory fork a", ["copies"]),
    ("memory reset a --bank up", ["bank 'up'"]),
    ("memory reset a --bank", ["--bank"]),
    ("memory reset a --out b", ["there is a file at b"]),
]


@pytest.mark.parametrize(("call", "words"), MISTAKES, ids=[call for call, _ in MISTAKES])
def test_a_mistake_ends_in_one_line_and_changes_nothing(call: str, words: list[str], place: Path, capsys: Said) -> None:
    (place / "cut").write_bytes((place / "a").read_bytes()[:-5])
    save_memory(A[0], "few", MEMORY)
    before = {path: path.read_bytes() for path in place.iterdir()}
    assert_one_line(main(shlex.split(call)), capsys.readouterr().err, *words)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def misspelt(old: bytes) -> bytes:
    return old.replace(b'"fingerprint"', b'"fingerprnt"', 1)


@pytest.mark.parametrize(
    ("verb", "name", "damage", "words"),
    [
        ("evaluate", "checkpoint.pt", lambda _: b"", ["checkpoint.pt is damaged", "delete it and train again"]),
        ("evaluate", "checkpoint.pt", lambda _: b"PK\x03\x04", ["checkpoint.pt is damaged", "delete it"]),
        ("evaluate", "checkpoint.pt", None, ["no checkpoint", "train the run first"]),
        ("evaluate", "config.json", lambda _: b"{", ["config.json is damaged"]),
        ("evaluate", "config.json", lambda _: b'{"a":\n\n1}', ["config.json is damaged"]),
        ("evaluate", "config.json", lambda old: old.replace(b": 4.0", b": 5.0"), ["another configuration"]),
        ("evaluate", "config.json", None, ["is not the folder of a run"]),
        ("report", FILE_NAME, misspelt, ["line 1", "delete that line"]),
        ("reproduce --out", FILE_NAME, misspelt, ["line 1", "delete that line"]),
    ],
)
def test_a_damaged_run(verb: str, name: str, damage: Any, words: Sequence[str], study: Path, capsys: Said) -> None:
    folder = run_of(study) if verb == "evaluate" else study
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage is not None:
        (folder / name).write_bytes(damage(content))
    assert_one_line(main([*verb.split(), str(folder)]), capsys.readouterr().err, *words)


@pytest.mark.usefixtures("_here")
def test_a_damaged_checkpoint_met_while_reproducing(place: Path, capsys: Said) -> None:
    """The error as the worker raises it, without the worker: test_runner has the whole way."""
    folder = place / "runs" / tiny().name
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    code = main(["train", "--out", "."])
    assert_one_line(code, capsys.readouterr().err, "damaged", "delete it and train again")


# In an interpreter of its own.


def test_help_and_wrong_arguments_import_nothing_heavy() -> None:
    """Each takes a tenth of a second then; torch alone takes more than one."""
    heavy = {"torch", "numpy", "scipy", "matplotlib", "pandas", "jinja2", "rich"}
    script = f"""
import sys
from callosal.cli import main
for arguments in ([], ["--version"], ["--help"], *([*v.split(), "--help"] for v in sys.argv[1:])):
    assert main(arguments) == (0 if arguments else 2)
assert "pydantic" not in sys.modules  # 0.2 s, not needed to help
assert main(["train", "--seed", "x"]) == 2
print("imported", *({heavy} & set(sys.modules)), file=sys.stderr)
"""
    done = python("-c", script, *VERBS, *(f"memory {verb}" for verb in MEMORY_VERBS))
    assert done.returncode == 0, done.stderr
    assert f"callosal {__version__}\n" in done.stdout
    assert done.stderr.splitlines()[-1] == "imported"


def test_what_is_not_installed_is_named_with_its_extra() -> None:
    """Of the memory verbs, pictures alone need the laboratory; without typer there are no verbs."""
    calls = ["memory inspect a", "memory inspect a --picture a.png", "study map", "report ."]
    done = python("-c", CALLS, "scipy matplotlib PIL pandas jinja2", *calls)
    inspected, *refused = done.stderr.splitlines()
    assert inspected == "0"
    assert "2 banks of 3 slots" in done.stdout
    assert refused[1::2] == ["2", "2", "2"]
    for line in refused[::2]:
        assert line.startswith("callosal: this needs ")
        assert line.endswith('; pip install "callosal[lab]"')
    assert not Path("a.png").exists()
    done = python("-c", CALLS, "typer", "--help")
    assert done.stderr == 'callosal: the command line needs pip install "callosal[cli]"\n2\n'


def test_what_evaluate_prints_is_plain_json_and_mistakes_are_one_line(study: Path) -> None:
    """As a program: nothing else on stdout, for whoever pipes it on, and nothing else on stderr."""
    done = python("-c", CALLS, "", f"evaluate {run_of(study)}", "report runs", "evaluate none")
    assert json.loads(done.stdout)["run"] == run_of(study).name
    evaluated, *mistakes = done.stderr.splitlines(keepends=True)
    assert evaluated == "0\n"
    assert mistakes[1::2] == ["2\n", "2\n"]
    assert_one_line(2, mistakes[0], "no folder runs")
    assert_one_line(2, mistakes[2], "none is not the folder of a run")


def start(folder: Path, call: str) -> "subprocess.Popen[str]":
    """Start the program in a group of its own, as a shell does."""
    return subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, "-m", "callosal", *call.split()],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupt_or_a_kill_ends_all_workers_too(place: Path) -> None:
    """Side by side, one is interrupted as by Ctrl-C, with runs in work and more waiting; one is killed."""
    folders = [place / "interrupted", place / "killed"]
    for folder in folders:
        folder.mkdir()
    interrupted = start(folders[0], "reproduce --seeds 0-3 --out .")
    killed = start(folders[1], "train --set training.checkpoint_every=1 --out .")
    try:
        while interrupted.poll() is None and not any(folders[0].glob("runs/*")):
            time.sleep(0.1)
        os.killpg(interrupted.pid, signal.SIGINT)
        # Returns when nobody holds the pipes any more: the workers are gone too.
        _, stderr = interrupted.communicate(timeout=100)
        while killed.poll() is None and not any(folders[1].glob("runs/*/checkpoint.pt")):
            time.sleep(0.1)
        # Nothing can tell its workers and their manager.
        killed.kill()
        killed.communicate(timeout=100)
    finally:
        for program in (interrupted, killed):
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
    assert interrupted.returncode == 130
    assert stderr.splitlines()[-1].startswith("callosal: stopped; the same command goes on")
    assert "Traceback" not in stderr
    assert len(list((folders[0] / "runs").iterdir())) <= 3
    assert killed.returncode == -signal.SIGKILL
    assert not (folders[1] / FILE_NAME).exists()
