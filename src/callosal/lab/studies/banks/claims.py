"""What we ask of more than two banks; nothing of this was reported."""

from callosal.lab.report.claims import Claim
from callosal.lab.report.study import of

# The share of its tokens that a domain's own bank must take where there is a bank for each.
A_BANK_EACH = 0.95


def cell_name(banks: int, domains: int) -> str:
    """Return the name of a cell."""
    return f"{banks} banks, {domains} domains"


CLAIMS: tuple[Claim, ...] = tuple(
    Claim(
        id=f"banks-{number}-of-{number}",
        claim=f"{number} banks find one of {number} domains each.",
        measure="mean share of a domain's own bank, 1 - P_ct",
        quantity=of("own-bank share"),
        arms=(cell_name(number, number),),
        at_least=A_BANK_EACH,
    )
    for number in (3, 4, 8)
)
