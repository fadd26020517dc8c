"""The sequel as its readers describe it: cells differ in what they say, and both scales say the same."""

import re
from dataclasses import replace

import pytest
from tests.lab import recorded, synthetic
from tests.lab.recorded import ROOT

from callosal.lab.report.study import Quantity, make_study, of
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


def test_the_page_says_what_is_on_record() -> None:
    study = recorded.report("recollection").study

    def ends(quantity: Quantity, *cells: str) -> tuple[float, float]:
        values = study.values(quantity, study.where(arm=list(cells)))
        return min(values), max(values)

    page = re.sub(r"\s+", " ", (ROOT / "docs/lateralization.md").read_text())
    ruled = [name for name in CELLS if name.startswith(cell_name())]
    assert ends(of("P_ct"), *(name for name in ruled if "buffer" not in name))[1] < 0.01
    assert ends(of("P_ct"), *(name for name in CELLS if "labels" in name))[1] < 1e-4
    low, high = ends(of("P_ct"), cell_name(learned=True))
    assert f"told no labels, end between {low:.2f} and {high:.2f}" in page
    plain, buffered = (study.by_seed(of("P_ct"), cell_name(learned=True, buffer=b)) for b in (False, True))
    falls = [plain[seed] - buffered[seed] for seed in buffered]
    assert f"it takes {min(falls):.2f} to {max(falls):.2f} off P_ct" in page
    low, _ = ends(of("recall", after=0), *CELLS)
    assert f"recalled to {low:.2f} and more in every seed of every cell" in page
    low, high = ends(of("kept share of recall"), cell_name())
    assert f"our rule keeps {low:.2f} to {high:.2f} of what it recalled" in page
    low, high = ends(of("kept share of recall"), cell_name(buffer=True))
    assert f"with the buffer {low:.2f} to {high:.2f} of it" in page
    steps = [
        width for name in CELLS if "labels" in name for width in study.values(of("jump width"), study.where(arm=name))
    ]
    assert f"within {min(steps):.0f} to {max(steps):.0f} steps, the buffer or not" in page
    salience, without = (study.by_seed(of("P_ct"), cell_name(salience=s)) for s in (True, False))
    assert max(abs(salience[seed] - without[seed]) for seed in salience) < 0.01
    complete = [seed for seed in study.seeds if len(study.where(seed=seed)) == len(CELLS)]
    assert complete == study.seeds
    assert "All five seeds are complete" in page
