"""What `test_sequence.py` has done on two processes that torchrun starts, and by itself on one."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tests.cases import build_memory, normal
from torch import Tensor, distributed

from callosal.memory.sequence import sequence_parallel

# Of each case: fields of the memory, and where its two segments are cut. Pieces may be empty, or shorter than the lags.
CASES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "paper": ({}, (5, 2)),
    "one bank": ({"num_banks": 1, "num_lags": 1, "num_heads": 1}, (4, 1)),
    "slots": ({"drive": "slots", "write": "delta"}, (1, 6)),
    "carry": ({"carry": 0.7, "write": "additive"}, (0, 3)),
    "token": ({"context": "token", "contrast": 3.0, "balance": 0.2}, (7, 9)),
    "options": (
        {"observe": True, "embedded": True, "salience": "learned", "inner_width": 2, "output_gate": True},
        (3, 8),
    ),
    "wide gates": ({"gates": "hidden", "salience": "learned", "inner_width": 2, "output_gate": True}, (6, 4)),
    "recollected": ({"recollection": 0.3, "carry": 0.5, "salience": "retrieved"}, (3, 0)),
    "received": ({"crosstalk": "received", "detach_context": True, "balance": 0.2, "carry": 0.5}, (4, 6)),
    "left open": ({"num_heads": 3, "num_banks": 3, "salience": "retrieved", "normalised": "retrieved"}, (4, 1)),
    "retrieved": ({"salience": "retrieved", "writers": "lagged", "calibrated": True, "drive": "gradient"}, (2, 5)),
}
ROWS, TIME = 3, 9
Answer = dict[str, Tensor]


def inputs(name: str) -> list[dict[str, Any]]:
    """Return two segments: hidden states, a mask with holes, salience with zeros, embeddings."""
    fields, _ = CASES[name]
    segments = []
    for seed in (1, 2):
        hidden = normal(seed, ROWS, TIME, 4).requires_grad_()
        given: dict[str, Any] = {"hidden": hidden, "mask": normal(seed + 10, ROWS, TIME) > -0.8}
        if seed == 2:
            given["salience"] = normal(seed + 20, ROWS, TIME).clamp(0.0, 1.0)
        if fields.get("embedded"):
            given["embedded"] = normal(seed + 30, ROWS, TIME, 4)
        segments.append(given)
    return segments


def run(name: str, *, training: bool, group: Any, apart: bool = False) -> Answer:
    """Read two segments and go backward; return this process's outputs, its share of gradients, and the memory."""
    fields, cuts = CASES[name]
    memory = build_memory(seed=7, **fields).train(training)
    world, rank = (1, 0) if group is None else (group.size(), group.rank())
    start = 0.3 * normal(5, *memory.blank(ROWS).trace.shape)
    start.requires_grad_()
    blank = memory.blank(ROWS)
    state = replace(blank, trace=start)
    if blank.recollected is not None:
        state = replace(state, recollected=0.3 * normal(6, *blank.recollected.shape))
    segments, outputs = inputs(name), []
    loss = torch.zeros((), dtype=torch.float64)
    for given, cut in zip(segments, cuts, strict=True):
        part = slice(None) if world == 1 else (slice(0, cut), slice(cut, None))[rank]
        piece: dict[str, Any] = {key: tensor[:, part] for key, tensor in given.items()}
        hidden, mask = piece.pop("hidden"), piece.pop("mask")
        piece["commit"] = name != "left open" or len(outputs) > 0
        if world == 1:
            # The oracle: the memory's own way, with nothing of what is tested.
            y, state = memory(hidden, state, mask, **piece)
        else:
            y, state = sequence_parallel(memory, hidden, state, mask, group=None if apart else group, **piece)
        outputs.append(y)
        loss = loss + (y * normal(40, ROWS, TIME, 4)[:, part]).sum()
    # Every process has the whole memory: its share of what that costs.
    loss = loss + (state.trace * normal(41, *state.trace.shape)).sum() / world
    loss.backward()
    learned = {f"d {key}": p.grad for key, p in memory.named_parameters() if p.grad is not None}
    hidden = {f"d hidden {n}": given["hidden"].grad for n, given in enumerate(segments)}
    answer = {"loss": loss.detach(), "d start": start.grad} | learned | hidden
    shares = {key: tensor for key, tensor in answer.items() if tensor is not None}
    if world > 1:
        for tensor in shares.values():
            distributed.all_reduce(tensor)
    whole = {f"y {n}": y.detach() for n, y in enumerate(outputs)}
    if world > 1:
        whole = {key: _joined(y, cut, group) for (key, y), cut in zip(whole.items(), cuts, strict=True)}
    kept = {key: buffer.clone() for key, buffer in memory.named_buffers()}
    return shares | whole | kept | {"trace": state.trace.detach()}


def _joined(y: Tensor, cut: int, group: Any) -> Tensor:
    whole = torch.zeros(ROWS, TIME, 4, dtype=torch.float64)
    whole[:, (slice(0, cut), slice(cut, None))[group.rank()]] = y
    distributed.all_reduce(whole)
    return whole


def main(out: Path) -> None:
    """Write what the two processes have found to a file each."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    group = distributed.group.WORLD
    answers: dict[str, Any] = {
        f"{name} {mode}": run(name, training=mode, group=group) for name in CASES for mode in (False, True)
    }
    answers["apart"] = run("paper", training=False, group=group, apart=True)
    torch.save(answers, f"{out}-{distributed.get_rank()}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
