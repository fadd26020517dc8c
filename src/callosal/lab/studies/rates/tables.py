"""The grid of learning rates, and the best of each row."""

import math

import numpy as np
import pandas as pd

from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import Table, number


def losses(study: Study) -> pd.DataFrame:
    """Return the mean total loss, cipher + arithmetic, by memory (rows, as recorded) and learning rate.

    NaN where nothing was run, or a run's loss is no number.
    """
    runs = study.runs.assign(loss=study.series(of("task loss")).reindex(study.runs.index))
    table = runs.pivot_table(
        index="memory",
        columns="learning_rate",
        values="loss",
        aggfunc=lambda found: np.mean(found.to_numpy()),
        sort=False,
    )
    return table.replace([math.inf, -math.inf], math.nan).sort_index(axis=1)


def best_rates(study: Study) -> dict[str, float]:
    """Choose each memory's learning rate: the lowest total loss, over the seeds of the grid.

    What is not a number is never chosen, and of equal losses the lower rate is.
    """
    known = losses(study).dropna(how="all")
    return {str(name): float(rate) for name, rate in known.idxmin(axis=1).items()}


def tables(study: Study) -> list[Table]:
    """Return the total loss of every memory at every learning rate."""
    found, best = losses(study), best_rates(study)
    rows = [
        [str(name), *(number(loss) + (" *" if best.get(str(name)) == rate else "") for rate, loss in row.items())]
        for name, row in found.iterrows()
    ]
    return [Table(title="Learning rates", headers=["memory", *(f"{rate:g}" for rate in found.columns)], rows=rows)]
