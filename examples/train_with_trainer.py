"""Train memories with `transformers.Trainer`: a word is stated, something else comes between, it is asked for.

python examples/train_with_trainer.py --out runs/told
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

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


def collate(conversations: list[list[Turn]]) -> dict[str, Any]:
    """Make a batch: the Trainer calls the model with these names."""
    return {"turns": callosal.collate_conversations(conversations)}


def main() -> None:
    """Train, and save the memories alone."""
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

    data: Any = [conversation(word) for word in WORDS for _ in range(40)]
    trainer = Trainer(
        model=callosal.Conversations(memories),
        args=TrainingArguments(
            output_dir=str(arguments.out),
            max_steps=arguments.steps,
            per_device_train_batch_size=32,
            learning_rate=1e-2,
            lr_scheduler_type="cosine",
            adam_beta2=0.95,
            logging_steps=10,
            report_to="none",
            save_strategy="no",  # the memories are saved below, without the base
            remove_unused_columns=False,  # a conversation is a list and has none
        ),
        data_collator=collate,
        train_dataset=data,
        eval_dataset=data[::40],
    )
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    memories.save_pretrained(arguments.out / "memories")
    print(f"{loss:.2f} nats; a model that forgets has {math.log(len(WORDS)):.2f}")


if __name__ == "__main__":
    main()
