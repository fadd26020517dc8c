"""Products in bfloat16 against float32, at the shapes of the peers, and how far each is from float64.

`python -m benchmarks.speed.precision` times one memory in both precisions in turn (``compute_dtype``; state and sums
are float32 in both), forward, training, and token by token in an open segment, by the processor's time. The distance is
that of the memory, as a share of its norm, after more and more segments of random tokens. The last line of standard
output is JSON.
"""

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.speed.timing import Rows, backward, in_turn, parser, ratio, spread, told
from rich.progress import track

from callosal import LateralMemory, MemoryConfig

SHAPES = ((64, 64), (256, 64), (256, 256), (512, 128))
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BATCH, SEGMENTS, TIME, ROUNDS = 4, 8, 64, 7
MARKS = (1, 10, 100, 1_000)


def sides(width: int, slots: int) -> dict[str, Callable[[], object]]:
    """Return every pass in every precision, of memories with the same weights and tokens."""
    memory, found = LateralMemory(MemoryConfig(width=width, num_slots=slots)), {}
    hidden = torch.randn(BATCH, SEGMENTS, TIME, width)
    for name, dtype in PRECISIONS.items():
        held, training = copy.deepcopy(memory).eval(), copy.deepcopy(memory).train()
        held.compute_dtype = training.compute_dtype = dtype
        leaves = [p for p in training.parameters() if p.requires_grad]
        with torch.no_grad():
            _, opened = held(hidden[:1, 0], commit=False)
        token, asked = hidden[:1, 0, :1], hidden.clone().requires_grad_()
        found[f"forward {name}"] = torch.no_grad()(lambda held=held: held(hidden))
        found[f"training {name}"] = lambda training=training, asked=asked, leaves=leaves: backward(
            training(asked)[0], [asked, *leaves]
        )
        found[f"token {name}"] = torch.no_grad()(
            lambda held=held, token=token, opened=opened: held(token, opened, commit=False)
        )
    return found


def cell(width: int, slots: int, rounds: int) -> Rows:
    """Time a shape."""
    samples = in_turn(sides(width, slots), seconds=0.0, least=rounds, clock=time.process_time)
    rows = []
    for passes in ("forward", "training", "token"):
        whole, half = samples[f"{passes} float32"], samples[f"{passes} bfloat16"]
        row: dict[str, Any] = {"width": width, "slots": slots, "pass": passes}
        rows.append(row | {"float32": spread(whole), "bfloat16": spread(half), "ratio": ratio(half, whole)})
    return rows


@torch.no_grad()
def distances(width: int, slots: int, marks: tuple[int, ...]) -> Rows:
    """Return how far the memory of a stream is from float64's, after these numbers of segments."""
    exact = LateralMemory(MemoryConfig(width=width, num_slots=slots)).double().eval()
    twin, memories, states = exact.blank(1), {}, {}
    for name, dtype in PRECISIONS.items():
        memories[name] = copy.deepcopy(exact).float()
        memories[name].compute_dtype = dtype
        states[name] = memories[name].blank(1)
    done, rows = 0, []
    for mark in marks:
        # Tokens as a model in bfloat16 has them, so that all precisions see the same.
        hidden = torch.randn(1, mark - done, TIME // 4, width).bfloat16()
        _, twin = exact(hidden.double(), twin)
        row: dict[str, Any] = {"segments": mark}
        for name, memory in memories.items():
            _, states[name] = memory(hidden.float(), states[name])
            row[name] = ((states[name].trace.double() - twin.trace).norm() / twin.trace.norm()).item()
        rows.append(row)
        done = mark
    return rows


def measure(quick: bool) -> dict[str, Any]:
    """Measure all shapes."""
    shapes, rounds, marks = (((16, 8),), 2, (1, 3)) if quick else (SHAPES, ROUNDS, MARKS)
    rows = [row for shape in track(shapes, description="precision") for row in cell(*shape, rounds)]
    tokens = BATCH * SEGMENTS * TIME
    width, slots = shapes[0]
    return {
        "tokens": tokens,
        "clock": "processor",
        "rows": rows,
        "width": width,
        "slots": slots,
        "distances": distances(width, slots, marks),
    }


if __name__ == "__main__":
    told("precision", measure, parser(__doc__).parse_args().quick)
