"""The sequel, arXiv 2603.07217, as its readers describe it: which of its claims hold?"""

from callosal.lab.report.cells import summary
from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.recollection.cells import CELLS
from callosal.lab.studies.recollection.figures import FIGURES
from callosal.lab.studies.recollection.tables import derive, tables

LAYOUT = Layout.read(
    __name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary, derive=derive, cells=tuple(CELLS)
)
