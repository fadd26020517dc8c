"""What every store does: a user's layers together, versions and conflicts, export and import. A backend keeps bytes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path
from typing import Literal, get_args

import torch

from callosal.memory.disk.format import (
    FORMAT_VERSION,
    STORE_FORMAT_VERSION,
    MemoryFileError,
    MissingMemoryFileError,
    Outline,
    of_bytes,
    read_outline,
)
from callosal.memory.disk.storage import (
    StoredMemory,
    describe_state,
    draw_version,
    pack_stored,
    read_file,
    read_layers,
    require_fit,
    write_bytes,
)
from callosal.memory.editing import merge
from callosal.memory.lateral import LateralMemory
from callosal.memory.state import MemoryState
from callosal.stores.writing import Writing

OnConflict = Literal["error", "overwrite", "merge"]
Layers = dict[str, StoredMemory]
Change = Callable[[bytes | None], bytes]
# Raises where what a file says of a layer does not fit: of our name for it, by the outline, under the file's name.
Judge = Callable[[str, Outline, str], None]
WAIT_SECONDS = 60.0


class ConflictError(ValueError):
    """Somebody saved this memory, or had it forgotten, since it was loaded. Nothing was written."""


class Store(ABC):
    """Many users' memories, each user's behind any number of layers, read and written together.

    A state remembers the version it was loaded with (``MemoryState.version``). Saving it over another one is a
    :class:`ConflictError`, so that nothing that somebody else saved is lost; what ``save`` returns has the new version
    and can be saved again. A state that was loaded from no store can only be saved where nothing is.

    Args:
        on_conflict: what saving does over another version than the one loaded. "error" raises
            :class:`ConflictError`. "overwrite" replaces it. "merge" writes :func:`callosal.merge` of both, in which of
            two slots the stronger prevails and both may be recalled worse. A user who was forgotten since is always an
            error: nobody comes back unasked.
    """

    def __init__(self, on_conflict: OnConflict = "error") -> None:
        self.on_conflict: OnConflict = _checked_conflict(on_conflict)

    def load(self, user: str, memory: LateralMemory, *, strict: bool = True) -> MemoryState:
        """Return a user's memory, one row; a blank one for a user the store does not know.

        A memory behind a layer also goes by ``user@layer``, as in earlier versions, unless that is a user's whole id.

        Raises:
            MemoryFileError: it is damaged, of another user, or as in :func:`callosal.load_memory`, for ``strict`` too.
            TypeError: the user is no string.
        """
        user, layer = self._located(user)
        return self.load_layers(user, {layer: memory}, strict=strict)[layer]

    def save(
        self,
        user: str,
        state: MemoryState,
        memory: LateralMemory,
        *,
        notes: str = "",
        on_conflict: OnConflict | None = None,
    ) -> MemoryState:
        """Write a user's memory, whole or not at all; waits for another writer of the same user.

        Returns:
            The state as it is stored now: with its new version, and merged if it was.

        Raises:
            ConflictError: another version is there than the one that was loaded.
            MemoryFileError: the state has more or fewer rows than one, or :func:`callosal.save_memory` would refuse it.
            TimeoutError: another writer kept the lock for a minute.
            TypeError: the user is no string.
        """
        user, layer = self._located(user)
        saved = self.save_layers(user, {layer: state}, {layer: memory}, notes=notes, on_conflict=on_conflict)
        return saved[layer]

    def load_layers(
        self, user: str, memories: Mapping[str, LateralMemory], *, strict: bool = True
    ) -> dict[str, MemoryState]:
        """Return a user's memories behind some layers, one row each, as they were at one moment; blank where none is.

        Raises:
            MemoryFileError, TypeError: as :meth:`load`.
        """
        name = require_user(user)

        def judge(layer: str, outline: Outline, key: str) -> None:
            if layer in memories:
                place = f"{self._place(name)}{f', layer {layer!a}' if layer else ''}"
                require_fit(outline, key, memories[layer], place, strict=strict)

        stored = self._read(name, memories, judge)
        states = {}
        for layer, memory in memories.items():
            state, version = memory.blank(1), 0
            if layer in stored:
                state, version = (
                    stored[layer].state.to(memory.prototypes.device, memory.state_dtype),
                    stored[layer].version,
                )
            states[layer] = _with_version(state, version)
        return states

    def save_layers(
        self,
        user: str,
        states: Mapping[str, MemoryState],
        memories: Mapping[str, LateralMemory],
        *,
        notes: str = "",
        on_conflict: OnConflict | None = None,
    ) -> dict[str, MemoryState]:
        """Write a user's memories behind some layers in one transaction: all or none. Other layers stay.

        Returns:
            The states as they are stored now, by layer; as of :meth:`save`.

        Raises:
            ConflictError, MemoryFileError, TimeoutError, TypeError: as :meth:`save`, before anything is written.
            ValueError: a layer has no memory, or there is no layer.
        """
        name, how = require_user(user), _checked_conflict(on_conflict or self.on_conflict)
        if not states or not set(states) <= set(memories):
            raise ValueError(
                f"states of the layers {sorted(states)} meet memories of {sorted(memories)}; give each its own"
            )
        new, expected = {}, {}
        for layer, state in states.items():
            if len(state) != 1:
                raise MemoryFileError(f"a state of {len(state)} rows for one user; save each row: state[row]")
            new[layer] = describe_state(state, memories[layer], notes=notes, user=name)
            expected[layer] = 0 if state.version is None else max(int(state.version[0]), 0)
        kept = self._put(name, new, expected, how)
        saved = {}
        for layer, state in states.items():
            merged = kept[layer].state if kept[layer].state is not new[layer].state else state
            saved[layer] = _with_version(merged.to(state.trace.device), kept[layer].version)
        return saved

    def users(self) -> list[str]:
        """Return the ids of all users, sorted. What cannot be read is left out, with a warning that names it."""
        return sorted(self._users())

    def layers(self, user: str) -> Layers:
        """Return all that is stored of a user, by layer, without the model; MemoryFileError where it is damaged."""
        return self._read(require_user(user), self._older_layers(user))

    def forget(self, user: str) -> list[str]:
        """Delete all that there is of a user, look whether anything is left, and return the layers that went.

        None, an empty list, for a user the store does not know; "?" stands for what could not be read.

        Raises:
            OSError: something is left.
            TimeoutError: another writer kept the lock for a minute.
            TypeError: the user is no string.
        """
        name = require_user(user)
        with self.writing(name):
            older = self._older_layers(name)
            try:
                found = [*self._read(name, older)]
            except MemoryFileError:
                found = ["?"]
            left = [rest for gone in (name, *(f"{name}@{layer}" for layer in older)) for rest in self._discard(gone)]
        if left:
            raise OSError(f"of user {short(name)} is left: {', '.join(left)}; remove it by hand")
        return found

    def export_user(self, user: str, path: str | Path) -> list[str]:
        """Write all that is stored of a user into a new file and return the layers; :meth:`import_user` reads it.

        Raises:
            MemoryFileError: the store does not know the user, what it has is damaged, or there is a file already.
            TypeError: the user is no string.
        """
        stored = self.layers(user)
        if not stored:
            raise MemoryFileError(f"the store does not know user {short(user)}; users() lists those it knows")
        if Path(path).exists():
            raise MemoryFileError(f"there is a file at {path} already; delete it or choose another path")
        write_bytes(Path(path), _packed(user, stored))
        return list(stored)

    def import_user(self, path: str | Path, user: str | None = None, *, on_conflict: OnConflict | None = None) -> str:
        """Take a user from a file that :meth:`export_user` or :func:`callosal.save_memory` wrote, and return the id.

        Args:
            path: of the file.
            user: the id here; None takes that of the file.
            on_conflict: what happens to layers that the user has already, as in :meth:`save`.

        Raises:
            ConflictError: the store has the user's memory already, another one.
            MemoryFileError: the file cannot be read, is of no user and none is given, or holds other than one row.
        """
        layers = read_file(path)
        name = next(iter(layers.values())).header.user if user is None else user
        if name is None:
            raise MemoryFileError(f"{path} is of no user; say whose it is to be: user='ada'")
        require_user(name)
        rows = {len(one.state) for one in layers.values()}
        if rows != {1}:
            raise MemoryFileError(
                f"{path} holds {max(rows)} rows, and a user has one; save each row as a file: state[row]"
            )
        self._put(name, layers, dict.fromkeys(layers, 0), _checked_conflict(on_conflict or self.on_conflict))
        return name

    def writing(self, user: str, timeout_seconds: float = WAIT_SECONDS) -> Writing:
        """Keep all others from writing a user's memory, to load, change and save it: ``with`` or ``async with``.

        Other processes, threads and tasks wait; whoever is inside may enter again, and save. It ends with the process
        that holds it, killed or not. ``with`` in a task refuses at once where another task of its thread is inside, for
        waiting would stop that one too: there ``async with`` waits.

        Raises:
            TimeoutError: another writer kept it for ``timeout_seconds``; when it is entered.
            TypeError: the user is no string.
        """
        return self._writing(require_user(user), timeout_seconds)

    # What a backend does.

    @abstractmethod
    def _open(self, name: str) -> AbstractContextManager[tuple[BufferedIOBase, int]]:
        """Open what is kept under a name, and tell its size; MissingMemoryFileError where nothing is."""

    @abstractmethod
    def _update(self, name: str, change: Change) -> None:
        """Wait for other writers and replace what is kept under a name by what ``change`` makes of it, at once.

        ``change`` is called again where somebody writes all the same.
        """

    @abstractmethod
    def _discard(self, name: str) -> list[str]:
        """Remove all that is kept under a name, look for it again, and return what is left."""

    @abstractmethod
    def _users(self) -> set[str]:
        """Return all users."""

    @abstractmethod
    def _format(self, name: str) -> int | None:
        """Return the format of what is kept under a name, the newest where that cannot be read; None without."""

    @abstractmethod
    def _writing(self, name: str, timeout_seconds: float) -> Writing:
        """Return the lock of a name."""

    @abstractmethod
    def _place(self, name: str) -> str:
        """Say where a name is kept, for messages."""

    def _older_layers(self, user: str) -> list[str]:  # noqa: ARG002
        """Return the layers that earlier versions kept apart, under ``user@layer``."""
        return []

    # What is made of it.

    def _located(self, user: str) -> tuple[str, str]:
        """Return the user and the layer that a name stands for; ``user@layer`` was one in earlier versions."""
        owner, at, layer = require_user(user).rpartition("@")
        there = self._format(user) if at and layer else None
        if not (at and layer) or (there is not None and not (there == FORMAT_VERSION and is_layer(layer))):
            return user, ""
        return (owner, layer) if there is not None or layer in self._known_layers(owner) else (user, "")

    def _known_layers(self, user: str) -> list[str]:
        try:
            with self._open(user) as (file, size):
                return [*read_outline(file, size, "").headers]
        except MemoryFileError:  # whose damage is another name's trouble
            return []

    def _read(self, user: str, layers: Iterable[str] = (), judge: Judge | None = None) -> Layers:
        """Return what is kept of a user, and for ``layers`` what earlier versions kept of them."""
        try:
            with self._open(user) as (file, size):
                found = self._decoded(file, size, user, judge)
        except MissingMemoryFileError:
            found = {}
        return found | self._read_older(user, [layer for layer in layers if layer not in found], judge)

    def _read_older(self, user: str, layers: Iterable[str], judge: Judge | None = None) -> Layers:
        found: Layers = {}
        for layer in self._kept_apart(user, layers):
            name = f"{user}@{layer}"
            with self._open(name) as (file, size):
                found[layer] = self._decoded(file, size, name, judge, layer)[layer]
        return found

    def _kept_apart(self, user: str, layers: Iterable[str]) -> list[str]:
        return [layer for layer in layers if layer and self._format(f"{user}@{layer}") == FORMAT_VERSION]

    def _decoded(
        self, file: BufferedIOBase, size: int, name: str, judge: Judge | None = None, older: str = ""
    ) -> Layers:
        """Return what is kept under a name; ``older`` is the layer whose entry of an earlier version it is."""

        def judged(outline: Outline) -> None:
            if outline.first.user != name:
                raise MemoryFileError(
                    f"{self._place(name)} is where the memory of user {short(name)} belongs and says that it is of "
                    f"user {short(outline.first.user)}; it was moved: put it back"
                )
            if judge is not None:
                for key in outline.headers:
                    judge(older or key, outline, key)

        stored = read_layers(file, size, self._place(name), judged)
        return {older or key: one for key, one in stored.items()}

    def _put(self, user: str, new: Layers, expected: Mapping[str, int], how: OnConflict) -> Layers:
        """Write layers over the versions that are expected, all or none, and return what was written."""
        kept: Layers = {}
        new = {layer: replace(one, header=replace(one.header, version=draw_version())) for layer, one in new.items()}

        def change(data: bytes | None) -> bytes:
            stored, older = {}, {}
            try:
                if data is not None:
                    stored = self._decoded(*of_bytes(data), user)
                older = self._read_older(user, set(new) - set(stored))
            except MemoryFileError as error:
                if how != "overwrite":
                    raise MemoryFileError(f"{error}, or replace it by on_conflict='overwrite'") from error
            kept.clear()
            for layer, one in new.items():
                there = stored.get(layer) or older.get(layer)
                kept[layer] = _agreed(user, layer, one, there, expected[layer], how)
            return _packed(user, stored | kept)

        self._update(user, change)
        for layer in self._kept_apart(user, new):
            self._discard(f"{user}@{layer}")
        return kept


def require_user(user: object) -> str:
    """Return a user's id; TypeError where it is no string."""
    if not isinstance(user, str):
        raise TypeError(
            f"a user is called by a string, and {user!r} is of type {type(user).__name__}; make it one, the same "
            "everywhere: str(id)"
        )
    return user


