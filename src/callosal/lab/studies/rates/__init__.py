"""Which learning rate suits each memory? The grid that the rivals' rates were chosen from."""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.rates.tables import tables

LAYOUT = Layout.read(
    __name__, tables=tables, off_recipe=RUN_COLUMNS, summary=lambda study: f"Learning rates of {len(study.arms)} cells"
)
