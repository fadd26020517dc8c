"""callosal: lateralized, persistent memory for transformers. This is the only door you need.

The names are loaded when they are first used, so that rebuilding a report needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callosal.contract import check_memory
    from callosal.measures.recording import record_shares
    from callosal.measures.specialization import Specialization, specialization
    from callosal.memory import (
        LateralMemory,
        MemoryConfig,
        MemoryState,
        MemoryStore,
        load_memory,
        save_memory,
    )
    from callosal.models import Transformer, TransformerConfig, attach, attach_pretrained, detach
    from callosal.tasks import EpisodeConfig, sample_episodes

__version__ = "0.1.0"

_HOMES = {
    "EpisodeConfig": "callosal.tasks",
    "LateralMemory": "callosal.memory",
    "MemoryConfig": "callosal.memory",
    "MemoryState": "callosal.memory",
    "MemoryStore": "callosal.memory",
    "Specialization": "callosal.measures.specialization",
    "Transformer": "callosal.models",
    "TransformerConfig": "callosal.models",
    "attach": "callosal.models",
    "attach_pretrained": "callosal.models",
    "check_memory": "callosal.contract",
    "detach": "callosal.models",
    "load_memory": "callosal.memory",
    "record_shares": "callosal.measures.recording",
    "sample_episodes": "callosal.tasks",
    "save_memory": "callosal.memory",
    "specialization": "callosal.measures.specialization",
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
