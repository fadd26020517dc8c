"""What was reported, what we hold ourselves to, and what recorded runs say to it. Imports no torch.

A claim turns the runs of one seed into one number and says which numbers would bear it out. Each
says whether it was reported (arXiv 2603.03355, of which the abstract is known) or is ours; the
formulas and tolerances of all measures are ours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from callosal.lab.measures.intervals import Interval, log_ratio_interval, mean_interval
from callosal.lab.report.records import ARMS, RunRecord

MIN_SEEDS = 3
PAPER = "arXiv 2603.03355, abstract"
OURS = "ours"

# Single precision cannot tell a cross-entropy below this from zero, so no ratio may rest on less.
SMALLEST_LOSS = 2.0**-23
# A model that recalls less than this after no distractors has nothing that it could keep or lose.
LEAST_TO_KEEP = 0.5

VerdictName = Literal["reproduced", "not reproduced", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that recorded runs can bear out or contradict.

    Attributes:
        id: a short name, never reused.
        claim: one plain sentence.
        source: where it was reported, or "ours".
        reported: the figure as reported, or what we ask for.
        measure: what the number of a seed is.
        arms: the arms whose runs of one seed ``value`` is given, in this order.
        value: the number of a seed; NaN meets no criterion, None is no evidence.
        least: the smallest value that bears the claim out; None is no limit.
        most: the largest; None is no limit.
        strict: whether the limits themselves fail.
        is_ratio: whether the interval is taken on logarithms.
        unit: written behind the number.
    """

    id: str
    claim: str
    source: str
    reported: str
    measure: str
    arms: tuple[str, ...]
    value: Callable[..., float | None]
    least: float | None = None
    most: float | None = None
    strict: bool = False
    is_ratio: bool = False
    unit: str = ""

    @property
    def wanted(self) -> str:
        """The criterion in a few words, such as "at least 0.99"."""
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}{self.unit}"
        if self.least is not None:
            return f"{'above' if self.strict else 'at least'} {self.least:g}{self.unit}"
        return f"{'below' if self.strict else 'at most'} {self.most:g}{self.unit}"

    @property
    def criterion(self) -> str:
        """How the verdict is reached, in words."""
        scale = "the logarithms of the seeds" if self.is_ratio else "the seeds"
        return (
            f"Per seed: {self.measure}. Wanted: {self.wanted}. Reproduced if every seed meets it "
            f"and there are at least {MIN_SEEDS}; not reproduced if no seed does or the 95 % t "
            f"interval over {scale} lies wholly on the wrong side; otherwise undecided."
        )

    def meets(self, value: float) -> bool:
        """Whether a seed's number bears the claim out."""
        if math.isnan(value) or (self.strict and value in (self.least, self.most)):
            return False
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def excludes(self, interval: Interval) -> bool:
        """Whether an interval lies wholly on the wrong side."""
        below = self.least is not None and interval.high < self.least
        above = self.most is not None and interval.low > self.most
        return below or above


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim and what the runs say to it; ``claims.json`` is a list of these.

    Attributes:
        id: of the claim.
        claim: its sentence.
        source: where it was reported, or "ours".
        reported: the figure as reported.
        measured: mean over seeds, geometric for ratios; None without evidence.
        low: lower end of its 95 % interval; None where that is infinite or undefined.
        high: upper end.
        seeds: the seeds that count.
        per_seed: their numbers; None for one that is undefined, which meets no criterion.
        verdict: reproduced, not reproduced or undecided.
        criterion: how it was reached, in words.
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


def chance_ratio(baseline: RunRecord) -> float | None:
    """Return the cipher loss over ln K, which is 1 for a model that knows nothing of the cipher."""
    chance = math.log(baseline.config["episodes"]["num_letters"])
    return baseline.evaluation["cipher_loss"] / chance


def signed_separation(record: RunRecord) -> float | None:
    """Return the smaller size of the domains' D_sep, negative when the signs do not differ."""
    measures = record.evaluation["specialization"]
    if measures is None:
        return None
    separation = measures["separation"]
    smallest = min(abs(value) for value in separation)
    return smallest if min(separation) < 0.0 < max(separation) else -smallest


def cross_talk(record: RunRecord) -> float | None:
    """Return P_ct, the mean share outside a domain's own bank."""
    return (record.evaluation["specialization"] or {}).get("cross_talk")


def dominance(record: RunRecord) -> float | None:
    """Return the largest mean share of a bank over all domains."""
    return (record.evaluation["specialization"] or {}).get("dominance")


