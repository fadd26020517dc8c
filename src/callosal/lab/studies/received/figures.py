"""The figures of the second reading: what the sign does, and every cell."""

from matplotlib.figure import Figure

from callosal.lab.report.cells import cells
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import GREY, Mark, Points
from callosal.lab.report.plots import Axis, Panel, Reference, draw, words
from callosal.lab.report.study import LATERALIZED, Study, of
from callosal.lab.studies.map.cells import SIGNS
from callosal.lab.studies.map.figures import SIGN_COLOURS, signed
from callosal.lab.studies.received.cells import BASELINE, cell_name


@figure("What the sign does")
def signs(study: Study) -> Figure | None:
    """The main configuration, gain 8, a point for each seed. Smaller |D_sep|: of both domains, negative where one bank
    takes both; dashed 0.99. Task loss: cipher and arithmetic, on a logarithmic scale; grey is without a memory.
    """
    shown = [sign for sign in SIGNS if len(study.where(arm=cell_name(sign)))]
    if not shown:
        return None
    columns = words([signed(sign) for sign in shown])
    panels = []
    for title, measure, axis, references in (
        ("smaller |$D_{sep}$|", "smaller |D_sep|", Axis(limits=(-1.05, 1.05)), [Reference(at=LATERALIZED, dash="--")]),
        ("$P_{ct}$", "P_ct", Axis(limits=(-0.02, 0.52)), []),
        ("dominance", "dominance", Axis(limits=(0.48, 1.02)), []),
        ("task loss, nats", "task loss", Axis(scale="log"), []),
    ):
        marks: list[Mark] = [
            _points(study, cell_name(sign), measure, at, SIGN_COLOURS[sign]) for at, sign in enumerate(shown)
        ]
        x = Axis(label="sign $s$", ticks=columns.ticks, names=columns.names, limits=(-0.5, len(shown) - 0.5))
        if measure == "task loss" and len(study.where(arm=BASELINE)):
            marks.append(_points(study, BASELINE, measure, len(shown), GREY))
            ticks, names = [*range(len(shown) + 1)], [*(columns.names or ()), "none"]
            x = Axis(label="sign $s$", ticks=ticks, names=names, limits=(-0.5, len(shown) + 0.5))
        panels.append(Panel(marks=marks, title=title, x=x, y=axis, references=references))
    return draw([panels], (11.0, 3.4))


def _points(study: Study, cell: str, measure: str, place: int, colour: str) -> Points:
    """Return a cell's seeds side by side, around their place."""
    values = study.values(of(measure), study.where(arm=cell))
    middle = (len(values) - 1) / 2
    return Points(x=[place + 0.05 * (n - middle) for n in range(len(values))], y=values, colour=colour)


FIGURES = (signs, cells)
