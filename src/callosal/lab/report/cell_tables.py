"""The tables of a study whose arms are cells, one row for each."""

import math
from collections.abc import Sequence
from dataclasses import replace

from callosal.lab.measures.intervals import mean_interval, share_interval
from callosal.lab.report.claims import Claim, Verdict, signed_separation
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study, domains_of
from callosal.lab.report.tables import (
    NOTHING,
    Measure,
    Table,
    claims_table,
    marks_of,
    number,
    off_recipe_table,
    recall_after,
    retention_table,
    run_cells,
    separation,
    specialization,
)
from callosal.lab.studies.study_claims import LATERALIZED, is_lateralized

LOSSES = (
    Measure(name="told loss", value=lambda run: run.evaluation["cipher_loss"]),
    Measure(name="rule loss", value=lambda run: run.evaluation["arithmetic_loss"]),
)
SMALLER = Measure(name="smaller |D_sep|", value=signed_separation)
BANKS = (
    Measure(name="P_ct", value=specialization("cross_talk")),
    Measure(name="dominance", value=specialization("dominance")),
    Measure(name="I(bank; domain)", value=specialization("information")),
)


def make_cell_tables(
    study: Study, verdicts: Sequence[Verdict], claims: Sequence[Claim]
) -> list[Table]:
    """Return the claims, the cells and every seed, as far as the study has rows for them."""
    tables = [claims_table(verdicts, claims)]
    if study.records:
        tables += [
            cells_table(study),
            cells_losses_table(study),
            cell_seeds_table(study),
            _kept_table(study),
        ]
    if study.off_recipe:
        tables.append(off_recipe_table(study, label="cell"))
    return tables


def cells_table(study: Study) -> Table:
    """Give what the banks of every cell do: mean over seeds and 95 % interval."""
    measures = (SMALLER, *BANKS)
    return Table(
        title="The cells: banks",
        headers=["cell", "seeds", "lateralized", *(measure.name for measure in measures)],
        rows=[
            [
                cell,
                str(len(study.of(cell))),
                lateralized_share(study.of(cell)),
                *(mean_cell(measure, study.of(cell)) for measure in measures),
            ]
            for cell in study.arms
        ],
        note=(
            "Mean over seeds \N{PLUS-MINUS SIGN} half its 95 % t interval, on held-out episodes. "
            f"Lateralized: seeds whose domains are both at |D_sep| {LATERALIZED:g} or more, with "
            "opposite signs, and Wilson's 95 % interval of their share. The smaller |D_sep| of the "
            "two domains is negative where their signs are equal."
        ),
    )


def cells_losses_table(study: Study) -> Table:
    """Give what every cell learns and keeps: mean over seeds and 95 % interval."""
    marks = (recall_after(mark, f"recall after {mark:,}") for mark in marks_of(study))
    measures = (*LOSSES, *marks)
    return Table(
        title="The cells: losses and recall",
        headers=["cell", "seeds", *(measure.name for measure in measures)],
        rows=[
            [
                cell,
                str(len(study.of(cell))),
                *(mean_cell(measure, study.of(cell)) for measure in measures),
            ]
            for cell in study.arms
        ],
        note=(
            "Mean over seeds \N{PLUS-MINUS SIGN} half its 95 % t interval; losses in nats, on "
            "held-out episodes: of the answers of what was told, and of what the rule foretells. "
            "Recall after so many segments of the rule."
        ),
    )


def cell_seeds_table(study: Study) -> Table:
    """Give losses and specialization of every single run that counts."""
    names = {domains_of(run) for run in study.records}
    sides = [SMALLER]
    # Cells that differ in their domains share no column for one of them.
    if len(names) == 1:
        sides = [
            Measure(name=f"D_sep {name}", value=separation(place), is_signed=True)
            for place, name in enumerate(names.pop())
        ]
    measures = (*LOSSES, *sides, *BANKS)
    return Table(
        title="Every seed: losses and banks",
        headers=["cell", "seed", *(measure.name for measure in measures)],
        rows=[run_cells(run, measures) for run in study.records],
        note="No seed is dropped. The sign of D_sep says which bank: + left, - right.",
    )


def mean_cell(measure: Measure, runs: Sequence[RunRecord]) -> str:
    """Write the mean over seeds and half its 95 % interval, in short."""
    values = [value for value in map(measure.value, runs) if value is not None]
    if not values:
        return NOTHING
    interval = mean_interval(values)
    text = number(interval.estimate)
    reach = interval.high - interval.estimate
    return f"{text} \N{PLUS-MINUS SIGN}{number(reach)}" if math.isfinite(reach) else text


def lateralized_share(runs: Sequence[RunRecord]) -> str:
    """Write how many seeds lateralized, with Wilson's interval of the share."""
    lateral = [run for run in runs if signed_separation(run) is not None]
    if not lateral:
        return NOTHING
    found = sum(map(is_lateralized, lateral))
    interval = share_interval(found, len(lateral))
    return f"{found} of {len(lateral)} [{interval.low:.2f}, {interval.high:.2f}]"


def _kept_table(study: Study) -> Table:
    note = (
        "Share of what was told answered rightly after so many segments of the rule. Minutes: wall "
        "time of training and measuring the run."
    )
    return replace(retention_table(study, label="cell"), note=note)
