"""What stands on a model between ``attach`` and ``unload``, and which session a call of the model belongs to."""

import asyncio
import inspect
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from callosal.hosts.shadow import Shadow

if TYPE_CHECKING:
    from callosal.hosts.reading import Reader

# Whose code stands between a user's line and the model.
_LIBRARIES = frozenset({"accelerate", "callosal", "peft", "torch", "transformers"})
# Ways around `generate`, in which one batch serves many callers.
_BATCHED = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")

# A thread and, in an event loop, a task.
Flow = tuple[int, int | None]
NOWHERE: Flow = (0, None)

# The sessions that a piece of code is in, as their readers: a thread starts in none, a task in those of its parent.
_INSIDE: "ContextVar[tuple[Reader, ...]]" = ContextVar("callosal sessions", default=())
_CHANGING = threading.Lock()


class _PerThread(threading.local):
    """The sessions of a thread for compiled calls, which cannot read a context variable; none in an event loop."""

    inside: "tuple[Reader, ...]" = ()


_THREAD = _PerThread()


class OutsideSessionWarning(UserWarning):
    """A model was called whose memories did nothing, since no session is under way."""


class Hooks:
    """Stand on a model and these layers of it, and hand its calls to the session that they belong to.

    A call belongs to the session that its code is in, by Python's contexts: not to one of another thread or task.

    Args:
        model: the model.
        layers: names of the layers.
        embedding: what embeds the model's input tokens, where a memory wants to know of it.

    Attributes:
        under_way: readers of this model's sessions, in whatever context.
        warn_outside_session: whether the next call outside a session is worth a warning.
        warn_untrained: whether the next such call in training is, by which nothing of the memories is trained.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[str],
        learns: Callable[[], bool] = lambda: False,
        embedding: nn.Module | None = None,
    ) -> None:
        self.under_way: tuple[Reader, ...] = ()
        self.warn_outside_session = self.warn_untrained = True
        self._learns = learns
        self._called = type(model).__name__
        self._shadows = [Shadow(model, "forward", self._forward)]
        if callable(getattr(model, "generate", None)):
            self._shadows.append(Shadow(model, "generate", self._generate))
        self._shadows += [Shadow(model, n, partial(self._refuse, n)) for n in _BATCHED if hasattr(type(model), n)]
        self._handles: list[RemovableHandle] = []
        for name in layers:
            layer = model.get_submodule(name)
            self._handles.append(layer.register_forward_hook(partial(self._behind, name)))
        if embedding is not None:
            self._handles.append(embedding.register_forward_hook(self._embedded))

    def __getstate__(self) -> dict[str, Any]:
        """Copy or pickle a model without the sessions of the original."""
        return vars(self) | {"under_way": ()}

    def disconnect(self) -> None:
        """Take everything off the model."""
        for shadow in reversed(self._shadows):
            shadow.remove()
        for handle in self._handles:
            handle.remove()
        self._shadows, self._handles = [], []

    @property
    def reader(self) -> "Reader | None":
        """The reader of the session that the calling code is in; None in no session of this model.

        Raises:
            RuntimeError: the session has ended while this very thread was generating in it; or a compiled call cannot
                tell (where graphs may break, the call is then made uncompiled and all is well).
        """
        if torch.compiler.is_compiling():
            return self._compiled_reader()
        for reader in reversed(_INSIDE.get()):
            if reader.hooks is self:
                reader.require_not_abandoned()
                if reader.open:
                    return reader
        return None

    def enter(self, reader: "Reader") -> None:
        """Begin a session in the context and thread that call; RuntimeError inside another of the same flow."""
        around, flow = self.reader, _flow()
        if around is not None and around.flow == flow:
            raise RuntimeError(
                "a session inside a session of the same model; end the first, or name all users in one. If the first "
                "was interrupted and its block never ended: memories.active.close()"
            )
        reader.flow, reader.open = flow, True
        with _CHANGING:
            self.under_way = (*self.under_way, reader)
        _INSIDE.set((*_still_open(_INSIDE.get()), reader))
        if flow[1] is None:
            _THREAD.inside = (*_still_open(_THREAD.inside), reader)

    def leave(self, reader: "Reader") -> None:
        """End a session, in whatever context: where it is still named it is then known to be over."""
        reader.open = False
        with _CHANGING:
            self.under_way = tuple(r for r in self.under_way if r is not reader)
        _INSIDE.set(_still_open(_INSIDE.get()))
        _THREAD.inside = _still_open(_THREAD.inside)

    @contextmanager
    def inside(self, reader: "Reader") -> Iterator[None]:
        """Make what is called here belong to a session that was begun elsewhere."""
        token, before = _INSIDE.set((*_INSIDE.get(), reader)), _THREAD.inside
        _THREAD.inside = (*before, reader)
        try:
            yield
        finally:
            _INSIDE.reset(token)
            _THREAD.inside = before

    def _compiled_reader(self) -> "Reader | None":
        for reader in reversed(_THREAD.inside):
            if reader.hooks is self and reader.open:
                return reader
        if self.under_way:
            raise RuntimeError(
                "a compiled call cannot tell whether it belongs to a session of another thread or task; make it with "
                "session.bind(function), or use the model uncompiled"
            )
        return None

    def _forward(self, inner: Any, *args: Any, **kwargs: Any) -> Any:
        reader = self.reader
        if reader is not None:
            return reader.call(inner, args, kwargs)
        # A compiled call is one graph, in which nothing can be said.
        if not torch.compiler.is_compiling():
            untrained = self.warn_untrained and torch.is_grad_enabled() and self._learns()
            if untrained or self.warn_outside_session:
                self._warn(untrained=untrained)
        return inner(*args, **kwargs)

    def _warn(self, *, untrained: bool) -> None:
        """Say once that memories do nothing outside a session, and once more that they do not learn there."""
        self.warn_outside_session = False
        if untrained:
            self.warn_untrained = False
            what = "in training mode outside a session, where its memories neither read nor write, and learn nothing"
            remedy, meant = ", or train callosal.Conversations(memories)", "memories.requires_grad_(False)"
        else:
            what = "outside a session, where its memories neither read nor write"
            remedy, meant = "", "memories.warn_outside_session = False"
        elsewhere = (
            " A session is under way in another thread or task: where this call is part of it, hand it on with "
            "session.bind(function)."
        )
        warnings.warn(
            f"{self._called} was called {what}: call it inside `with memories.session(...):`{remedy}."
            f"{elsewhere if self.under_way else ''} If that is meant: {meant} (this is said once)",
            OutsideSessionWarning,
            stacklevel=_frames_to_user(),
        )

    def _generate(self, inner: Any, *args: Any, **kwargs: Any) -> Any:
        reader = self.reader
        return inner(*args, **kwargs) if reader is None else reader.generate(inner, args, kwargs)

    def _refuse(self, name: str, inner: Any, *args: Any, **kwargs: Any) -> Any:
        if self.reader is not None:
            raise ValueError(
                f"{name}() in a session: continuous batching packs the texts of many requests into one row, and a "
                "memory cannot tell whose they are; call generate() with a row per user"
            )
        return inner(*args, **kwargs)

    def _embedded(self, _: nn.Module, __: Any, output: Tensor) -> None:
        reader = self.reader
        if reader is not None:
            reader.embedded(output)

    def _behind(self, name: str, _: nn.Module, __: Any, output: Any) -> Any:
        reader = self.reader
        if reader is None:
            return None
        # Layers return their hidden states alone or, with weights or caches, first in a tuple.
        hidden = output if isinstance(output, Tensor) else output[0]
        added = hidden + reader.behind(name, hidden)
        if isinstance(output, Tensor):
            return added
        rest = (added, *output[1:])
        # A named tuple takes its parts one by one.
        return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)


def _flow() -> Flow:
    """Return the thread and, in an event loop, the task that is running."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), None if task is None else id(task)


def _still_open(readers: "tuple[Reader, ...]") -> "tuple[Reader, ...]":
    return tuple(reader for reader in readers if reader.open)


def _frames_to_user() -> int:
    """Return how many frames above the caller's the first line of somebody's own code stands."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and (frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES):
        frame, level = frame.f_back, level + 1
    return level
