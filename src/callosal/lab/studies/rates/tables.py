"""The grid of learning rates, and the best of each row."""

import math

import numpy as np
import pandas as pd

from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import Table, number

TOTAL = of("task loss")


def losses(study: Study, quantity: Quantity = TOTAL) -> pd.DataFrame:
    """Return the mean loss, cipher + arithmetic if none is named, by memory (rows, as recorded) and learning rate.

    NaN where nothing was run, or a run's loss is no number.
    """
    runs = study.runs.assign(loss=study.series(quantity).reindex(study.runs.index))
    table = runs.pivot_table(
        index="memory",
        columns="learning_rate",
        values="loss",
        aggfunc=lambda found: np.mean(found.to_numpy()),
        sort=False,
    )
    return table.replace([math.inf, -math.inf], math.nan).sort_index(axis=1)


def best_rates(study: Study, quantity: Quantity = TOTAL) -> dict[str, float]:
    """Choose each memory's learning rate: the lowest loss, over the seeds of the grid.

    What is not a number is never chosen, and of equal losses the lower rate is.
    """
    known = losses(study, quantity).dropna(how="all")
    return {str(name): float(rate) for name, rate in known.idxmin(axis=1).items()}


def tables(study: Study) -> list[Table]:
    """Return the total loss of every memory at every learning rate."""
    return [rates_table(study)]


def rates_table(study: Study, quantity: Quantity = TOTAL) -> Table:
    """Give the loss of every memory at every learning rate, and mark the best of each row."""
    found, best = losses(study, quantity), best_rates(study, quantity)
    rows = [
        [str(name), *(number(loss) + (" *" if best.get(str(name)) == rate else "") for rate, loss in row.items())]
        for name, row in found.iterrows()
    ]
    return Table(title="Learning rates", headers=["memory", *(f"{rate:g}" for rate in found.columns)], rows=rows)
