"""Tables as Markdown, on the console, and with everything else as one page that needs no network."""

import base64
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from callosal.lab.report.layout import FigureKind, Layout
from callosal.lab.report.study import Study, seed_range
from callosal.lab.report.tables import SIGN_LABELS, Table

VERDICT_COLOURS = {"reproduced": "green", "not reproduced": "red", "undecided": "yellow"}
# A console at least this wide shows a table as it is.
WIDE = 120
# A table with more rows is for the page; the console names it, and the page folds it up.
MOST_ROWS = 60
# The spaces before an interval, "0.98 [0.9, 1.0]", and between the numbers of a list.
_BREAKS = re.compile(r"\s(?=\[)|(?<=,)\s(?=[^\[\]]*$)")


class Picture(NamedTuple):
    """A figure that was drawn: which, and its bytes."""

    kind: FigureKind
    png: bytes

    @property
    def source(self) -> str:
        """The picture as the address of an image."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def to_markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Write tables and notes as Markdown."""
    parts = []
    for table in tables:
        parts += [f"### {table.title}\n", markdown_body(table)]
    parts += [f"Note: {note}\n" for note in notes]
    return "\n".join(parts)


def markdown_body(table: Table) -> str:
    """Write a table's rows and its note as Markdown, without the title."""
    return f"{markdown_rows(table)}\n{table.note}\n"


def markdown_rows(table: Table) -> str:
    """Write a table's rows as Markdown, headers first."""
    rule = [":--" if i < table.num_labels else "--:" for i in range(len(table.headers))]
    lines = [table.headers, rule, *table.rows]
    # A bar would end a cell early.
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def write_page(study: Study, layout: Layout, tables: Sequence[Table], pictures: Sequence[Picture]) -> str:
    """Return the report as HTML that needs nothing but itself."""
    environment = Environment(
        loader=PackageLoader("callosal.lab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(
        title=f"callosal: {layout.title.format(study.recipe)}",
        layout=layout,
        study=study,
        tables=tables,
        pictures=pictures,
        # Without the sentence a reader who cannot see the picture would learn nothing from it.
        summary=layout.summary(study) if pictures else "",
        facts=_facts(study, layout) if study.records else {},
        commands=_commands(study),
        colours=VERDICT_COLOURS,
        most_rows=MOST_ROWS,
    )


def print_tables(tables: Sequence[Table], notes: Sequence[str], console: Console) -> None:
    """Print tables, then notes, with the verdicts in colour."""
    for table in tables:
        if len(table.rows) > MOST_ROWS:
            line = f"{table.title}: {len(table.rows)} rows, which tables.md and the page hold.\n"
            console.print(line, markup=False, highlight=False)
            continue
        is_narrow = console.width < max(WIDE, _least_width(table))
        console.print(_rich(table, is_narrow=is_narrow))
        console.print(f"{table.note}\n", style="dim", markup=False, highlight=False)
    for note in notes:
        console.print(f"Note: {note}", style="yellow", markup=False, highlight=False)


def _facts(study: Study, layout: Layout) -> dict[str, str]:
    runs = study.records
    if study.has_arms:
        arms = "; ".join(SIGN_LABELS.get(arm, arm) for arm in study.arms)
        labels = {"recipe": study.recipe, "arms": arms}
    else:
        labels = {"study": study.recipe, "cells": str(len(study.arms))}
    facts = {**labels, "seeds": f"{seed_range(study.seeds)} ({len(runs)} runs)", **layout.facts(study)}
    # A layout may say it otherwise.
    minutes = sum(run.wall_seconds for run in runs) / 60
    facts.setdefault("wall time", f"{minutes:.0f} minutes, all runs added up")
    versions = {", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())) for run in runs}
    return facts | {"versions": " / ".join(sorted(versions))}


def _commands(study: Study) -> str:
    verb = f"reproduce --recipe {study.recipe}" if study.has_arms else f"study {study.recipe}"
    folder = shlex.quote(study.name)
    return (
        f"callosal {verb} --seeds {seed_range(study.seeds)} --out {folder}"
        f"\ncallosal report {folder}   # this page, from the recorded runs"
    )


def _rich(table: Table, *, is_narrow: bool) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    rich.show_edge = False
    rich.padding = (0, 0 if is_narrow else 1, 0, 0)
    for index, header in enumerate(table.headers):
        is_words = index < table.num_labels
        gap = ", " if ", " in header else " "
        text = header.replace(gap, f"{gap.rstrip()}\n") if is_narrow and not is_words else header
        # Only words may be broken to fit; a number that lost its end would be another number.
        rich.add_column(
            escape(text), justify="left" if is_words else "right", no_wrap=not is_words or header in ("arm", "seed")
        )
    for row in table.rows:
        # Where lines are short an interval goes below its mean, and seeds below each other.
        cells = [_BREAKS.sub("\n", cell) if is_narrow and n >= table.num_labels else cell for n, cell in enumerate(row)]
        rich.add_row(*map(_coloured, cells))
    return rich


def _least_width(table: Table) -> int:
    """Return how wide a table is whose words are broken and whose numbers are not."""
    columns = zip(table.headers, *table.rows, strict=True)
    return sum(
        2 + max((len(p) for cell in cells for p in (cell.split() if is_words else [cell])), default=0)
        for cells, is_words in ((c, i < table.num_labels) for i, c in enumerate(columns))
    )


def _coloured(cell: str) -> str:
    colour = VERDICT_COLOURS.get(cell)
    return f"[{colour}]{cell}[/{colour}]" if colour else escape(cell)
