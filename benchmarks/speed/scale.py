"""One stream to a million tokens, many users, many banks.

`python -m benchmarks.speed.scale` feeds a stream segment by segment and, at ten places, times its next segments in turn
with those of a stream that has just begun: the ratio says what length costs, whatever else the machine does. Beside it
full attention takes its next 64 tokens over a cache of more and more. The last line of standard output is JSON.
"""

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.speed.contenders import HEAD
from benchmarks.speed.timing import Rows, backward, held_mib, in_turn, parser, peak_mib, rate, ratio, spread, told
from rich.progress import track
from torch.nn.functional import scaled_dot_product_attention

from callosal import LateralMemory, MemoryConfig

WIDTH, SLOTS, TIME = 256, 64, 64
TOKENS, PLACES = 1_000_000, 10
CACHES, USERS, BANKS = (1_024, 4_096, 16_384, 65_536), (1, 4, 16, 64, 256, 512), (1, 2, 4, 8)
SECONDS = 6.0


def layer(banks: int = 2) -> LateralMemory:
    """Return a memory of the usual size."""
    return LateralMemory(MemoryConfig(width=WIDTH, num_slots=SLOTS, num_banks=banks)).eval()


@torch.no_grad()
def stream(num_tokens: int, seconds: float) -> Rows:
    """Feed a stream to its end; at every tenth of it, its segments against those of a new one."""
    memory, rows = layer(), []
    held, new = memory.blank(1), memory.blank(1)
    hidden = torch.randn(1, TIME, WIDTH)
    places = [round(num_tokens * (n + 1) / PLACES / TIME) for n in range(PLACES)]
    for n in track(range(places[-1]), description="stream"):
        # Other tokens each time, and no new memory for them.
        _, held = memory(hidden.normal_(), held)
        if n + 1 in places:
            state = held
            samples = in_turn(
                {"stream": lambda state=state: memory(hidden, state), "new": lambda: memory(hidden, new)},
                seconds=seconds,
                most=201,
            )
            row: dict[str, Any] = {"tokens": (n + 1) * TIME, "seconds_a_token": spread(_by_token(samples["stream"]))}
            row |= {"new": spread(_by_token(samples["new"])), "ratio": ratio(samples["stream"], samples["new"])}
            rows.append(row | {"held_mib": held_mib(), "state_floats": memory.state_floats})
    return rows


@torch.no_grad()
def attention(caches: tuple[int, ...], seconds: float) -> Rows:
    """Time full attention's next segment, its four maps included, over a cache of so many tokens."""
    to_parts, merge = torch.randn(WIDTH, 3 * WIDTH) / WIDTH**0.5, torch.randn(WIDTH, WIDTH) / WIDTH**0.5
    hidden, heads, rows = torch.randn(1, TIME, WIDTH), WIDTH // HEAD, []
    for size in track(caches, description="attention"):
        # Room for the segment is there, so that no side copies a cache.
        keys, values = torch.randn(2, 1, heads, size + TIME, HEAD)
        sees = torch.ones(TIME, size + TIME, dtype=torch.bool).tril(size)

        def segment(keys: torch.Tensor = keys, values: torch.Tensor = values, sees: torch.Tensor = sees) -> object:
            query, key, value = (hidden @ to_parts).view(1, TIME, 3, heads, HEAD).permute(2, 0, 3, 1, 4)
            keys[:, :, -TIME:], values[:, :, -TIME:] = key, value
            return scaled_dot_product_attention(query, keys, values, attn_mask=sees).transpose(1, 2).flatten(2) @ merge

        memory = layer()
        state = memory.blank(1)
        sides = {"attention": segment, "callosal": lambda memory=memory, state=state: memory(hidden, state)}
        samples = in_turn(sides, seconds=seconds)
        row: dict[str, Any] = {"tokens": size, "seconds_a_token": spread(_by_token(samples["attention"]))}
        row |= {"ratio": ratio(samples["attention"], samples["callosal"])}
        rows.append(row | {"state_floats": 2 * WIDTH * size, "held_mib": 2 * WIDTH * size * 4 / 1024**2})
    return rows


def passes(name: str, number: int, rows: int, banks: int, seconds: float) -> dict[str, Any]:
    """Time a segment of each of so many rows, forward and training."""
    memory, hidden = layer(banks), torch.randn(rows, TIME, WIDTH)
    leaves = [p for p in memory.parameters() if p.requires_grad]
    sides: dict[str, Callable[[], object]] = {
        "forward": torch.no_grad()(lambda: memory.eval()(hidden)),
        "training": lambda: backward(memory.train()(hidden)[0], leaves),
    }
    samples = in_turn(sides, seconds=seconds, most=21)
    row: dict[str, Any] = {name: number, "state_floats": rows * memory.state_floats, "peak_mib": peak_mib()}
    return row | {name: rate(taken, rows * TIME) for name, taken in samples.items()}


def measure(quick: bool) -> dict[str, Any]:
    """Measure all of them; the stream first, while nothing else has taken memory."""
    seconds, users, banks = (0.05, (1, 2), (1, 2)) if quick else (SECONDS, USERS, BANKS)
    return {
        "width": WIDTH,
        "slots": SLOTS,
        "stream": stream(6_400 if quick else TOKENS, seconds / 2),
        "attention": attention((256,) if quick else CACHES, seconds / 2),
        "users": [passes("users", n, n, 2, seconds) for n in track(users, description="users")],
        "banks": [passes("banks", n, 8, n, seconds) for n in track(banks, description="banks")],
    }


def _by_token(samples: list[float]) -> list[float]:
    return [seconds / TIME for seconds in samples]


if __name__ == "__main__":
    told("scale", measure, parser(__doc__).parse_args().quick)
