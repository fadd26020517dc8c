"""What the documentation says is so: pointers lead somewhere, code runs, figures are the records'."""

import ast
import importlib
import importlib.util
import json
import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.apart import ROOT, python
from typer.main import get_command

import callosal
from callosal import cli
from callosal.lab.studies.benchmark import LAYOUT

TABLES = (ROOT / "docs" / "paper-to-code.md").read_text()
README = (ROOT / "README.md").read_text()
REPRODUCTION = (ROOT / "docs" / "reproduction.md").read_text()
SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *SITE]
MODULES = sorted((ROOT / "src").rglob("*.py"))
BLOCK = re.compile(r"```(\w*)\n(.*?)```", flags=re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """Return a page's blocks of code in this language."""
    return [code for name, code in BLOCK.findall(text) if name == language]


def title(page: Path) -> str:
    """Return where a page is in the repository."""
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """Return a page without the tables that `make report`, `make bench` and `make families` fill, and their notes."""
    return re.sub(r"<!-- (?:table: |families|speed: ).*?<!-- end of table -->", "", page.read_text(), flags=re.DOTALL)


def rows(first_header: str) -> list[list[str]]:
    """Return the cells of all tables whose first column has this header."""
    found, inside = [], False
    for line in TABLES.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if cells[0] == first_header:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    return found


POINTERS = rows("Equation") + rows("Definition")
FIGURES = rows("Figure")


def test_the_tables_were_found() -> None:
    assert len(POINTERS) > 20
    assert len(FIGURES) >= 10
    assert len(WITH_PYTHON) >= 7


@pytest.mark.parametrize("row", POINTERS, ids=lambda row: row[2])
def test_every_row_points_at_code_and_a_test(row: list[str]) -> None:
    _, source, code, test = row
    assert "reported" in source or "ours" in source
    module, _, name = code.strip("`").rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    path, _, function = test.strip("`").partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_claim_has_its_row_and_every_row_its_claim() -> None:
    assert [row[2].strip("`") for row in FIGURES] == [claim.id for claim in LAYOUT.claims]


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_link_and_picture_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", page.read_text())
    for target in (first or second for first, second in targets):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} points at {target}"


COMMANDS = [
    line.partition("#")[0].strip()
    for block in blocks(README, "sh") + blocks(REPRODUCTION, "sh")
    for line in block.splitlines()
]


def test_the_readme_has_its_three_commands_and_others() -> None:
    assert COMMANDS[:3] == ["make chat", "make reproduce", "make test"]
    assert len(COMMANDS) > 4


