"""Many users' memories, kept in a folder or on a Redis server: what both do is written once."""

from callosal.stores.base import ConflictError, OnConflict, Store
from callosal.stores.folder import MemoryStore
from callosal.stores.redis import RedisStore

__all__ = ["ConflictError", "MemoryStore", "OnConflict", "RedisStore", "Store"]


def __dir__() -> list[str]:
    return list(__all__)
