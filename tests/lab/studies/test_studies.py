"""The studies: what they run is what they say, and what is on record is what they run."""

import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.hosts import hosts as _quiet  # noqa: F401  (imports transformers without its warnings)
from tests.lab import recorded, synthetic
from tests.lab.recorded import ROOT

from callosal.contract import contract_table, laws
from callosal.lab import runs as recipes
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Quantity, make_study, of
from callosal.lab.runs import RunConfig, build_model, describe, fingerprint, load_config
from callosal.lab.studies import catalog as studies
from callosal.lab.studies.benchmark.recipe import RECIPES
from callosal.lab.studies.map.cells import GAINS, SIGNS, initial_strength, plane_cell
from callosal.lab.studies.map.measures import SATURATION, predict_separation
from callosal.lab.studies.map.measures import derive as strengths
from callosal.lab.studies.map.recipe import cells
from callosal.lab.studies.persona.cells import CELLS
from callosal.lab.studies.persona.measures import derive as answers
from callosal.lab.studies.rates.recipe import RATES
from callosal.lab.studies.rates.tables import best_rates
from callosal.lab.studies.rivals.measures import derive as lesions
from callosal.lab.studies.rivals.recipe import CONTENDERS, LEARNING_RATES, check_contenders
from callosal.lab.studies.sequel.jumps import Jump, find_jump

NAMES = studies.NAMES


