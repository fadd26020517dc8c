"""What we ask of a memory beside other memories, and of lesions and swaps; nothing of this was reported."""

from callosal.lab.report.claims import KEPT, Claim
from callosal.lab.report.study import LEAST_TO_KEEP, of
from callosal.lab.studies.rivals.measures import ARITHMETIC, BANKS, CIPHER

# How far above chance an accuracy may be and still count as lost, and how far it may move and
# still count as kept. Set before the runs, as all thresholds here.
NEAR_CHANCE = 0.05
UNMOVED = 0.02
ABOVE_CHANCE = f"at most {NEAR_CHANCE:g} above chance"

_IF_LEARNED = f", undefined (and not met) where it is below {LEAST_TO_KEEP:g} with no bank touched"
_NAMES = {CIPHER: "the cipher", ARITHMETIC: "arithmetic"}


def _lost(bank: str, domain: str) -> Claim:
    return Claim(
        id=f"rivals-{domain}-lost",
        claim=f"Inhibitory: without {bank} {_NAMES[domain]} is at chance.",
        reported=ABOVE_CHANCE,
        measure=f"accuracy of {_NAMES[domain]} with {bank} silenced, minus chance" + _IF_LEARNED,
        quantity=of("above chance", domain, f"{bank} silenced"),
        arms=("inhibitory",),
        at_most=NEAR_CHANCE,
    )


def _kept(bank: str, domain: str) -> Claim:
    return Claim(
        id=f"rivals-{domain}-kept",
        claim=f"Inhibitory: without {bank} {_NAMES[domain]} is as good as before.",
        reported=f"within {UNMOVED:g}",
        measure=(
            f"how far the accuracy of {_NAMES[domain]} moves when {bank} is silenced" + _IF_LEARNED
        ),
        quantity=of("moved", domain, f"{bank} silenced"),
        arms=("inhibitory",),
        at_most=UNMOVED,
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="rivals-retention",
        claim="Inhibitory: the cipher is kept through a long stream of arithmetic.",
        measure=KEPT,
        quantity=of("kept share of recall"),
        arms=("inhibitory",),
        at_least=0.95,
    ),
    Claim(
        id="rivals-reset",
        claim="Inhibitory: with a blank memory before the questions the cipher is at chance.",
        reported=ABOVE_CHANCE,
        measure="the cipher's accuracy from a blank memory, minus chance" + _IF_LEARNED,
        quantity=of("above chance", CIPHER, "reset"),
        arms=("inhibitory",),
        at_most=NEAR_CHANCE,
    ),
    Claim(
        id="rivals-swap",
        claim="Inhibitory: with a neighbour's cipher bank it gives the neighbour's answers.",
        measure=(
            "share of the cipher's questions answered as the neighbour was told, after the cipher's "
            "bank alone was exchanged, undefined (and not met) where the cipher's accuracy was "
            f"below {LEAST_TO_KEEP:g} before"
        ),
        quantity=of("neighbour's answers", "if learned", f"{BANKS[0]} swapped"),
        arms=("inhibitory",),
        at_least=0.95,
    ),
    # A double dissociation is all four: each domain falls with its own bank, and with that alone.
    _lost(BANKS[0], CIPHER),
    _kept(BANKS[1], CIPHER),
    _lost(BANKS[1], ARITHMETIC),
    _kept(BANKS[0], ARITHMETIC),
)
