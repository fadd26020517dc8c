"""Claims and verdicts, on records made up to bear them out, contradict them, or say too little."""

import json
import math
from dataclasses import asdict, replace

import pytest
from tests.lab.synthetic import LETTERS, synthetic_run, synthetic_runs

from callosal.lab.report.claims import CLAIMS, MIN_SEEDS, Verdict, evidence, judge
from callosal.lab.report.records import RunRecord

SEEDS = range(4)


def measured(arm: str, seed: int, **measures) -> RunRecord:
    """Make up a run whose specialization is as given."""
    run = synthetic_run(arm, seed)
    found = run.evaluation["specialization"] | measures
    return replace(run, evaluation=run.evaluation | {"specialization": found})


def evaluated(arm: str, seed: int, **measures) -> RunRecord:
    """Make up a run whose evaluation is as given."""
    run = synthetic_run(arm, seed)
    return replace(run, evaluation=run.evaluation | measures)


def retained(
    arm: str, seed: int, recall: list[float], marks: tuple[int, ...] = (0, 1000)
) -> RunRecord:
    """Make up a run whose retention is as given."""
    kept = {"distractors": list(marks), "recall": recall, "loss": [0.0] * len(recall)}
    return synthetic_run(arm, seed, retention=kept)


def verdict_on(name: str, records: list[RunRecord]) -> Verdict:
    return next(verdict for verdict in judge(records) if verdict.id == name)


def test_names_are_unique_and_every_claim_has_a_limit_and_a_source():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert (claim.least, claim.most) != (None, None)
        assert claim.source == "ours" or claim.source.startswith("arXiv 2603.03355, abstract")
        assert claim.claim.endswith(".")
        assert claim.wanted in claim.criterion
        assert claim.measure in claim.criterion


def test_a_study_that_went_as_reported():
    verdicts = {verdict.id: verdict for verdict in judge(synthetic_runs(3))}
    assert list(verdicts) == [claim.id for claim in CLAIMS]
    # The synthetic excitatory arm splits evenly, which is not one bank for everything.
    assert verdicts.pop("excitatory-one-bank").verdict == "not reproduced"
    assert {verdict.verdict for verdict in verdicts.values()} == {"reproduced"}
    assert all(verdict.seeds == [0, 1, 2] for verdict in verdicts.values())


def test_too_few_seeds_reproduce_nothing():
    for verdict in judge(synthetic_runs(MIN_SEEDS - 1)):
        assert verdict.verdict in ("undecided", "not reproduced")
        assert verdict.seeds == list(range(MIN_SEEDS - 1))


def test_no_evidence_is_undecided():
    for verdict in judge([]):
        assert verdict.verdict == "undecided"
        assert verdict.seeds == verdict.per_seed == []
        assert (verdict.measured, verdict.low, verdict.high) == (None, None, None)


@pytest.mark.parametrize(
    ("cross_talks", "wanted"),
    [
        ([0.010, 0.002, 0.001, 0.004], "reproduced"),
        ([0.011, 0.002, 0.001, 0.004], "undecided"),  # one seed fails, the interval does not
        ([0.009, 0.050, 0.051, 0.052], "undecided"),  # one seed meets it, the interval reaches in
        ([0.0099, 0.050, 0.051, 0.052, 0.05, 0.05, 0.05, 0.05], "not reproduced"),
        ([0.050, 0.060, 0.011, 0.070], "not reproduced"),  # no seed meets it
        ([0.020], "not reproduced"),
        ([0.001], "undecided"),
    ],
)
def test_the_rule(cross_talks, wanted):
    records = [measured("inhibitory", s, cross_talk=value) for s, value in enumerate(cross_talks)]
    verdict = verdict_on("inhibitory-cross-talk", records)
    assert verdict.verdict == wanted
    assert verdict.per_seed == cross_talks


