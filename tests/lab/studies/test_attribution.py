"""What the memory and what inhibition buys: steps out of curves, and arms held against each other seed by seed."""

import math

import pytest
from tests.lab import recorded
from tests.lab.synthetic import CHANCE, run

from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import make_study, of
from callosal.lab.report.tables import by_arm
from callosal.lab.studies.benchmark import LAYOUT
from callosal.lab.studies.benchmark.attribution import REPORTED_RATIO, attribution_tables, derive_steps, steps_until

LIMIT = CHANCE / REPORTED_RATIO


def curve(*losses: float) -> list[dict]:
    return [{"step": 10 * n, "episodic_loss": loss} for n, loss in enumerate(losses, start=1)]


def made(arm: str, seed: int, loss: float, kept: float, *losses: float) -> RunRecord:
    changes = {of("loss", "episodic"): loss, of("recall", after=1000): kept}
    return run(arm, seed, changes, curve=curve(*losses))


def test_the_step_is_the_first_below_the_limit_even_if_the_loss_rises_again() -> None:
    assert steps_until(curve(2.0, 0.1, 2.0, 0.1), "episodic_loss", 0.5) == 20.0
    # At the limit is not below it, and a point that lacks the loss is none.
    assert math.isnan(steps_until([*curve(2.0, 0.5), {"step": 30}], "episodic_loss", 0.5))
    (value,) = derive_steps(run("inhibitory", 0, curve=curve(CHANCE, LIMIT * 1.001, LIMIT * 0.999)))
    assert value == {"measure": "steps until 124x", "value": 30.0}
    assert not list(derive_steps(run("inhibitory", 0, curve=[])))


def test_arms_are_held_against_each_other_seed_by_seed() -> None:
    records = [
        # Seeds are unlike each other: unpaired, neither ratio nor difference would be without spread.
        *(made("no-memory", seed, loss, 0.1, loss) for seed, loss in enumerate((1.0, 2.0, 4.0, 1.0))),
        *(made("inhibitory", s, n / 200, 0.9 - s / 10, *[1.0] * s, 0.0) for s, n in enumerate((1.0, 2.0, 4.0))),
        made("uncoupled", 0, 1 / 400, 0.7, 1.0, 0.0),
        made("uncoupled", 1, 2 / 100, 0.6, 1.0, 1.0, 1.0, 0.0),
        # One that never gets there, and one whose seed the others lack.
        made("uncoupled", 2, 4 / 200, 0.5, 1.0),
        made("uncoupled", 9, 1 / 100, 0.0, 0.0),
    ]
    study = make_study("made-up", records, (), LAYOUT.derive, LAYOUT.scales)
    rows = by_arm(study, ["inhibitory", "uncoupled"])
    memory, inhibition = attribution_tables(study, rows, baseline="no-memory", ours="inhibitory")
    assert memory.rows[0] == ["inhibitory", "3 of 3 [0.44, 1.00]", "200x [200, 200]", "10, 20, 30"]
    assert memory.rows[1][0::3] == ["uncoupled", "20, 40, -, 10"]
    assert memory.rows[1][1].startswith("2 of 3 ")
    assert memory.rows[1][2].startswith(f"{(400 * 100 * 200) ** (1 / 3):.0f}x [")
    assert inhibition.rows == [["uncoupled", "0.700, 0.600, 0.500, 0", "0.200 [0.200, 0.200]", "2.000x [2.000, 2.000]"]]


@pytest.mark.parametrize(
    ("folder", "baseline"), [("paper", "no-memory"), ("quick", "no-memory"), ("rivals", "no memory")]
)
def test_chance_over_124_is_as_good_a_limit_as_the_baseline_s_own_loss(folder: str, baseline: str) -> None:
    """The step that one run gives alone is that which the definition of the ratio would give."""
    runs = {(r.arm, r.seed): r for r in recorded.report(folder).study.records}
    compared = 0
    for (arm, seed), record in runs.items():
        own = runs[baseline, seed].get("loss", domain="episodic")
        assert own is not None
        wanted = steps_until(record.curve, "episodic_loss", own / REPORTED_RATIO)
        found = record.get("steps until 124x")
        assert found == wanted or (math.isnan(wanted) and math.isnan(found or 0.0)), (arm, seed)
        compared += not math.isnan(wanted)
    assert compared >= 9
