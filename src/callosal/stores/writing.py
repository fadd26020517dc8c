"""One writer per user: among processes, threads, and the tasks of one thread."""

import asyncio
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

POLL_SECONDS = 0.005
_Kind = type[BaseException] | None


class Lock(ABC):
    """What keeps other processes away."""

    @abstractmethod
    def acquire(self) -> bool:
        """Take it, or say at once that somebody has it."""

    @abstractmethod
    def release(self) -> None:
        """Give it back."""


@dataclass
class _Hold:
    """A lock that this process has, and which of its tasks."""

    owner: tuple[int, object]
    lock: Lock
    depth: int = 1

    def refuse_to_stop(self, who: str) -> None:
        """Raise TimeoutError where whoever asks would stop the owner by waiting for it."""
        if self.owner[0] == threading.get_ident():
            raise TimeoutError(
                f"another task of this thread is writing the memory of {who}, and to wait for it here would stop it "
                "too; write inside `async with store.writing(user):`"
            )


class _Holds:
    """What this process holds, whichever store object asked: the lock of a file is one for all of them."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.by_key: dict[Hashable, _Hold] = {}


_HOLDS = _Holds()
if hasattr(os, "register_at_fork"):
    # A child holds nothing that its parent does.
    os.register_at_fork(after_in_child=_HOLDS.__init__)


class Writing:
    """The time in which one alone writes: ``with`` or ``async with``, and again inside for whoever is in it.

    Args:
        key: what is locked, the same for everybody in this process.
        lock: that keeps other processes away.
        who: is written, for messages.
        timeout_seconds: to wait for others at most.
    """

    def __init__(self, key: Hashable, lock: Lock, who: str, timeout_seconds: float) -> None:
        self._key, self._lock, self._who = key, lock, who
        self._timeout_seconds = timeout_seconds
        self._entered: list[_Hold] = []

    def __enter__(self) -> Self:
        """Wait for other processes and threads.

        Raises:
            TimeoutError: they took too long; or another task of this thread writes, which waiting here would stop.
        """
        end = time.monotonic() + self._timeout_seconds
        while not self._try(others_run=False):
            self._wait_until(end)
            time.sleep(POLL_SECONDS)
        return self

    async def __aenter__(self) -> Self:
        """Wait for others, tasks of this thread too; TimeoutError where they took too long."""
        end = time.monotonic() + self._timeout_seconds
        while not self._try(others_run=True):
            self._wait_until(end)
            await asyncio.sleep(POLL_SECONDS)
        return self

    def __exit__(
        self, kind: _Kind = None, error: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        """Let the next one in."""
        hold = self._entered.pop()
        hold.depth -= 1
        if hold.depth == 0:
            try:
                hold.lock.release()
            finally:
                with _HOLDS.guard:
                    del _HOLDS.by_key[self._key]

    async def __aexit__(self, *_: object) -> None:
        """Let the next one in."""
        self.__exit__()

    def _try(self, *, others_run: bool) -> bool:
        with _HOLDS.guard:
            hold = _HOLDS.by_key.get(self._key)
            if hold is None:
                # Kept before the lock is there, which may take a while, so that nobody of ours tries beside us.
                new = _HOLDS.by_key[self._key] = _Hold(_owner(), self._lock)
            elif hold.owner == _owner():
                hold.depth += 1
                self._entered.append(hold)
                return True
            elif others_run:
                return False
            else:
                hold.refuse_to_stop(self._who)
                return False
        acquired = False
        try:
            acquired = self._lock.acquire()
        finally:
            if acquired:
                self._entered.append(new)
            else:
                with _HOLDS.guard:
                    del _HOLDS.by_key[self._key]
        return acquired

    def _wait_until(self, end: float) -> None:
        if time.monotonic() >= end:
            raise TimeoutError(waited(self._who, self._timeout_seconds))


def held(key: Hashable, who: str) -> Lock | None:
    """Return the lock of a key if this task has it; TimeoutError where another task of this thread has."""
    with _HOLDS.guard:
        hold = _HOLDS.by_key.get(key)
        if hold is None:
            return None
        if hold.owner == _owner():
            return hold.lock
        hold.refuse_to_stop(who)
        return None


def waited(who: str, seconds: float) -> str:
    """Say that it took too long."""
    return f"another writer kept the memory of {who} for {seconds:g} seconds; try again, or find out what holds it"


def _owner() -> tuple[int, object]:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs here
        task = None
    return threading.get_ident(), task