def test_one_seed_has_no_interval_and_json_has_no_infinity():
    verdict = verdict_on("inhibitory-cross-talk", [synthetic_run("inhibitory", 3)])
    assert (verdict.low, verdict.high) == (None, None)
    assert verdict.measured == verdict.per_seed[0]
    json.dumps([asdict(verdict) for verdict in judge(synthetic_runs(1))], allow_nan=False)


@pytest.mark.parametrize(
    ("separation", "value"),
    [
        ([0.995, -1.0], 0.995),
        ([-0.995, 0.992], 0.992),
        ([0.995, 0.999], -0.995),
        ([-1.0, -0.9], -0.9),
        ([1.0, 0.0], 0.0),
    ],
)
def test_separation_with_equal_signs_counts_against(separation, value):
    verdict = verdict_on(
        "inhibitory-separation", [measured("inhibitory", 0, separation=separation)]
    )
    assert verdict.per_seed == [value]


def test_the_ratio_is_paired_by_seed_and_its_interval_is_on_logarithms():
    ratios = [100.0, 200.0, 400.0]
    records = [evaluated("no-memory", s, cipher_loss=0.5 + s) for s in range(3)]
    records += [
        evaluated("inhibitory", s, cipher_loss=(0.5 + s) / ratio) for s, ratio in enumerate(ratios)
    ]
    verdict = verdict_on("inhibitory-cipher-ratio", records)
    assert verdict.per_seed == pytest.approx(ratios)
    assert verdict.measured == pytest.approx(200.0)
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low * verdict.high == pytest.approx(200.0**2)
    assert verdict.verdict == "undecided"


def test_only_seeds_that_both_arms_have_make_a_ratio():
    records = [synthetic_run("no-memory", s) for s in (0, 1, 2, 3)]
    records += [synthetic_run("inhibitory", s) for s in (1, 2, 3, 4)]
    assert verdict_on("inhibitory-cipher-ratio", records).seeds == [1, 2, 3]


def test_a_loss_of_zero_gives_a_finite_ratio():
    records = [synthetic_run("no-memory", 0), evaluated("inhibitory", 0, cipher_loss=0.0)]
    value = verdict_on("inhibitory-cipher-ratio", records).per_seed[0]
    assert value == pytest.approx(records[0].evaluation["cipher_loss"] * 2**23)


@pytest.mark.parametrize(
    ("factor", "met"), [(1.0, True), (1.009, True), (0.98, False), (1.02, False)]
)
def test_the_baseline_is_held_to_chance(factor, met):
    records = [evaluated("no-memory", s, cipher_loss=factor * math.log(LETTERS)) for s in range(3)]
    verdict = verdict_on("baseline-at-chance", records)
    assert verdict.verdict == ("reproduced" if met else "not reproduced")
    assert verdict.measured == pytest.approx(factor)


@pytest.mark.parametrize(
    ("difference", "met"), [(0.0, True), (-0.009, True), (0.02, False), (-0.02, False)]
)
def test_arithmetic_is_equal_in_both_directions(difference, met):
    records = [evaluated("no-memory", s, arithmetic_loss=0.05) for s in range(3)]
    records += [evaluated("inhibitory", s, arithmetic_loss=0.05 + difference) for s in range(3)]
    verdict = verdict_on("inhibitory-arithmetic", records)
    assert verdict.verdict == ("reproduced" if met else "not reproduced")


def test_an_even_split_is_not_one_bank_for_everything():
    even = [measured("excitatory", s, cross_talk=0.5, dominance=0.5) for s in range(3)]
    one = [measured("excitatory", s, cross_talk=0.5, dominance=0.97) for s in range(3)]
    assert verdict_on("excitatory-cross-talk", even).verdict == "reproduced"
    assert verdict_on("excitatory-one-bank", even).verdict == "not reproduced"
    assert verdict_on("excitatory-one-bank", one).verdict == "reproduced"


