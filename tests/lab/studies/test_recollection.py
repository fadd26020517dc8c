"""The sequel as its readers describe it: cells differ in what they say, and both scales say the same."""

from dataclasses import replace

import pytest
from tests.lab import recorded, synthetic

from callosal.lab.report.study import make_study, of
from callosal.lab.runs import describe, small_memory
from callosal.lab.studies import catalog
from callosal.lab.studies.recollection.cells import BUFFER, CELLS, LABEL_WEIGHT, LEARNED, SALIENCE, cell_name
from callosal.lab.studies.recollection.tables import HALVED_CROSS_TALK, HALVED_SEPARATION, derive


def test_cells_differ_in_what_their_names_say() -> None:
    runs = {config.arm: config for config in catalog.configs("recollection", [0])}
    assert list(runs) == list(CELLS)
    assert len(CELLS) == 12
    plain = runs[cell_name()]
    assert plain.memory == small_memory()
    for name, run in runs.items():
        fields = LEARNED if name.startswith("by gradient") else {}
        fields = fields | (BUFFER if "buffer" in name else {}) | (SALIENCE if "salience" in name else {})
        assert run.memory == small_memory(**fields)
        assert run.label_weight == (LABEL_WEIGHT if "labels" in name else 0.0)
        assert replace(run, arm=plain.arm, memory=plain.memory, label_weight=0.0) == plain


def test_seeds_are_fresh_and_options_leave_what_is_recorded_of_other_runs_alone() -> None:
    seeds = set(catalog.layout_of("recollection").seeds)
    assert len(seeds) == 5
    others = {run.seed for name in recorded.FOLDERS if name != "recollection" for run in recorded.records(name)}
    assert not others & seeds
    assert "recollection" not in describe(small_memory())
    assert "label_weight" not in describe(catalog.configs("sequel", [0])[0])


# What arXiv 2603.07217 reports, before and after, and what it is on our scales as we read it.
@pytest.mark.parametrize(("theirs", "ours"), [((0.25, 0.25), 0.5), ((0.501, 0.002), 0.004)])
def test_halves_of_our_shares_are_the_sequel_s_figures_to_their_rounding(
    theirs: tuple[float, float], ours: float
) -> None:
    run = synthetic.with_values(recorded.records("sequel")[0], {of("P_ct"): ours})
    found = {row["measure"]: row["value"] for row in derive(run)}
    assert found[HALVED_SEPARATION] == pytest.approx(theirs[0], abs=0.004)
    assert found[HALVED_CROSS_TALK] == pytest.approx(theirs[1], abs=0.001)
    assert found[HALVED_SEPARATION] + found[HALVED_CROSS_TALK] == pytest.approx(0.5)
    layout = catalog.layout_of("recollection")
    study = make_study("recollection", [run], derive=layout.derive, scales=layout.scales)
    assert study.scale(of(HALVED_SEPARATION)).high == 0.5
