"""The study of memories trained to keep: who is compared, at which rates, and in which order."""

from dataclasses import replace

import pytest
from tests.lab import recorded, synthetic
from tests.lab.baselines import make

from callosal.contract import check_memory
from callosal.lab.report.study import make_study, of
from callosal.lab.runs import build_model
from callosal.lab.studies import catalog
from callosal.lab.studies.distractor_rates.recipe import TRIED
from callosal.lab.studies.distractors.cells import CELLS, CONTENDERS, OURS, cell_name
from callosal.lab.studies.distractors.recipe import LEARNING_RATES, MEMORIES
from callosal.lab.studies.distractors.tables import ranked
from callosal.lab.studies.rates.tables import best_rates
from callosal.lab.studies.rivals.recipe import CONTENDERS as RIVALS


def test_contenders_are_of_about_one_size_and_one_state() -> None:
    models = {config.labels["memory"]: build_model(config) for config in catalog.configs("distractors", [0])}
    assert {config.arm for config in catalog.configs("distractors", [0])} == set(CELLS)
    assert set(models) == set(CONTENDERS)
    counts = {name: sum(p.numel() for p in model.parameters() if p.requires_grad) for name, model in models.items()}
    assert list(counts.values()) == pytest.approx([counts[OURS]] * len(counts), rel=0.06)
    floats = {name: getattr(model.memory_at(0), "state_floats", 0) for name, model in models.items()}
    # All but one are of equal state.
    assert floats.pop("Gated DeltaNet") == 4672
    assert list(floats.values()) == pytest.approx([floats[OURS]] * len(floats), rel=0.01)


@pytest.mark.parametrize("name", [name for name in MEMORIES if name not in RIVALS])
def test_the_new_ones_keep_the_contract(name: str) -> None:
    check_memory(make(MEMORIES[name]), width=32, num_segments=2, num_tokens=16).raise_if_broken()


def test_training_differs_from_the_rivals_in_what_stands_in_between_and_in_the_rate() -> None:
    rival = next(config for config in catalog.configs("rivals", [0]) if config.arm == OURS)
    for config in catalog.configs("distractors", [0]):
        assert replace(config.episodes, num_distractors=0) == rival.episodes
        rate = LEARNING_RATES[config.labels["memory"]]
        assert config.training == replace(rival.training, learning_rate=rate)
        assert (config.transformer, config.retention) == (rival.transformer, rival.retention)
    ours = {*catalog.layout_of("distractors").seeds, *catalog.layout_of("distractor_rates").seeds}
    others = {run.seed for folder in recorded.FOLDERS if "distractor" not in folder for run in recorded.records(folder)}
    assert not others & ours


def test_every_memory_has_the_rate_of_the_recorded_grid_at_which_it_kept_most() -> None:
    study = recorded.report("distractor_rates").study
    assert set(best_rates(study)) == {cell_name(name, 8) for name in TRIED}
    for name in CONTENDERS:
        runs = [run for run in study.records if run.factors["memory"] == cell_name(name, 8)]
        assert len(runs) > 1
        # Whoever is compared had learned the cipher at it; of rates alike, the lowest loss decides.
        places = {
            run.factors["learning_rate"]: (-(run.get("recall", after=100) or 0.0), run.get("loss", domain="episodic"))
            for run in runs
            if (run.get("accuracy", domain="episodic") or 0.0) >= 0.95
        }
        assert min(places, key=lambda rate: places[rate]) == LEARNING_RATES[name]


def test_memories_are_ranked_by_the_last_recall_then_by_that_after_a_hundred() -> None:
    template = recorded.records("distractors")[0]
    values = {OURS: (0.5, 0.9), "Gated DeltaNet, equal state": (0.5, 0.8), "DeltaNet": (0.6, 0.1)}
    records = [
        replace(
            synthetic.with_values(template, {of("recall", after=1000): last, of("recall", after=100): early}),
            arm=cell_name(name, 8),
            seed=301,
        )
        for name, (last, early) in values.items()
    ]
    assert ranked(make_study("x", records, CELLS), 8) == ["DeltaNet", OURS, "Gated DeltaNet, equal state"]
