"""callosal: lateralized, persistent memory for transformers. This is the only door you need.

The names are loaded when they are first used: ``import callosal`` costs nothing, and what needs no torch never waits
for it.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers, which do not read the table below
    from callosal.contract import check_memory as check_memory
    from callosal.hosts.attach import attach as attach
    from callosal.hosts.attach import attach_pretrained as attach_pretrained
    from callosal.hosts.attach import unload as unload
    from callosal.hosts.memories import Memories as Memories
    from callosal.hosts.session import Session as Session
    from callosal.memory import LateralMemory as LateralMemory
    from callosal.memory import MemoryConfig as MemoryConfig
    from callosal.memory import MemoryState as MemoryState
    from callosal.memory import load_memory as load_memory
    from callosal.memory import merge as merge
    from callosal.memory import save_memory as save_memory
    from callosal.stores import ConflictError as ConflictError
    from callosal.stores import MemoryStore as MemoryStore
    from callosal.stores import RedisStore as RedisStore
    from callosal.training.conversations import Conversations as Conversations
    from callosal.training.conversations import collate_conversations as collate_conversations
    from callosal.training.stateful import StatefulConfig as StatefulConfig
    from callosal.training.stateful import train_stateful as train_stateful

__version__ = "0.1.0"

_NAMES = {
    "callosal.contract": "check_memory",
    "callosal.hosts.attach": "attach attach_pretrained unload",
    "callosal.hosts.memories": "Memories",
    "callosal.hosts.session": "Session",
    "callosal.memory": "LateralMemory MemoryConfig MemoryState load_memory merge save_memory",
    "callosal.stores": "ConflictError MemoryStore RedisStore",
    "callosal.training.conversations": "Conversations collate_conversations",
    "callosal.training.stateful": "StatefulConfig train_stateful",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
# Names of version 0.1.0 that went elsewhere. They work until the next version, with a warning.
_MOVED = {
    "EpisodeConfig": "callosal.lab.tasks.EpisodeConfig",
    "Specialization": "callosal.lab.measures.specialization.Specialization",
    "Transformer": "callosal.lab.models.transformer.Transformer",
    "TransformerConfig": "callosal.lab.models.transformer.TransformerConfig",
    "detach": "callosal.unload",
    "record_shares": "callosal.lab.measures.recording.record_shares",
    "sample_episodes": "callosal.lab.tasks.sample_episodes",
    "specialization": "callosal.lab.measures.specialization.specialization",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MOVED:
        home = _MOVED[name]
        warnings.warn(f"callosal.{name} is now {home}", DeprecationWarning, stacklevel=2)
        module, _, name = home.rpartition(".")
        return getattr(import_module(module), name)
    raise AttributeError(f"module 'callosal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_HOMES, "__version__"]
