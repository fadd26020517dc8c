"""Every committed report is what its runs say, to the byte: tables, claims, the tables in the pages."""

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.lab import recorded
from tests.lab.recorded import FOLDERS, RESULTS, ROOT

from callosal.lab.report import plots
from callosal.lab.report.build import CLAIMS_FILE, FIGURES_FOLDER, PAGE_FILE, TABLE_START, TABLES_FILE
from callosal.lab.report.records import FILE_NAME
from callosal.lab.report.study import of

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = [page for page in PAGES if TABLE_START in page.read_text()]
# Pictures are drawn smaller than they are committed, which takes half the time.
SMALLER = 3


def test_every_folder_of_runs_is_here_but_the_one_that_has_no_report() -> None:
    folders = {path.parent.name for path in RESULTS.glob(f"*/{FILE_NAME}")}
    assert folders - set(FOLDERS) == {"frozen-crosstalk"}
    assert len(FOLDERS) >= 13
    assert MARKED


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_report_is_rebuilt_to_the_byte(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "DOTS_PER_INCH", plots.DOTS_PER_INCH / SMALLER)
    replace(recorded.report(folder), folder=tmp_path).write()
    for name in (TABLES_FILE, CLAIMS_FILE):
        assert (tmp_path / name).read_bytes() == (RESULTS / folder / name).read_bytes(), name
    drawn, committed = (
        {path.name: path for path in (place / FIGURES_FOLDER).glob("*")} for place in (tmp_path, RESULTS / folder)
    )
    assert set(drawn) == set(committed)
    for path in drawn.values():
        with Image.open(path) as image:
            # A picture that is blank has one colour.
            assert len(image.getcolors() or ()) > 10
    assert (tmp_path / PAGE_FILE).read_text().count("<img ") == len(drawn)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_and_derived_number_is_what_it_is_said_to_be_able_to_be(folder: str) -> None:
    study = recorded.report(folder).study
    for run in study.records:
        for row in run.values:
            scale = study.scale(of(row["measure"]))
            # What is undefined is on no scale.
            assert math.isnan(row["value"]) or scale.low <= row["value"] <= scale.high, (run.arm, run.seed, row)


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.name)
def test_a_page_s_tables_are_those_of_the_recorded_runs(page: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(page, tmp_path))
    marks = re.findall(rf"{TABLE_START}(.+?) / .+? -->", page.read_text())
    assert len(marks) == page.read_text().count(TABLE_START), "a mark names no folder of results"
    for folder in sorted(set(marks)):
        recorded.report(folder).fill(copy)
    assert copy.read_text() == page.read_text()
