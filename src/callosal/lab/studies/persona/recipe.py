"""The persona study: memories attached to small language models, which stay frozen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callosal.lab.report.records import RunRecord
from callosal.lab.runner import Report
from callosal.lab.runs import run_name
from callosal.lab.studies.persona.base_models import HostConfig
from callosal.lab.studies.persona.cells import HOSTS, LAYER, LAYERS, MAIN, NUM_LAYERS, VARIANTS, Host
from callosal.lab.tasks.persona import PersonaConfig
from callosal.memory import MemoryConfig
from callosal.memory.config import ADDED
from callosal.training.loop import TrainingConfig
from callosal.training.stateful import StatefulConfig

RECIPE = "persona"
# Learned positions take longer to learn to look things up.
PRETRAINING_STEPS: dict[Host, int] = {"GPT-2": 1500, "Llama": 1000}


@dataclass(frozen=True, kw_only=True)
class PersonaRun:
    """Everything that determines the numbers of a run.

    Attributes:
        recipe: the study.
        arm: the name of its cell.
        seed: of host, memory and conversations.
        episodes: what is said.
        host: the language model.
        pretraining: how the host learns the text, without a memory.
        layers: behind which of its layers a memory is attached.
        shared: whether it is one memory behind all of them, written from the last.
        memory: each of them.
        training: how the memories learn; the host is frozen.
        batch_size: conversations in a step of that.
        evaluation_conversations: users asked on held-out conversations.
        marks: increasing numbers of turns between the sessions, after which recall is measured.
        chatter_marks: the same where the turns are chatter; empty is as ``marks``.
        recalled_conversations: users of these measurements.
        changed: what was set by hand; such a run is no evidence.
    """

    recipe: str = RECIPE
    arm: str
    seed: int
    episodes: PersonaConfig
    host: HostConfig
    pretraining: TrainingConfig
    layers: tuple[int, ...]
    memory: MemoryConfig
    training: StatefulConfig
    batch_size: int = 16
    evaluation_conversations: int = 256
    marks: tuple[int, ...] = (0, 2, 10, 30, 100)
    chatter_marks: tuple[int, ...] = field(default=(), metadata=ADDED)
    recalled_conversations: int = field(default=64, metadata=ADDED)
    shared: bool = field(default=False, metadata=ADDED)
    changed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A readable, unique folder name."""
        return run_name(self)


def run(config: PersonaRun, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Run one; see :func:`callosal.lab.studies.persona.run.run`, which needs transformers."""
    from callosal.lab.studies.persona import run as persona  # noqa: PLC0415

    return persona.run(config, folder, report)


def configs(seeds: Sequence[int]) -> list[PersonaRun]:
    """Return the study's runs: both hosts, then, for fewer steps, the layers and the variants."""
    groups: list[list[tuple[str, dict[str, Any]]]] = [
        [(MAIN[kind], {"kind": kind, "num_steps": 2000}) for kind in HOSTS],
        [(name, {"layers": (layer,)}) for layer, name in LAYERS.items()],
        [(VARIANTS["facts and questions apart"], {"episodes": PersonaConfig(mixed=False)})],
        [(VARIANTS["one bank"], {"num_banks": 1, "num_slots": 256}), (VARIANTS["excitatory"], {"sign": 1.0})],
    ]
    return [cell(name, seed, **changes) for group in groups for seed in seeds for name, changes in group]


def cell(
    arm: str,
    seed: int,
    kind: Host = "Llama",
    *,
    num_steps: int = 400,
    layers: tuple[int, ...] = (LAYER,),
    episodes: PersonaConfig | None = None,
    **memory: Any,
) -> PersonaRun:
    """Return a run of the study; what is not named is as in all others."""
    host = HostConfig(kind=kind, num_layers=NUM_LAYERS)
    fields: dict[str, Any] = {"width": host.width, "num_slots": 128} | memory
    return PersonaRun(
        arm=arm,
        seed=seed,
        episodes=episodes or PersonaConfig(),
        host=host,
        pretraining=TrainingConfig(num_steps=PRETRAINING_STEPS[kind], learning_rate=3e-3, log_every=50),
        layers=layers,
        memory=MemoryConfig(**fields),
        training=StatefulConfig(num_steps=num_steps, learning_rate=0.02, log_every=20),
    )
