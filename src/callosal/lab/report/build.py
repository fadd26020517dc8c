"""From a folder with runs.jsonl to everything that is read."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from callosal.lab.report.claims import Verdict, judge
from callosal.lab.report.layout import Layout
from callosal.lab.report.layouts import layout_of
from callosal.lab.report.page import write_page
from callosal.lab.report.pictures import draw_pictures
from callosal.lab.report.study import Study, load_study
from callosal.lab.report.tables import Table, markdown_body, print_tables, to_markdown

CLAIMS_FILE = "claims.json"
TABLES_FILE = "tables.md"
PAGE_FILE = "report.html"
FIGURES_FOLDER = "figures"
TABLE_START = "<!-- table: "
TABLE_END = "<!-- end of table -->"


def build_report(folder: Path) -> list[Verdict]:
    """Write ``claims.json``, ``tables.md``, ``figures/`` and ``report.html`` from ``runs.jsonl``.

    The same runs give the same files. A study that lacks seeds, arms or measures gives a report of
    what there is, with the claims it cannot speak to left undecided.

    Args:
        folder: holds the runs and receives the report.

    Raises:
        RecordError: there are no runs, or their file is damaged.
        ValueError: the runs cannot be compared, such as those of two recipes.
        OSError: the folder cannot be written.
    """
    study, layout, verdicts, tables = _judged(folder)
    pictures = draw_pictures(study, layout.figures)

    figures = folder / FIGURES_FOLDER
    figures.mkdir(exist_ok=True)
    drawn = {picture.kind.name for picture in pictures}
    for path in figures.glob("*.png"):
        if path.stem not in drawn:
            path.unlink()
    for picture in pictures:
        _write(figures / f"{picture.kind.name}.png", picture.png)
    claims = [asdict(verdict) for verdict in verdicts]
    text = json.dumps(claims, indent=1, allow_nan=False, ensure_ascii=False)
    _write(folder / CLAIMS_FILE, f"{text}\n".encode())
    _write(folder / TABLES_FILE, to_markdown(tables, study.notes).encode())
    _write(folder / PAGE_FILE, write_page(study, layout, tables, pictures).encode())
    return verdicts


def show_report(folder: Path, console: Console) -> None:
    """Print the tables of a folder's runs.

    Raises:
        RecordError: there are no runs, or their file is damaged.
        ValueError: the runs cannot be compared.
    """
    study, _, _, tables = _judged(folder)
    print_tables(tables, study.notes, console)


def fill_tables(page: Path, folder: Path) -> None:
    """Put a study's tables into a Markdown page, between the marks that name them.

    The table "The arms" of the folder "paper" replaces what stands between
    ``<!-- table: paper / The arms -->`` and the next ``<!-- end of table -->``. What belongs to other
    folders, and the rest of the page, keeps every byte.

    Raises:
        RecordError: there are no runs, or their file is damaged.
        ValueError: a mark names no table of this folder, or has no end.
    """
    name = folder.resolve().name
    tables = {table.title: table for table in _judged(folder)[3]}
    first, *rest = page.read_text().split(TABLE_START)
    parts = [first]
    for block in rest:
        mark, _, behind = block.partition(" -->")
        owner, _, title = mark.partition(" / ")
        if owner != name:
            parts.append(block)
            continue
        _, end, after = behind.partition(TABLE_END)
        if title not in tables or not end:
            raise ValueError(
                f"{page}: the mark of the table {mark!r} has no {TABLE_END} or names none of: "
                f"{', '.join(tables)}"
            )
        parts.append(f"{mark} -->\n{markdown_body(tables[title])}{TABLE_END}{after}")
    _write(page, TABLE_START.join(parts).encode())


def _judged(folder: Path) -> tuple[Study, Layout, list[Verdict], list[Table]]:
    study = load_study(folder)
    layout = layout_of(study)
    study = study.in_order(layout.cells)
    verdicts = judge(study.records, layout.claims)
    return study, layout, verdicts, layout.tables(study, verdicts)


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one go, so that a reader never meets half of one."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
