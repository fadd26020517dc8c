"""Claims, and what recorded runs say to them. Imports no torch.

A claim turns the runs of one seed into one number and says which numbers would bear it out. Each says whether it was
reported or is ours; the formulas and tolerances of all measures are ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from callosal.lab.measures.intervals import RATIO, Interval, Scale, seed_interval
from callosal.lab.report.records import ARMS
from callosal.lab.report.study import LEAST_TO_KEEP, MIN_SEEDS, Quantity, Study, of

OURS = "ours"

# Single precision cannot tell a cross-entropy below this from zero, so no ratio may rest on less.
SMALLEST_LOSS = 2.0**-23

NO_INTERVAL = Interval(estimate=math.nan, low=math.nan, high=math.nan)

VerdictName = Literal["reproduced", "not reproduced", "undecided"]
# How the numbers of several arms become one: that of the only arm, the first over the second, the first minus the
# second, or an extreme of all.
Combine = Literal["only", "ratio", "difference", "largest", "smallest"]

# What quantities are in words, where a claim does not say it otherwise.
DESCRIPTIONS = {
    "smaller |D_sep|": "the smaller |D_sep| of the two domains, made negative if their signs are equal",
    "P_ct": "P_ct, the mean share outside a domain's own bank",
    "dominance": "dominance, the largest mean share of a bank (0.5 is an even split, 1 one bank)",
    "kept share of recall": (
        "recall of the cipher after the most distractor segments as a share of recall after none (at most 1), "
        f"undefined (and not met) where recall after none is below {LEAST_TO_KEEP:g}"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that recorded runs can bear out or contradict.

    Attributes:
        id: a short name, never reused.
        claim: one plain sentence that stands alone.
        measure: what the number of a seed is, in words.
        quantity: what of each arm's run it is made of.
        arms: the arms or cells whose runs of one seed are needed, in this order.
        combine: how their numbers become one. NaN meets no criterion; a run without the quantity is no evidence.
        at_least: the smallest number that bears the claim out; None is no limit.
        at_most: the largest; None is no limit.
        strict: whether the limits themselves fail.
        unit: written behind the number.
        source: where it was reported, or "ours".
        reported: the figure as reported; of what is ours, the limit in words of its own, if it has any.
    """

    id: str
    claim: str
    measure: str
    quantity: Quantity
    arms: tuple[str, ...]
    combine: Combine = "only"
    at_least: float | None = None
    at_most: float | None = None
    strict: bool = False
    unit: str = ""
    source: str = OURS
    reported: str = ""

    @property
    def is_ratio(self) -> bool:
        """Whether its numbers are ratios of losses."""
        return self.combine == "ratio"

    def scale(self, study: Study) -> Scale:
        """Return what its numbers can be."""
        if self.is_ratio:
            return RATIO
        scale = study.scale(self.quantity)
        return scale.of_differences if self.combine == "difference" else scale

    @property
    def wanted(self) -> str:
        """The criterion in a few words, such as "at least 0.99"."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} to {self.at_most:g}{self.unit}"
        if self.at_least is not None:
            return f"{'above' if self.strict else 'at least'} {self.at_least:g}{self.unit}"
        return f"{'below' if self.strict else 'at most'} {self.at_most:g}{self.unit}"

    @property
    def criterion(self) -> str:
        """How the verdict is reached, in words."""
        return (
            f"Per seed: {self.measure}. Wanted: {self.wanted}. Reproduced if every seed meets it "
            f"and there are at least {MIN_SEEDS}; not reproduced if no seed does or the 95 % "
            "interval over seeds lies wholly on the wrong side; otherwise undecided."
        )

    def meets(self, value: float) -> bool:
        """Whether a seed's number bears the claim out."""
        if math.isnan(value) or (self.strict and value in (self.at_least, self.at_most)):
            return False
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def excludes(self, interval: Interval) -> bool:
        """Whether an interval lies wholly on the wrong side."""
        below = self.at_least is not None and interval.high < self.at_least
        above = self.at_most is not None and interval.low > self.at_most
        return below or above


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim and what the runs say to it; ``claims.json`` is a list of these.

    Attributes:
        id, claim, source, reported, criterion: of the claim.
        measured: mean over seeds, geometric for ratios; None without evidence.
        low, high: the ends of its 95 % interval; None where there is none.
        seeds: the seeds that count.
        per_seed: their numbers; None for one that is undefined, which meets no criterion.
        verdict: reproduced, not reproduced or undecided.
    """

    id: str
    claim: str
    source: str
    reported: str
    measured: float | None
    low: float | None
    high: float | None
    seeds: list[int]
    per_seed: list[float | None]
    verdict: VerdictName
    criterion: str


def read_claims(rows: Sequence[dict[str, Any]]) -> tuple[Claim, ...]:
    """Make claims of the rows of a ``study.toml``; neighbours with ``each`` are claimed of each in turn.

    Raises:
        ValueError: a row has an unknown key, or lacks what every claim has.
    """
    claims = []
    for each, group in groupby(rows, key=lambda row: row.get("each")):
        alike = [{key: value for key, value in row.items() if key != "each"} for row in group]
        for value in (None,) if each is None else each:
            claims += [_claim(row if value is None else _filled(row, value)) for row in alike]
    return tuple(claims)


def judge(study: Study, claims: Sequence[Claim]) -> list[Verdict]:
    """Judge every claim by the runs that count; one that lacks evidence is undecided."""
    return [_judge(claim, study) for claim in claims]


def loss_ratio(first: float, second: float) -> float:
    """Return how many times the second loss lies below the first, as far as single precision can tell."""
    return max(first, SMALLEST_LOSS) / max(second, SMALLEST_LOSS)


def _claim(row: dict[str, Any]) -> Claim:
    fields = dict(row)
    try:
        quantity, arms = fields.pop("quantity"), tuple(fields.pop("arms"))
        quantity = of(quantity) if isinstance(quantity, str) else of(**quantity)
        of_cell = "" if set(arms) <= set(ARMS) else f", of {arms[0]!r}"
        fields.setdefault("measure", f"{DESCRIPTIONS.get(quantity.measure, '')}{of_cell}")
        return Claim(**fields, quantity=quantity, arms=arms)
    except (TypeError, KeyError) as error:
        raise ValueError(f"claim {row.get('id')!r}: {error}") from error


def _filled(value: Any, each: object) -> Any:
    """Put a name in the place of ``{each}`` in all texts, and in lower case in that of ``{lower}``."""
    if isinstance(value, str):
        return value.format(each=each, lower=str(each).lower())
    if isinstance(value, dict):
        return {key: _filled(part, each) for key, part in value.items()}
    return [_filled(part, each) for part in value] if isinstance(value, list) else value


def _judge(claim: Claim, study: Study) -> Verdict:
    numbers = _numbers(claim, study)
    values = list(numbers.values())
    interval = _interval(values, claim.scale(study)) if values else NO_INTERVAL
    met = [claim.meets(value) for value in values]
    verdict: VerdictName = "undecided"
    if len(met) >= MIN_SEEDS and all(met):
        verdict = "reproduced"
    elif met and (not any(met) or claim.excludes(interval)):
        verdict = "not reproduced"
    return Verdict(
        id=claim.id,
        claim=claim.claim,
        source=claim.source,
        reported=claim.reported or claim.wanted,
        measured=_finite(interval.estimate),
        low=_finite(interval.low),
        high=_finite(interval.high),
        seeds=list(numbers),
        per_seed=[_finite(value) for value in values],
        verdict=verdict,
        criterion=claim.criterion,
    )


def _numbers(claim: Claim, study: Study) -> dict[int, float]:
    """Return the number of every seed that has one; NaN where it is undefined."""
    having = {arm: study.by_seed(claim.quantity, arm) for arm in claim.arms}
    ran = {arm: set(study.where(arm=arm)["seed"]) for arm in claim.arms}
    numbers = {}
    for seed in study.seeds:
        if not all(seed in seeds for seeds in ran.values()):
            continue
        found = [having[arm][seed] for arm in claim.arms if seed in having[arm]]
        if found and (len(found) == len(claim.arms) or claim.combine in ("largest", "smallest")):
            value = _combined(found, claim.combine)
            is_number = math.isfinite(value) and not (claim.is_ratio and value <= 0.0)
            numbers[seed] = value if is_number else math.nan
    return numbers


def _combined(found: list[float], how: Combine) -> float:
    if how == "ratio":
        return loss_ratio(*found)
    if how == "difference":
        return found[0] - found[1]
    return {"only": found[0], "largest": max(found), "smallest": min(found)}[how]


def _interval(values: list[float], scale: Scale) -> Interval:
    """Return none where a seed's number is undefined: a mean of the others would flatter."""
    return NO_INTERVAL if any(map(math.isnan, values)) else seed_interval(values, scale)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