def is_layer(text: str) -> bool:
    """Whether what stands behind the last ``@`` of an entry of earlier versions is a layer and no domain.

    A layer's name mostly ends with its number, and the name of no domain does.

    >>> is_layer("model.layers.1"), is_layer("0"), is_layer("example.org"), is_layer("163.com")
    (True, True, False, False)
    """
    return text.rpartition(".")[2].isdecimal()


def short(user: str | None) -> str:
    """Return an id as it can be shown anywhere."""
    text = ascii(user)
    return text if len(text) <= 60 else f"{text[:60]}... ({len(user or '')} characters)"


def _agreed(
    user: str, layer: str, one: StoredMemory, there: StoredMemory | None, expected: int, how: OnConflict
) -> StoredMemory:
    """Return what is to be written where ``there`` is, or raise ConflictError."""
    version = 0 if there is None else there.version
    # It is there itself where the answer to a first try was lost.
    if version in (expected, one.version) or (there is not None and how == "overwrite"):
        return one
    of_layer = f" behind layer {layer!a}" if layer else ""
    if there is not None and how == "merge":
        ours, theirs = one.header, there.header
        if (ours.config_hash, ours.parameters_hash) != (theirs.config_hash, theirs.parameters_hash):
            raise ConflictError(
                f"the memory of user {short(user)}{of_layer} was saved by other weights since, and memories of two "
                "models cannot be merged; load it again with the weights it has now"
            )
        return replace(one, state=merge(there.state.to(one.state.trace), one.state))
    if there is None:
        what = (
            "was forgotten since this state was loaded, or the state is another user's; nobody comes back unasked: "
            "to save it as a new memory all the same, take its version away: dataclasses.replace(state, version=None)"
        )
    elif expected:
        what = (
            "was saved by somebody else since it was loaded; load it again and go on from there, or say what is to "
            "happen: on_conflict='merge' or 'overwrite'"
        )
    else:
        what = (
            "is there already, and this state was not loaded from it; load it and go on from there, or say what is to "
            "happen: on_conflict='merge' or 'overwrite'"
        )
    raise ConflictError(f"nothing was saved: the memory of user {short(user)}{of_layer} {what}")


def _packed(user: str, layers: Layers) -> bytes:
    own = {"user": user, "format_version": STORE_FORMAT_VERSION}
    return pack_stored({name: replace(one, header=replace(one.header, **own)) for name, one in layers.items()})


def _with_version(state: MemoryState, version: int) -> MemoryState:
    return replace(state, version=torch.tensor([version], device=state.trace.device))


def _checked_conflict(how: OnConflict) -> OnConflict:
    if how not in get_args(OnConflict):
        raise ValueError(f"on_conflict is {how!r}; it may be one of {', '.join(map(repr, get_args(OnConflict)))}")
    return how
