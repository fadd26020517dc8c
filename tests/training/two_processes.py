"""Runs for `test_processes.py`: alone, or as one of two processes that torchrun starts."""

import runpy
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from accelerate import Accelerator
from tests.training.conversations import Stream, conversations, frozen, loader
from tests.training.pieces import pieces
from tests.training.sharding import sharding

from callosal import StatefulConfig, train_stateful
from callosal.training import conversations as module

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_with_accelerate.py"
NUM_CONVERSATIONS, BATCH = 16, 4
# Turns that a gradient goes through.
RUNS: dict[str, int | None] = {
    "whole": None,
    "pairs": 2,
    "single": 1,
    # A fault: each process adapts to what itself has seen.
    "apart": None,
    # The base in shards, the memories whole.
    "sharded": 2,
    # Of which nobody knows how long it is.
    "stream": None,
}


def uneven() -> dict[str, Any]:
    """Read four conversations of unequal length, three on one process and one on the other."""
    accelerator, memories, data = Accelerator(cpu=True), frozen(), conversations(4)
    shares = [data] if accelerator.num_processes == 1 else [data[:3], data[3:]]
    batch = module.collate_conversations(shares[accelerator.process_index])
    loss: Any = module.Conversations(memories).train()(batch, scored=1)["loss"].detach()
    return {"loss": accelerator.reduce(loss, "sum"), "buffers": dict(memories.named_buffers())}


def run(name: str, truncate: int | None) -> dict[str, Any]:
    """Train, and return the curve, the weights, and how it was done."""
    accelerator, memories = Accelerator(cpu=True), frozen()
    settings: dict[str, Any] = {"learning_rate": 1e-2, "warmup_steps": 1, "weight_decay": 0.1}
    config = StatefulConfig(num_steps=4, truncate=truncate, log_every=1, **settings)
    data = conversations(NUM_CONVERSATIONS)
    batches = loader(Stream(data) if name == "stream" else data, BATCH // accelerator.num_processes)
    special: Any = nullcontext()
    if name == "apart":
        special = mock.patch.object(module, "pooled", return_value=nullcontext())
    if name == "sharded" and accelerator.num_processes == 2:
        special = sharding("LlamaDecoderLayer")
    with special:
        curve = train_stateful(memories, batches, config, accelerator=accelerator)
    return {
        "curve": curve,
        "weights": memories.state_dict(),
        "processes": accelerator.num_processes,
        "base": type(next(memories.model.parameters())).__name__,
    }


def main(out: Path) -> None:
    """Write the outcome of every run to a file."""
    torch.set_num_threads(1)
    answers = {"uneven": uneven()} | {name: run(name, turns) for name, turns in RUNS.items()}
    answers["pieces"] = pieces()
    if Accelerator(cpu=True).is_main_process:
        torch.save(answers, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.argv[1:] = ["--steps", "4", "--out", sys.argv[2]]
    runpy.run_path(str(EXAMPLE), run_name="__main__")
