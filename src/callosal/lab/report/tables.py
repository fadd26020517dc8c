"""The tables of a study, once as words and numbers, then for the console and as Markdown."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from callosal.lab.measures.intervals import mean_interval
from callosal.lab.report.claims import CLAIMS, OURS, Claim, Verdict
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import SIGN_LABELS, Study

VERDICT_COLOURS = {"reproduced": "green", "not reproduced": "red", "undecided": "yellow"}
MARKS = (0, 10, 100, 1000)
WIDE = 120
# A table with more rows is for the page; the console names it.
MOST_ROWS = 60
NOTHING = "-"
# The space before an interval, "[0.9, 1.1]" or "\N{PLUS-MINUS SIGN}0.1".
_INTERVAL = re.compile("\\s(?=\\[|\N{PLUS-MINUS SIGN})")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text.

    Attributes:
        title: what it shows.
        headers: of the columns.
        rows: the cells, as many in each row as there are headers.
        num_labels: leading columns that hold words and are set to the left.
        note: how to read it.
    """

    title: str
    headers: list[str]
    rows: list[list[str]]
    num_labels: int = 1
    note: str = ""

    @property
    def is_long(self) -> bool:
        """Whether nobody reads it at a glance."""
        return len(self.rows) > MOST_ROWS


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of a run that the tables show.

    Attributes:
        name: of its column.
        value: the number; None where a run has none.
        is_signed: whether its sign is a mere label (left or right bank), so that arms average its
            size.
    """

    name: str
    value: Callable[[RunRecord], float | None]
    is_signed: bool = False


def number(value: float | None) -> str:
    """Write a number with the digits that matter.

    >>> [number(v) for v in (4213.4, 3.25812, 0.98765, 0.00987, 0.00012, 0.0, None)]
    ['4,213', '3.258', '0.988', '0.0099', '1.2e-4', '0', '-']
    """
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0.0:
        return "0"
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    if abs(value) >= 0.1:
        return f"{value:.3f}"
    return f"{value:.4f}" if abs(value) >= 0.001 else f"{value:.1e}".replace("e-0", "e-")


def claims_table(verdicts: Sequence[Verdict], claims: Sequence[Claim] = CLAIMS) -> Table:
    """Set what was reported, or what we ask for, against what was measured."""
    by_id = {claim.id: claim for claim in claims}
    rows = []
    for verdict in verdicts:
        claim = by_id[verdict.id]
        measured = number(verdict.measured)
        if verdict.measured is not None:
            measured += claim.unit
        if verdict.low is not None and verdict.high is not None:
            measured += f" [{number(verdict.low)}, {number(verdict.high)}]"
        rows.append(
            [
                verdict.claim,
                OURS if verdict.source == OURS else verdict.reported,
                claim.wanted,
                measured,
                _met(claim, verdict),
                verdict.verdict,
            ]
        )
    return Table(
        title="Reported against measured",
        headers=["claim", "reported", "wanted", "measured", "met by", "verdict"],
        rows=rows,
        num_labels=3,
        note=(
            f"{_reported_in(claims)} is ours. Measured is the mean over seeds (geometric for ratios) "
            "and [its 95 % t interval]."
        ),
    )


def arms_table(study: Study) -> Table:
    """Give every measure of every arm: mean over seeds and 95 % interval."""
    marks = [mark for mark in marks_of(study) if mark in MARKS or mark == marks_of(study)[-1]]
    rows = [["seeds", *(str(len(study.of(arm))) for arm in study.arms)]]
    for measure in (*MEASURES, *(recall_after(mark, f"recall after {mark:,}") for mark in marks)):
        name = f"|{measure.name}|" if measure.is_signed else measure.name
        rows.append([name, *(summary(measure, study.of(arm)) for arm in study.arms)])
    rows.append(["banks of opposite sign", *(_opposite(study.of(arm)) for arm in study.arms)])
    return Table(
        title="The arms",
        headers=["mean [95 % interval]", *(SIGN_LABELS.get(arm, arm) for arm in study.arms)],
        rows=rows,
        note=(
            "On held-out episodes; losses in nats. D_sep is averaged in size, because which bank "
            "is the cipher's is chance; the last row counts seeds whose domains differ in sign."
        ),
    )


def seeds_table(study: Study) -> Table:
    """Give losses and specialization of every single run that counts."""
    return Table(
        title="Every seed: losses and banks",
        headers=["arm", "seed", *(measure.name for measure in MEASURES)],
        rows=[run_cells(run, MEASURES) for run in study.records],
        note="No seed is dropped. The sign of D_sep says which bank: + left, - right.",
    )


def retention_table(study: Study, *, label: str = "arm") -> Table:
    """Give recall after every number of distractors, of every single run that counts."""
    marks = [recall_after(mark, f"{mark:,}") for mark in marks_of(study)]
    return Table(
        title="Every seed: recall after further segments",
        headers=[label, "seed", *(measure.name for measure in marks), "minutes"],
        rows=[[*run_cells(run, marks), f"{run.wall_seconds / 60:.1f}"] for run in study.records],
        note=(
            "Share of the cipher's letters answered rightly after so many arithmetic segments. "
            "Minutes: wall time of training and measuring the run."
        ),
    )


def off_recipe_table(
    study: Study, *, label: str = "arm", measures: Sequence[Measure] | None = None
) -> Table:
    """Give the runs with settings changed by hand, apart from the rest."""
    shown = MEASURES[:6] if measures is None else measures
    return Table(
        title="Off the recipe: no evidence",
        headers=[label, "seed", *(measure.name for measure in shown), "changed"],
        num_labels=2,
        rows=[[*run_cells(run, shown), ", ".join(run.changed)] for run in study.off_recipe],
        note="Runs with settings changed by hand; they count for no claim and no other table.",
    )


def study_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return all tables that the study has rows for."""
    tables = [claims_table(verdicts)]
    if study.records:
        tables += [arms_table(study), seeds_table(study), retention_table(study)]
    if study.off_recipe:
        tables.append(off_recipe_table(study))
    return tables


