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

from callosal import LateralMemory, MemoryConfig, load_memory, save_memory
from callosal.memory import MemoryFileError, storage

torch.set_num_threads(1)
torch.manual_seed(0)
PATH, ROUNDS = Path(sys.argv[1]), int(sys.argv[2])
MEMORY = LateralMemory(MemoryConfig(width=32, num_slots=256)).eval()
STATES = [MEMORY(torch.randn(1, 5, 32), MEMORY.blank(1))[1].detach() for _ in range(2)]


def save_until_killed() -> None:
    try:
        while True:
            for state in STATES:
                save_memory(state, PATH, MEMORY)
    finally:
        os._exit(1)  # never back into the parent's code


def main() -> None:
    if "plainly" in sys.argv:
        storage.write_atomically = lambda path, data, unfinished=None: path.write_bytes(data)
    generator = random.Random(0)  # noqa: S311  (when to kill is no secret)
    save_memory(STATES[0], PATH, MEMORY)
    seen, damaged = [0, 0], 0
    for _ in range(ROUNDS):
        child = os.fork()
        if child == 0:
            save_until_killed()
        time.sleep(generator.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child could not save"
        try:
            trace = load_memory(PATH, MEMORY).trace
            seen[[torch.equal(trace, state.trace) for state in STATES].index(True)] += 1
        except (MemoryFileError, ValueError):
            damaged += 1
    unfinished = len(list(PATH.parent.glob("*.unfinished")))
    print(damaged, *seen, unfinished)  # noqa: T201  (its report)


if __name__ == "__main__":
    main()
