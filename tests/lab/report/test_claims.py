"""Claims and verdicts, on records made up to bear them out, contradict them, or say too little."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest
from tests.lab.synthetic import CHANCE, SHORT, run, runs, study

from callosal.lab.report.claims import OURS, Claim, Verdict, judge, read_claims
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import MIN_SEEDS, Quantity, make_study, of
from callosal.lab.studies.benchmark import LAYOUT
from callosal.lab.studies.catalog import BENCHMARK, NAMES, layout_of

EVERY = [claim for name in (*NAMES, BENCHMARK) for claim in layout_of(name).claims]
LOSS, RULE, P_CT = of("loss", "episodic"), of("loss", "rule"), of("P_ct")


def verdicts(*records: RunRecord) -> dict[str, Verdict]:
    """Judge made-up runs as the benchmark's report does, with what it derives."""
    made = make_study("made-up", records, (), LAYOUT.derive, LAYOUT.scales)
    return {verdict.id: verdict for verdict in judge(made, LAYOUT.claims)}


def seeds_of(arm: str, *values: Mapping[Quantity, float | None]) -> list[RunRecord]:
    return [run(arm, seed, changes) for seed, changes in enumerate(values)]


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
def test_every_claim_says_what_it_is_and_what_would_bear_it_out(claim: Claim) -> None:
    assert [other.id for other in EVERY].count(claim.id) == 1
    assert (claim.at_least, claim.at_most) != (None, None)
    assert claim.claim.endswith(".")
    assert all(words in claim.criterion for words in (claim.wanted, claim.measure))
    assert claim.source == OURS or (claim.source.startswith("arXiv 2603.0") and claim.reported)
    assert len(claim.arms) == {"only": 1, "ratio": 2, "difference": 2}.get(claim.combine, len(claim.arms))
    # No cell is asked for that its study does not run.
    assert claim.arms


def test_a_study_that_went_as_reported() -> None:
    found = verdicts(*runs(3))
    assert list(found) == [claim.id for claim in LAYOUT.claims]
    # The synthetic excitatory arm splits evenly, which is not one bank for everything; the uncoupled one forgets.
    for name in ("excitatory-one-bank", "uncoupled-retention"):
        assert found.pop(name).verdict == "not reproduced"
    assert {verdict.verdict for verdict in found.values()} == {"reproduced"}
    assert all(verdict.seeds == [0, 1, 2] for verdict in found.values())


def test_too_few_seeds_reproduce_nothing_and_none_say_nothing() -> None:
    for verdict in verdicts(*runs(MIN_SEEDS - 1)).values():
        assert verdict.verdict in ("undecided", "not reproduced")
        assert verdict.seeds == list(range(MIN_SEEDS - 1))
    for verdict in judge(study(), EVERY):
        assert (verdict.verdict, verdict.seeds, verdict.per_seed) == ("undecided", [], [])
        assert (verdict.measured, verdict.low, verdict.high) == (None, None, None)
    # One seed has no interval, and JSON no infinity.
    found = verdicts(*runs(1))
    verdict = found["inhibitory-cross-talk"]
    assert (verdict.measured, verdict.low, verdict.high) == (*verdict.per_seed, None, None)
    json.dumps([asdict(verdict) for verdict in found.values()], allow_nan=False)


@pytest.mark.parametrize(
    ("outside", "wanted"),
    [
        ([0.010, 0.002, 0.001, 0.004], "reproduced"),
        ([0.011, 0.002, 0.001, 0.004], "undecided"),  # one seed fails, the interval does not
        ([0.009, 0.011, 0.020, 0.090], "undecided"),  # one seed meets it, the interval reaches in
        ([0.0099, 0.050, 0.051, 0.052, 0.05, 0.05, 0.05, 0.05], "not reproduced"),
        ([0.050, 0.060, 0.011, 0.070], "not reproduced"),  # no seed meets it
        ([0.020], "not reproduced"),
        ([0.001], "undecided"),
    ],
)
def test_the_rule(outside: list[float], wanted: str) -> None:
    verdict = verdicts(*seeds_of("inhibitory", *({P_CT: v} for v in outside)))["inhibitory-cross-talk"]
    assert (verdict.verdict, verdict.per_seed) == (wanted, outside)


@pytest.mark.parametrize(
    ("cipher", "arithmetic", "value"),
    [(0.995, -1.0, 0.995), (-0.995, 0.992, 0.992), (0.995, 0.999, -0.995), (-1.0, -0.9, -0.9), (1.0, 0.0, 0.0)],
)
def test_separation_with_equal_signs_counts_against(cipher: float, arithmetic: float, value: float) -> None:
    changes = {of("D_sep", "cipher"): cipher, of("D_sep", "arithmetic"): arithmetic}
    verdict = verdicts(run("inhibitory", 0, changes))["inhibitory-separation"]
    assert verdict.per_seed == [value]


