"""The setting of arXiv 2603.07217: does a slow buffer make the banks lateralize, and abruptly?"""

from callosal.lab.report.cells import cells, summary
from callosal.lab.report.layout import Layout
from callosal.lab.report.study import Study
from callosal.lab.report.tables import Table, cell_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.sequel.jumps import derive, jumps, jumps_table


def tables(study: Study) -> list[Table]:
    """Return when P_ct fell, and the cells."""
    return [jumps_table(study), *cell_tables(study)]


LAYOUT = Layout.read(
    __name__,
    tables=tables,
    off_recipe=RUN_COLUMNS,
    figures=(jumps, cells),
    summary=summary,
    derive=derive,
    as_claimed=True,
)
