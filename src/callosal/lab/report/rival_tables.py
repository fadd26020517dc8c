"""The tables of the rivals: who remembers what, at what cost, and whether the memory is doing it."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from callosal.lab.report.cell_tables import mean_cell
from callosal.lab.report.claims import Verdict, signed_separation
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import DOMAINS, Study
from callosal.lab.report.tables import (
    MEASURES,
    NOTHING,
    Measure,
    Table,
    claims_table,
    number,
    off_recipe_table,
    recall_after,
    retention_table,
    run_cells,
    specialization,
)
from callosal.lab.studies.rivals.claims import RATE_CLAIMS, RIVAL_CLAIMS
from callosal.lab.studies.rivals.lesions import Lesions, interventions, lesions

BASELINE = "no memory"
SIGNED_ARMS = ("inhibitory", "uncoupled", "excitatory")
LONG = 1000
MARKS = (0, 30, LONG)
# Recalls that are printed alike count as a tie.
DIGITS = 3


def by_recall(study: Study) -> list[str]:
    """Order the memories by recall after 1,000 distractors, best first, and ties by cipher loss.

    Those that were not measured, or are not a number, stand last.
    """

    def place(arm: str) -> tuple[float, float]:
        recall = mean_of(recall_after(LONG, "").value, study.of(arm))
        loss = mean_of(lambda run: run.evaluation["cipher_loss"], study.of(arm))
        return (
            -round(recall, DIGITS) if recall is not None and math.isfinite(recall) else math.inf,
            loss if loss is not None and math.isfinite(loss) else math.inf,
        )

    return sorted(study.arms, key=place)


def mean_of(value: Callable[[RunRecord], float | None], runs: Sequence[RunRecord]) -> float | None:
    """Average a number over the runs that have it; None if none has."""
    values = [found for found in map(value, runs) if found is not None]
    return float(np.mean(values)) if values else None


def train_seconds(run: RunRecord) -> float | None:
    """Return the wall time of training alone; None where it was not recorded."""
    return run.probes.get("train_seconds")


def time_ratio(study: Study, arm: str) -> float | None:
    """Return an arm's mean training time as a multiple of that without a memory."""
    times = [mean_of(train_seconds, study.of(name)) for name in (arm, BASELINE)]
    return times[0] / times[1] if times[0] is not None and times[1] else None


def state_size(runs: Sequence[RunRecord]) -> str:
    """Write how many floats a row's state holds."""
    if not runs or "state_floats" not in runs[0].probes:
        return NOTHING
    size = runs[0].probes["state_floats"]
    return "grows" if size is None else f"{size:,}"


def rivals_table(study: Study) -> Table:
    """Set every memory beside ours: what is kept, in how much state, at what cost."""
    shown = [recall_after(mark, f"recall after {mark:,}") for mark in MARKS]
    shown.append(MEASURES[0])
    rows = []
    for arm in by_recall(study):
        runs = study.of(arm)
        ratio = time_ratio(study, arm)
        rows.append(
            [
                arm,
                *(mean_cell(measure, runs) for measure in shown),
                state_size(runs),
                NOTHING if ratio is None else f"{ratio:.1f}x",
            ]
        )
    return Table(
        title="The memories",
        headers=[
            "memory",
            *(measure.name for measure in shown),
            "state floats",
            "training time",
        ],
        rows=rows,
        note=(
            "Ordered by recall after 1,000 further segments, then by cipher loss, so what beats the "
            "inhibitory memory stands above it. Mean and half its 95 % interval over seeds; losses in "
            "nats. State floats are held for each row between segments; the mixture's only count its "
            "tokens. Training time is the mean over seeds as a multiple of that without a memory, at "
            "equal steps: two runs shared two cores, so it is a rough figure."
        ),
    )


def settings_table(study: Study) -> Table:
    """Give every memory's size and learning rate, its arithmetic, and its banks or experts."""
    shown = [
        MEASURES[1],
        Measure(name="smaller |D_sep|", value=_of_several(signed_separation)),
        Measure(name="P_ct", value=_of_several(specialization("cross_talk"))),
    ]
    rows = []
    for arm in by_recall(study):
        runs = study.of(arm)
        rows.append(
            [
                arm,
                f"{runs[0].num_parameters:,}",
                f"{_rate(runs[0]):g}",
                *(mean_cell(measure, runs) for measure in shown),
            ]
        )
    return Table(
        title="The memories: size, arithmetic, banks",
        headers=["memory", "parameters", "learning rate", *(measure.name for measure in shown)],
        rows=rows,
        note=(
            "Parameters are the whole model's; the learning rate is the best of a grid on another "
            "seed. Mean and half its 95 % interval over seeds; losses in nats. The smaller |D_sep| is "
            "that of the two domains, made negative if both lean to one bank or expert; a memory "
            "without banks or experts has none, and neither has one bank alone."
        ),
    )


