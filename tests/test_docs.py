"""What the documentation says is so: pointers lead somewhere, code runs, tables are the record's."""

import ast
import importlib
import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from callosal import cli
from callosal.lab.report.claims import CLAIMS

ROOT = Path(__file__).parent.parent
TABLES = (ROOT / "docs" / "paper-to-code.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    assert [row[2].strip("`") for row in FIGURES] == [claim.id for claim in CLAIMS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", page.read_text())
    for target in (first or second for first, second in targets):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} points at {target}"


README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]


def test_the_readme_has_its_two_commands_and_others() -> None:
    assert COMMANDS[:2] == ["make reproduce", "make test"]
    assert len(COMMANDS) > 4


def called_with(arguments: list[str]) -> dict[str, object]:
    """Return what a command line calls its verb with, without calling it."""
    command: Any = get_command(cli.app)
    for verb in (*command.commands.values(), *command.commands["memory"].commands.values()):
        if not hasattr(verb, "commands"):
            verb.callback = lambda **values: values
    with command.make_context("callosal", arguments) as context:
        return command.invoke(context)


@pytest.mark.parametrize("command", COMMANDS)
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


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/attach.md",
        "docs/contract.md",
        "docs/memory.md",
        "docs/memory-files.md",
        "docs/training-with-state.md",
    ],
)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what a page saves is not the repository's
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, name, "exec"), names)  # noqa: S102
