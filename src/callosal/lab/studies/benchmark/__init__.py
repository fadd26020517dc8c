"""The benchmark of the paper: a cipher to remember beside an arithmetic rule, by the sign of the coupling."""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.benchmark.figures import FIGURES, summary
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS, derive, tables

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary, derive=derive)
