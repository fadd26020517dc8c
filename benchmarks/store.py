"""Stores of 20,000 users whose writers are killed at random: nothing may be lost, nothing mixed up.

In a folder, and on a Redis server that is started for it. Every memory says whose it is in one bank and how often it
was saved in the other. Two writers at a time load, add one, and save, half the time the same few users, and report
every save that came back; every other one holds the lock, and the others go by versions and begin again at a conflict.
After a kill -9 of both, what is stored has to be what was reported, and at most the save in flight on top. The last
line of standard output is JSON.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.progress import track

from callosal import ConflictError, LateralMemory, MemoryConfig, MemoryState, MemoryStore, RedisStore
from callosal.stores import Store

WRITERS, HOT_USERS, MOST_SECONDS = 2, 5, 0.03


def main() -> int:
    """Fill each store, kill its writers, and read it all; exit code 1 if anything was lost or mixed up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=200)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    memory = LateralMemory(MemoryConfig(width=32, num_slots=64)).eval()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        result["folder"] = measure(lambda: MemoryStore(folder), memory, parsed.users, parsed.kills)
    with served() as address:
        result["redis"] = measure(lambda: RedisStore(address), memory, parsed.users, parsed.kills) if address else None
    print(json.dumps(result))
    return int(any(of["num_faults"] or not of["every_user_listed"] for of in result.values() if of))


@contextmanager
def served() -> Iterator[str | None]:
    """Run a Redis server that keeps all that it answers for; None where there is no redis-server."""
    program = shutil.which("redis-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        kept = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = [program, "--port", "0", "--unixsocket", "socket", *kept]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            while not Path(folder, "socket").exists():
                time.sleep(0.02)
            yield f"unix://{folder}/socket"
        finally:
            server.kill()
            server.wait()


def measure(make: Callable[[], Store], memory: LateralMemory, num_users: int, kills: int) -> dict[str, Any]:
    """Return how fast a store is, and what the kills of its writers did to it."""
    store, users = make(), [f"user/{number}" for number in range(num_users)]
    begun = time.perf_counter()
    for number, user in enumerate(track(users, description="saving")):
        store.save(user, labelled(memory, number, 0), memory)
    save_seconds = time.perf_counter() - begun

    counts, faults, num_saves, in_flight = [0] * len(users), [], 0, 0
    generator = random.Random(0)
    # No progress bar: it would be a thread, beside which no process should be forked.
    for round_ in range(kills):
        started, saved = one_round(make, memory, users, round_, generator)
        read(store, memory, users[0], 0)  # so that a server has done with all that the killed had sent
        for number in sorted(started):
            count = read(store, memory, users[number], number)
            least = counts[number] + saved.get(number, 0)
            if count is None or not least <= count <= least + started[number]:
                faults.append([round_, number, count, least])
            num_saves += saved.get(number, 0)
            if isinstance(store, MemoryStore):
                in_flight += store.path(users[number]).with_suffix(".unfinished").exists()
            counts[number] = count or 0

    begun = time.perf_counter()
    for number, user in enumerate(track(users, description="loading")):
        if read(store, memory, user, number) != counts[number]:
            faults.append([kills, number, None, counts[number]])
    load_seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    complete = store.users() == sorted(users)
    list_seconds = time.perf_counter() - begun
    return {
        "users": len(users),
        "kills": kills * WRITERS,
        "saves_between_kills": num_saves,
        "kills_inside_a_write": in_flight if isinstance(store, MemoryStore) else None,
        "faults": faults[:10],
        "num_faults": len(faults),
        "every_user_listed": complete,
        "saves_per_second": round(len(users) / save_seconds),
        "loads_per_second": round(len(users) / load_seconds),
        "list_seconds": round(list_seconds, 2),
    }


def labelled(memory: LateralMemory, number: int, count: int) -> MemoryState:
    """Return a state that says in every float of a bank whose it is, and in the other how often saved."""
    state = memory.blank(1)
    state.trace[:, 0], state.trace[:, 1] = float(number), float(count)
    return state


def read(store: Store, memory: LateralMemory, user: str, number: int) -> int | None:
    """Return how often a user's memory was saved; None if it is not theirs or not of one piece."""
    return count_of(store.load(user, memory), memory, number)


def count_of(state: MemoryState, memory: LateralMemory, number: int) -> int | None:
    """Return what a state says of how often it was saved; None if it is another's or not of one piece."""
    count = int(state.trace[0, 1, 0, 0].item())
    return count if torch.equal(state.trace, labelled(memory, number, count).trace) else None


def one_round(
    make: Callable[[], Store], memory: LateralMemory, users: list[str], round_: int, generator: random.Random
) -> tuple[dict[int, int], dict[int, int]]:
    """Let two writers save until they are killed; return saves in flight and saves done, by user."""
    ours, theirs = os.pipe()
    children = [os.fork() or write(make, memory, users, round_, writer, theirs) for writer in range(WRITERS)]
    os.close(theirs)
    time.sleep(generator.uniform(0.0, MOST_SECONDS))
    for child in children:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "a writer ended before it was killed; its error stands above"
    with open(ours) as reports:
        lines = reports.read().split()
    started: dict[int, int] = {}
    saved: dict[int, int] = {}
    for line in lines:
        number = int(line[1:])
        started[number] = started.get(number, 0) + (1 if line[0] == "+" else -1)
        saved[number] = saved.get(number, 0) + (line[0] == "=")
    return started, saved


def write(
    make: Callable[[], Store], memory: LateralMemory, users: list[str], round_: int, writer: int, reports: int
) -> NoReturn:
    """Save one user after another until killed, and say so before and after each."""
    store, generator = make(), random.Random(f"{round_}/{writer}")
    # A lock on a server outlives a killed writer by its lease, and this has no time to wait for that.
    locked = isinstance(store, MemoryStore) and round_ % 2 == 0
    try:
        while True:
            pool = HOT_USERS if generator.random() < 0.5 else len(users)
            number = generator.randrange(pool)
            with store.writing(users[number]) if locked else nullcontext():
                os.write(reports, f"+{number}\n".encode())
                state = store.load(users[number], memory)
                count = count_of(state, memory, number)
                assert count is not None, f"user {number} is not of one piece"
                new = labelled(memory, number, count + 1)
                try:
                    store.save(users[number], MemoryState(trace=new.trace, version=state.version), memory)
                except ConflictError:
                    assert not locked, f"user {number} was written beside its lock"
                    os.write(reports, f"-{number}\n".encode())
                else:
                    os.write(reports, f"={number}\n".encode())
    except BaseException as error:
        print(repr(error), flush=True)
        raise
    finally:
        os._exit(1)  # never back into the parent's code


if __name__ == "__main__":
    raise SystemExit(main())
