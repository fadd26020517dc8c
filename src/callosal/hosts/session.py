"""A session: the memories of some users while a model that memories are attached to reads and writes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from callosal.hosts.generation import CacheWatch, Generation, generating
from callosal.memory import LateralMemory, MemoryState
from callosal.memory.editing import Bank, bank_name, bank_number, blanked

States = dict[str, MemoryState]


@runtime_checkable
class Store(Protocol):
    """Where a session's memories come from and go to. Every layer's memory is an entry of its own."""

    def load(self, user: str, memory: LateralMemory) -> MemoryState:
        """Return the state of one row that was saved under this name, or a blank one."""
        ...

    def save(self, user: str, state: MemoryState, memory: LateralMemory) -> object:
        """Keep the state of one row under this name."""
        ...


@runtime_checkable
class Seated(Protocol):
    """Memories by the names of their layers, and the session that is under way: ``Memories``."""

    active: Any

    def __getitem__(self, name: str) -> LateralMemory:
        """Return the memory behind a layer."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the layers."""
        ...


@dataclass
class _Call:
    """One call of the model, under way. Its states count only once the call has come to its end."""

    states: States
    mask: Bool[Tensor, "batch seen"] | None
    read: set[str] = field(default_factory=set)


class Session(AbstractContextManager["Session"]):
    """The memories of some users, carried through the calls of a model. Made by ``Memories.session``.

    A *turn* is what attention sees at once: it begins with a call that has no past (an empty key-value
    cache, or none), which also commits the turn before, and goes on with each call that hands the cache
    on, as ``generate`` does token by token. Within a turn tokens read the memory as it stood when the
    turn began. :meth:`turn` ends it early, :meth:`one_turn` stretches it over calls that hand on no cache.

    States live here and not on the modules, so that ending the session leaves nothing behind in the model.

    Attributes:
        users: names of the batch rows, or None for rows that nobody will ask for again.
        lesioned: names of the banks that are not read; :meth:`lesion` sets them.
    """

    def __init__(
        self,
        memories: Seated,
        model: nn.Module,
        users: tuple[str, ...] | None,
        store: Store | None,
    ) -> None:
        self.users = users
        self.lesioned: tuple[str, ...] = ()
        self._unread: dict[str, list[int]] = {}
        self._memories = memories
        self._model = model
        self._store = store
        self._states: States = {}
        self._call: _Call | None = None
        self._stretched: bool | None = None
        self._generation: Generation | None = None
        self._undo: Callable[[], None] = lambda: None
        self._start: States = {}
        self._watch = CacheWatch()

    def __enter__(self) -> Self:
        """Load the users' memories.

        Raises:
            RuntimeError: another session of this model is under way.
        """
        if self._memories.active is not None:
            raise RuntimeError(
                "a session inside a session of the same model; end the first one before the next, or "
                "name all users in one session"
            )
        if self.users is not None and (self._store is not None or not self._states):
            self._states = self._loaded(self.users)
        if callable(getattr(self._model, "generate", None)):
            self._undo = generating(self._model, self)
        self._memories.active = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Commit the last turn and save; after an error nothing is saved."""
        self._memories.active = None
        self._undo()
        self._watch.release()
        self._call = self._generation = None
        if kind is None:
            self.save()

    @property
    def states(self) -> States:
        """The state of each memory by the name of its layer, the open turn included; a copy of the table."""
        return dict(self._states)

    def turn(self) -> None:
        """End the turn: write what was retrieved in it into the memories. Without an open one, nothing."""
        self._states = self._committed()

    @contextmanager
    def one_turn(self) -> Iterator[None]:
        """Make all calls inside one turn, for models that hand on no key-value cache.

        Raises:
            RuntimeError: such a stretch is under way.
        """
        if self._stretched is not None:
            raise RuntimeError(
                "one_turn() inside one_turn(); end the first stretch before the next"
            )
        self._stretched = False
        try:
            yield
            self.turn()
        finally:
            self._stretched = None

    def save(self) -> None:
        """Commit the turn and save every user's memories, one entry per user and layer."""
        self.turn()
        if self._store is None or self.users is None:
            return
        for name, state in self._states.items():
            for row, user in enumerate(self.users):
                one = state[row].detach()
                self._store.save(entry(user, name), one, self._memories[name])

    def switch(self, users: str | Iterable[str]) -> None:
        """Save, then go on with other users' memories; after an error these users stay.

        A key-value cache is still of what the former users said: do not hand it on.

        Raises:
            ValueError: the session has no users, or ``users`` is not as in ``Memories.session``.
        """
        names = named(users)
        if self.users is None or names is None:
            raise ValueError("switch() from or to rows of no user; begin another session instead")
        self.save()
        self._states, self.users = self._loaded(names), names

    def replace(self, states: Mapping[str, MemoryState]) -> None:
        """Go on with other states, such as edited ones, or those from before a turn that is taken back.

        Args:
            states: one per layer, as :attr:`states` gives them, of as many rows as the session has users.

        Raises:
            ValueError: a layer or a row is missing or too many, or a state is of another shape.
        """
        # Rows of no user have no state before their first call.
        if set(states) != set(self._memories) and (states or self.users is not None):
            raise ValueError(
                f"states of the layers {sorted(states)}; there are memories behind {list(self._memories)}"
            )
        rows = {len(state) for state in states.values()}
        if len(rows) > 1 or (self.users is not None and rows != {len(self.users)}):
            raise ValueError(
                f"states of {sorted(rows)} rows; all must have one per user of the session"
            )
        for name, state in states.items():
            wanted = self._memories[name].prototypes.shape
            if state.trace.shape[1:] != wanted:
                raise ValueError(
                    f"a state of shape {tuple(state.trace.shape[1:])} for {name!r}, whose memory is of "
                    f"{tuple(wanted)} (bank, slot, width)"
                )
        self._states = dict(states)

    def lesion(self, *banks: Bank) -> None:
        """Read these banks as if they were blank, in every layer and row; ``lesion()`` heals all.

        Only reading is lesioned, as if nobody had ever told these banks anything. What is said meanwhile is
        written into all banks as ever, and states and saved files lose nothing.

        Raises:
            ValueError: there is no such bank.
        """
        names, unread = set[str](), {}
        for layer in self._memories:
            num_banks = self._memories[layer].config.num_banks
            unread[layer] = sorted({bank_number(bank, num_banks) for bank in banks})
            names |= {bank_name(bank, num_banks) for bank in unread[layer]}
        self.lesioned, self._unread = tuple(sorted(names)), unread

    def detach(self) -> None:
        """Cut the gradient: what comes after does not reach what came before."""
        self._states = {name: state.detach() for name, state in self._states.items()}

    def select(self, rows: Any) -> None:
        """Take these batch rows in this order; a beam search of your own calls it beside its cache's.

        A cache of transformers that this session has seen calls it by itself in ``reorder_cache``.
        """
        self._states = {name: state[rows] for name, state in self._states.items()}
        if self._generation is not None:
            self._generation.select(rows)

    def before(self, arguments: Mapping[str, Any]) -> None:
        """Begin a call of the model; the hook on the model calls it with the arguments by name."""
        cache = arguments.get("past_key_values")
        if cache is None:
            cache = arguments.get("cache_params")
        past = _length(cache)
        if torch.compiler.is_compiling():
            if self._generation is not None and self._generation.expand > 1:
                # Where graphs may break, the call is then made uncompiled and all is well.
                raise RuntimeError(
                    "beams cannot be followed in a compiled call; use the model as it is"
                )
        elif cache is not None:
            self._watch.watch(cache, self)
        goes_on = bool(self._stretched) or bool(past)
        if self._stretched is not None:
            self._stretched = True
        mask = arguments.get("attention_mask")
        if self._generation is not None:
            mask = self._generation.before(mask, arguments.get("input_ids"), past)
        if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
            kind = (
                f"of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else f"({type(mask)})"
            )
            raise ValueError(
                f"an attention_mask {kind}, from which a memory cannot tell which tokens exist; pass "
                "one of shape [batch, time], to generate() too"
            )
        states = self._states if goes_on else self._committed()
        self._call = _Call(states=dict(states), mask=None if mask is None else mask.bool())

    def behind(self, name: str, memory: LateralMemory, hidden: Tensor) -> Tensor:
        """Read and write behind a layer; the hook on the layer calls it and adds the result."""
        call = self._call
        if call is None:
            raise RuntimeError(
                f"layer {name!r} ran outside a call of the model that its memory is attached to. "
                "Either call that model rather than a part of it, or, if a checkpoint recomputes the "
                "layer in the backward pass, let the checkpoint wrap what is inside the layer: hooks "
                "then stay outside (transformers from 5.23 on does so)"
            )
        if name in call.read:
            raise RuntimeError(
                f"layer {name!r} ran twice in one call of the model; a memory counts every token "
                "once: attach it behind a layer that runs once"
            )
        call.read.add(name)
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
            if unread := self._unread.get(name):
                lesioned = replace(state, trace=blanked(state.trace, unread))
                y, _ = memory(hidden.to(dtype), lesioned, mask, commit=False)
        return y.to(hidden.dtype)

    def after(self, output: Any) -> None:
        """End a call of the model: only now does what it wrote count, in all layers or in none."""
        cache = getattr(output, "past_key_values", None)
        if cache is not None and not torch.compiler.is_compiling():
            self._watch.watch(cache, self)
        if self._call is not None:
            self._states, self._call = self._call.states, None

    def start(self, generation: Generation) -> None:
        """Begin a call of ``generate``."""
        self._generation = generation
        self._start = self._states

    def abandon(self) -> None:
        """Take back what a call of ``generate`` wrote: a failed one, or beams to be replaced by the text."""
        self._states, self._generation, self._call = self._start, None, None

    def finish(self, every: int) -> None:
        """End a call of ``generate`` and keep the first of every so many rows: each user's first text."""
        self._generation = None
        if every > 1:
            self.select(slice(None, None, every))

    def read_alone(self, texts: Sequence[Tensor]) -> None:
        """Let each row read a text of its own, by itself: its bits then owe nothing to the other rows."""
        self.turn()
        before, after = self._states, []
        try:
            for row, text in enumerate(texts):
                self._states = {name: state[row] for name, state in before.items()}
                self._model(input_ids=text[None], use_cache=False)
                after.append(self._states)
        except BaseException:
            self._states = before
            raise
        self._states = {
            name: MemoryState.stack([rows[name] for rows in after]) for name in after[0]
        }

    def _committed(self) -> States:
        after = {}
        for name, state in self._states.items():
            with torch.autocast(state.trace.device.type, enabled=False):
                after[name] = self._memories[name].commit(state)
        return after

    def _expanded(self, state: MemoryState, num_rows: int) -> MemoryState:
        copies = self._generation.expand if self._generation is not None else 1
        if len(state) * copies == num_rows and state.segment is None:
            rows = torch.arange(len(state), device=state.trace.device)
            return state[rows.repeat_interleave(copies)]
        raise ValueError(
            f"a batch of {num_rows} rows in a session of {len(state)}; a session keeps its rows: name "
            "one user per row when it begins, or choose rows with session.select(rows)"
        )

    def _loaded(self, users: Sequence[str]) -> States:
        return {
            name: MemoryState.stack(
                [self._load(user, name, self._memories[name]) for user in users]
            )
            for name in self._memories
        }

    def _load(self, user: str, name: str, memory: LateralMemory) -> MemoryState:
        if self._store is None:
            return memory.blank(1)
        state = self._store.load(entry(user, name), memory)
        return state.to(memory.addresses.device)


def named(users: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return who the rows belong to, None if to nobody.

    Raises:
        ValueError: a user is named twice, or none is.
    """
    names = (users,) if isinstance(users, str) else None if users is None else tuple(users)
    if names is not None and (not names or len(set(names)) < len(names)):
        raise ValueError(f"users {names}; name at least one user, and each only once")
    return names


def entry(user: str, name: str) -> str:
    """Return the name under which a store keeps a user's memory of a layer: ``user@layer``.

    Layers have no ``@`` in their names, so two pairs never share an entry.
    """
    return f"{user}@{name}"


def _length(cache: Any) -> int | None:
    """Return how many tokens a key-value cache holds, None if there is no cache."""
    if cache is None:
        return None
    # A recurrent cache that cannot count is handed in only once it holds something.
    return int(cache.get_seq_length()) if hasattr(cache, "get_seq_length") else 1
