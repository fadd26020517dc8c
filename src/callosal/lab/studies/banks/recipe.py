"""The runs of banks against domains."""

from collections.abc import Sequence

from callosal.lab.runs import SMALL_WIDTH, RunConfig, small, small_memory
from callosal.lab.tasks import EpisodeConfig

# Three, four and eight domains, each over an alphabet of its own.
DOMAINS = {
    2: ("cipher", "arithmetic"),
    3: ("cipher", "arithmetic", "reversal"),
    4: ("cipher", "cipher", "arithmetic", "reversal"),
    8: ("cipher", "cipher", "arithmetic", "multiplication", "reversal", "copying", "parity", "counting"),
}
# As many banks as domains, fewer, and more.
BANKS_AND_DOMAINS = ((3, 3), (4, 4), (8, 8), (2, 4), (4, 2), (4, 3), (8, 4))


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return banks against domains, as many, fewer and more."""
    return [_banks(banks, domains, seed) for seed in seeds for banks, domains in BANKS_AND_DOMAINS]


def _banks(banks: int, domains: int, seed: int) -> RunConfig:
    width = 64 if banks == domains == 8 else SMALL_WIDTH
    memory = small_memory(
        width=width,
        num_banks=banks,
        num_slots=16,
        # More banks need more gain to be as sharp; 4 with two banks, as everywhere.
        gain=4.0 if banks == 2 else 8.0,
        contrast=10.0,
        # Even shares are right only where banks and domains are one to one.
        balance=0.1 if banks == domains else 0.0,
    )
    return small(
        "banks",
        f"{banks} banks, {domains} domains",
        seed,
        memory=memory,
        episodes=EpisodeConfig(domains=DOMAINS[domains]),
        width=width,
        num_steps=300,
        batch_size=16 if domains < 8 else 8,
        distractors=(0, 30),
    )