def print_tables(tables: Sequence[Table], notes: Sequence[str], console: Console) -> None:
    """Print tables, then notes, with the verdicts in colour."""
    for table in tables:
        if table.is_long:
            line = f"{table.title}: {len(table.rows)} rows, which tables.md and the page hold.\n"
            console.print(line, markup=False, highlight=False)
            continue
        is_narrow = console.width < max(WIDE, _least_width(table))
        console.print(_rich(table, is_narrow=is_narrow))
        console.print(f"{table.note}\n", style="dim", markup=False, highlight=False)
    for note in notes:
        console.print(f"Note: {note}", style="yellow", markup=False, highlight=False)


def to_markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Write tables and notes as Markdown."""
    parts = []
    for table in tables:
        parts += [f"### {table.title}\n", markdown_body(table)]
    parts += [f"Note: {note}\n" for note in notes]
    return "\n".join(parts)


def markdown_body(table: Table) -> str:
    """Write a table's rows and its note as Markdown, without the title."""
    lines = [table.headers, _rule(table), *table.rows]
    rows = "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)
    return f"{rows}\n\n{table.note}\n"


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
            escape(text),
            justify="left" if is_words else "right",
            no_wrap=not is_words or header in ("arm", "seed"),
        )
    for row in table.rows:
        # Where lines are short an interval goes below its mean.
        cells = [_INTERVAL.sub("\n", cell) if is_narrow else cell for cell in row]
        rich.add_row(*map(_coloured, cells))
    return rich


def _least_width(table: Table) -> int:
    """Return how wide a table is whose words are broken and whose numbers are not."""
    columns = zip(table.headers, *table.rows, strict=True)
    return sum(
        2
        + max((len(p) for cell in cells for p in (cell.split() if is_words else [cell])), default=0)
        for cells, is_words in ((c, i < table.num_labels) for i, c in enumerate(columns))
    )


