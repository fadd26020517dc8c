"""What the report of a recipe or study consists of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from callosal.lab.report.claims import Claim, Verdict
from callosal.lab.report.facts import episode_facts
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.study import Study
from callosal.lab.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a report consists of.

    Attributes:
        title: of the page; ``{}`` stands for the recipe's name.
        lead: what was asked, in two or three sentences.
        claims: what the runs are held against.
        tables: makes the tables, the claims' first.
        figures: in their order on the page; the first stands at its top.
        summary: says in one sentence what the first figure shows.
        remark: what a reader of this page must know beside the definitions.
        facts: says what was run, line by line.
        cells: in the order of every table and figure; others follow.
    """

    title: str
    lead: str
    claims: tuple[Claim, ...]
    tables: Callable[[Study, Sequence[Verdict]], list[Table]]
    figures: tuple[FigureKind, ...]
    summary: Callable[[Study], str]
    remark: str = ""
    facts: Callable[[Study], dict[str, str]] = episode_facts
    cells: tuple[str, ...] = ()
