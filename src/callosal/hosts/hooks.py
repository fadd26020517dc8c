"""The hooks that stand on a model between ``attach`` and ``unload``."""

import inspect
import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from callosal.hosts.layers import arguments_of, calling_module
from callosal.hosts.reading import Reader

# Whose code stands between a user's line and the hooks.
_LIBRARIES = frozenset({"accelerate", "callosal", "peft", "torch", "transformers"})


class OutsideSessionWarning(UserWarning):
    """A model was called whose memories did nothing, since no session is under way."""


class Hooks:
    """Stand on a model and these layers of it, and hand its calls to the session under way, or say once there is none.

    Attributes:
        session: that is under way; None between sessions.
        reader: of that session.
        warn_outside_session: whether the next call outside a session is worth a warning.
    """

    def __init__(self, model: nn.Module, layers: Iterable[str]) -> None:
        self.session: Any = None
        self.reader: Reader | None = None
        self.warn_outside_session = True
        layers, self._called = list(layers), type(model).__name__
        caller = calling_module(model, layers)
        before = partial(self._before, arguments_of(caller))
        self._handles: list[RemovableHandle] = [
            caller.register_forward_pre_hook(before, with_kwargs=True),
            caller.register_forward_hook(self._after),
        ]
        for name in layers:
            layer = model.get_submodule(name)
            self._handles.append(layer.register_forward_hook(partial(self._behind, name)))

    def disconnect(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _before(self, names: list[str], _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.reader is not None:
            self.reader.before(dict(zip(names, args, strict=False)) | kwargs)
        # A compiled call is one graph, in which nothing can be said.
        elif not torch.compiler.is_compiling() and self.warn_outside_session:
            self.warn_outside_session = False
            warnings.warn(
                f"{self._called} was called outside a session, where its memories neither read nor write: call it "
                "inside `with memories.session(...):`. If that is meant, set memories.warn_outside_session = False "
                "(this is said once)",
                OutsideSessionWarning,
                stacklevel=_frames_to_user(),
            )

    def _behind(self, name: str, _: nn.Module, __: Any, output: Any) -> Any:
        if self.reader is None:
            return None
        # Layers return their hidden states alone or, with weights or caches, first in a tuple.
        hidden = output if isinstance(output, Tensor) else output[0]
        added = hidden + self.reader.behind(name, hidden)
        return added if isinstance(output, Tensor) else type(output)((added, *output[1:]))

    def _after(self, _: nn.Module, __: Any, output: Any) -> None:
        if self.reader is not None:
            self.reader.after(output)


def _frames_to_user() -> int:
    """Return how many frames above the caller's the first line of somebody's own code stands."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and (frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES):
        frame, level = frame.f_back, level + 1
    return level
