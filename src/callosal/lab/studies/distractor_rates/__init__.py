"""Which learning rate suits each memory, with segments between statement and question?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.distractor_rates.tables import tables
from callosal.lab.studies.rates import LAYOUT as RATES

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, summary=RATES.summary)
