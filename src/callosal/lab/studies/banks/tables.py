"""The tables of more than two banks: what share of a domain its own bank has."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from callosal.lab.measures.specialization import own_banks
from callosal.lab.report.records import RunRecord, Value
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import NOTHING, Cell, Row, Table, by_arm, columns, each, grid, mean
from callosal.lab.report.upgrade import domain_names

OWN = of("own-bank share")


def derive(run: RunRecord) -> Iterator[Value]:
    """Give the share of each domain's own bank, for the domains that have one."""
    table = bank_shares(run)
    if table is not None:
        for domain, row, bank in zip(domain_names(run.config), table, own_banks(table), strict=True):
            if bank is not None:
                yield {"measure": "own-bank share", "domain": domain, "value": float(row[bank])}


def bank_shares(run: RunRecord) -> Float[np.ndarray, "domain bank"] | None:
    """Return a run's mean share of each bank over each domain's tokens; None without banks."""
    rows = run.rows("share")
    banks = 1 + max((row["bank"] for row in rows), default=-1)
    return np.array([row["value"] for row in rows], float).reshape(-1, banks) if rows else None


def shape_of(run: RunRecord) -> tuple[int, int]:
    """Return how many banks and how many domains a run has."""
    return run.factors["num_banks"], len(domain_names(run.config))


def cells_by_shape(study: Study) -> list[str]:
    """Order the cells: as many banks as domains first, then by domains and banks."""

    def place(arm: str) -> tuple[bool, int, int]:
        banks, domains = first_shape(study, arm)
        return banks != domains, domains, banks

    return sorted(study.arms, key=place)


def first_shape(study: Study, arm: str) -> tuple[int, int]:
    """Return how many banks and domains the runs of a cell have."""
    return shape_of(study.records_of(study.where(arm=arm))[0])


def tables(study: Study) -> list[Table]:
    """Return the shares of own banks, by cell, seed and domain."""
    cells = cells_by_shape(study)
    rows: list[Row] = []
    for cell in cells:
        num_banks, num_domains = first_shape(study, cell)
        most = f"{min(num_banks, num_domains) / num_domains:.2f}"
        rows.append(([cell, most], study.where(arm=cell)))
    used = {"own-bank share": OWN, "I(bank; domain)": of("information"), "dominance": of("dominance")}
    by_seed = {f"seed {seed}": _of_seed(seed) for seed in study.seeds}
    return [
        grid(study, "Own banks", ["cell", "most possible"], rows, columns(mean, used), num_labels=1),
        grid(study, "Every seed: own-bank share", ["cell"], by_arm(study, cells), by_seed),
        _domains_table(study, cells),
    ]


def _of_seed(seed: int) -> Cell:
    return lambda study, runs: each(OWN)(study, study.where(runs, seed=seed)) or NOTHING


def _domains_table(study: Study, cells: list[str]) -> Table:
    """Give accuracy, loss and own-bank share of every domain of every cell."""
    measures = ("accuracy", "loss", "own-bank share")
    rows = []
    for cell in cells:
        runs = study.where(arm=cell)
        for domain in domain_names(study.records_of(runs)[0].config):
            found = [mean(of(measure, domain))(study, runs) for measure in measures]
            rows.append([cell, domain, *found])
    return Table(title="Every domain", headers=["cell", "domain", *measures], rows=rows, num_labels=2)
