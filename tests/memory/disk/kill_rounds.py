"""Kill a process that saves two memories in turn, again and again, and look at what is left.

A program of its own, because a fork needs a process without threads: ``kill_rounds.py FOLDER ROUNDS``.
Then 30 rounds more with files written in place: a planted fault, to see that the kills would be noticed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from callosal import LateralMemory, MemoryConfig, MemoryState, load_memory, save_memory
from callosal.memory import MemoryFileError
from callosal.memory.disk import storage


def save_until_killed(path: Path, memory: LateralMemory, states: list[MemoryState]) -> None:
    try:
        while True:
            for state in states:
                save_memory(state, path, memory)
    finally:
        os._exit(1)  # never back into the parent's code


def count(path: Path, num_rounds: int) -> list[int]:
    """Return how many files were damaged, the first memory, the second, and left unfinished."""
    torch.manual_seed(0)
    memory = LateralMemory(MemoryConfig(width=32, num_slots=256)).eval()
    states = [memory(torch.randn(1, 5, 32))[1].detach() for _ in range(2)]
    generator = random.Random(0)
    begun = time.perf_counter()
    save_memory(states[0], path, memory)
    # On a busy disk a save takes longer; the kills should meet it at any of its moments, and after.
    most_seconds = min(max(0.02, 2.0 * (time.perf_counter() - begun)), 0.1)
    seen, damaged = [0, 0], 0
    for round_ in range(num_rounds):
        child = os.fork()
        if child == 0:
            save_until_killed(path, memory, states if round_ % 2 else states[::-1])
        time.sleep(generator.uniform(0.0, most_seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child could not save"
        try:
            trace = load_memory(path, memory).trace
            seen[[torch.equal(trace, state.trace) for state in states].index(True)] += 1
        except (MemoryFileError, ValueError):
            damaged += 1
    return [damaged, *seen, len(list(path.parent.glob("*.unfinished")))]


if __name__ == "__main__":
    torch.set_num_threads(1)
    counts = count(Path(sys.argv[1]) / "safe" / "a", int(sys.argv[2]))
    storage.write_atomically = lambda path, data, *_, **__: path.write_bytes(data)
    plainly = Path(sys.argv[1]) / "b"
    print(*counts, count(plainly, 30)[0])  # noqa: T201  (its report)
