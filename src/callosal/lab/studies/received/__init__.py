"""Does the paper's whole table hold where the cross-talk acts on what banks receive?"""

from callosal.lab.report.cells import summary
from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS, derive
from callosal.lab.studies.received.cells import CELLS
from callosal.lab.studies.received.figures import FIGURES
from callosal.lab.studies.received.tables import tables

LAYOUT = Layout.read(
    __name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary, derive=derive, cells=CELLS
)
