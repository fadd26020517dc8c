"""Does a real pretrained model, frozen, with a memory know in the next session what its user said?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.smollm.cells import CELLS
from callosal.lab.studies.smollm.figures import FIGURES, summary
from callosal.lab.studies.smollm.measures import derive
from callosal.lab.studies.smollm.tables import RUN_COLUMNS, facts, tables

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
