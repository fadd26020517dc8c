"""A store of 10,000 users whose writers are killed at random: nothing may be lost, nothing mixed up.

Every memory says whose it is in one bank and how often it was saved in the other. Two writers at a time
load, add one, and save, half the time the same few users, and report every save that came back; after a
kill -9 of both, what is on the disk has to be what was reported, and at most the save in flight on top.
The last line of standard output is JSON.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from typing import NoReturn

import torch
from rich.progress import track

from callosal import LateralMemory, MemoryConfig, MemoryState, MemoryStore

WRITERS, HOT_USERS, MOST_SECONDS = 2, 5, 0.03


def main() -> int:
    """Fill a store, kill its writers, and read it all; exit code 1 if anything was lost or mixed up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    memory = LateralMemory(MemoryConfig(width=32, num_slots=64)).eval()
    users = [f"user/{number}" for number in range(parsed.users)]
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore(folder)
        begun = time.perf_counter()
        for number, user in enumerate(track(users, description="saving")):
            store.save(user, labelled(memory, number, 0), memory)
        save_seconds = time.perf_counter() - begun

        counts, faults, in_flight, num_saves = [0] * len(users), [], 0, 0
        generator = random.Random(0)
        # No progress bar: it would be a thread, beside which no process should be forked.
        for round_ in range(parsed.kills):
            started, saved = one_round(store, memory, users, round_, generator)
            for number in sorted(started):
                count = read(store, memory, users[number], number)
                least = counts[number] + saved.get(number, 0)
                if count is None or not least <= count <= least + started[number]:
                    faults.append([round_, number, count, least])
                in_flight += store.path(users[number]).with_suffix(".unfinished").exists()
                num_saves += saved.get(number, 0)
                counts[number] = count or 0

        begun = time.perf_counter()
        for number, user in enumerate(track(users, description="loading")):
            if read(store, memory, user, number) != counts[number]:
                faults.append([parsed.kills, number, None, counts[number]])
        load_seconds = time.perf_counter() - begun
        begun = time.perf_counter()
        complete = sorted(store.users()) == sorted(users)
        list_seconds = time.perf_counter() - begun
        num_bytes = store.path(users[0]).stat().st_size
    result = {
        "users": len(users),
        "bytes_per_user": num_bytes,
        "kills": parsed.kills * WRITERS,
        "saves_between_kills": num_saves,
        "kills_inside_a_write": in_flight,
        "faults": faults[:10],
        "num_faults": len(faults),
        "every_user_listed": complete,
        "saves_per_second": round(len(users) / save_seconds),
        "loads_per_second": round(len(users) / load_seconds),
        "list_seconds": round(list_seconds, 2),
    }
    print(json.dumps(result))
    return int(bool(faults) or not complete)


def labelled(memory: LateralMemory, number: int, count: int) -> MemoryState:
    """Return a state that says in every float of a bank whose it is, and in the other how often saved."""
    state = memory.blank(1)
    state.trace[:, 0], state.trace[:, 1] = float(number), float(count)
    return state


def read(store: MemoryStore, memory: LateralMemory, user: str, number: int) -> int | None:
    """Return how often a user's memory was saved; None if it is not theirs or not of one piece."""
    trace = store.load(user, memory).trace
    count = int(trace[0, 1, 0, 0].item())
    return count if torch.equal(trace, labelled(memory, number, count).trace) else None


def one_round(
    store: MemoryStore, memory: LateralMemory, users: list[str], round_: int, generator: random.Random
) -> tuple[dict[int, int], dict[int, int]]:
    """Let two writers save until they are killed; return saves in flight and saves done, by user."""
    ours, theirs = os.pipe()
    children = [os.fork() or write(store, memory, users, f"{round_}/{writer}", theirs) for writer in range(WRITERS)]
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


def write(store: MemoryStore, memory: LateralMemory, users: list[str], seed: str, reports: int) -> NoReturn:
    """Save one user after another until killed, and say so before and after each."""
    generator = random.Random(seed)
    try:
        while True:
            pool = HOT_USERS if generator.random() < 0.5 else len(users)
            number = generator.randrange(pool)
            with store.writing(users[number]):
                os.write(reports, f"+{number}\n".encode())
                count = read(store, memory, users[number], number)
                assert count is not None, f"user {number} is not of one piece"
                store.save(users[number], labelled(memory, number, count + 1), memory)
                os.write(reports, f"={number}\n".encode())
    except BaseException as error:
        print(repr(error), flush=True)
        raise
    finally:
        os._exit(1)  # never back into the parent's code


if __name__ == "__main__":
    raise SystemExit(main())
