"""The figure of pairs against slots."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callosal.lab.report.layout import figure
from callosal.lab.report.marks import SHARE, Heat
from callosal.lab.report.plots import Axis, Panel, draw
from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import percentage

AT_ONCE = of("accuracy", "episodic")


def summary(study: Study) -> str:
    """Say in one sentence where recall falls, from the means over seeds."""
    parts = []
    for pairs, row in _recall(study, AT_ONCE).iterrows():
        known = row.dropna()
        if len(known):
            (first, last), (few, many) = known.index[[0, -1]], known.iloc[[0, -1]]
            parts.append(f"{pairs} pairs, {percentage(few)} in {first} slots and {percentage(many)} in {last}")
    return f"Recall of the cipher: {'; '.join(parts)}"


@figure("How much it holds")
def capacity(study: Study) -> Figure | None:
    """Recall of the cipher by the number of pairs and of slots in each of two banks: mean, and below it every seed.

    A letter needs a slot where it is asked and one where it answers.
    """
    most = max(study.marks(), default=0)
    shown = {"asked at once": AT_ONCE}
    if most:
        shown[f"after {most:,} further segments"] = of("recall", after=most)
    panels = []
    for title, quantity in shown.items():
        table = _recall(study, quantity).sort_index(ascending=False)
        seeds = [[_seeds(study, quantity, pairs, slots) for slots in table.columns] for pairs in table.index]
        names = [f"{pairs}\n(chance {100 / float(pairs):.3g} %)" for pairs in table.index]
        heat = Heat(
            table=table.to_numpy(dtype=float),
            colours=SHARE,
            text=lambda value: f"{100 * value:.0f} %",
            notes=seeds,
            bar="letters recalled",
        )
        panels.append(
            Panel(
                marks=[heat],
                title=title,
                x=Axis(label="slots a bank", ticks=range(len(table.columns)), names=[*map(str, table.columns)]),
                y=Axis(label="" if panels else "pairs", ticks=range(len(names)), names=names),
            )
        )
    return draw([panels], (4.8 * len(panels) + 0.6, 3.6), share=(False, True))


def _seeds(study: Study, quantity: Quantity, pairs: int, slots: int) -> str:
    """Write the per cents of a cell's seeds."""
    values = study.values(quantity, study.where(num_letters=pairs, num_slots=slots))
    return " ".join(f"{100 * value:.0f}" for value in values)


def _recall(study: Study, quantity: Quantity) -> pd.DataFrame:
    """Return the mean recall by pairs (rows) and slots (columns); NaN where nothing was run."""
    runs = study.runs.assign(value=study.series(quantity).reindex(study.runs.index, fill_value=np.nan))
    return runs.pivot_table(index="num_letters", columns="num_slots", values="value", dropna=False)


FIGURES = (capacity,)
