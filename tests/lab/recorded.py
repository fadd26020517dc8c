"""The committed runs: read once, judged once, for all tests that ask them something."""

from functools import cache
from pathlib import Path

from callosal.lab.report.build import TABLES_FILE, Report
from callosal.lab.report.records import RunRecord, read_records
from callosal.lab.studies.catalog import read_report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
# Those with a report; of "frozen-crosstalk" there is none.
FOLDERS = sorted(path.parent.name for path in RESULTS.glob(f"*/{TABLES_FILE}"))


@cache
def records(folder: str) -> list[RunRecord]:
    """Return the runs of a folder of results, as its report has them before it derives anything."""
    return read_records(RESULTS / folder)


@cache
def report(folder: str) -> Report:
    """Return the judged runs of a folder of results."""
    return read_report(RESULTS / folder)


def line(folder: str, number: int = 0) -> bytes:
    """Return one line of a folder's file, without its end."""
    return (RESULTS / folder / "runs.jsonl").read_bytes().splitlines()[number]