def test_the_ratio_is_paired_by_seed_and_its_interval_is_on_logarithms() -> None:
    ratios = [100.0, 200.0, 400.0]
    base = seeds_of("no-memory", *({LOSS: 0.5 + seed} for seed in range(3)))
    own = seeds_of("inhibitory", *({LOSS: (0.5 + s) / ratio} for s, ratio in enumerate(ratios)))
    verdict = verdicts(*base, *own)["inhibitory-cipher-ratio"]
    assert verdict.per_seed == pytest.approx(ratios)
    assert (verdict.measured, verdict.verdict) == (pytest.approx(200.0), "undecided")
    assert (verdict.low or 0.0) * (verdict.high or 0.0) == pytest.approx(200.0**2)
    # Only seeds that both arms have make a ratio.
    records = [run(arm, s) for arm, seeds in (("no-memory", (0, 1, 2, 3)), ("inhibitory", (1, 2, 3, 4))) for s in seeds]
    assert verdicts(*records)["inhibitory-cipher-ratio"].seeds == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "changes", "met"),
    [
        # The baseline is held to chance, and arithmetic to be equal, in both directions.
        *(("baseline-at-chance", {"no-memory": {LOSS: x * CHANCE}}, True) for x in (1.0, 1.009)),
        *(("baseline-at-chance", {"no-memory": {LOSS: x * CHANCE}}, False) for x in (0.98, 1.02)),
        ("inhibitory-arithmetic", {"no-memory": {RULE: 0.05}, "inhibitory": {RULE: 0.041}}, True),
        ("inhibitory-arithmetic", {"no-memory": {RULE: 0.05}, "inhibitory": {RULE: 0.03}}, False),
        ("inhibitory-arithmetic", {"no-memory": {RULE: 0.05}, "inhibitory": {RULE: 0.07}}, False),
        # An even split is not one bank for everything.
        ("excitatory-one-bank", {"excitatory": {P_CT: 0.5, of("dominance"): 0.5}}, False),
        ("excitatory-one-bank", {"excitatory": {P_CT: 0.5, of("dominance"): 0.97}}, True),
        # A loss that is equal is not lower, and half is not below half.
        ("excitatory-task-loss", {arm: {LOSS: 0.25, RULE: 0.25} for arm in ("inhibitory", "excitatory")}, False),
        ("excitatory-forgetting", {"excitatory": {of("recall", after=1000): 0.5}}, False),
        ("excitatory-forgetting", {"excitatory": {of("recall", after=1000): 0.49}}, True),
        # Recall after most over recall after none, whatever it is in between.
        ("inhibitory-retention", {"inhibitory": {of("recall", after=0): 0.8, of("recall", after=1000): 0.78}}, True),
    ],
)
def test_limits(name: str, changes: dict[str, dict[Quantity, float]], met: bool) -> None:
    records = [run(arm, seed, values) for arm, values in changes.items() for seed in range(3)]
    assert verdicts(*records)[name].verdict == ("reproduced" if met else "not reproduced")


@pytest.mark.parametrize(
    ("arm", "name"), [("inhibitory", "inhibitory-retention"), ("excitatory", "excitatory-forgetting")]
)
@pytest.mark.parametrize("last", [0.125, 0.01, 0.0, math.nan])
def test_who_learned_nothing_neither_keeps_nor_loses_it(arm: str, name: str, last: float) -> None:
    changes = {of("recall", after=0): 0.125, of("recall", after=1000): last}
    verdict = verdicts(*seeds_of(arm, *[changes] * 3))[name]
    assert (verdict.per_seed, verdict.measured, verdict.verdict) == ([None] * 3, None, "not reproduced")
    # What was not measured is no evidence.
    for gone in ({of("recall", after=0): None}, SHORT):
        verdict = verdicts(*seeds_of(arm, *[gone] * 3))[name]
        assert (verdict.seeds, verdict.verdict) == ([], "undecided")


def test_a_measure_that_is_no_number_counts_as_a_failure() -> None:
    records = seeds_of("inhibitory", {}, {P_CT: math.nan}, {P_CT: math.inf})
    verdict = verdicts(*records)["inhibitory-cross-talk"]
    assert (verdict.seeds, verdict.per_seed[1:], verdict.verdict) == ([0, 1, 2], [None, None], "undecided")
    # Losses that are infinite or zero give no error, and what is not above zero is no ratio.
    pairs = [(0.0, 0.0), (0.0, 1.0), (math.inf, 1.0), (1.0, math.inf), (math.nan, 1.0)]
    base = seeds_of("no-memory", *({LOSS: loss} for _, loss in pairs))
    own = seeds_of("inhibitory", *({LOSS: loss} for loss, _ in pairs))
    verdict = verdicts(*base, *own)["inhibitory-cipher-ratio"]
    assert verdict.per_seed == [1.0, 2.0**23, None, None, None]


def made_claim(**fields: Any) -> Claim:
    arms = ("inhibitory", "uncoupled", "excitatory")
    return Claim(id="made-up", claim="So.", measure="m", quantity=P_CT, arms=arms, **fields)


def test_extremes_are_over_the_arms_that_have_the_number() -> None:
    records = [run("inhibitory", 0, {P_CT: 0.1}), run("uncoupled", 0, {P_CT: 0.4})]
    records += [run("excitatory", 0, {P_CT: None}), run("inhibitory", 1, {P_CT: 0.3})]
    claims = (made_claim(combine="largest", at_most=0.4), made_claim(combine="smallest", at_least=0.2))
    largest, smallest = judge(study(*records), claims)
    # Seed 1 lacks two of the arms.
    assert (largest.seeds, largest.per_seed) == ([0], [0.4])
    assert (smallest.per_seed, smallest.verdict) == ([0.1], "not reproduced")


ROW = {"id": "x", "claim": "So.", "quantity": "P_ct", "arms": ["s=-1"], "at_most": 0.1}


def test_claims_are_read_from_rows_and_mistakes_are_named() -> None:
    (alone,) = read_claims([ROW])
    assert (alone.quantity, alone.arms) == (P_CT, ("s=-1",))
    assert alone.measure.endswith(", of 's=-1'")
    rows = [ROW | {"each": ["A", "B"], "id": f"{{lower}}-{n}", "arms": ["{each}"]} for n in (1, 2)]
    assert [claim.id for claim in read_claims(rows)] == ["a-1", "a-2", "b-1", "b-2"]
    for wrong in (ROW | {"least": 1.0}, {k: v for k, v in ROW.items() if k != "arms"}, ROW | {"quantity": {"on": "x"}}):
        with pytest.raises(ValueError, match="claim 'x': "):
            read_claims([wrong])
