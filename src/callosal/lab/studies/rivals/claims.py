"""What we hold ourselves to beside other memories, and with more than two banks. Imports no torch.

Nothing here was reported; every threshold is ours and was set before the runs.
"""

import math
from collections.abc import Callable

from callosal.lab.report.claims import KEPT, LEAST_TO_KEEP, OURS, Claim, cross_talk, kept_share
from callosal.lab.report.records import RunRecord
from callosal.lab.studies.rivals.lesions import interventions, lesions

CIPHER, ARITHMETIC = 0, 1
CIPHERS_BANK, OTHER_BANK = 0, 1
NEIGHBOURS = 1

# How far above chance an accuracy may be and still count as lost, and how far it may move and
# still count as kept.
NEAR_CHANCE = 0.05
UNMOVED = 0.02
# The share of its tokens that a domain's own bank must take where there is a bank for each.
A_BANK_EACH = 0.95


def chance(record: RunRecord, domain: int) -> float:
    """Return the accuracy of a guess: one letter in K, or one residue of P."""
    episodes = record.config["episodes"]
    return 1.0 / (episodes["num_letters"] if domain == CIPHER else episodes["modulus"])


def above_chance_after_reset(record: RunRecord) -> float | None:
    """Return the cipher's accuracy from a blank memory minus chance; NaN if nothing was learnt."""
    found = interventions(record)
    if found is None:
        return None
    if found["warm"][CIPHER] < LEAST_TO_KEEP:
        return math.nan
    return found["fresh"][CIPHER] - chance(record, CIPHER)


def above_chance_without(bank: int, domain: int) -> Callable[[RunRecord], float | None]:
    """Return the measure of what a domain keeps above chance when a bank is silenced."""

    def value(record: RunRecord) -> float | None:
        found = lesions(record)
        if found is None:
            return None
        if found.warm[domain] < LEAST_TO_KEEP:
            return math.nan
        return found.silenced[bank][domain] - chance(record, domain)

    return value


def change_without(bank: int, domain: int) -> Callable[[RunRecord], float | None]:
    """Return the measure of how far a domain's accuracy moves when a bank is silenced."""

    def value(record: RunRecord) -> float | None:
        found = lesions(record)
        if found is None:
            return None
        if found.warm[domain] < LEAST_TO_KEEP:
            return math.nan
        return abs(found.silenced[bank][domain] - found.warm[domain])

    return value


def neighbours_answers(record: RunRecord) -> float | None:
    """Return how often a swap of the cipher's bank gives the neighbour's answer."""
    found = lesions(record)
    if found is None:
        return None
    if found.warm[CIPHER] < LEAST_TO_KEEP:
        return math.nan
    return found.swapped[CIPHERS_BANK][NEIGHBOURS]


def own_share(record: RunRecord) -> float | None:
    """Return the mean share that a domain's own bank has of its tokens, 1 - P_ct."""
    outside = cross_talk(record)
    return None if outside is None else 1.0 - outside


_IF_LEARNT = f", undefined (and not met) where it is below {LEAST_TO_KEEP:g} with no bank touched"


def _lost(bank: int, domain: int, name: str) -> Claim:
    whose, what = _named(bank, domain)
    return Claim(
        id=f"rivals-{name}-lost",
        claim=f"Inhibitory: without {whose} {what} is at chance.",
        source=OURS,
        reported=f"at most {NEAR_CHANCE:g} above chance",
        measure=f"accuracy of {what} with {whose} silenced, minus chance" + _IF_LEARNT,
        arms=("inhibitory",),
        value=above_chance_without(bank, domain),
        most=NEAR_CHANCE,
    )


def _kept(bank: int, domain: int, name: str) -> Claim:
    whose, what = _named(bank, domain)
    return Claim(
        id=f"rivals-{name}-kept",
        claim=f"Inhibitory: without {whose} {what} is as good as before.",
        source=OURS,
        reported=f"within {UNMOVED:g}",
        measure=f"how far the accuracy of {what} moves when {whose} is silenced" + _IF_LEARNT,
        arms=("inhibitory",),
        value=change_without(bank, domain),
        most=UNMOVED,
    )


def _named(bank: int, domain: int) -> tuple[str, str]:
    whose = "the cipher's bank" if bank == CIPHERS_BANK else "the other bank"
    return whose, "the cipher" if domain == CIPHER else "arithmetic"


RIVAL_CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="rivals-retention",
        claim="Inhibitory: the cipher is kept through a long stream of arithmetic.",
        source=OURS,
        reported="at least 0.95",
        measure=KEPT,
        arms=("inhibitory",),
        value=kept_share,
        least=0.95,
    ),
    Claim(
        id="rivals-reset",
        claim="Inhibitory: with a blank memory before the questions the cipher is at chance.",
        source=OURS,
        reported=f"at most {NEAR_CHANCE:g} above chance",
        measure="the cipher's accuracy from a blank memory, minus chance" + _IF_LEARNT,
        arms=("inhibitory",),
        value=above_chance_after_reset,
        most=NEAR_CHANCE,
    ),
    Claim(
        id="rivals-swap",
        claim="Inhibitory: with a neighbour's cipher bank it gives the neighbour's answers.",
        source=OURS,
        reported="at least 0.95",
        measure=(
            "share of the cipher's questions answered as the neighbour was told, after the cipher's "
            "bank alone was exchanged, undefined (and not met) where the cipher's accuracy was "
            f"below {LEAST_TO_KEEP:g} before"
        ),
        arms=("inhibitory",),
        value=neighbours_answers,
        least=0.95,
    ),
    # A double dissociation is all four: each domain falls with its own bank, and with that alone.
    _lost(CIPHERS_BANK, CIPHER, "cipher"),
    _kept(OTHER_BANK, CIPHER, "cipher"),
    _lost(OTHER_BANK, ARITHMETIC, "arithmetic"),
    _kept(CIPHERS_BANK, ARITHMETIC, "arithmetic"),
)

RATE_CLAIMS: tuple[Claim, ...] = ()

BANK_CLAIMS: tuple[Claim, ...] = tuple(
    Claim(
        id=f"banks-{number}-of-{number}",
        claim=f"{number} banks find one of {number} domains each.",
        source=OURS,
        reported=f"at least {A_BANK_EACH:g}",
        measure="mean share of a domain's own bank, 1 - P_ct",
        arms=(f"{number} banks, {number} domains",),
        value=own_share,
        least=A_BANK_EACH,
    )
    for number in (3, 4, 8)
)

CAPACITY_CLAIMS: tuple[Claim, ...] = ()