def called_with(arguments: list[str]) -> dict[str, object]:
    """Return what a command line calls its verb with, without calling it."""
    command: Any = get_command(cli.app)
    for verb in (*command.commands.values(), *command.commands["memory"].commands.values()):
        if not hasattr(verb, "commands"):
            verb.callback = lambda **values: values
    with command.make_context("callosal", arguments) as context:
        return command.invoke(context)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_of_the_readme_is_one(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        make = ["make", "--dry-run", "--always-make", *arguments]
        done = subprocess.run(make, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603
        assert done.returncode == 0, done.stderr
    elif program == "python":
        parse = runpy.run_path(str(ROOT / arguments[0]))["make_parser"]().parse_args
        assert parse(arguments[1:]).model
    else:
        assert program == "callosal"
        assert isinstance(called_with(arguments), dict)


WITH_PYTHON = [page for page in PAGES if blocks(page.read_text(), "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=title)
def test_the_python_of_a_page_runs_to_its_end(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what a page saves is not the repository's
    names: dict[str, object] = {}
    for code in blocks(page.read_text(), "python"):
        exec(compile(code, title(page), "exec"), names)  # noqa: S102


def cells(folder: str, title: str) -> dict[str, dict[str, str]]:
    """Return a table of a committed report: its cells by row and header."""
    text = (ROOT / "results" / folder / "tables.md").read_text().partition(f"### {title}\n")[2]
    header, _, *lines = [line.strip("| ").split(" | ") for line in text.strip().split("\n\n")[0].splitlines()]
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def test_the_steps_of_the_readme_are_those_of_the_records() -> None:
    crossed, never = {}, set()
    for arm, row in cells("paper", "What the memory buys").items():
        steps = row["steps until 124x"].split(", ")
        known = sorted((step for step in steps if step != "-"), key=lambda step: int(step.replace(",", "")))
        crossed[arm] = f"{known[0]} to {known[-1]}"
        never |= {arm} if "-" in steps else set()
    assert never == {"excitatory"}
    said = (
        f"124x is crossed after {crossed['inhibitory']} steps (uncoupled {crossed['uncoupled']}, excitatory "
        f"{crossed['excitatory']} or never)"
    )
    for page in (README, REPRODUCTION):
        assert said in " ".join(page.split())
    # With 8 letters excitation is no slower: the interval of its steps over inhibition's holds 1.
    low, high = re.findall(
        r"\[(\S+), (\S+)\]", cells("quick", "What inhibition buys")["excitatory"]["steps over inhibitory"]
    )[0]
    assert float(low) < 1.0 < float(high)


def test_the_verdicts_of_the_readme_are_rows_of_the_reports() -> None:
    ((marks, table),) = re.findall(r"<!-- claims: (.*?) -->\n(.*?)<!-- end of", README, flags=re.DOTALL)
    chosen, head = [], []
    for mark in " ".join(marks.split()).split("; "):
        folder, ids = mark.split(" / ")
        results = ROOT / "results" / folder
        claims = {claim["id"]: claim["claim"] for claim in json.loads((results / "claims.json").read_text())}
        lines = "".join((results / "tables.md").read_text().partition("| claim |")[1:]).splitlines()
        rows = {line.split(" | ")[0].strip("| "): line for line in lines}
        head = lines[:2]
        chosen += [rows[claims[name]] for name in ids.split(", ")]
    # What does not hold stands first, then what the memory and what inhibition buys, with every arm and one bank.
    assert "one alphabet" in chosen[0]
    assert len(chosen) >= 12
    assert table.splitlines() == [*head, *chosen], "put into the README:\n" + "\n".join([*head, *chosen])


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 90


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_prose_is_plain_and_its_lines_are_short(page: Path) -> None:
    lines = [line for line in prose(page).splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []
    assert PRIVATE.findall(prose(page)) == []


# Words that only this project's authors would understand.
PRIVATE = re.compile(r"\b(?:[Ff]oretell\w*|[Ff]oretold|Seated|[Ll]ived|whose a token)\b")


def test_docstrings_are_plain() -> None:
    assert len(MODULES) > 50
    found = [
        (path.name, *PRIVATE.findall(ast.get_docstring(node) or ""))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    assert [words for words in found if len(words) > 1] == []


def test_the_page_of_the_door_lists_every_name_there() -> None:
    door = (ROOT / "docs" / "api" / "callosal.md").read_text()
    assert sorted(re.findall(r"\[`(\w+)`\]\[", door)) == sorted(callosal.__all__)


def test_every_page_is_in_the_site_s_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2].partition("\n\n")[0]
    listed = re.findall(r": (\S+\.md)$", navigation, flags=re.MULTILINE)
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in SITE]
    assert sorted(listed) == sorted([*pages, "CONTRIBUTING.md", "LOG.md", "CHANGELOG.md"])


BUILDER = ("mkdocs", "material", "mkdocstrings", "latex2mathml")


@pytest.mark.skipif(not all(map(importlib.util.find_spec, BUILDER)), reason='needs pip install "callosal[docs]"')
def test_the_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    done = python("-m", "mkdocs", "build", "--site-dir", tmp_path, cwd=ROOT, add={"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    built = {page: page.read_text() for page in tmp_path.rglob("*.html") if "results" not in page.parts}
    assert len(built) > len(SITE)
    for page, text in built.items():
        assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=\"?https?:", text), page.name
        assert "arithmatex" not in text, f"an equation of {page.name} was not rendered"


def test_the_soak_is_told_as_it_was_recorded() -> None:
    page = (ROOT / "docs/attach.md").read_text().replace("\n", " ")
    for run in json.loads((ROOT / "results/benchmarks/soak.json").read_text()):
        assert run["lost_updates"] == run["leaks"] == run["base_leaks"] == 0
        for name in (
            "requests",
            "worker_kills",
            "saves_followed",
            "resident_mib_second_quarter",
            "resident_mib_last_quarter",
        ):
            assert f" {run[name]:,.0f}" in page, (run["store"], name)


def test_the_stores_are_told_as_they_were_recorded() -> None:
    page = (ROOT / "docs/memory-files.md").read_text().replace("\n", " ")
    folder, redis = json.loads((ROOT / "results/benchmarks/store.json").read_text()).values()
    for store in (folder, redis):
        assert (store["users"], store["kills"], store["num_faults"], store["every_user_listed"]) == (
            20_000,
            400,
            0,
            True,
        )
    assert f"of which {folder['kills_inside_a_write']} fell inside" in page
    assert f"in {folder['list_seconds']} seconds from the folder and {redis['list_seconds']} from Redis" in page


def test_the_harness_is_told_as_it_was_recorded() -> None:
    page = (ROOT / "docs/real-model.md").read_text()
    record = json.loads((ROOT / "results/benchmarks/harness.json").read_text())
    names = {"no memory": "no memory", "empty session": "an empty session"}
    for condition, found in record["conditions"].items():
        name = names.get(condition, "a session that was told four facts")
        cells = [f"{task['accuracy']:.3f}, {task['nats']:.3f}" for task in found.values()]
        assert f"| {name} | {' | '.join(cells)} |" in page
