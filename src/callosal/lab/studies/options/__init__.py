"""What does each option of a memory buy alone, and what do the telling ones together?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.options.cells import CELLS
from callosal.lab.studies.options.figures import FIGURES, summary
from callosal.lab.studies.options.tables import derive, facts, tables

LAYOUT = Layout.read(
    __name__,
    tables=tables,
    off_recipe=RUN_COLUMNS,
    figures=FIGURES,
    summary=summary,
    facts=facts,
    derive=derive,
    cells=CELLS,
)
