"""Does the paper's whole table hold where the cross-talk acts on what banks receive?"""

from callosal.lab.report.layout import Layout
from callosal.lab.report.tables import cell_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS, derive
from callosal.lab.studies.hard.figures import summary
from callosal.lab.studies.received.cells import CELLS

LAYOUT = Layout.read(
    __name__, tables=cell_tables, off_recipe=RUN_COLUMNS, figures=(), summary=summary, derive=derive, cells=CELLS
)
