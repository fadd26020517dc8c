"""When do the banks lateralize: sign, gain, plasticity, homeostasis, context and length, around one default."""

from callosal.lab.report.layout import Layout
from callosal.lab.report.tables import cell_tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.map.cells import GAINS, SIGNS, VARIANTS, cell_name, plane_cell
from callosal.lab.studies.map.figures import FIGURES, summary
from callosal.lab.studies.map.measures import derive

# The default's gain comes first.
_PLANE = [plane_cell(sign, gain) for gain in sorted(GAINS, key=lambda g: (g != 4.0, g)) for sign in SIGNS]
_OTHERS = [cell_name(sign, note) for note in VARIANTS for sign in SIGNS]

LAYOUT = Layout.read(
    __name__,
    tables=cell_tables,
    off_recipe=RUN_COLUMNS,
    figures=FIGURES,
    summary=summary,
    derive=derive,
    cells=tuple(dict.fromkeys([*_PLANE, *_OTHERS])),
)
