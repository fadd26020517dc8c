"""A store on a Redis server, for programs on several machines."""

import contextlib
import io
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedIOBase
from typing import TYPE_CHECKING, Any

from callosal.memory.disk.format import STORE_FORMAT_VERSION, MissingMemoryFileError
from callosal.stores.base import WAIT_SECONDS, Change, OnConflict, Store, require_user, short
from callosal.stores.writing import POLL_SECONDS, Lock, Writing, held, waited

if TYPE_CHECKING:  # an extra
    from redis import Redis

# A writer that is killed keeps others waiting for so long; one that lives renews its lock meanwhile.
LEASE_SECONDS = 10.0
# Only whoever has a lock may give it back or renew it, which takes one step of the server.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"


class RedisStore(Store):
    """A Redis server with one value per user: the same bytes that :class:`callosal.MemoryStore` has as a file.

    A value is replaced only if it is still the one that was read (``WATCH`` and ``MULTI``), so that no update is lost
    whatever happens to writers, and all layers of a user change at once. ``writing`` is a key that ends ten seconds
    after the last sign of life of whoever holds it. Should somebody be stopped for longer inside it, another may come
    in, and the first to come back meets a :class:`callosal.ConflictError`.

    What the server keeps over a crash is the server's affair: ``appendonly yes`` and ``appendfsync always`` lose
    nothing. Not for a cluster.

    Args:
        server: its address, such as ``redis://localhost:6379/0``, or a client of redis-py.
        prefix: of all keys, for several stores on one server.
        on_conflict: as for every :class:`callosal.stores.Store`.

    Raises:
        ImportError: redis-py is not installed.
        ValueError: the address is none, or the client decodes what it reads.
    """

    def __init__(
        self,
        server: "str | Redis" = "redis://localhost:6379/0",
        *,
        prefix: str = "callosal:",
        on_conflict: OnConflict = "error",
    ) -> None:
        super().__init__(on_conflict)
        try:
            import redis.exceptions  # noqa: PLC0415
        except ImportError as error:
            raise ImportError('RedisStore needs redis-py; pip install "callosal[redis]"', name="redis") from error
        self._errors = redis.exceptions
        self._redis: Any = server
        if isinstance(server, str):
            self._redis = redis.Redis.from_url(server, socket_connect_timeout=10, socket_timeout=60)
        settings = self._redis.connection_pool.connection_kwargs
        if settings.get("decode_responses"):
            raise ValueError("a client that decodes responses would break what memories are made of; leave that out")
        # Without a password, for messages.
        at = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
        self.server = f"{at}/{settings.get('db', 0)}"
        self.prefix = prefix

    def key(self, user: str) -> bytes:
        """Return the key of a user's value."""
        return self._key("user:", require_user(user))

    def _key(self, kind: str, name: str) -> bytes:
        return f"{self.prefix}{kind}{name}".encode("utf-8", "surrogatepass")

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[BufferedIOBase, int]]:
        with self._speaking():
            data = self._redis.get(self.key(name))
        if data is None:
            raise MissingMemoryFileError(f"the store on {self.server} does not know user {short(name)}")
        yield io.BytesIO(data), len(data)

    def _update(self, name: str, change: Change) -> None:
        key, lock, end = self.key(name), self._lock_key(name), time.monotonic() + WAIT_SECONDS
        while True:
            ours = held(self._held_key(name), f"user {short(name)}")
            token = ours.token if isinstance(ours, _Lock) else None
            with self._speaking(), self._redis.pipeline() as pipe:
                try:
                    pipe.watch(key, lock)
                    data, holder = pipe.mget(key, lock)
                    if holder in (None, token):
                        data = change(data)
                        pipe.multi()
                        pipe.set(key, data)
                        pipe.execute()
                        return
                except self._errors.WatchError:  # somebody was faster: what they wrote is looked at next
                    continue
            if time.monotonic() > end:
                raise TimeoutError(waited(f"user {short(name)}", WAIT_SECONDS))
            time.sleep(POLL_SECONDS)

    def _discard(self, name: str) -> list[str]:
        key = self.key(name)
        with self._speaking():
            self._redis.delete(key)
            return [ascii(key)] if self._redis.exists(key) else []

    def _users(self) -> set[str]:
        start = self.key("")
        # Characters that a pattern would read otherwise.
        pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]^-\\" else bytes([c]) for c in start) + b"*"
        with self._speaking():
            return {
                key[len(start) :].decode("utf-8", "surrogatepass")
                for key in self._redis.scan_iter(match=pattern, count=1000)
            }

    def _format(self, name: str) -> int | None:
        with self._speaking():
            return STORE_FORMAT_VERSION if self._redis.exists(self.key(name)) else None

    def _kept_apart(self, user: str, layers: Any) -> list[str]:  # noqa: ARG002
        return []  # no earlier version had this store

    def _writing(self, name: str, timeout_seconds: float) -> Writing:
        lock = _Lock(self._redis, self._errors, self._speaking, self._lock_key(name))
        return Writing(self._held_key(name), lock, f"user {short(name)}", timeout_seconds)

    def _lock_key(self, name: str) -> bytes:
        return self._key("lock:", name)

    def _held_key(self, name: str) -> tuple[str, bytes]:
        return self.server, self._lock_key(name)

    def _place(self, name: str) -> str:
        return f"{ascii(self.key(name))[1:]} on {self.server}"

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Say what it means where the server does not answer."""
        try:
            yield
        except self._errors.TimeoutError as error:
            raise TimeoutError(f"the Redis server at {self.server} takes too long to answer: {error}") from error
        except self._errors.AuthenticationError as error:
            raise PermissionError(f"the Redis server at {self.server} wants another password: {error}") from error
        except self._errors.ConnectionError as error:
            raise ConnectionError(
                f"no Redis server answers at {self.server} ({error}); start one, or give its address: "
                "RedisStore('redis://host:6379/0')"
            ) from error
        except self._errors.RedisError as error:
            raise OSError(f"the Redis server at {self.server} refuses: {error}") from error


class _Lock(Lock):
    """A key with a token of ours, renewed by a thread for as long as it is held."""

    def __init__(
        self, client: Any, errors: Any, speaking: Callable[[], AbstractContextManager[None]], key: bytes
    ) -> None:
        self._redis, self._errors, self._speaking, self._key = client, errors, speaking, key
        self.token = secrets.token_hex(16).encode()
        self._ended = threading.Event()

    def acquire(self) -> bool:
        lease = int(1000 * LEASE_SECONDS)
        with self._speaking():
            if not self._redis.set(self._key, self.token, nx=True, px=lease) and not self._is_ours():
                return False
        self._ended.clear()
        threading.Thread(target=self._renew, args=(lease,), daemon=True).start()
        return True

    def release(self) -> None:
        self._ended.set()
        # Without an answer it ends with its lease.
        with contextlib.suppress(self._errors.RedisError):
            self._redis.eval(_RELEASE, 1, self._key, self.token)

    def _is_ours(self) -> bool:
        # So it is where the first answer was lost and the client asked again.
        return self._redis.get(self._key) == self.token

    def _renew(self, lease: int) -> None:
        while not self._ended.wait(LEASE_SECONDS / 4):
            try:
                self._redis.eval(_RENEW, 1, self._key, self.token, lease)
            except self._errors.RedisError:
                continue  # until the server is back, or the lease is over