def doing_table(study: Study) -> Table:
    """Ask of every memory that has a state whether the answers come out of it."""
    rows = []
    for arm in by_recall(study):
        runs = [run for run in study.of(arm) if interventions(run) is not None]
        if not runs or runs[0].probes.get("state_floats") == 0:
            continue
        for domain, name in enumerate(DOMAINS):
            cells = [
                mean_cell(_intervened(key, domain), runs) for key in ("warm", "fresh", "frozen")
            ]
            swaps = [mean_cell(_intervened("swapped", whose), runs) for whose in range(2)]
            rows.append([arm, name, *cells, *(swaps if domain == 0 else [NOTHING] * 2)])
    return Table(
        title="Is the memory doing it?",
        headers=[
            "memory",
            "domain",
            "told",
            "reset",
            "unwritten",
            "swapped, own",
            "swapped, neighbour's",
        ],
        rows=rows,
        num_labels=2,
        note=(
            "Accuracy at the questions, mean and half its 95 % interval over seeds. Told: the memory as "
            "it was told. Reset: a blank memory before the questions. Unwritten: nothing was ever "
            "written. Swapped: every episode is asked with its neighbour's memory; how often the "
            "cipher's answers are then its own, and how often its neighbour's. Chance for the cipher "
            "is 1/K, and the ciphers of two neighbours agree by chance as often."
        ),
    )


def dissociation_table(study: Study) -> Table:
    """Give what either bank's loss does to either domain."""
    rows = []
    for arm, runs in _lesioned(study):
        for name, accuracy in _LESIONS.items():
            both = [mean_cell(_lesioned_measure(accuracy, domain), runs) for domain in range(2)]
            rows.append([arm, name, *both])
    return Table(
        title="Double dissociation",
        headers=["arm", "lesion", "cipher accuracy", "arithm. accuracy"],
        rows=rows,
        num_labels=2,
        note=(
            "Mean and half its 95 % interval over seeds. The cipher's bank is the one with the larger "
            "share of its tokens in that seed. Zeroed: its trace is set to zero once, before the "
            "questions. Silenced: it is taken out altogether from the first segment on, what it "
            "learned and what it writes. No memory was trained with a lesion. A double dissociation "
            "needs each domain to fall with its own bank and not with the other."
        ),
    )


def swap_table(study: Study) -> Table:
    """Give whose answers come out when a memory, or one bank of it, is the neighbour's."""
    swaps = {
        "the whole memory": lambda whose: _intervened("swapped", whose),
        "the cipher's bank": lambda whose: _lesioned_measure(lambda one: one.swapped[0], whose),
        "the other bank": lambda whose: _lesioned_measure(lambda one: one.swapped[1], whose),
    }
    rows = [
        [arm, name, *(mean_cell(measure(whose), runs) for whose in range(2))]
        for arm, runs in _lesioned(study)
        for name, measure in swaps.items()
    ]
    return Table(
        title="Swapped memories",
        headers=["arm", "what is swapped", "own answers", "the neighbour's answers"],
        rows=rows,
        num_labels=2,
        note=(
            "Share of the cipher's questions, mean and half its 95 % interval over seeds, after two "
            "episodes exchanged what they were told."
        ),
    )


def rival_seeds_table(study: Study) -> Table:
    """Give losses and banks of every single run that counts."""
    shown = MEASURES[:6]
    return Table(
        title="Every seed: losses and banks",
        headers=["memory", "seed", *(measure.name for measure in shown)],
        rows=[run_cells(run, shown) for run in study.records],
        note=(
            "No seed is dropped. The sign of D_sep says which bank or expert: + the first, - the second."
        ),
    )


