"""Studies of what the domains are: the sequel's setting, harder to tell apart, more than two, capacity."""

from collections.abc import Sequence

from callosal.studies.recipes import SMALL_WIDTH, RunConfig, small, small_memory
from callosal.tasks import EpisodeConfig

# Three, four and eight domains, each over an alphabet of its own.
DOMAINS = {
    2: ("cipher", "arithmetic"),
    3: ("cipher", "arithmetic", "reversal"),
    4: ("cipher", "cipher", "arithmetic", "reversal"),
    8: (
        "cipher",
        "cipher",
        "arithmetic",
        "multiplication",
        "reversal",
        "copying",
        "parity",
        "counting",
    ),
}
# As many banks as domains, fewer, and more.
BANKS_AND_DOMAINS = ((3, 3), (4, 4), (8, 8), (2, 4), (4, 2), (4, 3), (8, 4))


def sequel_configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the setting of arXiv 2603.07217: recall of keys' values, and counting mod 10.

    Without and with the slow buffer, at a low gain without homeostasis and at ours; domains in turn,
    segment by segment, or in blocks of four, since a slow buffer can only help where a domain stays.
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


def hard_configs(seeds: Sequence[int]) -> list[RunConfig]:
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
    rows += [
        (f"mixed {share:g}", EpisodeConfig(mixing=share), -1.0) for share in (0.125, 0.25, 0.5)
    ]
    return [
        small("hard", cell, seed, memory=small_memory(sign=sign), episodes=episodes)
        for seed in seeds
        for cell, episodes, sign in rows
    ]


def bank_configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return banks against domains, as many, fewer and more."""
    return [
        _banks(banks, domains, seed, width=64 if banks == domains == 8 else SMALL_WIDTH)
        for seed in seeds
        for banks, domains in BANKS_AND_DOMAINS
    ]


def _banks(banks: int, domains: int, seed: int, width: int) -> RunConfig:
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


def capacity_configs(seeds: Sequence[int]) -> list[RunConfig]:
    """Return the recall of 4, 8 and 16 pairs by 8 to 64 slots a bank."""
    return [
        small(
            "capacity",
            f"{pairs} pairs, {slots} slots",
            seed,
            memory=small_memory(num_slots=slots),
            # Every letter is shown twice, whatever their number.
            episodes=EpisodeConfig(
                num_letters=pairs,
                pairs_per_segment=min(pairs, 8),
                num_rounds=max(2, pairs // 4),
            ),
        )
        for seed in seeds
        for pairs in (4, 8, 16)
        for slots in (8, 16, 32, 64)
    ]