@cache
def configs(name: str) -> list[Any]:
    return list(studies.configs(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_run_is_of_its_study_there_once_and_on_record(name: str, tmp_path: Path) -> None:
    runs = configs(name)
    assert {config.recipe for config in runs} == {name}
    # Two cells of one name would be averaged.
    for key in (fingerprint, lambda c: c.name, lambda c: (c.arm, c.seed)):
        assert len({key(config) for config in runs}) == len(runs)
    assert not any(config.changed for config in runs)
    assert all(re.fullmatch(r"[\w.+=-]+", config.name) for config in runs)
    # So a study that is asked for again has nothing left to do; half of a study is none.
    known = {record.fingerprint for record in recorded.records(name)}
    assert known <= {fingerprint(config) for config in runs}
    assert len(known) >= len(runs) / 2
    # The claims ask about cells that are run.
    asked = {arm for claim in studies.layout_of(name).claims for arm in claim.arms}
    assert asked <= {config.arm for config in runs}
    for config in studies.configs(name, [0])[:14]:
        (tmp_path / "config.json").write_text(json.dumps(describe(config)))
        if isinstance(config, RunConfig):
            # Labels are for the record alone.
            assert load_config(tmp_path) == replace(config, labels={})
        else:
            with pytest.raises(ValueError, match=f"is a run of the study {name}; callosal report"):
                load_config(tmp_path)


@pytest.mark.parametrize("folder", ["quick", "paper"])
def test_runs_recorded_by_earlier_versions_are_still_known(folder: str) -> None:
    """Fields that came later leave the fingerprints of recorded runs alone."""
    for record in recorded.records(folder):
        config = RECIPES[record.recipe](record.arm, record.seed)  # pyright: ignore[reportArgumentType]
        assert fingerprint(config) == record.fingerprint


def test_names_lead_to_studies() -> None:
    assert {"banks", "map", "persona", "rivals", "sequel"} <= set(NAMES)
    assert studies.layout_of("map") is studies.study("map").LAYOUT
    assert studies.layout_of("whatever") is studies.study("benchmark").LAYOUT
    assert (studies.run_of("persona") is not None, studies.run_of("map")) == (True, None)
    assert all(studies.layout_of(name).question.endswith("?") for name in NAMES)
    with pytest.raises(ValueError, match="there is no study 'x'; there are banks, capacity, "):
        studies.study("x")


def test_reports_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_bytes(recorded.line("rivals") + b"\n")
    code = f"""
import sys
from pathlib import Path
class NoTorch:
    def find_spec(self, name, *rest):
        assert name.partition(".")[0] != "torch"
sys.meta_path.insert(0, NoTorch())
from callosal.lab.report import plots
from callosal.lab.studies import catalog as studies
plots.DOTS_PER_INCH = 20
assert all(studies.layout_of(name).title for name in (*studies.NAMES, "benchmark"))
studies.read_report(Path({str(tmp_path)!r})).write()
"""
    # A process of its own, because here the rest of the suite has imported torch already.
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists()


def test_the_map_runs_the_cells_that_it_names() -> None:
    runs = configs("map")
    assert len(runs) >= 300
    assert set(Counter(config.arm for config in runs).values()) == {5}
    default = recipes.small_memory()
    for cell in cells():
        changed = {n: v for n, v in cell.memory.items() if v != getattr(default, n)}
        named = cell.name.split()
        # The sign is always named; everything else only where it is not at its default.
        assert named[0] == f"s={cell.memory['sign']:+g}"
        assert len(named) - 1 == len(set(changed) - {"sign"}) + bool(cell.episodes), cell.name
    # What is studied alone differs.
    for name in ("map", "rivals"):
        assert len({config.training.num_steps for config in configs(name)}) == 1
        assert {config.transformer.width for config in configs(name)} == {recipes.SMALL_WIDTH}


def test_the_map_predicts_where_the_banks_part() -> None:
    strengths = {plane_cell(sign, gain): initial_strength(sign, gain) for sign in SIGNS for gain in GAINS}
    assert (strengths["s=-1"], strengths["s=+0.5 gain=2"]) == (16.0, 0.5)
    claims = {claim.id: claim for claim in studies.layout_of("map").claims}
    assert set(claims["map-below-threshold"].arms) == {cell for cell, x in strengths.items() if x < 1.0}
    assert set(claims["map-saturated"].arms) == {cell for cell, x in strengths.items() if x >= SATURATION}
    assert predict_separation(SATURATION) == pytest.approx(0.99, abs=1e-4)
    for strength in (1.2, 3.0):
        found = predict_separation(strength)
        assert found == pytest.approx(math.tanh(strength * found))


def derived(derive: Any, record: RunRecord) -> dict[Quantity, float]:
    """Return what a study derives from a run, common values included."""
    (whole,) = make_study("x", [record], (), derive).records
    before = {synthetic.quantity_of(row) for row in record.values}
    found = {synthetic.quantity_of(row): row["value"] for row in whole.values}
    return {quantity: value for quantity, value in found.items() if quantity not in before}


def first(folder: str, arm: str) -> RunRecord:
    return next(run for run in recorded.records(folder) if run.arm == arm)


# What follows of what was measured is in the committed tables; here is what has no number there.
def test_what_was_never_learned_cannot_be_lost() -> None:
    rival = first("rivals", "inhibitory")
    found = derived(lesions, synthetic.with_values(rival, {of("accuracy", "cipher", "intact"): 0.4}))
    gone = [of(m, "cipher", "the cipher's bank silenced") for m in ("above chance", "moved")]
    gone += [of("above chance", "cipher", "reset")]
    gone += [of("neighbour's answers", "if learned", "the cipher's bank swapped")]
    assert all(math.isnan(found[quantity]) for quantity in gone)
    assert not any("bank" in str(q.condition) for q in derived(lesions, first("rivals", "one bank")))
    user = first("persona", "Llama")
    found = derived(answers, synthetic.with_values(user, {of("accuracy", "facts", "memory"): 0.49}))
    assert math.isnan(found[of("above chance", "facts", "reset")])


def test_banks_are_named_by_what_they_serve_and_one_that_serves_both_domains_is_nobodys() -> None:
    for own in (0, 1):
        shares = {of("share", "cipher", bank=bank): 0.9 if bank == own else 0.1 for bank in (0, 1)}
        left = {of("accuracy", "cipher", "silenced", bank=bank): 0.2 + bank / 2 for bank in (0, 1)}
        found = derived(lesions, synthetic.with_values(first("rivals", "inhibitory"), shares | left))
        for bank, name in ((own, "the cipher's bank"), (1 - own, "the other bank")):
            assert found[of("accuracy", "cipher", f"{name} silenced")] == 0.2 + bank / 2
    one = {of("share", domain, bank=1, place=0): None for domain in ("facts", "rules")}
    user = first("persona", "Llama")
    assert of("own-bank share") not in derived(answers, synthetic.with_values(user, one))
    assert {config.arm for config in configs("persona")} == set(CELLS)
    sides = {of("D_sep", domain): 0.9 for domain in ("cipher", "arithmetic")}
    equal = synthetic.with_values(first("map", "s=-1 gain=2"), sides)
    assert derived(strengths, equal)[of("opposite D_sep")] == 0.0


@pytest.mark.parametrize(
    ("values", "jump"),
    [
        ([0.5, 0.5, 0.5, 0.5], None),
        ([0.01, 0.5, 0.0, 0.0], Jump(step=20, width=None)),
        ([0.5, 0.3, 0.1, 0.0], Jump(step=80, width=60)),
        ([0.5, 0.04, 0.5, 0.0], Jump(step=40, width=20)),
        ([0.5, math.nan, 0.01, 0.01], Jump(step=60, width=40)),
        ([], None),
    ],
)
def test_a_jump_is_where_the_banks_part(values: list[float], jump: Jump | None) -> None:
    assert find_jump([20, 40, 60, 80][: len(values)], values) == jump


def test_every_rival_has_the_rate_that_the_recorded_grid_chose() -> None:
    made = recorded.report("rates").study
    assert best_rates(made) == LEARNING_RATES
    assert set(LEARNING_RATES) == set(CONTENDERS)
    for name in CONTENDERS:
        assert sorted(made.where(memory=name)["learning_rate"]) == sorted(RATES)
    # One seed of its own, and the streams of the study.
    grid, runs = configs("rates"), configs("rivals")
    assert {c.seed for c in grid} == set(made.seeds)
    assert not {c.seed for c in grid} & {c.seed for c in runs}
    assert len({config.episodes for config in [*grid, *runs]}) == 1


def test_what_diverged_is_never_the_best_rate() -> None:
    found = [run for run in recorded.records("rates") if run.factors["memory"] == "one bank"]
    for bad in (math.nan, math.inf):
        losses = {rate: {of("loss", "episodic"): loss} for rate, loss in ((0.002, 2.0), (0.004, 1.0), (0.008, bad))}
        changed = [synthetic.with_values(run, losses[run.factors["learning_rate"]]) for run in found]
        assert best_rates(make_study("rates", changed)) == {"one bank": 0.004}


def test_contenders_keep_the_contract_and_are_as_large_within_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of 300 segments, as the command has it, the law "bounded" says the same and takes most of the time.
    monkeypatch.setattr(laws.stays_bounded, "__defaults__", (None, 30))
    reports = check_contenders()
    assert set(reports) == set(CONTENDERS)
    for report in reports.values():
        report.raise_if_broken()
    assert contract_table(reports).strip() in (ROOT / "docs" / "rivals.md").read_text()
    models = {config.arm: build_model(config) for config in studies.configs("rivals", [0])}
    counts = {arm: sum(p.numel() for p in model.parameters() if p.requires_grad) for arm, model in models.items()}
    assert set(counts) == set(CONTENDERS)
    assert all(n == pytest.approx(counts["inhibitory"], rel=0.1) for n in counts.values()), counts
    assert {run.arm: run.num_parameters for run in recorded.records("rivals")} == counts


def test_a_memory_of_another_kind_is_refused() -> None:
    config = recipes.small("x", "y", 0, memory=recipes.small_memory())
    for kind, message in (("turing", "takes a TuringConfig"), ("abacus", "memory_kind is 'abacus'")):
        with pytest.raises(ValueError, match=message):
            replace(config, memory_kind=kind)
