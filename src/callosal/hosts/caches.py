"""Key-value caches in a session: how long one is, and how its rows change places."""

import types
from collections.abc import Callable
from typing import Any

from torch import Tensor


class CacheWatch:
    """Follows the rows of the key-value cache that a turn of a session hands on.

    ``generate`` tells a cache, and nobody else, which beams go on. Its methods are shadowed on the one object, bound to
    it so that a copy of the cache moves nobody else's rows, and given back at the end. Whenever its rows change places,
    ``select`` is called with those that go on.
    """

    def __init__(self, select: Callable[[Any], None]) -> None:
        self._select = select
        self._caches: list[Any] = []
        self._current: Any = None

    def watch(self, cache: Any) -> None:
        """Follow this cache from now on; those of earlier turns may change as they like."""
        self._current = cache
        if any(cache is seen for seen in self._caches):
            return
        self._caches.append(cache)

        def reorder_cache(this: Any, beam_idx: Tensor) -> None:
            type(this).reorder_cache(this, beam_idx)
            if this is self._current:
                self._select(beam_idx)

        def batch_select_indices(this: Any, indices: Tensor) -> None:
            type(this).batch_select_indices(this, indices)
            if this is self._current:
                self._select(indices)

        def crop(this: Any, *args: Any, **kwargs: Any) -> None:
            if this is self._current:
                raise ValueError(
                    "a key-value cache is cropped in a session: tokens are taken back (assisted or speculative "
                    "generation) that the memory has read; generate without an assistant"
                )
            type(this).crop(this, *args, **kwargs)

        for method in (reorder_cache, batch_select_indices, crop):
            if hasattr(type(cache), method.__name__):
                setattr(cache, method.__name__, types.MethodType(method, cache))

    def release(self) -> None:
        """Give the methods back."""
        for cache in self._caches:
            for name in ("reorder_cache", "batch_select_indices", "crop"):
                cache.__dict__.pop(name, None)
        self._caches.clear()
        self._current = None


def cache_length(cache: Any) -> int | None:
    """Return how many tokens a key-value cache holds, None if there is no cache."""
    if cache is None:
        return None
    # A recurrent cache that cannot count is handed in only once it holds something.
    return int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else 1
