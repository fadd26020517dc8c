"""The field's benchmarks: who is compared, at which size, at which rates, and on what."""

from dataclasses import replace

import pytest
from tests.lab import recorded

from callosal.lab.studies import catalog
from callosal.lab.studies.field.cells import ATTENTION, CELLS, INDUCTION, SEEN, TASKS, cell_name
from callosal.lab.studies.field.recipe import LEARNING_RATES, run_at
from callosal.lab.studies.field.run import FieldRun, answers, build_model, evaluate
from callosal.lab.studies.field_rates.recipe import rates_of
from callosal.lab.studies.field_rates.tables import LOSS
from callosal.lab.studies.rates.tables import best_rates
from callosal.training.seeding import generator_for


def test_all_carry_as_many_floats_and_are_of_about_one_size() -> None:
    for task in TASKS:
        configs = [run_at("field", task, 2, model, 0, 1e-3) for model in SEEN[task][2]]
        models = {config.labels["model"]: build_model(config) for config in configs}
        carried = [model.state_floats for name, model in models.items() if name != ATTENTION]
        assert carried == pytest.approx([carried[0]] * len(carried), rel=0.01)
        assert models[ATTENTION].state_floats == 0
        # All cells of a seed start from one embedding.
        first, *others = models.values()
        assert all(first.embedding.weight.equal(other.embedding.weight) for other in others)


def test_cells_and_rates_are_those_that_are_named() -> None:
    assert sorted(config.arm for config in catalog.configs("field", [0])) == sorted(CELLS)
    tried = catalog.configs("field_rates", [0])
    assert {config.labels["memory"] for config in tried} == {
        cell_name(task, 1 if model == ATTENTION else 2, model) for task in TASKS for model in SEEN[task][2]
    }
    for task in TASKS:
        for model in SEEN[task][2]:
            found = [config for config in tried if (config.labels["task"], config.labels["model"]) == (task, model)]
            assert tuple(config.training.learning_rate for config in found) == rates_of(task, model)
    # The grid's runs are the study's, at other rates.
    for config in tried:
        said = config.labels
        studied = run_at("field", said["task"], said["calls"], said["model"], 0, 1e-3)
        assert (config.memory, config.attention) == (studied.memory, studied.attention)
        # Induction heads were tried on shorter sequences.
        if said["task"] != INDUCTION:
            assert replace(config.training, learning_rate=studied.training.learning_rate) == studied.training
            assert config.task == studied.task


def test_seeds_are_of_no_other_study_and_the_grid_s_is_its_own() -> None:
    own = {name: set(catalog.layout_of(name).seeds) for name in ("field", "field_rates")}
    assert not own["field"] & own["field_rates"]
    others = {run.seed for folder in recorded.FOLDERS if "field" not in folder for run in recorded.records(folder)}
    assert not others & (own["field"] | own["field_rates"])


def test_every_model_has_the_best_rate_of_the_recorded_grid() -> None:
    best = best_rates(recorded.report("field_rates").study, LOSS)
    for task in TASKS:
        for model in SEEN[task][2]:
            name = cell_name(task, 1 if model == ATTENTION else 2, model)
            assert LEARNING_RATES[task][model] == best[name]


def test_a_run_is_scored_at_every_question_and_asks_all_models_the_same() -> None:
    for task in TASKS:
        configs = [run_at("field", task, calls, "Gated DeltaNet", 0, 1e-3) for calls in (1, 2)]
        sequences = configs[0].task.sample(3, generator_for(0, "x"))
        found = [answers(build_model(config), sequences, config.calls) for config in configs]
        assert found[0][1].tolist() == found[1][1].tolist()
        assert found[0][0].shape == (len(found[0][1]), configs[0].task.vocabulary)
        # It carries all it knows in its state: cut in two, the answers are those of one call.
        assert found[0][0].allclose(found[1][0], atol=1e-4)
        few = replace(configs[1], num_evaluated=70)
        measured = [evaluate(build_model(few), few.task, few) for _ in range(2)]
        assert measured[0] == measured[1]
        assert measured[0]["accuracy"] < 0.5


def test_runs_that_cannot_be_are_refused() -> None:
    config = run_at("field", TASKS[0], 2, ATTENTION, 0, 1e-3)
    with pytest.raises(ValueError, match="calls is 3; it must be 1 or 2"):
        replace(config, calls=3)
    with pytest.raises(ValueError, match="memory is None; without attention it must be a memory"):
        replace(config, attention=None)
    assert isinstance(config, FieldRun)
