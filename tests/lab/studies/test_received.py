"""The study of the second reading: its cells differ in what they say, and pages say what is on record."""

import re
from dataclasses import replace

import pytest
from tests.lab import recorded, synthetic
from tests.lab.recorded import ROOT

from callosal.lab.report.study import Study, make_study, of
from callosal.lab.runs import describe, small_memory
from callosal.lab.studies import catalog
from callosal.lab.studies.received.cells import (
    ALL_SEEDS,
    BASELINE,
    CELLS,
    CONFIGURATIONS,
    FEW,
    MAIN_SIGNS,
    baseline_name,
    cell_name,
)
from callosal.lab.studies.received.tables import FACTS, whole_table


def test_within_a_configuration_only_the_sign_differs() -> None:
    runs = {config.arm: config for config in catalog.configs("received", [0])}
    assert set(runs) == set(CELLS)
    assert runs[BASELINE].memory is None
    for note, configuration in CONFIGURATIONS.items():
        low, high = (runs[cell_name(sign, note)] for sign in MAIN_SIGNS)
        assert replace(low.memory, sign=1.0) == high.memory
        assert replace(low, arm=high.arm, memory=high.memory) == high
        main = runs[cell_name(-1.0)].memory
        assert replace(main, **configuration.factors) == low.memory
        alone = runs[baseline_name(note)]
        assert replace(alone, arm=low.arm, memory=low.memory) == low
    (main,) = {replace(runs[cell_name(sign)].memory, sign=0.0) for sign in (-1.0, -0.5, 0.0, 0.5, 1.0)}
    second = {"crosstalk": "received", "sign": 0.0, "gain": 8.0, "homeostasis": False, "learn_crosstalk": False}
    assert main == small_memory(**second)


def test_some_cells_have_all_seeds_and_the_others_the_first_few() -> None:
    layout = catalog.layout_of("received")
    seeds = {arm: [c.seed for c in catalog.configs("received") if c.arm == arm] for arm in CELLS}
    for arm in CELLS:
        many = [baseline_name(note) for note in ALL_SEEDS]
        many += [cell_name(sign, note) for note in ALL_SEEDS for sign in MAIN_SIGNS]
        wanted = layout.seeds if arm in many else layout.seeds[:FEW]
        assert seeds[arm] == list(wanted)
    others = {run.seed for name in recorded.FOLDERS if name != "received" for run in recorded.records(name)}
    assert not others & set(layout.seeds)


def test_the_options_leave_what_is_recorded_of_other_runs_alone() -> None:
    assert not {"crosstalk", "detach_context"} & set(describe(small_memory()))
    assert describe(small_memory(crosstalk="received"))["crosstalk"] == "received"


@pytest.mark.parametrize(("measure", "value"), [("P_ct", 0.3), ("dominance", 0.1)])
def test_a_seed_that_misses_one_fact_misses_the_whole_table(measure: str, value: float) -> None:
    study = recorded.report("received").study
    cell = cell_name(-1.0 if measure == "P_ct" else 1.0)
    seed = next(s for s in study.seeds if _all(study, [s]) == 1)
    records = [
        synthetic.with_values(run, {of(measure): value}) if (run.arm, run.seed) == (cell, seed) else run
        for run in recorded.records("received")
    ]
    assert _all(make_study("received", records), [seed]) == 0


def _all(study: Study, seeds: list[int]) -> int:
    kept = replace(study, records=[run for run in study.records if run.seed in seeds])
    return int(whole_table(kept).rows[0][len(FACTS) + 1].split()[0])


def test_pages_say_what_is_on_record() -> None:
    first, *_, last = whole_table(recorded.report("received").study).rows
    larger = last[len(FACTS) + 1].partition(" [")[0]
    one_bank, every = first[1 + list(FACTS).index("+1: one bank")], first[len(FACTS) + 1].partition(" [")[0]
    assert (one_bank, every, larger) == ("10 of 10", "5 of 10", "6 of 10")
    readme = re.sub(r"\s+", " ", (ROOT / "README.md").read_text())
    facts = f"one bank takes all in {one_bank} seeds; all holds in {every.split()[0]}"
    assert f"{facts} (26 letters: {larger.split()[0]})." in readme
    for name in ("lateralization", "reproduction"):
        page = re.sub(r"\s+", " ", (ROOT / f"docs/{name}.md").read_text())
        assert "ten of ten seeds" in page
        assert "in five of the ten" in page
