"""Do more than two banks find a domain each, with as many banks as domains, with fewer and with more?"""

from callosal.lab.report.layout import Layout
from callosal.lab.studies.banks.figures import FIGURES, summary
from callosal.lab.studies.banks.tables import derive, tables
from callosal.lab.studies.benchmark.tables import RUN_COLUMNS

LAYOUT = Layout.read(__name__, tables=tables, off_recipe=RUN_COLUMNS, figures=FIGURES, summary=summary, derive=derive)
