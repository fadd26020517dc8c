"""The setting of arXiv 2603.07217: does a slow buffer make the banks lateralize, and abruptly?"""

from callosal.lab.report.layout import Layout
from callosal.lab.report.study import Study
from callosal.lab.report.tables import Table, cell_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.hard.figures import cells, summary
from callosal.lab.studies.sequel.claims import CLAIMS
from callosal.lab.studies.sequel.jumps import SCALES, derive, jumps, jumps_table

QUESTION = "Does a slow buffer make the banks lateralize, and abruptly, as arXiv 2603.07217 says?"
SEEDS = (0, 1, 2, 3, 4)


def tables(study: Study) -> list[Table]:
    """Return when P_ct fell, and the cells."""
    return [jumps_table(study), *cell_tables(study)]


LAYOUT = Layout(
    title="does a slow buffer break the symmetry?",
    lead=(
        "The sequel, arXiv 2603.07217, reports that inhibition alone never lateralizes and that a "
        "slowly drifting context does it, abruptly. Here are recall of keys' values and counting "
        "mod 10 with our memory: at a low gain without homeostasis and at ours, without and with a "
        "context carried along (0.9), domains in turn and in blocks of four segments."
    ),
    tables=tables,
    off_recipe=RUN_COLUMNS,
    claims=CLAIMS,
    figures=(jumps, cells),
    summary=summary,
    remark=SCALES,
    derive=derive,
    # In the order in which the claims ask about them.
    cells=tuple(dict.fromkeys(arm for claim in CLAIMS for arm in claim.arms)),
)
