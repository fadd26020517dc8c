"""What the documentation points at exists: functions, tests, claims, files."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from callosal.studies.claims import CLAIMS

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
