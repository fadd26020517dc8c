"""What the rivals' report derives from its runs: lesions and swaps with the two banks named by what they serve.

Which bank is the cipher's is chance, so the banks of several seeds can only be averaged by name: the cipher's bank is
the one with the larger share of the first domain's tokens, the other is the other.
"""

import math
from collections.abc import Iterator

from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import LEAST_TO_KEEP
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS
from callosal.lab.studies.benchmark.attribution import derive_steps

CIPHER, ARITHMETIC = BENCHMARK_DOMAINS
BANKS = ("the cipher's bank", "the other bank")
ANSWERS = ("own answers", "neighbour's answers")


def chance(run: RunRecord, domain: str) -> float:
    """Return the accuracy of a guess: one letter in K, or one residue of P."""
    episodes = run.config["episodes"]
    return 1.0 / (episodes["num_letters"] if domain == CIPHER else episodes["modulus"])


def derive(run: RunRecord) -> Iterator[Value]:
    """Give what is left without a bank, of each by its name, how far that is from chance and before, and when 124x was.

    What was never learned cannot be lost: NaN where accuracy was below LEAST_TO_KEEP with no bank touched.
    """
    yield from derive_steps(run)
    intact = {d: run.get("accuracy", domain=d, condition="intact") for d in BENCHMARK_DOMAINS}
    reset = run.get("accuracy", domain=CIPHER, condition="reset")
    if reset is not None:
        value = _if_learned(reset - chance(run, CIPHER), intact[CIPHER])
        yield {"measure": "above chance", "domain": CIPHER, "condition": "reset", "value": value}
    shares = [row["value"] for row in run.rows("share") if row["domain"] == CIPHER]
    if len(shares) == 2 and reset is not None:
        own = shares.index(max(shares))
        for bank, name in zip((own, 1 - own), BANKS, strict=True):
            yield from _without(run, bank, name, intact)
    if len(shares) != 1:
        # Of one bank alone these measures say nothing.
        for measure in ("smaller |D_sep|", "P_ct"):
            value = run.get(measure)
            if value is not None:
                yield {"measure": measure, "condition": "of several banks", "value": value}


def _without(run: RunRecord, bank: int, name: str, intact: dict[str, float | None]) -> Iterator[Value]:
    for domain in BENCHMARK_DOMAINS:
        for how in ("zeroed", "silenced"):
            left = run.get("accuracy", domain=domain, condition=how, bank=bank)
            if left is not None:
                where = {"domain": domain, "condition": f"{name} {how}"}
                yield {"measure": "accuracy", **where, "value": left}
                before = intact[domain]
                moved = math.nan if before is None else abs(left - before)
                above = _if_learned(left - chance(run, domain), before)
                yield {"measure": "above chance", **where, "value": above}
                yield {"measure": "moved", **where, "value": _if_learned(moved, before)}
    for measure in ANSWERS:
        value = run.get(measure, condition="swapped", bank=bank)
        if value is not None:
            where = {"measure": measure, "condition": f"{name} swapped"}
            yield where | {"value": value}
            learned = _if_learned(value, intact[CIPHER])
            yield where | {"domain": "if learned", "value": learned}


def _if_learned(value: float, before: float | None) -> float:
    return value if before is not None and before >= LEAST_TO_KEEP else math.nan
