"""The benchmark of the paper: a cipher to remember beside an arithmetic rule, by the sign of the coupling."""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.claims import CLAIMS
from callosal.lab.studies.benchmark.figures import FIGURES, summary
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS, derive, tables

LAYOUT = Layout(
    title="recipe {}",
    lead=(
        "A transformer whose memory is split into two banks is told a secret code, then reads "
        "arithmetic for a long time, and is asked for the code. What differs between the arms is "
        "whether the banks inhibit or excite each other, or whether there is a memory at all."
    ),
    tables=tables,
    off_recipe=RUN_COLUMNS,
    claims=CLAIMS,
    figures=FIGURES,
    summary=summary,
    derive=derive,
    label="arm",
)
