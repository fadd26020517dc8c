"""The figures of the sequel as its readers describe it: when P_ct fell, and every cell."""

from callosal.lab.report.cells import cells
from callosal.lab.studies.sequel.jumps import jumps

FIGURES = (jumps, cells)
