"""The studies: what they run is what they say, cell by cell."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.hosts import hosts as _quiet  # noqa: F401  (imports transformers without its warnings)

from callosal.lab import runs as recipes
from callosal.lab.report.records import read_records
from callosal.lab.runs import RunConfig, build_model, describe, fingerprint, load_config
from callosal.lab.studies.benchmark import recipe as benchmark
from callosal.lab.studies.catalog import STUDIES
from callosal.lab.studies.map.recipe import cells
from callosal.lab.studies.rivals.recipe import CONTENDERS, RATES

ROOT = Path(__file__).parents[3]
# The others have hosts of transformers, which the verbs for single runs know nothing of.
OF_TRUNKS = [name for name in STUDIES if name != "persona"]


def runs(name: str) -> list[RunConfig]:
    return list(STUDIES[name].configs(STUDIES[name].seeds))


@pytest.mark.parametrize("name", STUDIES)
def test_every_run_is_of_its_study_and_there_once(name: str) -> None:
    configs = runs(name)
    assert {config.recipe for config in configs} == {name}
    assert len({fingerprint(config) for config in configs}) == len(configs)
    assert len({config.name for config in configs}) == len(configs)
    # Two cells of one name would be averaged.
    settings = {(config.arm, config.seed): fingerprint(config) for config in configs}
    assert len(settings) == len(configs)
    assert not any(config.changed for config in configs)
    assert all("/" not in config.name and " " not in config.name for config in configs)


def test_the_map_has_five_seeds_a_cell_and_three_hundred_runs() -> None:
    configs = runs("map")
    assert len(configs) >= 300
    assert set(Counter(config.arm for config in configs).values()) == {5}


def test_the_maps_cells_say_what_they_change() -> None:
    default = recipes.small_memory()
    for cell in cells():
        changed = {n: v for n, v in cell.memory.items() if v != getattr(default, n)}
        named = cell.name.split()
        # The sign is always named; everything else only where it is not at its default.
        assert named[0] == f"s={cell.memory['sign']:+g}"
        assert len(named) - 1 == len(set(changed) - {"sign"}) + bool(cell.episodes), cell.name


def test_runs_within_a_study_differ_in_what_is_studied_alone() -> None:
    for name in ("map", "rivals"):
        for config in runs(name):
            assert config.training.num_steps == runs(name)[0].training.num_steps
            assert config.transformer.width == recipes.SMALL_WIDTH


def test_contenders_have_as_many_parameters_within_a_tenth() -> None:
    counts = {}
    for config in STUDIES["rivals"].configs([0]):
        model = build_model(config)
        counts[config.arm] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert set(counts) == set(CONTENDERS)
    for name, count in counts.items():
        assert count == pytest.approx(counts["inhibitory"], rel=0.1), name


def test_every_contender_meets_the_same_rates_and_streams() -> None:
    grid = runs("rates")
    for name in CONTENDERS:
        tried = [c for c in grid if c.arm.startswith(f"{name} at ")]
        assert sorted(config.training.learning_rate for config in tried) == sorted(RATES)
    assert len({config.episodes for config in [*grid, *runs("rivals")]}) == 1
    assert not {c.seed for c in grid} & {c.seed for c in runs("rivals")}


@pytest.mark.parametrize("name", STUDIES)
def test_the_committed_results_are_of_the_studies_as_they_are(name: str) -> None:
    """So a study that is asked for again has nothing left to do."""
    recorded = {record.fingerprint for record in read_records(ROOT / "results" / name)}
    wanted = {fingerprint(config) for config in runs(name)}
    assert recorded <= wanted
    # What was not finished says so on its page; half of a study is none.
    assert len(recorded) >= len(wanted) / 2


@pytest.mark.parametrize("folder", ["quick", "paper"])
def test_runs_recorded_by_earlier_versions_are_still_known(folder: str) -> None:
    """Fields that came later leave the fingerprints of recorded runs alone."""
    for record in read_records(ROOT / "results" / folder):
        config = benchmark.RECIPES[record.recipe](record.arm, record.seed)  # pyright: ignore[reportArgumentType]
        assert fingerprint(config) == record.fingerprint


@pytest.mark.parametrize("name", OF_TRUNKS)
def test_a_configuration_comes_back_from_its_folder(name: str, tmp_path: Path) -> None:

    for config in STUDIES[name].configs([0])[:14]:
        (tmp_path / "config.json").write_text(json.dumps(describe(config)))
        assert load_config(tmp_path) == config


def test_a_memory_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="takes a TuringConfig"):
        recipes.small("x", "y", 0, memory=recipes.small_memory(), memory_kind="turing")
    with pytest.raises(ValueError, match="memory_kind is 'abacus'"):
        recipes.small("x", "y", 0, memory_kind="abacus")


def test_a_run_of_the_persona_study_is_refused_in_words_that_help(tmp_path: Path) -> None:
    (config, *_) = STUDIES["persona"].configs([1])
    (tmp_path / "config.json").write_text(json.dumps(describe(config)))
    with pytest.raises(ValueError, match="is a run of the study persona; callosal report"):
        load_config(tmp_path)
