"""What was run, in a few words for the head of the page."""

from collections.abc import Iterable, Sequence

from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study, domains_of


def episode_facts(study: Study) -> dict[str, str]:
    """Say what a study of ciphers and rules was told, how it learned and how large it is."""
    runs = study.records
    configs = [run.config for run in runs]
    episodes = [config["episodes"] for config in configs]
    steps = number_range(config["training"]["num_steps"] for config in configs)
    sizes = number_range(config["training"]["batch_size"] for config in configs)
    shown = number_range(config["pairs_per_segment"] for config in episodes)
    if study.has_arms:
        parameters = "; ".join(f"{a} {study.of(a)[0].num_parameters:,}" for a in study.arms)
    else:
        parameters = number_range(run.num_parameters for run in runs)
    return {
        "domains": _domains(runs),
        "told": (
            f"{number_range(config['num_letters'] for config in episodes)} letters, a fresh mapping "
            f"per episode, {shown} pairs to a segment"
        ),
        "training": f"{steps} steps of {sizes} fresh episodes",
        "evaluation": (
            f"{number_range(config['evaluation_episodes'] for config in configs)} held-out episodes, "
            "the same for every seed"
        ),
        "parameters": parameters,
    }


def number_range(values: Iterable[int]) -> str:
    """Write the numbers that runs have, from the smallest to the largest.

    >>> number_range([500, 1500]), number_range([3, 3])
    ('500 to 1,500', '3')
    """
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def _domains(runs: Sequence[RunRecord]) -> str:
    """Name the domains, or say how many there are where runs differ in them."""
    found = {domains_of(run) for run in runs}
    if len(found) == 1:
        return ", ".join(found.pop())
    return f"{number_range(map(len, found))}, by cell"
