"""Does a frozen language model with a memory know in a later session what its user said?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.persona.cells import CELLS
from callosal.lab.studies.persona.figures import FIGURES, summary
from callosal.lab.studies.persona.measures import derive
from callosal.lab.studies.persona.tables import RUN_COLUMNS, facts, tables

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
