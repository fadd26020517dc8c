"""Train memories with `train_stateful`: a word is stated, something else comes between, the word is asked for.

    python examples/train_with_accelerate.py --out runs/told
    accelerate launch --multi_gpu --num_processes 2 examples/train_with_accelerate.py --out runs/told
    ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 examples/train_with_accelerate.py --out runs/told

Interrupted, the same command goes on. `tensorboard --logdir runs/told` shows the curve.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

import callosal
from callosal.training.conversations import Turn

TELL, SMALL_TALK, ASK, END = 0, 1, 2, 3
WORDS = range(4, 24)


def conversation(word: int) -> list[Turn]:
    """Return three turns, of which one token is scored: the answer."""
    unscored = [-100, -100, -100]
    return [
        {"input_ids": [TELL, word, END], "labels": unscored},
        {"input_ids": [SMALL_TALK, SMALL_TALK, END], "labels": unscored},
        {"input_ids": [ASK, word, END], "labels": [-100, word, -100]},
    ]


def main() -> None:
    """Train, and say what the loss was and is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    # Yours comes from from_pretrained(...); this one is random and small. Frozen before attaching.
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=24,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.2,
    )
    model = LlamaForCausalLM(config).requires_grad_(False)
    memories = callosal.attach(model, layers=[-1], config=callosal.MemoryConfig(width=32))

    accelerator = Accelerator(log_with="tensorboard", project_dir=arguments.out)
    data: Any = [conversation(word) for word in WORDS for _ in range(40)]
    loader = DataLoader(
        data,
        batch_size=32 // accelerator.num_processes,
        sampler=SeedableRandomSampler(data, data_seed=0),
        collate_fn=callosal.collate_conversations,
    )
    curve = callosal.train_stateful(
        memories,
        loader,
        callosal.StatefulConfig(num_steps=arguments.steps, learning_rate=1e-2, warmup_steps=10),
        accelerator=accelerator,
        folder=arguments.out / "checkpoint",
        on_progress=lambda step, point: print(f"step {step}: {point['loss']:.2f} nats"),
    )
    if accelerator.is_main_process:
        memories.save_pretrained(arguments.out / "memories")
        print(f"{curve[-1]['loss']:.2f} nats; a model that forgets has {math.log(len(WORDS)):.2f}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
