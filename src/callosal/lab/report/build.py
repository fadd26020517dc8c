"""From a folder with runs.jsonl to everything that is read."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from callosal.lab.report.claims import Verdict, judge
from callosal.lab.report.layout import FigureKind, Layout
from callosal.lab.report.plots import style, to_png
from callosal.lab.report.records import read_records
from callosal.lab.report.render import Picture, markdown_body, print_tables, to_markdown, write_page
from callosal.lab.report.study import Study, make_study
from callosal.lab.report.tables import Table, claims_table, off_recipe_table

CLAIMS_FILE = "claims.json"
TABLES_FILE = "tables.md"
PAGE_FILE = "report.html"
FIGURES_FOLDER = "figures"
TABLE_START = "<!-- table: "
TABLE_END = "<!-- end of table -->"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The runs of a folder, read and judged once.

    Attributes:
        folder: holds the runs and receives the report.
        study: the runs.
        layout: what is shown of them.
        verdicts: on every claim.
        tables: all of them.
    """

    folder: Path
    study: Study
    layout: Layout
    verdicts: list[Verdict]
    tables: list[Table]

    @classmethod
    def read(cls, folder: Path, layout_of: Callable[[str], Layout]) -> "Report":
        """Read and judge the runs of a folder.

        Args:
            folder: holds the runs.
            layout_of: returns the layout for a recipe's name.

        Raises:
            RecordError: there are no runs, or their file is damaged.
            ValueError: the runs cannot be compared, such as those of two recipes, or lack what the report is made of.
        """
        name, records = folder.resolve().name, read_records(folder)
        with _lacks_named(folder):
            # Runs of several recipes are refused below.
            layout = layout_of(next((run.recipe for run in sorted(records, key=lambda run: bool(run.changed))), ""))
            study = make_study(name, records, layout.cells, layout.derive, layout.scales)
            verdicts = judge(study, layout.claims)
            tables = [claims_table(verdicts, layout.claims)] if verdicts else []
            tables += map(layout.noted, layout.tables(study) if study.records else ())
            if study.off_recipe:
                tables.append(off_recipe_table(study, layout.label, layout.off_recipe))
        return cls(folder=folder, study=study, layout=layout, verdicts=verdicts, tables=tables)

    def write(self) -> None:
        """Write ``claims.json``, ``tables.md``, ``figures/`` and ``report.html``; the same runs give the same.

        A study that lacks seeds, arms or measures gives a report of what there is, with the claims it cannot speak to
        left undecided. Pictures of ours that are no longer drawn are removed.

        Raises:
            OSError: the folder cannot be written.
            ValueError: the runs lack what the report is made of; nothing is written.
        """
        with _lacks_named(self.folder):
            pictures = _draw(self.study, self.layout.figures)
            page = write_page(self.study, self.layout, self.tables, pictures)
        figures = self.folder / FIGURES_FOLDER
        figures.mkdir(exist_ok=True)
        for kind in self.layout.figures:
            (figures / f"{kind.name}.png").unlink(missing_ok=True)
        for picture in pictures:
            _write(figures / f"{picture.kind.name}.png", picture.png)
        claims = [asdict(verdict) for verdict in self.verdicts]
        text = json.dumps(claims, indent=1, allow_nan=False, ensure_ascii=False)
        _write(self.folder / CLAIMS_FILE, f"{text}\n".encode())
        _write(self.folder / TABLES_FILE, to_markdown(self.tables, self.study.notes).encode())
        _write(self.folder / PAGE_FILE, page.encode())

    def show(self, console: Console) -> None:
        """Print the tables."""
        print_tables(self.tables, self.study.notes, console)

    def fill(self, page: Path) -> None:
        """Put the tables into a Markdown page, between the marks that name them.

        The table "The arms" of the folder "paper" replaces what stands between ``<!-- table: paper / The arms -->``
        and the next ``<!-- end of table -->``. What belongs to other folders, and the rest of the page, keeps every
        byte.

        Raises:
            ValueError: a mark names no table of this folder, or has no end.
        """
        tables = {table.title: table for table in self.tables}
        first, *rest = page.read_text().split(TABLE_START)
        parts = [first]
        for block in rest:
            mark, _, behind = block.partition(" -->")
            owner, _, title = mark.partition(" / ")
            if owner != self.study.name:
                parts.append(block)
                continue
            _, end, after = behind.partition(TABLE_END)
            if title not in tables or not end:
                raise ValueError(
                    f"{page}: the mark of the table {mark!r} has no {TABLE_END} or names none of: {', '.join(tables)}"
                )
            parts.append(f"{mark} -->\n{markdown_body(tables[title])}{TABLE_END}{after}")
        _write(page, TABLE_START.join(parts).encode())


@contextmanager
def _lacks_named(folder: Path) -> Iterator[None]:
    """Say in one line that runs are not what their study makes; a record alone cannot show that."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"the runs in {folder} lack what their report is made of ({what}); were they changed by hand?"
        ) from error


def _draw(study: Study, kinds: Iterable[FigureKind]) -> list[Picture]:
    """Draw every figure that the study has the runs for."""
    pictures = []
    with style():
        for kind in kinds:
            figure = kind.draw(study) if study.records else None
            if figure is not None:
                pictures.append(Picture(kind=kind, png=to_png(figure)))
    return pictures


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one go, so that a reader never meets half of one."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
