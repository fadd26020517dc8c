"""Which learning rate suits each model of the field's benchmarks?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.field.tables import RUN_COLUMNS, facts
from callosal.lab.studies.field_rates.tables import tables
from callosal.lab.studies.rates import LAYOUT as RATES

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, summary=RATES.summary, facts=facts)
