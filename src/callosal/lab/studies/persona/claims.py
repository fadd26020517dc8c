"""What we hold a memory of users to, beside the cells of its study by name. Imports no torch.

Nothing here was reported; every threshold is ours and was set before the runs, the one for chatter after
a pilot that did not meet it (LOG.md).
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from callosal.lab.report.claims import LEAST_TO_KEEP, OURS, Claim, kept_share, share_kept
from callosal.lab.report.records import RunRecord
from callosal.lab.studies.rivals.claims import NEAR_CHANCE

Host = Literal["GPT-2", "Llama"]
HOSTS: tuple[Host, ...] = get_args(Host)
NUM_LAYERS = 4
# Behind which layer, counted from 0, where nothing else is asked.
LAYER = 2


def layer_cell(layer: int) -> str:
    """Name the cell of a memory behind a layer, trained for fewer steps than the hosts' own cells."""
    return f"Llama, layer {layer}"


MAIN: dict[Host, str] = {host: host for host in HOSTS}
LAYERS: dict[int, str] = {layer: layer_cell(layer) for layer in range(NUM_LAYERS)}
# By what they are called beside the first, in the order of every table; trained as long as LAYERS.
VARIANTS = {
    "inhibitory": LAYERS[LAYER],
    "excitatory": "Llama, excitatory",
    "one bank": "Llama, one bank",
    "told and asked apart": "Llama, apart",
}
CELLS: tuple[str, ...] = tuple(
    dict.fromkeys((*MAIN.values(), *LAYERS.values(), *VARIANTS.values()))
)

KNOWN = 0.95
OWN_BANK = 0.95
KEPT_SHARE = 0.95
UNHARMED = -0.01


def chance(record: RunRecord) -> float | None:
    """Return the accuracy of a guess among what a fact can be; None where it was not recorded."""
    return record.probes.get("chance")


def above_chance(condition: str) -> Callable[[RunRecord], float | None]:
    """Return the measure of an accuracy minus chance; NaN if nothing was learnt that could be lost."""

    def value(record: RunRecord) -> float | None:
        guess = chance(record)
        if guess is None:
            return None
        learnt = record.evaluation["memory"] >= LEAST_TO_KEEP
        return record.evaluation[condition] - guess if learnt else math.nan

    return value


def known(record: RunRecord) -> float:
    """Return how many questions of the next session are answered rightly."""
    return record.evaluation["memory"]


def rule_change(record: RunRecord) -> float:
    """Return the accuracy of the rules with a memory minus that of the host alone."""
    return record.evaluation["rule"] - record.evaluation["rule_before"]


def mean_over_memories(record: RunRecord, value: Callable[[dict], float]) -> float | None:
    """Average a measure of the banks over what is attached; None where a memory has one bank."""
    found: Sequence[dict] = record.evaluation["specialization"]
    if any(len(measures["shares"][0]) < 2 for measures in found):
        return None
    return float(np.mean([value(measures) for measures in found]))


def cross_talk(record: RunRecord) -> float | None:
    """Return P_ct, the mean share outside a domain's own bank, over what is attached."""
    return mean_over_memories(record, lambda measures: measures["cross_talk"])


def own_share(record: RunRecord) -> float | None:
    """Return the mean share that a domain's own bank has of its tokens, 1 - P_ct."""
    outside = cross_talk(record)
    return None if outside is None else 1.0 - outside


def facts_bank(record: RunRecord) -> int | None:
    """Return which of two banks has the larger share of the facts' tokens.

    None where there are not two, or where several memories do not agree, since a lesion takes the bank
    of the same number from all of them.
    """
    tables = [measures["shares"] for measures in record.evaluation["specialization"]]
    found = {table[0].index(max(table[0])) for table in tables if len(table[0]) == 2}
    is_one = len(found) == 1 and all(len(table[0]) == 2 for table in tables)
    return found.pop() if is_one else None


def without_bank(*, own: bool, domain: int) -> Callable[[RunRecord], float | None]:
    """Return the measure of an accuracy without the facts' bank, or without the other one.

    Args:
        own: whether the facts' own bank is taken away.
        domain: 0 for the facts, 1 for the rules.
    """

    def value(record: RunRecord) -> float | None:
        bank = facts_bank(record)
        if bank is None:
            return None
        return record.evaluation["lesioned"][bank if own else 1 - bank][domain]

    return value


def kept_through_chatter(record: RunRecord) -> float | None:
    """Return recall after the most turns of chatter as a share of recall after none."""
    found = record.probes.get("after_chatter")
    return None if found is None else share_kept(found)


_IF_LEARNT = f", undefined (and not met) where it is below {LEAST_TO_KEEP:g} with the own memory"


def _claims(host: Host) -> tuple[Claim, ...]:
    def claim(
        name: str,
        sentence: str,
        wanted: str,
        measure: str,
        value: Callable[[RunRecord], float | None],
        least: float | None = None,
        most: float | None = None,
    ) -> Claim:
        return Claim(
            id=f"persona-{host.lower()}-{name}",
            claim=f"{host}: {sentence}",
            source=OURS,
            reported=wanted,
            measure=measure,
            arms=(MAIN[host],),
            value=value,
            least=least,
            most=most,
        )

    near = f"at most {NEAR_CHANCE:g} above chance"
    return (
        claim(
            "recall",
            "what a user said is known in the next session.",
            f"at least {KNOWN:g}",
            "accuracy of the answers about the facts, with the user's memory",
            known,
            least=KNOWN,
        ),
        claim(
            "reset",
            "with the memory reset between the sessions it is not.",
            near,
            "accuracy of the answers about the facts after a reset, minus chance" + _IF_LEARNT,
            above_chance("reset"),
            most=NEAR_CHANCE,
        ),
        claim(
            "others",
            "with another user's memory it is not.",
            near,
            "accuracy of the own answers with another's memory, minus chance" + _IF_LEARNT,
            above_chance("others"),
            most=NEAR_CHANCE,
        ),
        claim(
            "rules",
            "counting and spelling are no worse with a memory than without.",
            f"at least {UNHARMED:g}",
            "accuracy of the rules with the memory minus that of the host alone",
            rule_change,
            least=UNHARMED,
        ),
        claim(
            "banks",
            "facts and rules have a bank each.",
            f"at least {OWN_BANK:g}",
            "mean share of a domain's own bank, 1 - P_ct",
            own_share,
            least=OWN_BANK,
        ),
        claim(
            "retention",
            "what was said is kept through 100 turns of counting and spelling.",
            f"at least {KEPT_SHARE:g}",
            "recall after 100 turns of rules as a share of recall after none" + _IF_LEARNT,
            kept_share,
            least=KEPT_SHARE,
        ),
        claim(
            "chatter",
            "what was said is kept through 100 turns of chatter.",
            f"at least {KEPT_SHARE:g}",
            "recall after 100 turns of chatter as a share of recall after none" + _IF_LEARNT,
            kept_through_chatter,
            least=KEPT_SHARE,
        ),
    )


PERSONA_CLAIMS: tuple[Claim, ...] = tuple(claim for host in HOSTS for claim in _claims(host))
