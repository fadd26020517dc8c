"""How many pairs do how many slots hold?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.capacity_decided.cells import CELLS
from callosal.lab.studies.capacity_decided.figures import FIGURES, summary
from callosal.lab.studies.capacity_decided.measures import derive
from callosal.lab.studies.capacity_decided.tables import facts, tables

LAYOUT = Layout.read(
    __name__,
    tables=tables,
    off_recipe=RUN_COLUMNS,
    figures=FIGURES,
    summary=summary,
    facts=facts,
    derive=derive,
    cells=tuple(cell.name for cell in CELLS),
)
