"""One seed, many independent generators, each named after what it draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator


def derive_seed(seed: int, name: str, index: int = 0) -> int:
    """Hash a seed, a purpose and a counter into a 63-bit seed.

    Streams of different names or counters share nothing, and a step's draws depend on no earlier step: that is why a
    run can resume without saving the state of any generator.
    """
    digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(seed: int, name: str, index: int = 0) -> Generator:
    """Return a fresh generator for one purpose: ``generator_for(seed, "training", step)``."""
    return Generator().manual_seed(derive_seed(seed, name, index))


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Seed torch's own generator, which parameter initialisation draws from, and restore it after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, name))
        yield
