"""The layouts of the reports on the sequel's setting and on domains that are hard to tell apart."""

from collections.abc import Sequence
from functools import partial

from callosal.lab.report.cell_tables import make_cell_tables
from callosal.lab.report.claims import Claim, Verdict
from callosal.lab.report.domain_figures import (
    CELLS,
    JUMPS,
    SCALES,
    jumps_table,
    lateralized_sentence,
)
from callosal.lab.report.layout import Layout
from callosal.lab.report.study import Study
from callosal.lab.report.tables import Table
from callosal.lab.studies.study_claims import HARD_CLAIMS, SEQUEL_CLAIMS


def make_sequel_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return a study's tables with that of the jump behind the claims."""
    tables = make_cell_tables(study, verdicts, SEQUEL_CLAIMS)
    return [tables[0], jumps_table(study), *tables[1:]] if study.records else tables


def _cells(claims: Sequence[Claim]) -> tuple[str, ...]:
    """Return the cells in the order in which the claims ask about them."""
    return tuple(dict.fromkeys(arm for claim in claims for arm in claim.arms))


DOMAIN_LAYOUTS = {
    "sequel": Layout(
        title="does a slow buffer break the symmetry?",
        lead=(
            "The sequel, arXiv 2603.07217, reports that inhibition alone never lateralizes and that a "
            "slowly drifting context does it, abruptly. Here are recall of keys' values and counting "
            "mod 10 with our memory: at a low gain without homeostasis and at ours, without and with a "
            "context carried along (0.9), domains in turn and in blocks of four segments."
        ),
        claims=SEQUEL_CLAIMS,
        tables=make_sequel_tables,
        figures=(JUMPS, CELLS),
        summary=lateralized_sentence,
        remark=SCALES,
        cells=_cells(SEQUEL_CLAIMS),
    ),
    "hard": Layout(
        title="where does lateralization break?",
        lead=(
            "Two domains with alphabets of their own, equally frequent and never mixed, are easy to "
            "tell apart. Here they share one alphabet, one is nine times as frequent, or a part of "
            "every segment is the other domain's."
        ),
        claims=HARD_CLAIMS,
        tables=partial(make_cell_tables, claims=HARD_CLAIMS),
        figures=(CELLS,),
        summary=lateralized_sentence,
        cells=_cells(HARD_CLAIMS),
    ),
}
