"""Recipes: complete configurations, each with a hash of its own, and marked when changed by hand."""

import json
from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, replace
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from tests.lab.tiny import tiny

from callosal.lab.report.records import ARMS, Arm
from callosal.lab.runs import build_model, fingerprint, load_config, override
from callosal.lab.studies.benchmark.recipe import RECIPES, SIGNS, quick
from callosal.memory import LateralMemory

# Another valid value for the fields where one more or half as much is not.
OTHERS: dict[str, Any] = {"recipe": "other", "arm": "uncoupled", "changed": ("seed=1",)}
OTHERS |= {"memory": None, "memory_behind": 1, "memory_kind": "turing", "extras": ()}
OTHERS |= {"pairs_per_segment": 2, "num_letters": 8, "num_heads": 1, "distractors": (0, 5)}
OTHERS |= {"domains": ("cipher", "counting"), "repeats": (2, 1)}
OTHERS |= {
    "drive": "slots",
    "write": "additive",
    "context": "token",
    "crosstalk": "received",
    "normalised": "retrieved",
}
OTHERS |= {"gates": "hidden", "salience": "learned", "writers": "lagged", "inner_width": 4}


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk all values of a configuration, those of its parts included."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def with_field(owner: Any, path: str, value: Any) -> Any:
    """Change one field, past the checks of whether the whole still fits."""
    name, _, rest = path.partition(".")
    changed = copy(owner)
    new = with_field(getattr(owner, name), rest, value) if rest else value
    object.__setattr__(changed, name, new)
    return changed


def another(name: str, value: Any) -> Any:
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 if value else 0.5


LEAVES = dict(flat(asdict(tiny())))


@pytest.mark.parametrize("path", [*LEAVES, "memory"])
def test_the_fingerprint_changes_with_every_field(path: str) -> None:
    old = attrgetter(path)(tiny())
    new = another(path.rsplit(".", maxsplit=1)[-1], old)
    assert new != old
    assert fingerprint(with_field(tiny(), path, new)) != fingerprint(tiny())


def test_every_recipe_arm_and_seed_has_a_name_and_a_fingerprint_of_its_own() -> None:
    cells = list(product(RECIPES, ARMS, range(5)))
    configs = [RECIPES[recipe](arm, seed) for recipe, arm, seed in cells]
    assert len({fingerprint(config) for config in configs}) == len(configs)
    assert len({config.name for config in configs}) == len(configs)
    for (recipe, arm, seed), config in zip(cells, configs, strict=True):
        assert RECIPES[recipe](arm, seed) == config
        assert config.name == f"{recipe}-{arm}-seed{seed}-{fingerprint(config)[:8]}"


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_arms_differ_in_the_memory_alone(recipe: str) -> None:
    configs = {arm: RECIPES[recipe](arm, 3) for arm in ARMS}
    baseline = configs.pop("no-memory")
    assert baseline.memory is None
    for arm, sign in SIGNS.items():
        config = configs.pop(arm)
        assert (config.memory and config.memory.sign, config.changed) == (sign, ())
        assert replace(config, arm="no-memory", memory=None) == baseline
        model = build_model(config)
        assert [type(m) for m in model.modules()].count(LateralMemory) == 1
    assert not configs
    assert not list(build_model(baseline).memories)
    assert baseline.evaluation_episodes >= 2000


CHANGES: dict[str, Any] = {"memory.gain=6": 6.0, "memory.homeostasis=False": False, "memory.homeostasis=true": True}
CHANGES |= {"memory.drive=slots": "slots", "training.num_steps=5": 5, "training.learning_rate=1e-3": 1e-3}
CHANGES |= {"retention.distractors=0,7": (0, 7), "evaluation_episodes=9": 9, "seed=4": 4}
CHANGES |= {"memory.gain=5 memory.gain=6": 6.0}


@pytest.mark.parametrize(("changes", "value"), CHANGES.items())
def test_override_sets_a_field_and_notes_it(changes: str, value: Any) -> None:
    before, path = tiny(), changes.partition("=")[0]
    after = override(before, changes.split(" "))
    found = dict(flat(asdict(after)))
    assert (found[path], type(found[path])) == (value, type(value))
    assert found | {path: LEAVES[path], "changed": ()} == LEAVES
    assert after.changed == tuple(changes.split(" "))
    assert before == tiny()


