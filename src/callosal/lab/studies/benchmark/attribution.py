"""What the memory buys and what the coupling of its banks does: the arms against the baseline, then one another."""

import math
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from callosal.lab.measures.intervals import RATIO
from callosal.lab.report.claims import loss_ratio
from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import Cell, Row, Table, averaged, each, each_count, grid, tally

# By how much arXiv 2603.03355 reports the cipher loss to fall below the baseline's.
REPORTED_RATIO = 124.0
STEPS = of("steps until 124x")
LOSS = of("loss", "episodic")


def steps_until(curve: Sequence[dict], key: str, limit: float) -> float:
    """Return the first logged step at which a loss was below a limit; NaN if it never was.

    >>> steps_until([{"step": 10, "loss": 2.0}, {"step": 20, "loss": 0.1}], "loss", 0.5)
    20.0
    """
    return next((float(point["step"]) for point in curve if point.get(key, math.inf) < limit), math.nan)


def derive_steps(run: RunRecord) -> Iterator[Value]:
    """Give the first logged step at which the training loss of the cipher was 124 times below chance, ln K.

    Chance is where the baseline stays, to 1 % (the claim ``baseline-at-chance``), so that one run is enough to say it.
    """
    if run.curve:
        limit = math.log(run.config["episodes"]["num_letters"]) / REPORTED_RATIO
        yield {"measure": STEPS.measure, "value": steps_until(run.curve, "episodic_loss", limit)}


def attribution_tables(study: Study, rows: Sequence[Row], *, baseline: str, ours: str) -> list[Table]:
    """Say of each arm whether and when it passes 124x; then what ours has beside each, paired by seed.

    Args:
        study: has the runs.
        rows: of one arm each, whose name comes first.
        baseline: the arm without a memory.
        ours: the arm that the others are held against.
    """
    last = max(study.marks(), default=0)
    kept = of("recall", after=last)

    def below(study: Study, runs: pd.DataFrame) -> list[float]:
        return paired(study, LOSS, baseline, arm_of(runs), loss_ratio)

    def slower(study: Study, runs: pd.DataFrame) -> str:
        # A seed that one of both never gets there in has no ratio; the other table shows which.
        ratios = paired(study, STEPS, arm_of(runs), ours, lambda theirs, own: theirs / own)
        return averaged([ratio for ratio in ratios if math.isfinite(ratio)], RATIO, "x")

    def lost(study: Study, runs: pd.DataFrame) -> str:
        differences = paired(study, kept, ours, arm_of(runs), lambda own, theirs: own - theirs)
        return averaged(differences, study.scale(kept).of_differences)

    memory: dict[str, Cell] = {
        "124x passed": lambda s, runs: tally([ratio >= REPORTED_RATIO for ratio in below(s, runs)]),
        "cipher loss below the baseline's": lambda s, runs: averaged(below(s, runs), RATIO, "x"),
        "steps until 124x": each_count(STEPS),
    }
    inhibition: dict[str, Cell] = {
        f"recall after {last:,}": each(kept),
        f"{ours} recalls more": lost,
        f"steps over {ours}": slower,
    }
    others = [(names, runs) for names, runs in rows if names[0] != ours]
    made = [
        grid(
            study,
            "What the memory buys",
            ["arm"],
            rows,
            memory,
            "What every memory has, whatever its coupling: how many times its cipher loss lies below the baseline's of "
            "the same seed (geometric mean), and the seeds that pass the 124x reported for inhibition. Steps until "
            "124x: the first logged step at which the training loss was below ln K / 124, seed by seed; a dash never "
            "was. In brackets 95 % intervals.",
        ),
        grid(
            study,
            "What inhibition buys",
            ["arm"],
            others,
            inhibition,
            f"What the {ours} memory has beside the others, paired by seed. Recall after {last:,} segments, seed by "
            f"seed, and how much more the {ours} memory recalls; steps until 124x over the {ours} memory's, the "
            "geometric mean over seeds in which both got there. In brackets 95 % intervals: one that holds 0, or 1x, "
            "tells no difference.",
        ),
    ]
    return [table for table in made if table.rows]


def paired(
    study: Study, quantity: Quantity, first: str, second: str, combine: Callable[[float, float], float]
) -> list[float]:
    """Combine a quantity of two arms, seed by seed, where both have it."""
    ones, others = (study.by_seed(quantity, arm) for arm in (first, second))
    return [combine(ones[seed], others[seed]) for seed in ones if seed in others]


def arm_of(runs: pd.DataFrame) -> str:
    """Return the arm of runs that have one."""
    return runs["arm"].iloc[0]
