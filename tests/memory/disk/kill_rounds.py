"""Kill a process that saves two memories in turn, again and again, and look at what is left.

A program of its own, because a fork needs a process without threads: ``kill_rounds.py PATH ROUNDS [plainly]``.
With ``plainly`` the file is written in place, to see that the kills would be noticed.
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


def main(path: Path, num_rounds: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    memory = LateralMemory(MemoryConfig(width=32, num_slots=256)).eval()
    states = [memory(torch.randn(1, 5, 32))[1].detach() for _ in range(2)]
    if "plainly" in sys.argv:
        storage.write_atomically = lambda path, data, unfinished=None: path.write_bytes(data)
    generator = random.Random(0)
    save_memory(states[0], path, memory)
    seen, damaged = [0, 0], 0
    for _ in range(num_rounds):
        child = os.fork()
        if child == 0:
            save_until_killed(path, memory, states)
        time.sleep(generator.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child could not save"
        try:
            trace = load_memory(path, memory).trace
            seen[[torch.equal(trace, state.trace) for state in states].index(True)] += 1
        except (MemoryFileError, ValueError):
            damaged += 1
    unfinished = len(list(path.parent.glob("*.unfinished")))
    print(damaged, *seen, unfinished)  # noqa: T201  (its report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
