"""Recipes: functions that return the complete configuration of a run."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from callosal.checks import require, require_counts
from callosal.lab.models.baselines import BASELINES
from callosal.lab.models.transformer import Transformer, TransformerConfig
from callosal.lab.tasks import EpisodeConfig
from callosal.memory import LateralMemory, MemoryConfig
from callosal.memory.config import ADDED, LABEL, describe
from callosal.training.loop import TrainingConfig
from callosal.training.seeding import seeded

# What a run is called is not changed by hand; which arm it is follows from its memory.
FIXED = ("recipe", "arm", "changed", "memory_kind", "labels")
SMALL_WIDTH = 32

# What may stand behind a block: its configuration and its module, by kind.
KINDS: dict[str, tuple[type, type]] = {"lateral": (MemoryConfig, LateralMemory), **BASELINES}

# Measured beside the evaluation and the retention, where a run asks for it.
Extra = Literal["snapshot", "interventions", "own words"]


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """How retention is measured after training.

    Attributes:
        distractors: increasing numbers of arithmetic segments between support and question.
        num_episodes: ciphers asked.
    """

    distractors: tuple[int, ...] = (0, 1, 3, 10, 30, 100, 300, 1000)
    num_episodes: int = 64

    def __post_init__(self) -> None:
        marks = self.distractors
        increasing = bool(marks) and min(marks) >= 0 and list(marks) == sorted(set(marks))
        require(self, "distractors", increasing, "it must be increasing numbers from 0 on")
        require_counts(self, "num_episodes")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a run's numbers.

    Attributes:
        recipe: the recipe or study that made it.
        arm: which of the compared models: one of ARMS in the benchmark, the name of a cell in a study.
        seed: of the run.
        episodes: what it is trained and evaluated on.
        transformer: the trunk.
        memory: the memory behind block ``memory_behind``; None is the baseline.
        memory_behind: a block of the trunk.
        training: how it is trained.
        evaluation_episodes: length of the held-out stream.
        retention: how retention is measured.
        changed: what was set by hand; a run with changes is off its recipe and not evidence.
        memory_kind: what the memory is: "lateral", or one of the rivals.
        extras: what is measured besides.
        label_weight: weight in the loss of what tells the banks each token's domain; 0 tells them nothing.
        labels: factors of the study that no field holds, such as the name of a memory; recorded with the run, and no
            part of its fingerprint.
    """

    recipe: str
    arm: str
    seed: int
    episodes: EpisodeConfig
    transformer: TransformerConfig
    memory: Any
    memory_behind: int = 0
    training: TrainingConfig
    evaluation_episodes: int = 2048
    retention: RetentionConfig = RetentionConfig()
    changed: tuple[str, ...] = ()
    memory_kind: str = field(default="lateral", metadata=ADDED)
    extras: tuple[Extra, ...] = field(default=("snapshot",), metadata=ADDED)
    label_weight: float = field(default=0.0, metadata=ADDED)
    labels: dict[str, Any] = field(default_factory=dict, metadata=LABEL)

    def __post_init__(self) -> None:
        require(self, "seed", self.seed >= 0, "it must be at least 0")
        require_counts(self, "evaluation_episodes")
        require(self, "memory_kind", self.memory_kind in KINDS, f"it must be one of {', '.join(KINDS)}")
        extras = get_args(Extra)
        require(self, "extras", set(self.extras) <= set(extras), f"it may name {', '.join(extras)}")
        # Parts that do not fit each other are refused before hours are spent on them.
        trunk, episodes, memory = self.transformer, self.episodes, self.memory
        least = episodes.vocabulary
        require(trunk, "num_tokens", trunk.num_tokens >= least, f"the episodes' vocabulary needs at least {least}")
        least = episodes.segment_length
        require(trunk, "max_time", trunk.max_time >= least, f"the episodes' segments need at least {least}")
        exists = 0 <= self.memory_behind < trunk.num_blocks
        require(self, "memory_behind", exists, f"blocks are 0 to {trunk.num_blocks - 1}")
        require(self, "label_weight", 0.0 <= self.label_weight < math.inf, "it must be at least 0 and finite")
        banks = getattr(memory, "num_banks", 0)
        told = self.label_weight == 0.0 or banks >= len(episodes.domains)
        require(self, "label_weight", told, f"it must be 0 with fewer banks ({banks}) than domains")
        if memory is None:
            return
        wanted = KINDS[self.memory_kind][0]
        if not isinstance(memory, wanted):
            takes = f"memory_kind {self.memory_kind!r} takes a {wanted.__name__}"
            raise ValueError(f"RunConfig.memory is a {type(memory).__name__}; {takes}")  # noqa: TRY004
        require(memory, "width", memory.width == trunk.width, f"it must be that of the transformer ({trunk.width})")

    @property
    def name(self) -> str:
        """A readable, unique folder name."""
        return run_name(self)


def fingerprint(config: Any) -> str:
    """Hash the complete configuration: equal numbers are expected of equal fingerprints only."""
    return digest(describe(config))


def digest(content: Any) -> str:
    """Hash plain values, whatever the order of their names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def run_name(config: Any) -> str:
    """Return a readable, unique folder name for a run."""
    cell = re.sub(r"[^\w.+=-]+", "_", config.arm)
    return f"{config.recipe}-{cell}-seed{config.seed}-{fingerprint(config)[:8]}"


def build_model(config: RunConfig) -> Transformer:
    """Initialise the run's model. The trunk starts alike in every arm of a seed."""
    with seeded(config.seed, "trunk"):
        model = Transformer(config.transformer)
    if config.memory is not None:
        with seeded(config.seed, "memory"):
            memory = KINDS[config.memory_kind][1](config.memory)
        model.memories[str(config.memory_behind)] = memory
    return model


