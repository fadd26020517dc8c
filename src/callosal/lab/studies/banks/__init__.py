"""Do more than two banks find a domain each, with as many banks as domains, with fewer and with more?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.banks.claims import CLAIMS
from callosal.lab.studies.banks.figures import FIGURES, summary
from callosal.lab.studies.banks.tables import derive, tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS

QUESTION = "Do more than two banks find a domain each?"
# On earlier ones the mechanism was chosen (LOG.md), so they are no evidence for it.
SEEDS = (30, 31, 32, 33, 34)

LAYOUT = Layout(
    title="more than two banks, study {}",
    lead=(
        "Do more than two banks find a domain each? With as many banks as domains, with fewer, and "
        "with more. No domain label enters the model or its loss."
    ),
    tables=tables,
    off_recipe=RUN_COLUMNS,
    claims=CLAIMS,
    figures=FIGURES,
    summary=summary,
    derive=derive,
)
