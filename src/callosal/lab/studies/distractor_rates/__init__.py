"""Which learning rate suits each memory, with segments between statement and question and without?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS
from callosal.lab.studies.rates import LAYOUT as RATES
from callosal.lab.studies.rates.tables import tables

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, summary=RATES.summary)
