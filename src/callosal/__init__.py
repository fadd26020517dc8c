"""callosal: lateralized, persistent memory for transformers. This is the only door you need.

The names are loaded when they are first used, so that rebuilding a report needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callosal.contract import check_memory
    from callosal.hosts.attach import attach, attach_pretrained, detach
    from callosal.lab.measures.recording import record_shares
    from callosal.lab.measures.specialization import Specialization, specialization
    from callosal.lab.models.transformer import Transformer, TransformerConfig
    from callosal.lab.tasks import EpisodeConfig, sample_episodes
    from callosal.memory import (
        LateralMemory,
        MemoryConfig,
        MemoryState,
        MemoryStore,
        load_memory,
        save_memory,
    )

__version__ = "0.1.0"

_HOMES = {
    "EpisodeConfig": "callosal.lab.tasks",
    "LateralMemory": "callosal.memory",
    "MemoryConfig": "callosal.memory",
    "MemoryState": "callosal.memory",
    "MemoryStore": "callosal.memory",
    "Specialization": "callosal.lab.measures.specialization",
    "Transformer": "callosal.lab.models.transformer",
    "TransformerConfig": "callosal.lab.models.transformer",
    "attach": "callosal.hosts.attach",
    "attach_pretrained": "callosal.hosts.attach",
    "check_memory": "callosal.contract",
    "detach": "callosal.hosts.attach",
    "load_memory": "callosal.memory",
    "record_shares": "callosal.lab.measures.recording",
    "sample_episodes": "callosal.lab.tasks",
    "save_memory": "callosal.memory",
    "specialization": "callosal.lab.measures.specialization",
}

__all__ = [
    "EpisodeConfig",
    "LateralMemory",
    "MemoryConfig",
    "MemoryState",
    "MemoryStore",
    "Specialization",
    "Transformer",
    "TransformerConfig",
    "attach",
    "attach_pretrained",
    "check_memory",
    "detach",
    "load_memory",
    "record_shares",
    "sample_episodes",
    "save_memory",
    "specialization",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'callosal' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
