"""Conversations of random tokens, and a small model that reads them."""

from collections.abc import Iterator
from typing import Any

import torch
from tests.hosts.hosts import VOCABULARY, make, trained
from torch import Generator
from torch.utils.data import DataLoader, IterableDataset

from callosal import MemoryConfig, attach
from callosal.hosts.memories import Memories
from callosal.training.conversations import Turn, collate_conversations

# Everything that a commit in training mode moves.
EVERY_BUFFER = MemoryConfig(width=32, num_slots=4, num_banks=3, contrast=1.0, balance=0.1, carry=0.5)


def conversation(seed: int, num_turns: int | None = None) -> list[Turn]:
    """Return one to four turns of one to six tokens, two thirds of them scored."""
    generator = Generator().manual_seed(seed)

    def draw(low: int, high: int, size: tuple[int, ...] = ()) -> Any:
        return torch.randint(low, high, size, generator=generator).tolist()

    turns = []
    for _ in range(num_turns or draw(1, 5)):
        ids = draw(3, VOCABULARY, (draw(1, 7),))
        turns.append({"input_ids": ids, "labels": [i if i % 3 else -100 for i in ids]})
    return turns


def conversations(number: int, num_turns: int | None = None) -> list[list[Turn]]:
    """Return some, different each and the same each time."""
    return [conversation(seed, num_turns) for seed in range(number)]


class Stream(IterableDataset[Any]):
    """Conversations one after another, of which nobody knows how many there are."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)


def loader(data: Any, batch_size: int = 4, **arguments: Any) -> DataLoader[Any]:
    """Return a loader of them."""
    return DataLoader(data, batch_size, collate_fn=collate_conversations, **arguments)


def frozen(name: str = "llama", config: MemoryConfig = EVERY_BUFFER) -> Memories:
    """Return memories that say something, behind both layers of a frozen model in double precision."""
    model = make(name).double().requires_grad_(False)
    return trained(attach(model, layers=[0, -1], config=config))