def test_overrides_add_up_and_even_the_old_value_is_a_change_by_hand() -> None:
    once = override(tiny(), ["memory.gain=6"])
    twice = override(once, ["seed=3", "memory.num_slots=4"])
    assert twice.changed == ("memory.gain=6", "seed=3", "memory.num_slots=4")
    assert attrgetter("memory.gain", "memory.num_slots", "seed")(twice) == (6.0, 4, 3)
    assert override(once, []) == once
    plain = quick("inhibitory", 0)
    assert fingerprint(override(plain, ["memory.gain=4"])) != fingerprint(plain)


def test_fields_that_must_fit_can_change_together_in_any_order() -> None:
    changes = ["episodes.num_letters=6", "episodes.pairs_per_segment=6", "transformer.width=8"]
    changes += ["transformer.num_tokens=12", "transformer.max_time=12", "memory.width=8"]
    one, other = override(tiny(), changes), override(tiny(), changes[::-1])
    assert replace(one, changed=()) == replace(other, changed=())
    assert one.episodes.segment_length == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("memory.gain", "not of the form field=value"),
        ("memory.gian=6", r"no field 'memory.gian'; there are: .*gain"),
        ("gain=6", r"no field 'gain'; there are: .*memory"),
        *[(f"{name}=x", f"no field '{name}'") for name in ("recipe", "arm", "changed")],
        ("memory.gain.x=6", "'memory.gain' has no fields"),
        ("memory=6", "memory takes a value like"),
        # A part and its field cannot both be set.
        ("memory=1 memory.gain=6", "memory"),
        ("memory.gain=6 memory=1", "memory"),
        ("memory.gain=six", "memory.gain takes a value like 4.0; 'six' is not one"),
        ("memory.gain=", "memory.gain takes a value like 4.0"),
        ("memory.homeostasis=1", "memory.homeostasis takes a value like True"),
        ("memory.num_slots=1.5", "memory.num_slots takes a value like 8"),
        ("retention.distractors=0,x", "retention.distractors takes a value like"),
        ("memory.gain=-1", r"MemoryConfig\.gain is -1.0; it must be above 0"),
        ("memory.gain=nan", r"MemoryConfig\.gain is nan"),
        ("training.num_steps=0", r"TrainingConfig\.num_steps is 0"),
        ("seed=-1", r"RunConfig\.seed is -1"),
        ("evaluation_episodes=0", r"RunConfig\.evaluation_episodes is 0"),
        ("retention.distractors=3,1", r"RetentionConfig\.distractors is \(3, 1\)"),
        *[(f"retention.distractors={m}", "increasing numbers from 0 on") for m in ("", "-1", "1,1")],
        ("retention.num_episodes=0", r"RetentionConfig\.num_episodes is 0"),
        # Parts that do not fit each other; found here and not after the first step, or never.
        ("memory_behind=1", r"RunConfig\.memory_behind is 1; blocks are 0 to 0"),
        ("memory.width=8", r"MemoryConfig\.width is 8; .* the transformer \(16\)"),
        ("episodes.modulus=6", r"TransformerConfig\.num_tokens is 10; .* at least 11"),
        ("transformer.max_time=7", r"TransformerConfig\.max_time is 7; .* at least 8"),
    ],
)
def test_a_wrong_change_is_refused_with_what_is_allowed(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(tiny(), change.split(" "))
    with pytest.raises(ValueError, match="'memory' has no fields in this run"):
        override(tiny("no-memory"), ["memory.gain=6"])


@pytest.mark.parametrize("arm", ARMS)
def test_a_configuration_comes_back_from_disk_as_it_was(arm: Arm, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not the folder of a run: it holds no config\.json"):
        load_config(tmp_path)
    for config in (tiny(arm), override(quick(arm, 3), ["training.num_steps=7"])):
        (tmp_path / "config.json").write_text(json.dumps(asdict(config)))
        loaded = load_config(tmp_path)
        assert loaded == config
        assert fingerprint(loaded) == fingerprint(config)


def written_with(path: str, value: Any) -> str:
    """Return the JSON of a tiny run with one value changed."""
    content = asdict(tiny())
    owner, _, name = path.rpartition(".")
    (content[owner] if owner else content)[name] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", '"text"', "{}", "null", "3", "\udcff"],
        *[written_with(path, 1) for path in ("memory.unknown", "unknown")],
        *[written_with(path, None) for path in ("retention.distractors", "changed")],
        *[written_with("memory.gain", value) for value in (-1.0, "4")],
        *[written_with("memory", "text"), written_with("retention", [])],
        written_with("transformer.width", 8),
    ],
)
def test_a_configuration_damaged_or_of_another_version_says_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"config\.json is damaged or of another version"):
        load_config(tmp_path)
