"""The runs of the sequel's setting."""

from collections.abc import Sequence

from callosal.lab.runs import RunConfig, small, small_memory
from callosal.lab.tasks import EpisodeConfig


def configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the setting of arXiv 2603.07217: recall of keys' values, and counting mod 10.

    Without and with the slow buffer, at a low gain without homeostasis and at ours; domains in turn, segment by
    segment, or in blocks of four, since a slow buffer can only help where a domain stays.
    """
    rows = []
    for gain, homeostasis, name in ((1.0, False, "low gain"), (4.0, True, "our gain")):
        for carry in (0.0, 0.9):
            for block in (1, 4):
                cell = f"{name}{' buffer' if carry else ''}{' blocks' if block > 1 else ''}"
                memory = small_memory(gain=gain, homeostasis=homeostasis, carry=carry)
                episodes = EpisodeConfig(
                    domains=("recall", "counting"),
                    modulus=10,
                    num_rounds=2 if block == 1 else 1,
                    repeats=(block, block) if block > 1 else (),
                )
                rows.append((cell, memory, episodes))
    return [
        small("sequel", cell, seed, memory=memory, episodes=episodes)
        for seed in seeds
        for cell, memory, episodes in rows
    ]