def rival_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return all tables of the rivals that the study has rows for."""
    tables = [claims_table(verdicts, RIVAL_CLAIMS)]
    if study.records:
        made = [rivals_table, settings_table, doing_table, dissociation_table, swap_table]
        tables += [table for table in (make(study) for make in made) if table.rows]
        ordered = study.in_order(by_recall(study))
        tables += [rival_seeds_table(ordered), retention_table(ordered, label="memory")]
    if study.off_recipe:
        tables.append(off_recipe_table(study, label="memory"))
    return tables


def total_loss(run: RunRecord) -> float:
    """Return the loss that a learning rate is chosen by: cipher + arithmetic, held out."""
    return run.evaluation["cipher_loss"] + run.evaluation["arithmetic_loss"]


def best_rates(records: Sequence[RunRecord]) -> dict[str, float]:
    """Choose each memory's learning rate: the lowest total loss, over the seeds of the grid.

    Args:
        records: runs whose arm is "NAME at RATE". What is not a number is never chosen, and of equal
            losses the lower rate is.
    """
    return {
        name: min(losses, key=lambda rate: (losses[rate], rate))
        for name, losses in _grid(records).items()
        if losses
    }


def rates_table(study: Study) -> Table:
    """Give the total loss of every memory at every learning rate."""
    grid, best = _grid(study.records), best_rates(study.records)
    rates = sorted({_rate(run) for run in study.records})

    def cell(name: str, rate: float) -> str:
        mark = " *" if best.get(name) == rate else ""
        return number(grid[name].get(rate)) + mark

    return Table(
        title="Learning rates",
        headers=["memory", *(f"{rate:g}" for rate in rates)],
        rows=[[name, *(cell(name, rate) for rate in rates)] for name in grid],
        note=(
            "Cipher + arithmetic loss on held-out episodes, in nats, on a seed that no other table "
            "reports; * marks the lowest of a row, which is the rate the memory is compared at. "
            "A dash is a run that is missing or diverged."
        ),
    )


def rate_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return the tables of the grid of learning rates; nothing is claimed of it."""
    tables = [claims_table(verdicts, RATE_CLAIMS)] if verdicts else []
    if study.records:
        tables.append(rates_table(study))
    if study.off_recipe:
        tables.append(off_recipe_table(study, label="memory"))
    return tables


def _grid(records: Sequence[RunRecord]) -> dict[str, dict[float, float]]:
    """Return each memory's mean total loss at each rate, without what is not a number."""
    found: dict[str, dict[float, list[float]]] = {}
    for run in records:
        name = run.arm.rpartition(" at ")[0]
        found.setdefault(name, {}).setdefault(_rate(run), []).append(total_loss(run))
    means = {
        name: {rate: float(np.mean(losses)) for rate, losses in rates.items()}
        for name, rates in found.items()
    }
    return {
        name: {rate: loss for rate, loss in rates.items() if math.isfinite(loss)}
        for name, rates in means.items()
    }


def _rate(run: RunRecord) -> float:
    return run.config["training"]["learning_rate"]


def _of_several(value: Callable[[RunRecord], float | None]) -> Callable[[RunRecord], float | None]:
    """Leave out the runs whose memory has one bank, of which these measures say nothing."""

    def limited(run: RunRecord) -> float | None:
        measures = run.evaluation["specialization"]
        return None if measures is None or len(measures["shares"][0]) < 2 else value(run)

    return limited


def _lesioned(study: Study) -> list[tuple[str, list[RunRecord]]]:
    """Return the runs of which lesions are recorded, arm by arm in the order of the signs."""
    arms = [arm for arm in SIGNED_ARMS if arm in study.arms]
    found = [(arm, [run for run in study.of(arm) if lesions(run) is not None]) for arm in arms]
    return [(arm, runs) for arm, runs in found if runs]


def _intervened(key: str, place: int) -> Measure:
    def value(run: RunRecord) -> float | None:
        found = interventions(run)
        return None if found is None else found[key][place]

    return Measure(name=key, value=value)


def _lesioned_measure(accuracy: Callable[[Lesions], list[float]], place: int) -> Measure:
    def value(run: RunRecord) -> float | None:
        found = lesions(run)
        return None if found is None else accuracy(found)[place]

    return Measure(name="lesioned", value=value)


_LESIONS: dict[str, Callable[[Lesions], list[float]]] = {
    "none": lambda one: one.warm,
    "the cipher's bank zeroed": lambda one: one.zeroed[0],
    "the other bank zeroed": lambda one: one.zeroed[1],
    "the cipher's bank silenced": lambda one: one.silenced[0],
    "the other bank silenced": lambda one: one.silenced[1],
}
