"""How many pairs do how many slots hold?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.capacity.figures import FIGURES, summary
from callosal.lab.studies.capacity.tables import tables

QUESTION = "How many pairs do how many slots hold?"
SEEDS = (0, 1, 2)

LAYOUT = Layout(
    title="capacity, study {}",
    lead=(
        "How many pairs do how many slots hold? Ciphers of 4, 8 and 16 letters, by 8 to 64 slots in "
        "each of two banks; every pair is shown twice."
    ),
    tables=tables,
    off_recipe=RUN_COLUMNS,
    figures=FIGURES,
    summary=summary,
)