def cipher_ratio(record: RunRecord, baseline: RunRecord) -> float | None:
    """Return how many times lower the cipher loss is than the baseline's."""
    losses = [max(run.evaluation["cipher_loss"], SMALLEST_LOSS) for run in (baseline, record)]
    return losses[0] / losses[1]


def arithmetic_difference(record: RunRecord, baseline: RunRecord) -> float | None:
    """Return the arithmetic loss minus the baseline's, in nats."""
    return record.evaluation["arithmetic_loss"] - baseline.evaluation["arithmetic_loss"]


def task_ratio(record: RunRecord, other: RunRecord) -> float | None:
    """Return the task loss, cipher + arithmetic, as a multiple of another run's."""
    losses = [
        max(run.evaluation["cipher_loss"] + run.evaluation["arithmetic_loss"], SMALLEST_LOSS)
        for run in (record, other)
    ]
    return losses[0] / losses[1]


def kept_share(record: RunRecord) -> float | None:
    """Return recall after the most distractors over recall after none; NaN if nothing was learnt."""
    return share_kept(record.retention)


def share_kept(retention: dict) -> float | None:
    """Return the same of a retention by itself; None if it was not measured after none and after some."""
    marks, recall = retention["distractors"], retention["recall"]
    if 0 not in marks or max(marks) == 0:
        return None
    none, most = (recall[marks.index(mark)] for mark in (0, max(marks)))
    return most / none if none >= LEAST_TO_KEEP else math.nan


KEPT = (
    "recall of the cipher after the most distractor segments as a share of recall after none, "
    f"undefined (and not met) where recall after none is below {LEAST_TO_KEEP:g}"
)

CLAIMS: tuple[Claim, ...] = (
    # Ours: what no memory must give, without which no ratio means anything.
    Claim(
        id="baseline-at-chance",
        claim="Without a memory the cipher loss stays at chance, ln K.",
        source=OURS,
        reported="1 (ln K)",
        measure="the baseline's cipher loss over ln K",
        arms=("no-memory",),
        value=chance_ratio,
        least=0.99,
        most=1.01,
    ),
    # Reported: saturated specialization, D_sep = +-1.00. The tolerance is ours.
    Claim(
        id="inhibitory-separation",
        claim="Inhibitory: each domain has a bank of its own, saturated.",
        source=PAPER,
        reported="+-1.00",
        measure="the smaller |D_sep| of the two domains, made negative if their signs are equal",
        arms=("inhibitory",),
        value=signed_separation,
        least=0.99,
    ),
    # Reported: P_ct ~ 0. The tolerance is ours.
    Claim(
        id="inhibitory-cross-talk",
        claim="Inhibitory: hardly any activity in the other domain's bank.",
        source=PAPER,
        reported="~0",
        measure="P_ct of the inhibitory arm",
        arms=("inhibitory",),
        value=cross_talk,
        most=0.01,
    ),
    # Reported: 124x lower cipher loss than the baseline without the memory.
    Claim(
        id="inhibitory-cipher-ratio",
        claim="Inhibitory: cipher loss at least 124 times below the baseline's.",
        source=PAPER,
        reported="124x",
        measure="the baseline's cipher loss over the inhibitory arm's, paired by seed",
        arms=("inhibitory", "no-memory"),
        value=cipher_ratio,
        least=124.0,
        is_ratio=True,
        unit="x",
    ),
    # Reported: equal on arithmetic. The tolerance is ours.
    Claim(
        id="inhibitory-arithmetic",
        claim="Inhibitory: arithmetic loss equal to the baseline's.",
        source=PAPER,
        reported="equal",
        measure="the inhibitory arm's arithmetic loss minus the baseline's, paired by seed",
        arms=("inhibitory", "no-memory"),
        value=arithmetic_difference,
        least=-0.01,
        most=0.01,
        unit=" nats",
    ),
    # Reported: P_ct -> 0.5. The tolerance is ours.
    Claim(
        id="excitatory-cross-talk",
        claim="Excitatory: the banks do not specialize, P_ct goes to 0.5.",
        source=PAPER,
        reported="-> 0.5",
        measure="P_ct of the excitatory arm",
        arms=("excitatory",),
        value=cross_talk,
        least=0.45,
    ),
    # Reported: one bank monopolises all inputs. An even split gives P_ct 0.5 too.
    Claim(
        id="excitatory-one-bank",
        claim="Excitatory: one bank takes everything.",
        source=PAPER,
        reported="one bank monopolises all inputs",
        measure="dominance, the largest mean share of a bank (0.5 is an even split, 1 one bank)",
        arms=("excitatory",),
        value=dominance,
        least=0.9,
    ),
    # Reported: "although the task loss falls"; that the inhibitory arm's is meant is our reading.
    Claim(
        id="excitatory-task-loss",
        claim="Excitatory: its task loss is nevertheless below the inhibitory arm's.",
        source=PAPER + " (our reading: lower than the inhibitory arm's)",
        reported="task loss falls",
        measure="cipher + arithmetic loss over the inhibitory arm's, paired by seed",
        arms=("excitatory", "inhibitory"),
        value=task_ratio,
        most=1.0,
        strict=True,
        is_ratio=True,
        unit="x",
    ),
    # Ours: what lateralization is for.
    Claim(
        id="inhibitory-retention",
        claim="Inhibitory: the cipher is kept through a long stream of arithmetic.",
        source=OURS,
        reported="at least 0.95",
        measure=KEPT,
        arms=("inhibitory",),
        value=kept_share,
        least=0.95,
    ),
    # Ours: what its absence costs. The uncoupled arm's figure is in the tables, without threshold.
    Claim(
        id="excitatory-forgetting",
        claim="Excitatory: the cipher is lost in the same stream.",
        source=OURS,
        reported="below 0.5",
        measure=KEPT,
        arms=("excitatory",),
        value=kept_share,
        most=0.5,
        strict=True,
    ),
)


