"""What the report of the study of SmolLM2 derives from its runs."""

import math
from collections.abc import Iterator

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import LEAST_TO_KEEP, Study, of

WORDINGS = ("trained wordings", "held-out wordings")
BETWEEN = ("small talk", "same words")
LONG = 100
# Stored turns that retrieval puts before a question.
RETRIEVED = 3
BY_RETRIEVAL = f"BM25, {RETRIEVED} turns"
IN_REPLY = "in a reply"
# What is asked that has no place: the last two with a cue alone.
NEVER_TOLD, OTHERS = "never told", "other questions"
NEVER_TOLD_HELD_OUT, STATEMENTS = f"{NEVER_TOLD}, {WORDINGS[1]}", "statements"
OUT_OF_PLACE = (NEVER_TOLD, OTHERS, NEVER_TOLD_HELD_OUT, STATEMENTS)
# Of replies: begun with the cue where the memory is loud behind it, the model's own elsewhere.
WITH_CUE = "with a cue"
# Domains of replies to what has no place, all that is read being heard, and by the rule of the cue.
ASTRAY = "out of place"
ASTRAY_WITH_CUE = f"{ASTRAY}, {WITH_CUE}"
# What is asked to get them, by domain and condition of what is measured of them.
CUED_ASKED = {f"told, {domain}": (domain, WITH_CUE) for domain in WORDINGS}
CUED_ASKED |= {name: (ASTRAY_WITH_CUE, name) for name in OUT_OF_PLACE}
CUED_MEASURES = ("begun", IN_REPLY, "nothing else", "intrusion", "unchanged")
# Of a condition: what is read stands in the turn of the question, not in turns before.
IN_THE_TURN = ", in the question's turn"


def derive(run: RunRecord) -> Iterator[Value]:
    """Give what is kept, perplexity beside the model alone, rules beside it, and lesions by the bank's name."""
    for domain in WORDINGS:
        for kind in BETWEEN:
            first, late = (run.get("recall", domain=domain, condition=kind, after=n) for n in (0, LONG))
            if first is not None and late is not None:
                # What was never learned cannot be lost, and a lucky guess keeps nothing more.
                kept = min(late / first, 1.0) if first >= LEAST_TO_KEEP else math.nan
                yield {"measure": f"kept after {LONG}", "domain": domain, "condition": kind, "value": kept}
    alone = run.get("perplexity", condition="no memory")
    for condition in ("memory", "reset"):
        value = run.get("perplexity", condition=condition)
        if alone is not None and value is not None:
            yield {"measure": "perplexity ratio", "condition": condition, "value": value / alone}
    with_memory, without = (run.get(IN_REPLY, domain="rules", condition=c) for c in ("memory", "no memory"))
    if with_memory is not None and without is not None:
        yield {"measure": "rule change", "value": with_memory - without}
    shares = [run.get("share", domain="facts", bank=bank) for bank in (0, 1)]
    if shares[1] is None or shares[0] is None:
        return
    own = int(shares[1] > shares[0])
    for domain in WORDINGS:
        for name, bank in (("facts' bank", own), ("other bank", 1 - own)):
            value = run.get("accuracy", domain=domain, condition="zeroed", bank=bank)
            if value is not None:
                yield {"measure": "accuracy", "domain": domain, "condition": f"without {name}", "value": value}


def seeds_of(study: Study) -> str:
    """Say how many seeds the memory that ships has."""
    return f"{len(study.values(of('accuracy', WORDINGS[0], 'memory')))} runs"
