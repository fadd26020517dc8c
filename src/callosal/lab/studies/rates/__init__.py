"""Which learning rate suits each memory? The grid that the rivals' rates were chosen from."""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.rates.tables import tables

QUESTION = "Which learning rate suits each rival?"
# No result is reported of it.
SEEDS = (100,)

LAYOUT = Layout(
    title="learning rates, study {}",
    lead=(
        "Which learning rate suits each memory? Each is trained at three, on one seed that no other "
        "result is reported of, and compared at the one with the lowest loss."
    ),
    tables=tables,
    off_recipe=RUN_COLUMNS,
    summary=lambda study: f"Learning rates of {len(study.arms)} cells",
    label="memory",
)
