"""Runs for `test_processes.py`: alone, or as one of two processes that torchrun starts."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from accelerate import Accelerator, FullyShardedDataParallelPlugin
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType
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
    # The base in shards, the memories whole.
    "sharded": {"truncate": 2},
}


@contextmanager
def sharding() -> Iterator[None]:
    """Make Accelerate shard with FSDP2 here, as it does on GPUs only: torch can on CPUs too."""
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=["LlamaDecoderLayer"],
        cpu_ram_efficient_loading=False,
        ignored_modules=r".*\.callosal",
    )
    facts = {"distributed_type": DistributedType.FSDP, "is_fsdp2": True}
    with ExitStack() as patches:
        for name, value in facts.items():
            fact = property(lambda _, value=value: value)
            patches.enter_context(mock.patch.object(Accelerator, name, fact))
        patches.enter_context(
            mock.patch.dict(AcceleratorState._shared_state, fsdp_plugin=plugin, **facts)
        )
        yield


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
        special: Any = nullcontext()
        if name == "apart":
            special = mock.patch.object(module, "pooled", return_value=nullcontext())
        if name == "sharded" and accelerator.num_processes == 2:
            special = sharding()
        with special:
            curve = train_stateful(memories, batches, config, accelerator=accelerator)
        answers[name] = {"curve": curve, "weights": memories.state_dict()}
        answers[name]["processes"] = accelerator.num_processes
        base = next(memories.model.parameters())
        answers[name]["base"] = type(base).__name__
    if Accelerator(cpu=True).is_main_process:
        torch.save(answers, out)
    Accelerator(cpu=True).end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
