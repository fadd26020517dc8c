"""The layout of the map's report."""

from functools import partial

from callosal.lab.report.cell_tables import make_cell_tables
from callosal.lab.report.layout import Layout
from callosal.lab.report.map_data import VARIANTS, cell_name
from callosal.lab.report.map_figures import KINDS
from callosal.lab.report.plane_figures import map_sentence
from callosal.lab.studies.study_claims import MAP_CLAIMS

_PLANE = ("", "gain=0.5", "gain=1", "gain=2", "gain=8")
_CELLS = tuple(
    cell_name(sign, variant)
    for variant in dict.fromkeys((*_PLANE, *VARIANTS))
    for sign in (-1.0, -0.5, 0.0, 0.5, 1.0)
)

MAP_LAYOUTS = {
    "map": Layout(
        title="when do the banks lateralize?",
        lead=(
            "Two banks of one memory, two domains, no labels: when does each domain get a bank of its "
            "own? One paper says inhibition does it, its sequel that inhibition alone never does. So "
            "sign, gain, plasticity, homeostasis, context and segment length are changed one or two "
            "at a time, around one default, with several seeds a cell."
        ),
        claims=MAP_CLAIMS,
        tables=partial(make_cell_tables, claims=MAP_CLAIMS),
        figures=KINDS,
        summary=map_sentence,
        cells=_CELLS,
    )
}
