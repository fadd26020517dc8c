"""How does this memory compare with others, and is the memory doing it?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.rivals.figures import FIGURES, summary
from callosal.lab.studies.rivals.measures import derive
from callosal.lab.studies.rivals.tables import tables

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary, derive=derive)
