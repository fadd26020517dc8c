"""How a session's states go through the calls of a model: hooks report the calls, a reader moves the states."""

import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from callosal.hosts.caches import CacheWatch, cache_length
from callosal.hosts.generation import Generation
from callosal.memory import LateralMemory, MemoryState
from callosal.memory.editing import blanked

States = dict[str, MemoryState]


@dataclass
class _Call:
    """One call of the model, under way. Its states count only once the call has come to its end."""

    states: States
    mask: Bool[Tensor, "batch seen"] | None
    read: set[str] = field(default_factory=set)


class Reader:
    """Reads and writes the memories of one session while the model is called.

    A session owns one; the hooks on the model call :meth:`before`, :meth:`behind` and :meth:`after`.

    Args:
        model: that the memories are attached to.
        memories: by the names of their layers.

    Attributes:
        states: of each memory by the name of its layer, the open turn included.
        unread: numbers of the banks that are not read, for each layer.
    """

    def __init__(self, model: nn.Module, memories: Mapping[str, LateralMemory]) -> None:
        self.memories = memories
        self.states: States = {}
        self.unread: dict[str, list[int]] = {}
        self._model = model
        self._call: _Call | None = None
        self._generation: Generation | None = None
        self._shadowed: dict[str, Any] | None = None
        # Within one_turn(): whether it was called yet. None outside.
        self._stretched: bool | None = None
        self._watch = CacheWatch(self.select)

    def begin(self) -> None:
        """Follow calls of ``model.generate`` from now on.

        The method is shadowed on this one object meanwhile: the model's calls alone do not tell beams and ended rows.
        """
        inner = getattr(self._model, "generate", None)
        if callable(inner):
            own = vars(self._model)
            self._shadowed = {"generate": own["generate"]} if "generate" in own else {}

            def generate(_: nn.Module, *args: Any, **kwargs: Any) -> Any:
                return self._generate(inner, args, kwargs)

            own["generate"] = types.MethodType(generate, self._model)

    def end(self) -> None:
        """Leave nothing behind in the model, its caches, or of a call that failed."""
        if self._shadowed is not None:
            vars(self._model).pop("generate", None)
            vars(self._model).update(self._shadowed)
            self._shadowed = None
        self._watch.release()
        self._call = self._generation = None

    def commit(self) -> None:
        """End the turn: write what was retrieved in it into the memories. Without an open one, nothing."""
        self.states = self._committed()

    @contextmanager
    def one_turn(self) -> Iterator[None]:
        """Make all calls inside one turn; RuntimeError where such a stretch is under way."""
        if self._stretched is not None:
            raise RuntimeError("one_turn() inside one_turn(); end the first stretch before the next")
        self._stretched = False
        try:
            yield
            self.commit()
        finally:
            self._stretched = None

    def select(self, rows: Any) -> None:
        """Take these batch rows in this order."""
        self.states = {name: state[rows] for name, state in self.states.items()}
        if self._generation is not None:
            self._generation.select(rows)

    def before(self, arguments: Mapping[str, Any]) -> None:
        """Begin a call of the model, given its arguments by name."""
        cache = arguments.get("past_key_values")
        if cache is None:
            cache = arguments.get("cache_params")
        past = cache_length(cache)
        if torch.compiler.is_compiling():
            if self._generation is not None and self._generation.expand > 1:
                # Where graphs may break, the call is then made uncompiled and all is well.
                raise RuntimeError("beams cannot be followed in a compiled call; use the model as it is")
        elif cache is not None:
            self._watch.watch(cache)
        goes_on = bool(self._stretched) or bool(past)
        if self._stretched is not None:
            self._stretched = True
        mask = arguments.get("attention_mask")
        if self._generation is not None:
            mask = self._generation.before(mask, arguments.get("input_ids"), past)
        if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
            kind = f"of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else f"({type(mask)})"
            raise ValueError(
                f"an attention_mask {kind}, from which a memory cannot tell which tokens exist; pass one of shape "
                "[batch, time], to generate() too"
            )
        states = self.states if goes_on else self._committed()
        self._call = _Call(states=dict(states), mask=None if mask is None else mask.bool())

    def behind(self, name: str, hidden: Tensor) -> Tensor:
        """Read and write behind a layer; what is read is to be added to its output."""
        call = self._call
        if call is None:
            raise RuntimeError(
                f"layer {name!r} ran outside a call of the model that its memory is attached to. Either call that "
                "model rather than a part of it, or, if a checkpoint recomputes the layer in the backward pass, let "
                "it wrap what is inside the layer: hooks then stay outside (transformers from 5.23 on does so)"
            )
        if name in call.read:
            raise RuntimeError(
                f"layer {name!r} ran twice in one call of the model; a memory counts every token once: attach it "
                "behind a layer that runs once"
            )
        call.read.add(name)
        memory = self.memories[name]
        state = call.states.get(name)
        if state is None:
            state = memory.blank(len(hidden))
        elif len(state) != len(hidden):
            state = self._expanded(state, len(hidden))
        mask = call.mask
        if mask is not None:
            # In generation the mask covers the past too.
            mask = mask[:, mask.shape[1] - hidden.shape[1] :].to(hidden.device)
        dtype = memory.addresses.dtype
        with torch.autocast(hidden.device.type, enabled=False):
            y, call.states[name] = memory(hidden.to(dtype), state, mask, commit=False)
            if unread := self.unread.get(name):
                lesioned = replace(state, trace=blanked(state.trace, unread))
                y, _ = memory(hidden.to(dtype), lesioned, mask, commit=False)
        return y.to(hidden.dtype)

    def after(self, output: Any) -> None:
        """End a call of the model: only now does what it wrote count, in all layers or in none."""
        cache = getattr(output, "past_key_values", None)
        if cache is not None and not torch.compiler.is_compiling():
            self._watch.watch(cache)
        if self._call is not None:
            self.states, self._call = self._call.states, None

    def _generate(self, inner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the model's own ``generate``; of each row's replies the memory keeps the first."""
        generation = Generation.of(self._model, args, kwargs)
        start, self._generation = self.states, generation
        try:
            answer = inner(*args, **kwargs)
        except BaseException:
            self.states, self._call = start, None
            raise
        finally:
            self._generation = None
        if generation.beams > 1:
            # The beams that are left at the end need not hold the text that won, so it is read again.
            self.states, self._call = start, None
            self._read_alone(generation.texts(answer))
        elif generation.expand > 1:
            self.select(slice(None, None, generation.expand))
        return answer

    def _read_alone(self, texts: Sequence[Tensor]) -> None:
        """Let each row read a text of its own, by itself: its bits then owe nothing to the other rows."""
        self.commit()
        before, after = self.states, []
        try:
            for row, text in enumerate(texts):
                self.states = {name: state[row] for name, state in before.items()}
                self._model(input_ids=text[None], use_cache=False)
                after.append(self.states)
        except BaseException:
            self.states = before
            raise
        self.states = {name: MemoryState.stack([rows[name] for rows in after]) for name in after[0]}

    def _committed(self) -> States:
        after = {}
        for name, state in self.states.items():
            with torch.autocast(state.trace.device.type, enabled=False):
                after[name] = self.memories[name].commit(state)
        return after

    def _expanded(self, state: MemoryState, num_rows: int) -> MemoryState:
        copies = self._generation.expand if self._generation is not None else 1
        if len(state) * copies == num_rows and state.segment is None:
            rows = torch.arange(len(state), device=state.trace.device)
            return state[rows.repeat_interleave(copies)]
        raise ValueError(
            f"a batch of {num_rows} rows in a session of {len(state)}; a session keeps its rows: name one user per row "
            "when it begins, or choose rows with session.select(rows)"
        )
