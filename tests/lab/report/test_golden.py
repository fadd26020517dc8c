"""Every committed report is what its runs say, to the byte: tables, claims, the tables in the pages."""

import re
import shutil
from pathlib import Path

import pytest

from callosal.lab.report.build import (
    CLAIMS_FILE,
    FIGURES_FOLDER,
    PAGE_FILE,
    TABLE_START,
    TABLES_FILE,
    build_report,
    fill_tables,
)
from callosal.lab.report.records import FILE_NAME

ROOT = Path(__file__).parents[3]
STUDIES = sorted(path.parent for path in (ROOT / "results").glob(f"*/{TABLES_FILE}"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = [page for page in PAGES if TABLE_START in page.read_text()]


def test_every_folder_of_runs_is_here_but_the_one_that_has_no_report() -> None:
    folders = {path.parent.name for path in (ROOT / "results").glob(f"*/{FILE_NAME}")}
    assert folders - {study.name for study in STUDIES} == {"frozen-crosstalk"}
    assert len(STUDIES) >= 13
    assert MARKED


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_report_is_rebuilt_to_the_byte(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / study.name
    copy.mkdir()
    shutil.copy(study / FILE_NAME, copy)
    build_report(copy)
    for name in (TABLES_FILE, CLAIMS_FILE):
        assert (copy / name).read_bytes() == (study / name).read_bytes(), name
    drawn, committed = (
        {path.name: path.stat().st_size for path in (folder / FIGURES_FOLDER).glob("*")}
        for folder in (copy, study)
    )
    assert set(drawn) == set(committed)
    assert all(size > 5_000 for size in drawn.values())
    assert (copy / PAGE_FILE).read_text().count("<img ") == len(drawn)


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.name)
def test_a_page_s_tables_are_those_of_the_recorded_runs(page: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(page, tmp_path))
    marks = re.findall(rf"{TABLE_START}(.+?) / .+? -->", page.read_text())
    assert len(marks) == page.read_text().count(TABLE_START), "a mark names no folder of results"
    for folder in sorted(set(marks)):
        fill_tables(copy, ROOT / "results" / folder)
    assert copy.read_text() == page.read_text()
