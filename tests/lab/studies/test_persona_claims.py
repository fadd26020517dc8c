"""The claims of the persona study: met, just met, missed, and without what they would be judged by."""

import math
from collections.abc import Callable

import pytest
from callosal.lab.studies.persona.claims import MAIN, PERSONA_CLAIMS
from tests.lab.synthetic_persona import (
    CHANCE,
    SEEDS,
    answering,
    chatting,
    persona_run,
    persona_runs,
    recalling,
    talking,
    without_chatter,
)

from callosal.lab.report.claims import judge
from callosal.lab.report.records import RunRecord

GPT2, LLAMA = MAIN["GPT-2"], MAIN["Llama"]


def verdicts_on(runs: list[RunRecord]) -> dict[str, str]:
    return {verdict.id: verdict.verdict for verdict in judge(runs, PERSONA_CLAIMS)}


def test_the_study_went_as_we_ask():
    assert set(verdicts_on(persona_runs()).values()) == {"reproduced"}
    assert set(verdicts_on(persona_runs(2)).values()) == {"undecided"}


@pytest.mark.parametrize("cell", [GPT2, LLAMA])
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("recall", lambda run: answering(run, memory=0.949)),
        ("reset", lambda run: answering(run, reset=CHANCE + 0.051)),
        ("others", lambda run: answering(run, others=CHANCE + 0.051)),
        ("rules", lambda run: answering(run, rule=0.98, rule_before=0.991)),
        ("banks", lambda run: talking(run, 0.051)),
        ("retention", lambda run: recalling(run, 1.0, 0.949)),
        ("chatter", lambda run: chatting(run, 1.0, 0.949)),
    ],
)
def test_a_claim_turns_red_on_bad_runs(cell, name, spoil: Callable[[RunRecord], RunRecord]):
    place = f"persona-{cell.lower()}-{name}"
    bad = [spoil(persona_run(cell, seed)) for seed in SEEDS]
    verdicts = verdicts_on([run for run in persona_runs() if run.arm != cell] + bad)
    assert verdicts.pop(place) == "not reproduced"
    assert set(verdicts.values()) == {"reproduced"}
    spoilt = [persona_run(cell, 1), persona_run(cell, 2), bad[2]]
    assert verdicts_on(spoilt)[place] != "reproduced"


@pytest.mark.parametrize(
    ("name", "just"),
    [
        ("recall", lambda run: answering(run, memory=0.95)),
        ("reset", lambda run: answering(run, reset=CHANCE + 0.049)),
        ("rules", lambda run: answering(run, rule=0.9801, rule_before=0.99)),
        ("banks", lambda run: talking(run, 0.05)),
        ("retention", lambda run: recalling(run, 1.0, 0.95)),
        ("chatter", lambda run: chatting(run, 1.0, 0.95)),
    ],
)
def test_a_claim_that_is_just_met_is_met(name, just: Callable[[RunRecord], RunRecord]):
    runs = [just(persona_run(LLAMA, seed)) for seed in SEEDS]
    assert verdicts_on(runs)[f"persona-llama-{name}"] == "reproduced"


def test_what_was_not_asked_after_chatter_is_undecided():
    runs = [without_chatter(persona_run(LLAMA, seed)) for seed in SEEDS]
    found = {verdict.id: verdict for verdict in judge(runs, PERSONA_CLAIMS)}
    assert found["persona-llama-chatter"].verdict == "undecided"
    assert found["persona-llama-chatter"].seeds == []
    assert found["persona-llama-retention"].verdict == "reproduced"


def test_rules_and_chatter_are_claims_of_their_own():
    runs = [chatting(persona_run(LLAMA, seed), 0.94, 0.1) for seed in SEEDS]
    found = {verdict.id: verdict for verdict in judge(runs, PERSONA_CLAIMS)}
    assert found["persona-llama-retention"].verdict == "reproduced"
    assert found["persona-llama-chatter"].verdict == "not reproduced"
    assert found["persona-llama-chatter"].measured == pytest.approx(0.1 / 0.94)


def test_layers_and_variants_count_for_no_claim():
    runs = [run for run in persona_runs() if run.arm not in MAIN.values()]
    assert {verdict.verdict for verdict in judge(runs, PERSONA_CLAIMS)} == {"undecided"}


def test_a_memory_that_learnt_nothing_loses_nothing():
    bad = [
        chatting(
            recalling(answering(persona_run(LLAMA, seed), memory=CHANCE), CHANCE, CHANCE),
            CHANCE,
            CHANCE,
        )
        for seed in SEEDS
    ]
    found = {verdict.id: verdict for verdict in judge(bad, PERSONA_CLAIMS)}
    for name in ("reset", "others", "retention", "chatter"):
        verdict = found[f"persona-llama-{name}"]
        assert verdict.verdict == "not reproduced"
        assert verdict.per_seed == [None, None, None]


def test_what_is_not_a_number_meets_nothing():
    gone = dict.fromkeys(("memory", "reset", "others", "rule"), math.nan)
    runs = [talking(answering(persona_run(LLAMA, seed), **gone), math.nan) for seed in SEEDS]
    runs = [chatting(recalling(run, math.nan, math.nan), math.nan, math.nan) for run in runs]
    found = [verdict for verdict in judge(runs, PERSONA_CLAIMS) if verdict.seeds]
    assert len(found) == 7
    assert {verdict.verdict for verdict in found} == {"not reproduced"}