def small(
    study: str,
    cell: str,
    seed: int,
    *,
    episodes: EpisodeConfig | None = None,
    memory: Any = None,
    memory_kind: str | None = None,
    width: int = SMALL_WIDTH,
    num_steps: int = 400,
    batch_size: int = 16,
    learning_rate: float = 4e-3,
    distractors: tuple[int, ...] = (0, 30, 300),
    extras: tuple[Extra, ...] = (),
    label_weight: float = 0.0,
    labels: dict[str, Any] | None = None,
) -> RunConfig:
    """Return a run of a study: the small benchmark at half the width, about 15 seconds on one core."""
    episodes = episodes or EpisodeConfig()
    memory = memory or small_memory(width=width)
    found = next(kind for kind, (wanted, _) in KINDS.items() if isinstance(memory, wanted))
    steps = {"num_steps": num_steps, "checkpoint_every": num_steps, "log_every": 20}  # short enough to start again
    return RunConfig(
        recipe=study,
        arm=cell,
        seed=seed,
        episodes=episodes,
        transformer=TransformerConfig(num_tokens=episodes.vocabulary, max_time=episodes.segment_length, width=width),
        memory=memory,
        memory_kind=memory_kind or found,
        training=TrainingConfig(**steps, batch_size=batch_size, learning_rate=learning_rate),
        evaluation_episodes=512,
        retention=RetentionConfig(distractors=distractors, num_episodes=32),
        extras=extras,
        label_weight=label_weight,
        labels=labels or {},
    )


def small_memory(**changes: Any) -> MemoryConfig:
    """Return the memory of the small studies: two banks of 32 slots, 32 wide, inhibitory."""
    fields: dict[str, Any] = {"width": SMALL_WIDTH, "num_slots": 32} | changes
    return MemoryConfig(**fields)


def load_config(place: Path) -> RunConfig:
    """Read the configuration that a run left in its folder.

    Raises:
        ValueError: there is none, or it is not one of this version.
    """
    path = place / "config.json"
    if not path.is_file():
        raise ValueError(f"{place} is not the folder of a run: it holds no config.json")
    try:
        content = json.loads(path.read_text())
        # Runs whose models are of transformers have none of ours, and nothing loads them again.
        if "transformer" in content:
            return _config_of(content)
        recipe = content["recipe"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or of another version: {error}") from error
    raise ValueError(f"{path} is a run of the study {recipe}; callosal report shows its answers")


def _config_of(content: dict[str, Any]) -> RunConfig:
    memory = content["memory"]
    kind = KINDS[content.get("memory_kind", "lateral")][0]
    content = {name: _tupled(value) for name, value in content.items()}
    parts = {
        "episodes": EpisodeConfig(**content["episodes"]),
        "transformer": TransformerConfig(**content["transformer"]),
        "memory": None if memory is None else kind(**memory),
        "training": TrainingConfig(**content["training"]),
        "retention": RetentionConfig(**content["retention"]),
    }
    return RunConfig(**(content | parts))


def _tupled(value: Any) -> Any:
    """Make the lists of a JSON value tuples again."""
    if isinstance(value, dict):
        return {name: _tupled(part) for name, part in value.items()}
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value


def override(config: RunConfig, changes: Sequence[str]) -> RunConfig:
    """Change fields by dotted names, ``memory.gain=6``, and note on the run that it is off its recipe.

    Raises:
        ValueError: no such field, or a value of the wrong type or range.
    """
    tree: dict[str, Any] = {}
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise ValueError(f"{change!r} is not of the form field=value, such as memory.gain=6")
        *owners, name = path.split(".")
        place = tree
        for owner in owners:
            place = place.setdefault(owner, {})
            if not isinstance(place, dict):
                raise ValueError(f"{path!r} and {owner!r} cannot both be set")  # noqa: TRY004
        place[name] = text
    # All at once, because fields that must fit each other may change together.
    return replace(_set(config, tree, ""), changed=(*config.changed, *changes))


def _set(owner: Any, tree: dict[str, Any], prefix: str) -> Any:
    if not dataclasses.is_dataclass(owner) or isinstance(owner, type):
        raise ValueError(f"{prefix[:-1]!r} has no fields in this run (a memory it lacks?)")
    known = [f.name for f in dataclasses.fields(owner) if f.name not in FIXED]
    values = {}
    for name, value in tree.items():
        if name not in known:
            raise ValueError(f"there is no field {prefix + name!r}; there are: {', '.join(known)}")
        old = getattr(owner, name)
        if isinstance(value, dict):
            values[name] = _set(old, value, f"{prefix}{name}.")
        else:
            values[name] = _parse(value, old, prefix + name)
    return replace(owner, **values)


def _parse(text: str, old: Any, name: str) -> Any:
    """Read a value of the old one's type."""
    try:
        if isinstance(old, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(old, tuple):
            kind = type(old[0]) if old else int
            return tuple(kind(part) for part in text.split(",") if part)
        if isinstance(old, int | float | str):
            return type(old)(text)
    except (KeyError, ValueError):
        pass
    raise ValueError(f"{name} takes a value like {old!r}; {text!r} is not one")