def test_a_task_loss_that_is_equal_is_not_lower():
    records = [
        evaluated(arm, s, cipher_loss=0.25, arithmetic_loss=0.25)
        for arm in ("inhibitory", "excitatory")
        for s in range(3)
    ]
    assert verdict_on("excitatory-task-loss", records).verdict == "not reproduced"


def test_retention_is_recall_after_most_over_recall_after_none():
    records = [retained("inhibitory", s, [0.8, 0.9, 0.78], (0, 10, 100)) for s in range(3)]
    verdict = verdict_on("inhibitory-retention", records)
    assert verdict.per_seed == pytest.approx([0.975] * 3)
    assert verdict.verdict == "reproduced"


@pytest.mark.parametrize("arm", ["inhibitory", "excitatory"])
def test_who_learned_nothing_neither_keeps_nor_loses_it(arm):
    claim = {"inhibitory": "inhibitory-retention", "excitatory": "excitatory-forgetting"}[arm]
    for recall in ([0.125, 0.125], [0.125, 0.01], [0.0, 0.0]):
        verdict = verdict_on(claim, [retained(arm, s, recall) for s in range(3)])
        assert verdict.per_seed == [None] * 3
        assert verdict.measured is None
        assert verdict.verdict == "not reproduced"


def test_retention_that_was_not_measured_is_no_evidence():
    for marks in [(10, 100), (0,)]:
        runs = [retained("inhibitory", s, [1.0] * len(marks), marks) for s in range(3)]
        verdict = verdict_on("inhibitory-retention", runs)
        assert (verdict.seeds, verdict.verdict) == ([], "undecided")


def test_a_measure_that_is_no_number_counts_as_a_failure():
    records = [synthetic_run("inhibitory", s) for s in range(3)]
    records[1] = measured("inhibitory", 1, cross_talk=math.nan)
    verdict = verdict_on("inhibitory-cross-talk", records)
    assert verdict.seeds == [0, 1, 2]
    assert verdict.per_seed[1] is None
    assert verdict.verdict == "undecided"


def test_losses_that_are_infinite_or_zero_give_no_error():
    losses = [(0.0, 0.0), (math.inf, 1.0), (1.0, math.inf), (math.nan, 1.0)]
    records = []
    for seed, (loss, baseline) in enumerate(losses):
        for arm, value in (("inhibitory", loss), ("excitatory", loss), ("no-memory", baseline)):
            records.append(evaluated(arm, seed, cipher_loss=value))
    verdict = verdict_on("inhibitory-cipher-ratio", records)
    assert verdict.per_seed == [1.0, None, None, None]
    assert verdict.verdict == "not reproduced"


def test_changed_runs_are_no_evidence():
    records = [synthetic_run("inhibitory", s, changed=["memory.gain=6"]) for s in SEEDS]
    assert evidence(records) == []
    assert evidence([*records, synthetic_run("inhibitory", 0)]) == [synthetic_run("inhibitory", 0)]


def test_evidence_is_ordered_and_counts_a_run_once():
    records = synthetic_runs(2)
    assert evidence([*reversed(records), *records]) == records


def test_runs_that_cannot_be_compared_are_refused():
    one = synthetic_run("inhibitory", 0)
    with pytest.raises(ValueError, match="several recipes lie together: paper, synthetic"):
        judge([one, synthetic_run("excitatory", 0, recipe="paper")])
    with pytest.raises(ValueError, match="inhibitory, seed 0, is on record with two"):
        judge([one, replace(one, fingerprint="other")])
    longer = one.config | {"training": {"num_steps": 7}}
    with pytest.raises(ValueError, match=r"the arm inhibitory have different .*seed 1"):
        judge([one, synthetic_run("inhibitory", 1, config=longer)])
    harder = one.config | {"episodes": {"num_letters": 26}}
    with pytest.raises(ValueError, match="different episodes"):
        judge([one, synthetic_run("excitatory", 0, config=harder)])
