"""What we ask of a memory of users.

Nothing here was reported; every threshold is ours and was set before the runs, the one for chatter after
a pilot that did not meet it (LOG.md).
"""

from typing import Any

from callosal.lab.report.claims import Claim
from callosal.lab.report.study import LEAST_TO_KEEP, Quantity, of
from callosal.lab.studies.persona.cells import HOSTS, MAIN, Host
from callosal.lab.studies.persona.measures import FACTS
from callosal.lab.studies.rivals.claims import ABOVE_CHANCE, NEAR_CHANCE

KNOWN = 0.95
OWN_BANK = 0.95
KEPT_SHARE = 0.95
UNHARMED = -0.01

_IF_LEARNED = f", undefined (and not met) where it is below {LEAST_TO_KEEP:g} with the own memory"


def _claims(host: Host) -> tuple[Claim, ...]:
    def claim(name: str, sentence: str, measure: str, quantity: Quantity, **limit: Any) -> Claim:
        return Claim(
            id=f"persona-{host.lower()}-{name}",
            claim=f"{host}: {sentence}",
            measure=measure,
            quantity=quantity,
            arms=(MAIN[host],),
            **limit,
        )

    return (
        claim(
            "recall",
            "what a user said is known in the next session.",
            "accuracy of the answers about the facts, with the user's memory",
            of("accuracy", FACTS, "memory"),
            at_least=KNOWN,
        ),
        claim(
            "reset",
            "with the memory reset between the sessions it is not.",
            "accuracy of the answers about the facts after a reset, minus chance" + _IF_LEARNED,
            of("above chance", FACTS, "reset"),
            reported=ABOVE_CHANCE,
            at_most=NEAR_CHANCE,
        ),
        claim(
            "others",
            "with another user's memory it is not.",
            "accuracy of the own answers with another's memory, minus chance" + _IF_LEARNED,
            of("above chance", FACTS, "another user's"),
            reported=ABOVE_CHANCE,
            at_most=NEAR_CHANCE,
        ),
        claim(
            "rules",
            "counting and spelling are no worse with a memory than without.",
            "accuracy of the rules with the memory minus that of the host alone",
            of("rule change"),
            at_least=UNHARMED,
        ),
        claim(
            "banks",
            "facts and rules have a bank each.",
            "mean share of a domain's own bank, 1 - P_ct",
            of("own-bank share"),
            at_least=OWN_BANK,
        ),
        claim(
            "retention",
            "what was said is kept through 100 turns of counting and spelling.",
            "recall after 100 turns of rules as a share of recall after none" + _IF_LEARNED,
            of("kept share of recall", condition="rules"),
            at_least=KEPT_SHARE,
        ),
        claim(
            "chatter",
            "what was said is kept through 100 turns of chatter.",
            "recall after 100 turns of chatter as a share of recall after none" + _IF_LEARNED,
            of("kept share of recall", condition="chatter"),
            at_least=KEPT_SHARE,
        ),
    )


CLAIMS: tuple[Claim, ...] = tuple(claim for host in HOSTS for claim in _claims(host))
