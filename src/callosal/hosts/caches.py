"""What a model keeps of the past, in a session: how long it is, and how its rows change places."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from callosal.hosts.shadow import PassingShadow

# Under which a model takes what it keeps of the past: key-value caches, and those of Mamba, RWKV, XLNet and Reformer.
_NAMES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")

# The length of a recurrent cache, which holds all of the past and counts none of it.
UNCOUNTED = -1


class CacheWatch:
    """Follows the rows of the key-value cache that a turn of a session hands on.

    ``generate`` tells a cache, and nobody else, which beams go on. Its methods are shadowed on the one object, and
    given back at the end; a copy of the cache moves nobody else's rows. Whenever its rows change places, ``select`` is
    called with those that go on.
    """

    def __init__(self, select: Callable[[Any], None]) -> None:
        self._select = select
        self._caches: list[tuple[Any, list[PassingShadow]]] = []
        self._current: Any = None

    def watch(self, cache: Any) -> None:
        """Follow this cache from now on; those of earlier turns may change as they like."""
        self._current = cache
        if any(cache is seen for seen, _ in self._caches) or not hasattr(cache, "__dict__"):
            return

        def moved(inner: Any, rows: Any) -> None:
            inner(rows)
            if cache is self._current:
                self._select(rows)

        def cropped(inner: Any, *args: Any, **kwargs: Any) -> None:
            if cache is self._current:
                raise ValueError(
                    "a key-value cache is cropped in a session: tokens are taken back (assisted or speculative "
                    "generation) that the memory has read; generate without an assistant"
                )
            inner(*args, **kwargs)

        around = {"reorder_cache": moved, "batch_select_indices": moved, "crop": cropped}
        shadows = [PassingShadow(cache, name, f) for name, f in around.items() if hasattr(type(cache), name)]
        self._caches.append((cache, shadows))

    def knows(self, cache: Any) -> bool:
        """Whether this cache, or the one that it is a copy of, was followed; yes where that cannot be seen."""
        if any(cache is seen for seen, _ in self._caches) or not hasattr(cache, "__dict__"):
            return True
        return any(isinstance(one, PassingShadow) for one in vars(cache).values())

    def release(self) -> None:
        """Give the methods back."""
        for _, shadows in self._caches:
            for shadow in shadows:
                shadow.remove()
        self._caches.clear()
        self._current = None


def cache_in(arguments: Mapping[str, Any]) -> Any:
    """Return the cache among the arguments of a model's call, None without one."""
    given = (arguments.get(name) for name in _NAMES)
    # The state of a robot (PI0) is a tensor, no cache.
    return next((cache for cache in given if cache is not None and not isinstance(cache, Tensor)), None)


def cache_out(output: Any) -> Any:
    """Return the cache that a model's call hands on, None without one."""
    if isinstance(output, Mapping):
        return cache_in(output)
    parts = output if isinstance(output, tuple) else ()
    return next((part for part in parts if hasattr(part, "get_seq_length")), None)


def cache_length(cache: Any) -> int | None:
    """Return how many tokens a cache holds, ``UNCOUNTED`` if it holds some but cannot tell; None without a cache."""
    if cache is None:
        return None
    if not hasattr(cache, "get_seq_length"):
        # It is handed in only once it holds something.
        return UNCOUNTED
    try:
        length = int(cache.get_seq_length() or 0)
    except ValueError:
        # So says one of which no layer is an attention's.
        length = 0
    return length or _length_inside(cache)


def _length_inside(cache: Any) -> int:
    """Return the length of a cache whose first layer holds no tokens: a recurrent one, or none yet."""
    layers = getattr(cache, "layers", ())
    # A list and no default, or it breaks the graph of a compiled call.
    length = max([0, *[int(layer.get_seq_length() or 0) for layer in layers if hasattr(layer, "get_seq_length")]])
    recurrent = any(any(getattr(layer, "has_previous_state", {}).values()) for layer in layers)
    # MiniMax keeps the states of its linear layers, and Reformer all of its, in lists beside.
    beside = any(getattr(cache, name, None) for name in ("linear_cache", "states_cache"))
    return length or (UNCOUNTED if recurrent or beside else 0)
