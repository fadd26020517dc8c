"""The persona study: memories attached to small language models, which stay frozen."""

import re
from dataclasses import dataclass

from callosal.memory import MemoryConfig
from callosal.studies.hosts import HostConfig
from callosal.studies.recipes import fingerprint
from callosal.tasks.persona import PersonaConfig
from callosal.training.loop import TrainingConfig
from callosal.training.stateful import StatefulConfig

RECIPE = "persona"
SEEDS = (0, 1, 2)


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
        memory: each of them.
        training: how the memories learn; the host is frozen.
        batch_size: conversations in a step of that.
        evaluation_conversations: users asked on held-out conversations.
        marks: increasing numbers of turns between the sessions, after which recall is measured.
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
    evaluation_conversations: int = 512
    marks: tuple[int, ...] = (0, 2, 10, 30, 100)
    changed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A readable, unique folder name."""
        cell = re.sub(r"[^\w.+=-]+", "_", self.arm)
        return f"{self.recipe}-{cell}-seed{self.seed}-{fingerprint(self)[:8]}"