def evidence(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that count: on their recipe, each once, ordered by arm and seed.

    Raises:
        ValueError: runs of several recipes, of one arm with several configurations, or on several
            benchmarks, none of which can be compared.
    """
    found: dict[tuple[str, int], RunRecord] = {}
    for record in (record for record in records if not record.changed):
        found.setdefault((record.arm, record.seed), record)
        if found[record.arm, record.seed].fingerprint != record.fingerprint:
            raise ValueError(
                f"{record.arm}, seed {record.seed}, is on record with two configurations; keep "
                "those of one version of the recipe in runs.jsonl"
            )
    kept = sorted(found.values(), key=lambda record: (_place(record.arm), record.seed))
    recipes = sorted({record.recipe for record in kept})
    if len(recipes) > 1:
        raise ValueError(
            f"runs of several recipes lie together: {', '.join(recipes)}; a study is of one recipe, "
            "so give each a folder of its own"
        )
    settings: dict[str, dict] = {}
    for record in kept:
        own = {name: value for name, value in record.config.items() if name != "seed"}
        if settings.setdefault(record.arm, own) != own:
            raise ValueError(
                f"runs of the arm {record.arm} have different configurations (seed {record.seed} is "
                "the first to differ); keep those of one version of the recipe in runs.jsonl"
            )
    # The cells of a study may differ in anything; its claims say which of them they compare.
    are_arms = set(settings) <= set(ARMS)
    if are_arms and any(o["episodes"] != kept[0].config["episodes"] for o in settings.values()):
        raise ValueError("the arms were run on different episodes; they cannot be compared")
    return kept


def judge(records: Sequence[RunRecord], claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """Judge every claim by the runs that count; one that lacks evidence is undecided.

    ``claims`` are those of the benchmark if none are given.

    Raises:
        ValueError: see ``evidence``.
    """
    found = {(record.arm, record.seed): record for record in evidence(records)}
    return [_judge(claim, found) for claim in claims]


def _judge(claim: Claim, found: dict[tuple[str, int], RunRecord]) -> Verdict:
    numbers: dict[int, float] = {}
    for seed in sorted({seed for _, seed in found}):
        if all((arm, seed) in found for arm in claim.arms):
            value = claim.value(*(found[arm, seed] for arm in claim.arms))
            if value is not None:
                is_number = math.isfinite(value) and not (claim.is_ratio and value <= 0.0)
                numbers[seed] = value if is_number else math.nan
    values = list(numbers.values())
    interval = _interval(values, claim.is_ratio)
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
        reported=claim.reported,
        measured=_finite(interval.estimate),
        low=_finite(interval.low),
        high=_finite(interval.high),
        seeds=list(numbers),
        per_seed=[_finite(value) for value in values],
        verdict=verdict,
        criterion=claim.criterion,
    )


def _interval(values: list[float], is_ratio: bool) -> Interval:
    if not values or any(math.isnan(value) for value in values):
        return Interval(estimate=math.nan, low=math.nan, high=math.nan)
    # The values are ratios already, paired by seed, hence the ones.
    return log_ratio_interval(values, [1.0] * len(values)) if is_ratio else mean_interval(values)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _place(arm: str) -> int:
    return ARMS.index(arm) if arm in ARMS else len(ARMS)
