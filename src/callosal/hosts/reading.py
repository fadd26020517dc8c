"""How a session's states go through the calls of a model: hooks report the calls, a reader moves the states."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed, nn

from callosal.hosts.arguments import Arguments, newest
from callosal.hosts.caches import CacheWatch, cache_in, cache_length, cache_out
from callosal.hosts.generation import Generation
from callosal.hosts.hooks import NOWHERE, Hooks
from callosal.hosts.layers import Place, keeps_time_first
from callosal.hosts.loudness import loud_alone, loudness
from callosal.memory import LateralMemory, MemoryState, sequence_parallel
from callosal.memory.editing import blanked
from callosal.memory.shared import SharedMemory

States = dict[str, MemoryState]


@dataclass
class _Call:
    """One call of the model, under way. Its states count only once the call has come to its end."""

    states: States
    mask: Bool[Tensor, "batch seen"] | None
    shape: tuple[int, int] | None
    embedded: Tensor | None = None
    read: set[str] = field(default_factory=set)


class Reader:
    """Reads and writes the memories of one session while the model is called.

    A session owns one; what stands on the model calls :meth:`call`, :meth:`generate` and :meth:`behind`. A call counts
    only when it is whole: after an error anywhere in it states and buffers are what they were.

    Args:
        model: that the memories are attached to.
        memories: by the names of their layers.
        places: by layer, which of them stands behind it.
        hooks: that stand on the model.
        sequence_group: the processes that pieces of every text lie on; None where each text is whole.

    Attributes:
        session: that owns this one, once it does.
        states: of each memory by the name of its layer, the open turn included.
        arguments: how the model takes a text.
        unread: numbers of the banks that are not read, for each layer.
        muted: what is less loud is not heard; None hears all.
        heard: how loud the memories were at the last token of the last call with ``muted``, by layer.
        open: whether the session is under way.
        flow: the thread and the task that it was begun in.
    """

    def __init__(
        self,
        model: nn.Module,
        memories: Mapping[str, LateralMemory],
        places: Mapping[str, Place],
        hooks: Hooks,
        sequence_group: "distributed.ProcessGroup | None" = None,
    ) -> None:
        self.memories, self.places, self.hooks, self.sequence_group = memories, places, hooks, sequence_group
        self.session: Any = None
        self.states: States = {}
        self.unread: dict[str, list[int]] = {}
        self.muted: float | None = None
        self.heard: dict[str, Float[Tensor, "row"]] = {}
        self.open, self.flow = False, NOWHERE
        self._model = model
        self.arguments, self._time_first = Arguments.of(model), keeps_time_first(model)
        self._call: _Call | None = None
        self._generation: Generation | None = None
        # Within one_turn(): whether it was called yet. None outside.
        self._stretched: bool | None = None
        self._watch = CacheWatch(self.select)
        # Whether the last call was compiled, and so its cache not followed.
        self._blind = False
        # Held by the thread that calls the model, for the whole of a generation.
        self._busy, self._holder = threading.RLock(), 0
        self._abandoned: set[int] = set()
        self._start = self.states

    def begin(self) -> None:
        """Take part in the calls of the model from now on, in this context.

        Raises:
            RuntimeError: another session of this model is under way here, or an abandoned thread still generates.
        """
        with self.alone():
            self.hooks.enter(self)

    def end(self, *, wait: bool) -> None:
        """Take no more part, and leave nothing behind in caches or of a call that failed.

        A thread that still calls the model is waited for, or else (``wait=False``) stopped at its next token: its call
        then counts as not made.
        """
        if wait:
            self._busy.acquire()
            self._busy.release()
        self.hooks.leave(self)
        if self._holder not in (0, threading.get_ident()):
            self._abandoned.add(self._holder)
            self.states = self._start
        self._watch.release()
        self._call = self._generation = None

    def require_not_abandoned(self) -> None:
        """RuntimeError where this thread still calls the model for a session that has ended since."""
        if threading.get_ident() in self._abandoned:
            raise RuntimeError(
                "the session ended while this thread called the model in it; nothing of the call is kept"
            )

    def is_generating(self) -> bool:
        """Return whether a reply is under way."""
        return self._generation is not None

    def commit(self) -> None:
        """End the turn: write what was retrieved in it into the memories. Without an open one, nothing."""
        with self.alone():
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
        with self.alone():
            self.states = {name: state[rows] for name, state in self.states.items()}
            if self._generation is not None:
                self._generation.select(rows)

    def listen(self, **text: Tensor) -> None:
        """Let the model read a text, for what is ``heard``, and keep nothing."""
        with self.alone(), self.hooks.inside(self), self._whole() as undo, torch.no_grad():
            before, self.muted = (self._stretched, self._blind, self.muted), 0.0
            try:
                self._model(**text, use_cache=False)
            finally:
                undo()
                self._stretched, self._blind, self.muted = before

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as one whose calls of the model belong to this session, whatever thread makes them."""

        def bound(*args: Any, **kwargs: Any) -> Any:
            if not self.open:
                raise RuntimeError("the session that this function was bound to has ended; bind it in another")
            with self.hooks.inside(self):
                return function(*args, **kwargs)

        return bound

    def call(self, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call of the model: only at its end does what it wrote count, in all layers or in none."""
        if torch.compiler.is_compiling():
            # What a graph changes it changes at its end too. A graph that breaks inside cannot be taken up again within
            # a `try`, so this call is then made uncompiled, and what it calls is compiled: else Dynamo would make the
            # bound method of its name, which is what stands before it, and every token would count twice.
            try:
                self._call = call = self._begun(self.arguments.by_name(args, kwargs))
                output = inner(*args, **kwargs)
            finally:
                self._call = None
            self.states, self._blind = call.states, True
            return output
        with self.alone(), self._whole():
            if self._call is not None:
                raise RuntimeError("the model was called inside a call of itself; a memory counts every token once")
            self._call = call = self._begun(self.arguments.by_name(args, kwargs))
            output = inner(*args, **kwargs)
            self.require_not_abandoned()
            cache = cache_out(output)
            if cache is not None:
                self._watch.watch(cache)
            self.states, self._call, self._blind = call.states, None, False
            return output

    def generate(self, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the model's own ``generate``; of each row's replies the memory keeps the first."""
        if self.sequence_group is not None:
            raise ValueError(
                "generate() in a session of a sequence_group, where each process has a piece of every text and none "
                "has its end; generate in a session without one"
            )
        with self.alone(), self._whole() as undo:
            self._generation = generation = Generation.of(self._model, inner, args, kwargs)
            answer = inner(*args, **kwargs)
            self.require_not_abandoned()
            generation.require_read_once(answer)
            self._generation = None
            if generation.beams > 1:
                # The beams that are left at the end need not hold the text that won, so it is read again.
                undo()
                self._read_alone(generation.texts(answer))
            elif generation.expand > 1:
                self.select(slice(None, None, generation.expand))
            return answer

    def embedded(self, tokens: Tensor) -> None:
        """Take note of the embeddings of a call's input tokens."""
        if self._call is not None:
            self._call.embedded = tokens

    def behind(self, layer: str, hidden: Tensor) -> Tensor:
        """Read behind a layer, and write where it is the one to write; what is read is to be added to its output."""
        call = self._call
        if call is None:
            raise RuntimeError(
                f"layer {layer!r} ran outside a call of the model that its memory is attached to. Either call that "
                "model rather than a part of it, or, if a checkpoint recomputes the layer in the backward pass, let "
                "it wrap what is inside the layer: hooks then stay outside (transformers from 5.23 on does so)"
            )
        if layer in call.read:
            raise RuntimeError(
                f"layer {layer!r} ran twice in one call of the model; a memory counts every token once: attach it "
                "behind a layer that runs once"
            )
        call.read.add(layer)
        if self._time_first:
            hidden = hidden.transpose(0, 1)
        name, reader = self.places[layer]
        memory = self.memories[name]
        sizes, width = tuple(hidden.shape), memory.config.width
        if len(sizes) != 3 or sizes[2] != width or (call.shape is not None and sizes[:2] != call.shape):
            raise ValueError(
                f"hidden states of shape {sizes} behind layer {layer!r}, where a memory takes [batch, time, {width}]"
                f"{'' if call.shape is None else f' of {list(call.shape)} tokens'}; attach it behind a layer that "
                "returns such"
            )
        state = call.states.get(name)
        if state is None:
            state = memory.blank(len(hidden))
        elif len(state) != len(hidden):
            state = self._expanded(state, len(hidden))
        state, seen = _beside(memory, state), hidden.to(memory.addresses)
        mask = call.mask
        if mask is not None:
            mask = newest(mask, hidden.shape[1]).to(seen.device)
        given: dict[str, Any] = {"embedded": call.embedded.to(seen)} if call.embedded is not None else {}
        if self.sequence_group is not None:
            # A session with memories that several layers share has no such group.
            read = partial(sequence_parallel, memory, group=self.sequence_group, commit=False, **given)
        elif reader is None:
            read = partial(memory, commit=False, **given)
        else:
            assert isinstance(memory, SharedMemory)
            read = partial(memory.read, reader)
        with _no_autocast(seen.device.type):
            y, call.states[name] = read(seen, state, mask)
            if unread := self.unread.get(name):
                y, _ = read(seen, replace(state, trace=blanked(state.trace, unread)), mask)
        if self.muted is not None:
            self.heard[layer] = loudness(y, seen)
            y = loud_alone(y, seen, self.muted)
        return (y.transpose(0, 1) if self._time_first else y).to(hidden)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one thread at a time use the session; RuntimeError where another does."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(
                "another thread is calling the model in this session; the text of a user is one sequence: make one "
                "call after another, or begin a session for other users"
            )
        before, self._holder = self._holder, threading.get_ident()
        try:
            yield
        finally:
            self._holder = before
            self._busy.release()

    @contextmanager
    def _whole(self) -> Iterator[Callable[[], None]]:
        """After an error inside, let states and, in training mode, buffers be what they were; gives what does so."""
        start, outermost = self.states, self._generation is None
        # By name: compiled code puts others in their place.
        moving = [memory for memory in self.memories.values() if memory.training]
        buffers = [(memory, name, b.clone()) for memory in moving for name, b in memory.named_buffers()]

        def undo() -> None:
            self.states, self._call = start, None
            for memory, name, before in buffers:
                memory.get_buffer(name).copy_(before)

        if outermost:
            self._start = start
        try:
            yield undo
        except BaseException:
            undo()
            raise
        finally:
            if outermost:
                self._generation = None
                self._abandoned.discard(threading.get_ident())

    def _begun(self, arguments: Mapping[str, Any]) -> _Call:
        """Begin a call of the model, given its arguments by name."""
        cache = cache_in(arguments)
        past, ours = cache_length(cache), True
        if torch.compiler.is_compiling():
            if self._generation is not None and self._generation.expand > 1:
                # Where graphs may break, the call is then made uncompiled and all is well.
                raise RuntimeError("beams cannot be followed in a compiled call; use the model as it is")
        elif cache is not None:
            # What stands in a cache that comes from elsewhere, as PEFT's prefix does, was read in no turn of ours. But
            # what was compiled too often is called uncompiled from then on, in the middle of a reply too.
            ours = self._blind or self._watch.knows(cache)
            self._watch.watch(cache)
        goes_on = bool(self._stretched) or (bool(past) and ours)
        if self._stretched is not None:
            self._stretched = True
        mask, shape = self.arguments.mask(arguments), self.arguments.shape(arguments)
        if self._generation is not None:
            time = 0 if shape is None else shape[1]
            mask = self._generation.before(mask, self.arguments.tokens(arguments), past, time)
        if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
            kind = f"of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else f"({type(mask)})"
            raise ValueError(
                f"an attention_mask {kind}, from which a memory cannot tell which tokens exist; pass one of shape "
                "[batch, time], to generate() too"
            )
        states = self.states if goes_on else self._committed()
        mask = None if mask is None else self._told(mask, shape)
        return _Call(states=dict(states), mask=mask, shape=shape, embedded=arguments.get("inputs_embeds"))

    def _told(self, mask: Tensor, shape: tuple[int, int] | None) -> Bool[Tensor, "batch seen"] | None:
        """Return what a mask tells a memory; None where it can be seen at no cost that every token exists.

        A memory spends a fifth of a token on any mask. On a GPU a look waits for it, as `generate` does at each token.
        """
        mask = (mask if shape is None else newest(mask, shape[1])).bool()
        seen = not torch.compiler.is_compiling() and (mask.device.type == "cpu" or self._generation is not None)
        return None if seen and mask.shape == shape and bool(mask.all()) else mask

    def _read_alone(self, texts: Sequence[Mapping[str, Any]]) -> None:
        """Let each row read a text of its own, by itself: its bits then owe nothing to the other rows."""
        self.commit()
        before, after = self.states, []
        for row, text in enumerate(texts):
            self.states = {name: state[row] for name, state in before.items()}
            self._model(**text, use_cache=False)
            after.append(self.states)
        self.states = {name: MemoryState.stack([rows[name] for rows in after]) for name in after[0]}

    def _committed(self) -> States:
        after = {}
        for name, state in self.states.items():
            memory = self.memories[name]
            state = _beside(memory, state)  # noqa: PLW2901
            with _no_autocast(state.trace.device.type):
                after[name] = memory.commit(state)
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


def _no_autocast(device: str) -> AbstractContextManager[Any]:
    """Return what leaves numbers whole inside."""
    # Entering it costs as much as three operations of a token, and is for nothing nearly always.
    on = torch.compiler.is_compiling() or torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()


def _beside(memory: LateralMemory, state: MemoryState) -> MemoryState:
    """Return the state as its memory needs it: the model may be moved or cast, or inference mode end, in a session."""
    here, trace = memory.addresses, state.trace
    if (here.device, memory.state_dtype) != (trace.device, trace.dtype):
        return state.to(here.device, memory.state_dtype)
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return state
    newest = trace if state.segment is None else state.segment.usage
    return state.clone() if trace.is_inference() or newest.is_inference() else state
