"""The tables of more than two banks, and of how many pairs how many slots hold."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from callosal.lab.measures.specialization import own_banks
from callosal.lab.report.cell_tables import mean_cell
from callosal.lab.report.claims import Verdict
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study, domains_of
from callosal.lab.report.tables import (
    MEASURES,
    Measure,
    Table,
    claims_table,
    marks_of,
    number,
    off_recipe_table,
    recall_after,
    specialization,
)
from callosal.lab.studies.rivals.claims import BANK_CLAIMS, own_share

_INFORMATION = Measure(name="I(bank; domain)", value=specialization("information"))
_DOMINANCE = Measure(name="dominance", value=specialization("dominance"))
_OWN = Measure(name="own-bank share", value=own_share)


def shape_of(run: RunRecord) -> tuple[int, int]:
    """Return how many banks and how many domains a run has."""
    return run.config["memory"]["num_banks"], len(domain_names(run))


def domain_names(run: RunRecord) -> list[str]:
    """Return a name for each domain; those of one kind are numbered."""
    kinds = domains_of(run)
    counts, seen = Counter(kinds), Counter()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(f"{kind} {seen[kind]}" if counts[kind] > 1 else kind)
    return names


def cells_by_shape(study: Study) -> list[str]:
    """Order the cells: as many banks as domains first, then by domains and banks."""

    def place(arm: str) -> tuple[bool, int, int]:
        banks, domains = shape_of(study.of(arm)[0])
        return banks != domains, domains, banks

    return sorted(study.arms, key=place)


def sorted_shares(run: RunRecord) -> Float[np.ndarray, "domain bank"] | None:
    """Return a run's shares with each domain's own bank in its place, then the banks of none."""
    measures = run.evaluation["specialization"]
    if measures is None:
        return None
    table = np.array(measures["shares"], dtype=float)
    own = [bank for bank in own_banks(table) if bank is not None]
    return table[:, own + [bank for bank in range(table.shape[1]) if bank not in own]]


def banks_table(study: Study) -> Table:
    """Give the share of a domain's own bank, and how the banks are used, for every cell."""
    shown = (_OWN, _INFORMATION, _DOMINANCE)
    rows = []
    for cell in cells_by_shape(study):
        runs = study.of(cell)
        banks, domains = shape_of(runs[0])
        most = f"{min(banks, domains) / domains:.2f}"
        rows.append([cell, most, *(mean_cell(measure, runs) for measure in shown)])
    return Table(
        title="Own banks",
        headers=["cell", "most possible", *(measure.name for measure in shown)],
        rows=rows,
        note=(
            "Own-bank share is 1 - P_ct: the mean over domains of the share that a domain's own bank "
            "has of its tokens, own banks given out one to one by the best matching. Where there are "
            "fewer banks than domains some have none, so less than 1 is possible. Mean and half its "
            "95 % interval over seeds."
        ),
    )


def bank_seeds_table(study: Study) -> Table:
    """Give the share of a domain's own bank in every seed of every cell."""
    rows = []
    for cell in cells_by_shape(study):
        by_seed = {run.seed: own_share(run) for run in study.of(cell)}
        rows.append([cell, *(number(by_seed.get(seed)) for seed in study.seeds)])
    return Table(
        title="Every seed: own-bank share",
        headers=["cell", *(f"seed {seed}" for seed in study.seeds)],
        rows=rows,
        note="No seed is dropped; a dash is a run that is missing.",
    )


def domains_table(study: Study) -> Table:
    """Give accuracy, loss and own-bank share of every domain of every cell."""
    rows = []
    for cell in cells_by_shape(study):
        runs = study.of(cell)
        for domain, name in enumerate(domain_names(runs[0])):
            measures = [
                Measure(name="", value=lambda run, d=domain: run.evaluation["accuracies"][d]),
                Measure(name="", value=lambda run, d=domain: run.evaluation["losses"][d]),
                Measure(name="", value=lambda run, d=domain: _share_of_own(run, d)),
            ]
            rows.append([cell, name, *(mean_cell(measure, runs) for measure in measures)])
    return Table(
        title="Every domain",
        headers=["cell", "domain", "accuracy", "loss", _OWN.name],
        rows=rows,
        num_labels=2,
        note=(
            "On held-out episodes, mean and half its 95 % interval over seeds; losses in nats. A dash is a "
            "domain that in no seed got a bank of its own; seeds where it got none are left out."
        ),
    )


def bank_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return the tables of banks against domains."""
    tables = [claims_table(verdicts, BANK_CLAIMS)]
    if study.records:
        tables += [banks_table(study), bank_seeds_table(study), domains_table(study)]
    if study.off_recipe:
        tables.append(off_recipe_table(study, label="cell"))
    return tables


def pairs_and_slots(run: RunRecord) -> tuple[int, int]:
    """Return how many pairs a run has to hold, in how many slots a bank."""
    return run.config["episodes"]["num_letters"], run.config["memory"]["num_slots"]


def capacity_table(study: Study) -> Table:
    """Give recall by pairs and slots."""
    cells = sorted(study.arms, key=lambda arm: pairs_and_slots(study.of(arm)[0]))
    shown = [MEASURES[0], MEASURES[2]]
    shown += [recall_after(mark, f"recall after {mark:,}") for mark in marks_of(study) if mark]
    rows = []
    for cell in cells:
        runs = study.of(cell)
        pairs, slots = pairs_and_slots(runs[0])
        cells_of = [mean_cell(measure, runs) for measure in shown]
        rows.append([str(pairs), str(slots), number(1 / pairs), *cells_of])
    return Table(
        title="Capacity",
        headers=["pairs", "slots a bank", "chance", *(measure.name for measure in shown)],
        rows=rows,
        note=(
            "Every pair is shown twice. Losses in nats. Recall on the held-out episodes with nothing in "
            "between, and on fewer of them after further segments of arithmetic; mean and half "
            "its 95 % interval over seeds."
        ),
    )


def capacity_tables(study: Study, verdicts: Sequence[Verdict]) -> list[Table]:
    """Return the tables of pairs against slots; nothing is claimed of them."""
    tables = [claims_table(verdicts, ())] if verdicts else []
    if study.records:
        tables.append(capacity_table(study))
    if study.off_recipe:
        tables.append(off_recipe_table(study, label="cell"))
    return tables


def _share_of_own(run: RunRecord, domain: int) -> float | None:
    measures = run.evaluation["specialization"]
    if measures is None:
        return None
    bank = own_banks(np.array(measures["shares"], dtype=float))[domain]
    return None if bank is None else measures["shares"][domain][bank]
