"""The runs of pairs against slots."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.tasks import EpisodeConfig


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the recall of 4, 8 and 16 pairs by 8 to 64 slots a bank."""
    return [
        small(
            "capacity",
            f"{pairs} pairs, {slots} slots",
            seed,
            memory=small_memory(num_slots=slots),
            # Every letter is shown twice, whatever their number.
            episodes=EpisodeConfig(num_letters=pairs, pairs_per_segment=min(pairs, 8), num_rounds=max(2, pairs // 4)),
        )
        for seed in seeds
        for pairs in (4, 8, 16)
        for slots in (8, 16, 32, 64)
    ]
