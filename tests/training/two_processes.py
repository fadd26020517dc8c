"""Runs for `test_processes.py`: alone, or as one of two processes that torchrun starts."""

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
from tests.training.conversations import conversations, frozen, loader

from callosal.training import conversations as module
from callosal.training.stateful import StatefulConfig, train_stateful

NUM_CONVERSATIONS, BATCH = 16, 4
RUNS: dict[str, Any] = {
    "whole": {"truncate": None},
    "pairs": {"truncate": 2},
    "single": {"truncate": 1},
    # A fault: each process adapts to what itself has seen.
    "apart": {"truncate": None},
}


def uneven() -> dict[str, Any]:
    """Read four conversations of unequal length, three on one process and one on the other."""
    accelerator, memories, data = Accelerator(cpu=True), frozen(), conversations(4)
    shares = [data] if accelerator.num_processes == 1 else [data[:3], data[3:]]
    batch = module.collate_conversations(shares[accelerator.process_index])
    loss: Any = module.Conversations(memories).train()(batch, scored=1)["loss"].detach()
    return {"loss": accelerator.reduce(loss, "sum"), "buffers": dict(memories.named_buffers())}


def main(out: Path) -> None:
    """Write curves and weights of every run to a file."""
    torch.set_num_threads(1)
    answers: dict[str, Any] = {"uneven": uneven()}
    for name, changes in RUNS.items():
        accelerator = Accelerator(cpu=True)
        memories = frozen()
        config = StatefulConfig(
            num_steps=4,
            learning_rate=1e-2,
            warmup_steps=1,
            weight_decay=0.1,
            log_every=1,
            **changes,
        )
        batches = loader(conversations(NUM_CONVERSATIONS), BATCH // accelerator.num_processes)
        fault = mock.patch.object(module, "pooled", return_value=nullcontext())
        with fault if name == "apart" else nullcontext():
            curve = train_stateful(memories, batches, config, accelerator=accelerator)
        answers[name] = {"curve": curve, "weights": memories.state_dict()}
        answers[name]["processes"] = accelerator.num_processes
    if Accelerator(cpu=True).is_main_process:
        torch.save(answers, out)
    Accelerator(cpu=True).end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
