"""The figures of more than two banks."""

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.measures.specialization import own_banks as matched
from callosal.lab.report.layout import figure, limit_of
from callosal.lab.report.marks import SHARE, Dots, Heat
from callosal.lab.report.plots import Axis, Panel, Reference, draw, percent
from callosal.lab.report.study import Study
from callosal.lab.report.tables import percentage
from callosal.lab.report.upgrade import domain_names
from callosal.lab.studies.banks.tables import OWN, bank_shares, cells_by_shape, first_shape


def summary(study: Study) -> str:
    """Say in one sentence what the figure of own banks shows, from the means over seeds."""
    found = {cell: study.values(OWN, study.where(arm=cell)) for cell in cells_by_shape(study)}
    parts = [f"{cell} {percentage(float(np.mean(v)))}" for cell, v in found.items() if v]
    return f"Mean share of a domain's own bank: {'; '.join(parts)}"


@figure("A bank each?")
def own_banks(study: Study) -> Figure | None:
    """One dot per seed, the bar is their mean; the grey band ends where no more is possible, since with fewer banks
    than domains some domains have no bank of their own. Dotted: what is wanted where there are as many banks as
    domains.
    """
    found = {cell: study.values(OWN, study.where(arm=cell)) for cell in cells_by_shape(study)}
    found = {cell: values for cell, values in found.items() if values}
    if not found:
        return None
    marks = []
    for place, (cell, values) in enumerate(found.items()):
        num_banks, num_domains = first_shape(study, cell)
        reach = min(num_banks, num_domains) / num_domains
        marks.append(Dots(place=place, values=values, reach=reach))
    panel = Panel(
        marks=marks,
        x=percent("share of a domain's tokens that its own bank takes, mean over domains", limits=(0.0, 1.0)),
        y=Axis(ticks=range(len(found)), names=list(found), limits=(len(found) - 0.4, -0.6)),
        references=[Reference(at=limit_of(__package__ or "", "banks-{each}-of-{each}"), is_vertical=True)],
    )
    return draw([[panel]], (9.0, 0.42 * len(found) + 1.3))


@figure("Who serves what, every seed")
def shares(study: Study) -> Figure | None:
    """Mean share of each bank (columns) over each domain's tokens (rows) on held-out episodes.

    The banks of a seed are put in the order of the best matching, so a bank each is a dark diagonal and nothing else.
    Below each: the mean of its diagonal.
    """
    cells = [cell for cell in cells_by_shape(study) if len(set(first_shape(study, cell))) == 1]
    panels: list[list[Panel | None]] = []
    for cell in cells:
        runs = {run.seed: run for run in study.records_of(study.where(arm=cell))}
        line: list[Panel | None] = []
        for seed in study.seeds:
            table = bank_shares(runs[seed]) if seed in runs else None
            if table is None:
                line.append(None)
                continue
            # Each domain's own bank in its place, then the banks of none.
            own = [bank for bank in matched(table) if bank is not None]
            order = own + [bank for bank in range(table.shape[1]) if bank not in own]
            share = runs[seed].get("own-bank share") or 0.0
            names = domain_names(runs[seed].config)
            line.append(
                Panel(
                    marks=[Heat(table=table[:, order], colours=SHARE, bar="mean share of a bank", gaps=False)],
                    title="" if panels else f"seed {seed}",
                    x=Axis(label=f"own bank {100 * share:.0f} %", ticks=()),
                    y=Axis(ticks=range(len(names)) if not line else (), names=names if not line else ()),
                )
            )
        if any(panel is not None for panel in line):
            panels.append(line)
    if not panels:
        return None
    heights = [0.9 + 0.2 * first_shape(study, cell)[0] for cell in cells][: len(panels)]
    size = (1.9 * max(len(study.seeds), 2) + 2.6, sum(heights) + 0.9)
    return draw(panels, size, ratios=([1.0] * len(study.seeds), heights))


FIGURES = (own_banks, shares)
