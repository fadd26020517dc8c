"""How many pairs do how many slots hold?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.capacity.figures import FIGURES, summary
from callosal.lab.studies.capacity.tables import tables

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary)
