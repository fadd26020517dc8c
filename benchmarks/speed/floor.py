"""The operator's stages against torch.matmul on the same shapes, forward, and forward and backward.

`python -m benchmarks.speed.floor` varies width, slots and banks one at a time around (256, 64, 2). The floor of a stage
is its multiplications alone, in the order that the operator takes; softmax and write have none. The layer's floor is
the multiplications of all its stages, its output map included. The last line of standard output is JSON.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from benchmarks.speed.timing import Rows, backward, in_turn, parser, ratio, spread, told
from rich.progress import track
from torch import Tensor

from callosal import LateralMemory, MemoryConfig
from callosal.ops import address, gram

CENTRE = (256, 64, 2)
GRID = [
    CENTRE,
    *((width, 64, 2) for width in (64, 512, 1024)),
    *((256, slots, 2) for slots in (32, 128, 256, 512)),
    *((256, 64, banks) for banks in (1, 4, 8)),
]
BATCH, SEGMENTS, TIME, SECONDS = 4, 8, 64, 12.0
Stage = tuple[Callable[..., Tensor], list[Tensor]]


def stages(memory: LateralMemory, hidden: Tensor) -> dict[str, tuple[Stage, Stage | None]]:
    """Return each stage and its multiplications, with what they take; the inputs are as the layer makes them."""
    config, start = memory.config, memory.start.detach()
    rows, segments, time, _ = hidden.shape
    tail = start.expand(rows, segments, -1, -1).clone()
    seen, temperature = address.rms_norm(hidden), memory.log_temperature.detach().exp()
    shares = torch.softmax(torch.randn(rows, segments, time, config.num_banks), dim=-1)
    values = memory.values(torch.randn(rows, segments, *memory.prototypes.shape)).detach()
    filters, maps, keys = memory.filters.detach(), memory.maps.detach(), memory.addresses.detach()
    query_map = memory.query_map.detach()

    def weigh(logits: Tensor, shares: Tensor) -> Tensor:
        return torch.softmax(logits, dim=-1) * shares[..., None, :, None]

    queries = address.lagged_queries(seen, tail, filters, query_map)
    logits = address.slot_logits(queries, keys, temperature)
    weights = weigh(logits, shares)
    touch = weights.mean(-3).movedim(-2, -3).contiguous()
    order = gram.cheapest_order(time, config.num_slots, config.width, transformed=True)
    consolidated = gram.consolidate(touch, values, order=order)
    update, usage = gram.transform(consolidated, maps), touch.sum(-2)
    turned = touch @ values if order == "tokens" else consolidated
    # A bank's rows of all segments side by side: with banks inside, torch.matmul would be slower than the operator.
    by_bank = turned.movedim(-3, 0).flatten(1, -2).contiguous()
    flat_weights = weights.flatten(-2).flatten(-3, -2)
    inertia, trace = memory.log_inertia.detach().exp(), torch.randn_like(values)

    def consolidated_alone(touch: Tensor, values: Tensor) -> Tensor:
        return touch.mT @ touch @ values if order == "gram" else touch.mT @ (touch @ values)

    return {
        "query": (
            (address.lagged_queries, [seen, tail, filters, query_map]),
            (torch.matmul, [queries.flatten(0, -2), query_map]),
        ),
        "address": (
            (partial(address.slot_logits, temperature=temperature), [queries, keys]),
            (torch.matmul, [queries.flatten(0, -2), keys.flatten(0, 1).T.contiguous()]),
        ),
        "softmax": ((weigh, [logits, shares]), None),
        "read": ((gram.read, [weights, values]), (torch.matmul, [flat_weights, values.flatten(-3, -2)])),
        "consolidate": (
            (partial(gram.consolidate, order=order), [touch, values]),
            (consolidated_alone, [touch, values]),
        ),
        "transform": ((gram.transform, [turned, maps]), (torch.matmul, [by_bank, maps])),
        "write": ((gram.bounded_write, [trace, update, usage, inertia]), None),
    }


def alone(memory: LateralMemory, hidden: Tensor) -> Stage:
    """Return the multiplications of the whole layer, which need nothing of one another, as one side."""
    floors = [floor for _, floor in stages(memory, hidden).values() if floor is not None]
    tokens, heads = hidden.shape[:-1].numel(), memory.config.num_heads
    width = memory.config.width
    floors.append((torch.matmul, [torch.randn(tokens, heads * width), torch.randn(heads * width, width)]))
    return together(floors)


def together(floors: Sequence[Stage]) -> Stage:
    """Return multiplications that need nothing of one another as one side."""
    sizes = [len(inputs) for _, inputs in floors]

    def all_of(*inputs: Tensor) -> Tensor:
        parts, place = [], 0
        for (multiply, _), size in zip(floors, sizes, strict=True):
            parts.append(multiply(*inputs[place : place + size]))
            place += size
        return torch.cat([part.flatten()[:1] for part in parts])

    return all_of, [tensor for _, inputs in floors for tensor in inputs]


def sides_of(name: str, stage: Stage) -> dict[str, Callable[[], object]]:
    """Return a stage forward, and forward and backward to all that it takes."""
    function, inputs = stage
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]

    @torch.no_grad()
    def forward() -> object:
        return function(*inputs)

    return {f"{name} forward": forward, f"{name} training": lambda: backward(function(*leaves), leaves)}


def layer_sides(memory: LateralMemory, hidden: Tensor) -> dict[str, Callable[[], object]]:
    """Return the layer as it is called, without and with a backward pass."""
    leaves: Sequence[Tensor] = [p for p in memory.parameters() if p.requires_grad]
    asked = hidden.clone().requires_grad_()

    @torch.no_grad()
    def forward() -> object:
        return memory.eval()(hidden)

    return {"layer forward": forward, "layer training": lambda: backward(memory.train()(asked)[0], [asked, *leaves])}


def cell(width: int, slots: int, banks: int, batch: int, segments: int, seconds: float) -> dict[str, Any]:
    """Measure one cell of the grid."""
    memory = LateralMemory(MemoryConfig(width=width, num_slots=slots, num_banks=banks))
    hidden = torch.randn(batch, segments, TIME, width)
    found: Rows = []
    with torch.no_grad():
        taken = stages(memory, hidden)
    for name, (stage, floor) in taken.items():
        sides = sides_of("stage", stage) | ({} if floor is None else sides_of("floor", floor))
        found += compared(name, in_turn(sides, seconds=seconds / 12), "stage")
    with torch.no_grad():
        floor = alone(memory, hidden)
    sides = layer_sides(memory, hidden) | sides_of("floor", floor)
    found += compared("layer", in_turn(sides, seconds=seconds / 3), "layer")
    return {"width": width, "slots": slots, "banks": banks, "tokens": batch * segments * TIME, "stages": found}


def compared(stage: str, samples: dict[str, list[float]], side: str) -> Rows:
    """Return seconds and their ratio to the floor's, for both passes."""
    rows = []
    for passes in ("forward", "training"):
        taken, floor = samples[f"{side} {passes}"], samples.get(f"floor {passes}")
        row: dict[str, Any] = {"stage": stage, "pass": passes, "seconds": spread(taken)}
        row["floor"], row["ratio"] = (None, None) if floor is None else (spread(floor), ratio(taken, floor))
        rows.append(row)
    return rows


def measure(quick: bool) -> dict[str, Any]:
    """Measure the grid."""
    grid, shape = ([(16, 8, 2)], (2, 2, 0.1)) if quick else (GRID, (BATCH, SEGMENTS, SECONDS))
    return {"rows": [cell(*place, *shape) for place in track(grid, description="floor")]}


if __name__ == "__main__":
    told("floor", measure, parser(__doc__).parse_args().quick)
