"""A session: the memories of some users while a model that memories are attached to reads and writes."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, ParamSpec, Protocol, Self, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, distributed

from callosal.hosts.reading import Reader, States
from callosal.memory import LateralMemory, MemoryState
from callosal.memory.editing import Bank, bank_name, bank_number
from callosal.stores import OnConflict
from callosal.stores import Store as LayerStore

Given = ParamSpec("Given")
Result = TypeVar("Result")


@runtime_checkable
class Store(Protocol):
    """Where a session's memories come from and go to. Every layer's memory is an entry of its own."""

    def load(self, user: str, memory: LateralMemory) -> MemoryState:
        """Return the state of one row that was saved under this name, or a blank one."""
        ...

    def save(self, user: str, state: MemoryState, memory: LateralMemory) -> object:
        """Keep the state of one row under this name."""
        ...


class SessionSaveError(RuntimeError):
    """Some users' memories could not be saved at the end of a session; those of the others were.

    Attributes:
        failed: what went wrong, by user.
    """

    def __init__(self, failed: Mapping[str, Exception], num_users: int) -> None:
        self.failed = dict(failed)
        shown = "; ".join(f"{user!a}: {error}" for user, error in list(failed.items())[:3])
        super().__init__(
            f"the memories of {len(failed)} of {num_users} users were not saved ({shown}); the others' were. "
            "session.states still holds all; session.save() tries again"
        )


class Session(AbstractContextManager["Session"]):
    """The memories of some users, carried through the calls of a model. Made by ``Memories.session``.

    A *turn* is what attention sees at once: it begins with a call that has no past (an empty key-value cache, or none),
    which also commits the turn before, and goes on with each call that hands the cache on, as ``generate`` does token
    by token. Within a turn tokens read the memory as it stood when the turn began. :meth:`turn` ends it early,
    :meth:`one_turn` stretches it over calls that hand on no cache.

    A session is of the code inside its ``with``, not of the model: calls from another thread or task are none of its
    (:meth:`bind` hands it on), and other sessions of the same model may be under way there. A call counts when it is
    whole; one that fails or is interrupted leaves the memories as they were. States live here and not on the modules,
    so that ending the session leaves nothing behind in the model.

    Attributes:
        users: names of the batch rows, or None for rows that are forgotten at the end.
        lesioned: names of the banks that are not read; :meth:`lesion` sets them.
    """

    def __init__(
        self,
        reader: Reader,
        users: tuple[str, ...] | None,
        store: LayerStore | Store | None,
        on_conflict: OnConflict | None = None,
    ) -> None:
        self.users = users
        self.lesioned: tuple[str, ...] = ()
        self._reader = reader
        reader.session = self
        self._store = store
        self._on_conflict: OnConflict | None = on_conflict

    def __enter__(self) -> Self:
        """Load the users' memories.

        Raises:
            RuntimeError: another session of this model is under way in the same thread or task.
        """
        self._reader.begin()
        try:
            if self.users is not None and (self._store is not None or not self._reader.states):
                self._reader.states = self._loaded(self.users)
        except BaseException:
            self._reader.end(wait=False)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Commit the last turn and save; after an error nothing is saved.

        A thread that still calls the model in this session is waited for; after an error it is stopped.
        """
        try:
            self._reader.end(wait=kind is None)
        except BaseException:
            self._reader.end(wait=False)
            raise
        if kind is None:
            self.save()

    def close(self) -> None:
        """End the session without saving: for one whose block was interrupted before it could end."""
        self._reader.end(wait=False)

    def bind(self, function: Callable[Given, Result]) -> Callable[Given, Result]:
        """Return the function as one whose calls of the model belong to this session, whatever thread makes them.

        A new thread is in no session (a server's other requests must not be in Ada's): hand the session on, as in
        ``Thread(target=session.bind(model.generate), kwargs={"streamer": streamer, ...})``. Tasks of asyncio and
        ``asyncio.to_thread`` hand it on by themselves.

        Raises:
            RuntimeError: when it is called, the session has ended.
        """
        return self._reader.bind(function)

    @property
    def sequence_group(self) -> "distributed.ProcessGroup | None":
        """The processes that pieces of every text lie on; None where each text is whole."""
        return self._reader.sequence_group

    @property
    def states(self) -> States:
        """The state of each memory by the name of its layer, the open turn included; a copy of the table."""
        return dict(self._reader.states)

    def turn(self) -> None:
        """End the turn: write what was retrieved in it into the memories. Without an open one, nothing."""
        self._reader.commit()

    def one_turn(self) -> AbstractContextManager[None]:
        """Make all calls inside one turn, for models that hand on no key-value cache.

        Raises:
            RuntimeError: such a stretch is under way.
        """
        return self._reader.one_turn()

    def save(self) -> None:
        """Commit the turn and save every user's memories, those of one user in one transaction.

        Raises:
            SessionSaveError: some users' memories could not be saved; the others' are. One user's error comes as it is.
        """
        self.turn()
        if self._store is None or self.users is None:
            return
        reader, failed = self._reader, dict[str, Exception]()
        given = [{name: state[row].detach() for name, state in reader.states.items()} for row in range(len(self.users))]
        kept = list(given)
        try:
            for row, user in enumerate(self.users):
                try:
                    kept[row] = self._kept(user, given[row])
                except Exception as error:
                    if len(self.users) == 1:
                        raise
                    failed[user] = error
        finally:
            # What was saved has a new version, even where a later user's could not be.
            reader.states = {
                name: _as_kept(state, [rows[name] for rows in given], [rows[name] for rows in kept])
                for name, state in reader.states.items()
            }
        if failed:
            raise SessionSaveError(failed, len(self.users)) from next(iter(failed.values()))

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
        with self._reader.alone():
            self._reader.states, self.users = self._loaded(names), names

    def replace(self, states: Mapping[str, MemoryState]) -> None:
        """Go on with other states, such as edited ones, or those from before a turn that is taken back.

        Args:
            states: one per layer, as :attr:`states` gives them, of as many rows as the session has users.

        Raises:
            ValueError: a layer or a row is missing or too many, or a state is of another shape.
        """
        memories = self._reader.memories
        # Rows of no user have no state before their first call.
        if set(states) != set(memories) and (states or self.users is not None):
            raise ValueError(f"states of the layers {sorted(states)}; there are memories behind {list(memories)}")
        rows = {len(state) for state in states.values()}
        if len(rows) > 1 or (self.users is not None and rows != {len(self.users)}):
            raise ValueError(f"states of {sorted(rows)} rows; all must have one per user of the session")
        for name, state in states.items():
            wanted = memories[name].prototypes.shape
            if state.trace.shape[1:] != wanted:
                raise ValueError(
                    f"a state of shape {tuple(state.trace.shape[1:])} for {name!r}, whose memory is of {tuple(wanted)} "
                    "(bank, slot, width)"
                )
        with self._reader.alone():
            # What was loaded, or saved last, is what they stand in for.
            held = {name: state.version for name, state in self._reader.states.items()}
            self._reader.states = {name: replace(state, version=held.get(name)) for name, state in states.items()}

    def lesion(self, *banks: Bank) -> None:
        """Read these banks as if they were blank, in every layer and row; ``lesion()`` heals all.

        Only reading is lesioned: all banks are written into as ever, and states and saved files lose nothing.

        Raises:
            ValueError: there is no such bank.
        """
        names, unread = set[str](), {}
        for layer, memory in self._reader.memories.items():
            num_banks = memory.config.num_banks
            unread[layer] = sorted({bank_number(bank, num_banks) for bank in banks})
            names |= {bank_name(bank, num_banks) for bank in unread[layer]}
        self.lesioned, self._reader.unread = tuple(sorted(names)), unread

    @contextmanager
    def muted(self, below: float = math.inf) -> Iterator[None]:
        """Let the model be heard alone inside: memories read and write on, and add nothing to its states.

        What one memory keeps is then what it would keep anyway; of several those behind later layers are given other
        states.

        Args:
            below: but where a memory is at least so loud at a token, as :meth:`loudness` has it, it is heard there.

        Raises:
            ValueError: ``below`` is no number of at least 0.
        """
        if not below >= 0.0:
            raise ValueError(f"muted(below={below}); it must be at least 0, and infinity mutes all")
        before, self._reader.muted = self._reader.muted, below
        try:
            yield
        finally:
            self._reader.muted = before

    @property
    def heard(self) -> Float[Tensor, "row"]:
        """How loud the memories were at the last token of the last call inside :meth:`muted`, the loudest of each row.

        Raises:
            RuntimeError: there was none.
        """
        heard = list(self._reader.heard.values())
        if not heard:
            raise RuntimeError("heard before any call inside muted(); call the model inside it first")
        return torch.stack([layer.to(heard[0].device) for layer in heard]).amax(0)

    def loudness(
        self, input_ids: Int[Tensor, "row time"], attention_mask: Shaped[Tensor, "row time"] | None = None
    ) -> Float[Tensor, "row"]:
        """Return how loud the memories would be at the end of a text, were it read next; nothing of it is kept.

        Size of what they add to the hidden state of its last token, over the size of that state: 0 is silence; of
        several layers the loudest counts. For causal models. Ours.

        Args:
            input_ids: the text.
            attention_mask: which tokens exist; texts of other lengths are padded before their beginnings.

        Raises:
            RuntimeError: the session is not under way, or a reply is just being generated in it.
            ValueError: a row's last token does not exist, there are more or fewer rows than the session has, the model
                has an encoder or takes no tokens, or the session is of a ``sequence_group``, where each process has a
                piece of every text.
        """
        reader = self._reader
        if not reader.open or reader.is_generating():
            why = "while a reply is generated in the session" if reader.open else "of a session that is not under way"
            raise RuntimeError(f"loudness() {why}; ask inside `with memories.session(...):`, between its calls")
        if reader.arguments.prefix or "input_ids" not in reader.arguments.names:
            raise ValueError("loudness() of a model that has an encoder or takes no input_ids; it is of causal models")
        if self.sequence_group is not None:
            raise ValueError("loudness() in a session of a sequence_group; ask in a session without one")
        text = {"input_ids": input_ids}
        if attention_mask is not None:
            if not bool(attention_mask[:, -1].all()):
                raise ValueError("loudness() of texts that are padded at the end; pad them before their beginnings")
            text["attention_mask"] = attention_mask
            if "position_ids" in reader.arguments.names:
                # As generate() counts them.
                text["position_ids"] = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
        reader.listen(**text)
        return self.heard

    def stop_gradient(self) -> None:
        """Cut the gradient: what comes after does not reach what came before."""
        with self._reader.alone():
            self._reader.states = {name: state.detach() for name, state in self.states.items()}

    def detach(self) -> None:
        """Old name of :meth:`stop_gradient`, until the next version."""
        warnings.warn("Session.detach() is now Session.stop_gradient()", DeprecationWarning, stacklevel=2)
        self.stop_gradient()

    def select(self, rows: Any) -> None:
        """Take these batch rows in this order; a beam search of your own calls it beside its cache's.

        A cache of transformers that this session has seen calls it by itself in ``reorder_cache``.
        """
        self._reader.select(rows)

    def _loaded(self, users: Sequence[str]) -> States:
        loaded = [self._load(user) for user in users]
        return {name: MemoryState.stack([states[name] for states in loaded]) for name in self._reader.memories}

    def _load(self, user: str) -> States:
        memories = self._reader.memories
        if self._store is None:
            return {name: memory.blank(1) for name, memory in memories.items()}
        if isinstance(self._store, LayerStore):
            states = self._store.load_layers(user, memories)
        else:
            states = {name: self._store.load(entry(user, name), memory) for name, memory in memories.items()}
        return {name: state.to(memories[name].addresses.device) for name, state in states.items()}

    def _kept(self, user: str, states: States) -> States:
        """Save one user's memories and return them as they are stored now."""
        memories = self._reader.memories
        if isinstance(self._store, LayerStore):
            return self._store.save_layers(user, states, memories, on_conflict=self._on_conflict)
        assert self._store is not None
        for name, state in states.items():
            self._store.save(entry(user, name), state, memories[name])
        return states


def named(users: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Return who the rows belong to, None if to nobody.

    Raises:
        TypeError: a user is no string.
        ValueError: a user is named twice, or none is.
    """
    if users is None:
        return None
    one = isinstance(users, str | bytes | bytearray) or not isinstance(users, Iterable)
    names: tuple[Any, ...] = (users,) if one else tuple(users)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"a user {name!r} of type {type(name).__name__}; a user is named by a string, such as str(id), or the "
                "number 1 and the text '1' would share a memory"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"users {names}; name at least one user, and each only once")
    return names


def _as_kept(state: MemoryState, given: Sequence[MemoryState], kept: Sequence[MemoryState]) -> MemoryState:
    """Return a state as its rows are stored: with their versions, and merged where they were merged."""
    stored = MemoryState.stack(kept)
    merged = any(ours.trace is not theirs.trace for ours, theirs in zip(given, kept, strict=True))
    return stored if merged else replace(state, version=stored.version)


def entry(user: str, name: str) -> str:
    """Return the name under which a store keeps a user's memory of a layer: ``user@layer``.

    Layers have no ``@`` in their names, so two pairs never share an entry.
    """
    return f"{user}@{name}"