def _coloured(cell: str) -> str:
    colour = VERDICT_COLOURS.get(cell)
    return f"[{colour}]{cell}[/{colour}]" if colour else escape(cell)


def _rule(table: Table) -> list[str]:
    return [":--" if i < table.num_labels else "--:" for i in range(len(table.headers))]


def _plain(cell: str) -> str:
    """Keep a cell from ending early."""
    return cell.replace("|", "\\|")


def specialization(name: str) -> Callable[[RunRecord], float | None]:
    """Return what gives a run's measure of its banks by its name; None without banks."""

    def value(run: RunRecord) -> float | None:
        measures = run.evaluation["specialization"]
        return None if measures is None else measures[name]

    return value


def separation(domain: int) -> Callable[[RunRecord], float | None]:
    """Return what gives a run's D_sep of a domain; None without banks."""

    def value(run: RunRecord) -> float | None:
        measures = run.evaluation["specialization"]
        return None if measures is None else measures["separation"][domain]

    return value


def recall_after(mark: int, name: str) -> Measure:
    """Return the measure of recall after a number of distractors; None where it was not asked."""

    def value(run: RunRecord) -> float | None:
        marks = run.retention["distractors"]
        return run.retention["recall"][marks.index(mark)] if mark in marks else None

    return Measure(name=name, value=value)


def marks_of(study: Study) -> list[int]:
    """Return the numbers of distractors after which any run was asked."""
    return sorted({mark for run in study.records for mark in run.retention["distractors"]})


def _reported_in(claims: Sequence[Claim]) -> str:
    found = [paper for claim in claims for paper in re.findall(r"\d{4}\.\d{5}", claim.source)]
    if not found:
        return "Nothing of this was reported; what is wanted, per seed,"
    return f"Reported in arXiv {' and '.join(dict.fromkeys(found))}; what is wanted, per seed,"


def _met(claim: Claim, verdict: Verdict) -> str:
    values = [math.nan if value is None else value for value in verdict.per_seed]
    return f"{sum(map(claim.meets, values))} of {len(values)}" if values else NOTHING


def summary(measure: Measure, runs: Sequence[RunRecord]) -> str:
    """Write the mean over runs, of sizes where the sign is a label, and its 95 % interval."""
    values = [value for value in map(measure.value, runs) if value is not None]
    if not values:
        return NOTHING
    interval = mean_interval([abs(v) for v in values] if measure.is_signed else values)
    text = number(interval.estimate)
    if math.isfinite(interval.low):
        text += f" [{number(interval.low)}, {number(interval.high)}]"
    return text


def _opposite(runs: Sequence[RunRecord]) -> str:
    found = [run.evaluation["specialization"] for run in runs]
    signs = [m["separation"] for m in found if m is not None]
    if not signs:
        return NOTHING
    return f"{sum(min(s) < 0.0 < max(s) for s in signs)} of {len(signs)}"


def run_cells(run: RunRecord, measures: Sequence[Measure]) -> list[str]:
    """Write a row of a run's arm, seed and measures."""
    return [run.arm, str(run.seed), *(_cell(measure, measure.value(run)) for measure in measures)]


def _cell(measure: Measure, value: float | None) -> str:
    return f"{value:+.4f}" if measure.is_signed and value is not None else number(value)


MEASURES: tuple[Measure, ...] = (
    Measure(name="cipher loss", value=lambda run: run.evaluation["cipher_loss"]),
    Measure(name="arithm. loss", value=lambda run: run.evaluation["arithmetic_loss"]),
    Measure(name="recall", value=lambda run: run.evaluation["cipher_recall"]),
    Measure(name="D_sep cipher", value=separation(0), is_signed=True),
    Measure(name="D_sep arithm.", value=separation(1), is_signed=True),
    Measure(name="P_ct", value=specialization("cross_talk")),
    Measure(name="dominance", value=specialization("dominance")),
    Measure(name="I(bank; domain)", value=specialization("information")),
)
