"""Where does lateralization break: one alphabet, unequal frequency, mixed segments?"""

from callosal.lab.report.cells import cells, summary
from callosal.lab.report.layout import Layout
from callosal.lab.report.tables import cell_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS

LAYOUT = Layout.read(
    __name__, tables=cell_tables, off_recipe=RUN_COLUMNS, figures=(cells,), summary=summary, as_claimed=True
)
