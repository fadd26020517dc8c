"""The runs of domains that are harder to tell apart."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.tasks import EpisodeConfig


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return domains that are harder to tell apart: one alphabet, unequal frequency, mixed segments."""
    # Eleven letters and numbers mod 11: over a segment, every token is as frequent in both.
    one_alphabet = EpisodeConfig(num_letters=11, pairs_per_segment=11, shared_alphabet=True)
    rows = [
        ("easy", EpisodeConfig(), -1.0),
        ("one alphabet", one_alphabet, -1.0),
        ("one alphabet s=+0", one_alphabet, 0.0),
        ("one alphabet s=+1", one_alphabet, 1.0),
        ("cipher 10%", EpisodeConfig(num_rounds=1, repeats=(1, 9)), -1.0),
        ("cipher 10% s=+0", EpisodeConfig(num_rounds=1, repeats=(1, 9)), 0.0),
        ("cipher 90%", EpisodeConfig(num_rounds=1, repeats=(9, 1)), -1.0),
    ]
    rows += [(f"mixed {share:g}", EpisodeConfig(mixing=share), -1.0) for share in (0.125, 0.25, 0.5)]
    return [
        small("hard", cell, seed, memory=small_memory(sign=sign), episodes=episodes)
        for seed in seeds
        for cell, episodes, sign in rows
    ]
