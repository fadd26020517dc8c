"""How do the memories do on the field's recall benchmarks, and where these are cut into two calls?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.field.cells import CELLS
from callosal.lab.studies.field.figures import FIGURES, summary
from callosal.lab.studies.field.tables import RUN_COLUMNS, facts, tables

LAYOUT = Layout.read(
    __name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary, facts=facts, cells=CELLS
)
