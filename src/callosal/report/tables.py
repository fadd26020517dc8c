"""The tables of a study, once as words and numbers, then for the console and as Markdown."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from callosal.measures.intervals import mean_interval
from callosal.report.study import SIGN_LABELS, Study
from callosal.studies.claims import CLAIMS, Verdict
from callosal.studies.records import RunRecord

VERDICT_COLOURS = {"reproduced": "green", "not reproduced": "red", "undecided": "yellow"}
MARKS = (0, 10, 100, 1000)
NOTHING = "-"


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


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of a run that the tables show.

    Attributes:
        name: of its column.
        value: the number; None where a run has none.
        is_signed: whether its sign is a label only (left or right bank), so that arms average its size.
    """

    name: str
    value: Callable[[RunRecord], float | None]
    is_signed: bool = False


def number(value: float | None) -> str:
    """Write a number with the digits that matter.

    >>> [number(v) for v in (4213.4, 3.25812, 0.98765, 0.00012, 0.0, None)]
    ['4,213', '3.258', '0.9877', '1.2e-04', '0', '-']
    """
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0.0:
        return "0"
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    if abs(value) >= 1.0:
        return f"{value:.3f}"
    return f"{value:.4f}" if abs(value) >= 0.001 else f"{value:.1e}"


def claims_table(verdicts: Sequence[Verdict]) -> Table:
    """Set what was reported, or what we ask for, against what was measured."""
    by_id = {claim.id: claim for claim in CLAIMS}
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
                "ours" if verdict.source == "ours" else "paper",
                verdict.reported,
                claim.wanted,
                measured,
                str(len(verdict.seeds)),
                verdict.verdict,
            ]
        )
    return Table(
        title="Reported against measured",
        headers=["claim", "from", "reported", "wanted", "measured [95 %]", "seeds", "verdict"],
        rows=rows,
        num_labels=3,
        note=(
            "From: paper is arXiv 2603.03355; the thresholds under wanted are ours. Measured is the "
            "mean over seeds (geometric for ratios) with its 95 % t interval."
        ),
    )


def arms_table(study: Study) -> Table:
    """Give every measure of every arm: mean over seeds and 95 % interval."""
    rows = [["seeds", *(str(len(study.of(arm))) for arm in study.arms)]]
    for measure in _measures(study):
        name = f"|{measure.name}|" if measure.is_signed else measure.name
        rows.append([name, *(_summary(measure, study.of(arm)) for arm in study.arms)])
    rows.append(["banks of opposite sign", *(_opposite(study.of(arm)) for arm in study.arms)])
    return Table(
        title="The arms",
        headers=["mean [95 % interval]", *(SIGN_LABELS.get(arm, arm) for arm in study.arms)],
        rows=rows,
        note=(
            "On held-out episodes; losses in nats. |D_sep| is averaged in size, because which bank is "
            "the cipher's is chance; the last row counts the seeds in which the domains' signs differ."
        ),
    )


def seeds_table(study: Study) -> Table:
    """Give every measure of every single run that counts."""
    measures = _measures(study)
    return Table(
        title="Every seed",
        headers=["arm", "seed", *(measure.name for measure in measures), "minutes"],
        rows=[
            [run.arm, str(run.seed), *(_cell(m, m.value(run)) for m in measures), _minutes(run)]
            for run in study.records
        ],
        note="No seed is dropped. Minutes: wall time of training and measuring that run.",
    )


def off_recipe_table(study: Study) -> Table:
    """Give the runs with settings changed by hand, apart from the rest."""
    measures = _measures(study)[:7]
    return Table(
        title="Off the recipe: no evidence",
        headers=["arm", "seed", *(measure.name for measure in measures), "changed"],
        rows=[
            [run.arm, str(run.seed), *(_cell(m, m.value(run)) for m in measures)]
            + [", ".join(run.changed)]
            for run in study.off_recipe
        ],
        note="Runs with settings changed by hand; they count for no claim and are in no other table.",
    )


def study_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return all tables that the study has rows for."""
    tables = [claims_table(verdicts)]
    if study.records:
        tables += [arms_table(study), seeds_table(study)]
    if study.off_recipe:
        tables.append(off_recipe_table(study))
    return tables


def print_tables(tables: Sequence[Table], notes: Sequence[str], console: Console) -> None:
    """Print tables, then notes, with the verdicts in colour."""
    for table in tables:
        console.print(_rich(table))
    for note in notes:
        console.print(f"Note: {note}", style="yellow", markup=False)


def to_markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Write tables and notes as Markdown."""
    parts = []
    for table in tables:
        lines = [table.headers, _rule(table), *table.rows]
        parts.append(f"### {table.title}\n")
        parts.append(
            "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines) + "\n"
        )
        parts.append(f"{table.note}\n")
    parts += [f"Note: {note}\n" for note in notes]
    return "\n".join(parts)


def _rich(table: Table) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left", caption=table.note)
    rich.caption_justify = "left"
    for index, header in enumerate(table.headers):
        rich.add_column(escape(header), justify="left" if index < table.num_labels else "right")
    for row in table.rows:
        rich.add_row(*(_coloured(cell) for cell in row))
    return rich


def _coloured(cell: str) -> str:
    colour = VERDICT_COLOURS.get(cell)
    return f"[{colour}]{cell}[/{colour}]" if colour else escape(cell)


def _rule(table: Table) -> list[str]:
    return [":--" if i < table.num_labels else "--:" for i in range(len(table.headers))]


def _plain(cell: str) -> str:
    """Keep a cell from ending early."""
    return cell.replace("|", "\\|")


def _measures(study: Study) -> list[Measure]:
    runs = study.records or study.off_recipe
    marks = sorted({mark for run in runs for mark in run.retention["distractors"]})
    shown = [mark for mark in marks if mark in MARKS or mark == marks[-1]]
    return [
        Measure(name="cipher loss", value=lambda run: run.evaluation["cipher_loss"]),
        Measure(name="arithmetic loss", value=lambda run: run.evaluation["arithmetic_loss"]),
        Measure(name="recall", value=lambda run: run.evaluation["cipher_recall"]),
        Measure(name="D_sep cipher", value=_separation(0), is_signed=True),
        Measure(name="D_sep arithmetic", value=_separation(1), is_signed=True),
        Measure(name="P_ct", value=_specialization("cross_talk")),
        Measure(name="dominance", value=_specialization("dominance")),
        Measure(name="information", value=_specialization("information")),
        *(Measure(name=f"recall after {mark:,}", value=_recall_after(mark)) for mark in shown),
    ]


def _specialization(name: str) -> Callable[[RunRecord], float | None]:
    def value(run: RunRecord) -> float | None:
        measures = run.evaluation["specialization"]
        return None if measures is None else measures[name]

    return value


def _separation(domain: int) -> Callable[[RunRecord], float | None]:
    def value(run: RunRecord) -> float | None:
        measures = run.evaluation["specialization"]
        return None if measures is None else measures["separation"][domain]

    return value


def _recall_after(mark: int) -> Callable[[RunRecord], float | None]:
    def value(run: RunRecord) -> float | None:
        marks = run.retention["distractors"]
        return run.retention["recall"][marks.index(mark)] if mark in marks else None

    return value


def _summary(measure: Measure, runs: Sequence[RunRecord]) -> str:
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


def _cell(measure: Measure, value: float | None) -> str:
    if measure.is_signed and value is not None:
        return f"{value:+.4f}"
    return number(value)


def _minutes(run: RunRecord) -> str:
    return f"{run.wall_seconds / 60:.1f}"
