"""Which memory keeps what it was told, once it was trained with something in between?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.attribution import derive_steps
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.distractors.cells import CELLS
from callosal.lab.studies.distractors.figures import FIGURES, summary
from callosal.lab.studies.distractors.tables import facts, tables

LAYOUT = Layout.read(
    __name__,
    tables=tables,
    off_recipe=RUN_COLUMNS,
    figures=FIGURES,
    summary=summary,
    facts=facts,
    derive=derive_steps,
    cells=CELLS,
)
