"""How much faster many segments at once are than the same segments one call after another.

Both sides train the same memory on the same numbers in the same process, in turn, so that what else the
machine does touches both. The last line of standard output is JSON.
"""

import json
import time

import torch
from torch import Tensor

from callosal import LateralMemory, MemoryConfig

BATCH, SEGMENTS, TIME, WIDTH, SLOTS = 32, 24, 16, 64, 32
REPEATS = 15


def at_once(memory: LateralMemory, hidden: Tensor) -> Tensor:
    """Feed all segments in one call."""
    y, _ = memory(hidden, memory.blank(len(hidden)))
    return y


def one_by_one(memory: LateralMemory, hidden: Tensor) -> Tensor:
    """Feed one segment per call."""
    state, outputs = memory.blank(len(hidden)), []
    for segment in hidden.unbind(1):
        y, state = memory(segment, state)
        outputs.append(y)
    return torch.stack(outputs, dim=1)


def main() -> None:
    """Time both, backward pass included, and print the ratio of medians."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    memory = LateralMemory(MemoryConfig(width=WIDTH, num_slots=SLOTS)).eval()
    hidden = torch.randn(BATCH, SEGMENTS, TIME, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(at_once(memory, hidden), one_by_one(memory, hidden))
    seconds: dict[str, list[float]] = {"at_once": [], "one_by_one": []}
    for _ in range(REPEATS + 2):
        for function in (at_once, one_by_one):
            begun = time.perf_counter()
            function(memory, hidden).square().mean().backward()
            seconds[function.__name__].append(time.perf_counter() - begun)
    medians = {name: torch.tensor(times[2:]).median().item() for name, times in seconds.items()}
    result = {
        "batch": BATCH,
        "segments": SEGMENTS,
        "time": TIME,
        "width": WIDTH,
        "slots": SLOTS,
        **{f"{name}_seconds": value for name, value in medians.items()},
        "ratio": medians["one_by_one"] / medians["at_once"],
    }
    print(f"one call per segment takes {result['ratio']:.2f} times as long as all segments at once")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
