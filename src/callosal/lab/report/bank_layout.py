"""The reports of more than two banks, and of how many pairs how many slots hold."""

from callosal.lab.report.bank_figures import (
    BANK_KINDS,
    CAPACITY_KINDS,
    banks_sentence,
    capacity_sentence,
)
from callosal.lab.report.bank_tables import bank_tables, capacity_tables
from callosal.lab.report.layout import Layout
from callosal.lab.studies.rivals.claims import BANK_CLAIMS, CAPACITY_CLAIMS

BANK_LAYOUTS: dict[str, Layout] = {
    "banks": Layout(
        title="more than two banks, study {}",
        lead=(
            "Do more than two banks find a domain each? With as many banks as domains, with fewer, and "
            "with more. No domain label enters the model or its loss."
        ),
        claims=BANK_CLAIMS,
        tables=bank_tables,
        figures=BANK_KINDS,
        summary=banks_sentence,
    ),
    "capacity": Layout(
        title="capacity, study {}",
        lead=(
            "How many pairs do how many slots hold? Ciphers of 4, 8 and 16 letters, by 8 to 64 slots in "
            "each of two banks; every pair is shown twice."
        ),
        claims=CAPACITY_CLAIMS,
        tables=capacity_tables,
        figures=CAPACITY_KINDS,
        summary=capacity_sentence,
    ),
}
