"""What 10,000 segments of random input do to a memory: the bounded write beside the additive one.

The same weights and the same input, in float32 and bfloat16. The last line of standard output is JSON.
"""

import json
import math

import torch
from rich.progress import track

from callosal import LateralMemory, MemoryConfig
from callosal.memory.config import WriteRule

SEGMENTS, AT_ONCE, TIME, WIDTH, SLOTS = 10_000, 10, 8, 32, 32


@torch.no_grad()
def largest_norms(write: WriteRule, dtype: torch.dtype) -> dict[str, float | int | str | None]:
    """Feed the stream; return the largest slot norm met and the first segment that was not finite."""
    torch.manual_seed(0)
    config = MemoryConfig(width=WIDTH, num_slots=SLOTS, write=write)
    memory = LateralMemory(config).to(dtype).eval()
    state, largest, overflow = memory.blank(1), 0.0, None
    name = f"{write}, {str(dtype).removeprefix('torch.')}"
    for done in track(range(0, SEGMENTS, AT_ONCE), description=name):
        _, state = memory(torch.randn(1, AT_ONCE, TIME, WIDTH).to(dtype), state)
        norm = state.trace.float().norm(dim=-1).max().item()
        if not math.isfinite(norm):
            overflow = done + AT_ONCE
            break
        largest = max(largest, norm)
    return {
        "write": write,
        "dtype": str(dtype).removeprefix("torch."),
        "segments": overflow or SEGMENTS,
        "largest_norm": largest,
        "bound": memory.max_slot_norm if write == "bounded" else None,
        "overflow_within": overflow,
    }


def main() -> None:
    """Run both rules in both precisions and say what became of them."""
    torch.set_num_threads(1)
    rows = []
    rules: tuple[WriteRule, ...] = ("bounded", "additive")
    for write in rules:
        for dtype in (torch.float32, torch.bfloat16):
            row = largest_norms(write, dtype)
            rows.append(row)
            end = (
                f"overflows within {row['overflow_within']} segments"
                if row["overflow_within"]
                else f"largest norm {row['largest_norm']:.2f}, bound {row['bound']:.2f}"
            )
            print(f"{row['write']} write, {row['dtype']}: {end}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
