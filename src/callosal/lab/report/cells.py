"""The figure of cells that differ in what their domains are or how banks are coupled, for the studies of such cells."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, PINK, RED, Dots
from callosal.lab.report.plots import Axis, Key, Panel, Reference, draw
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import LATERALIZED, Study, of

DOMAIN_COLOURS = (BLUE, RED, GREEN, PINK)


def summary(study: Study) -> str:
    """Say in one sentence which cells lateralize in every seed."""
    found = [
        cell
        for cell in study.arms
        if all((run.get("smaller |D_sep|") or -1.0) >= LATERALIZED for run in study.records_of(study.where(arm=cell)))
    ]
    which = ", ".join(found) if found else "none"
    return (
        f"Lateralized in every seed (|D_sep| at least {LATERALIZED:g} in both domains, on opposite "
        f"sides): {which} ({len(found)} of {len(study.arms)} cells)"
    )


@figure("Every cell and seed")
def cells(study: Study) -> Figure | None:
    """On held-out episodes; a mark for each seed, a bar for their mean.

    D_sep is turned so that the first domain's side is positive: +1 and -1 are a bank each, twice +1 is one bank for
    both.
    """
    cells = [cell for cell in study.arms if study.values(of("P_ct"), study.where(arm=cell))]
    if not cells:
        return None
    most = study.marks()[-1]
    sides, outside, recall = [], [], []
    names: list[str] = []
    for place, cell in enumerate(cells):
        runs = study.where(arm=cell)
        turned = [_turned(run) for run in study.records_of(runs)]
        own = [row["domain"] for row in study.records_of(runs)[0].rows("D_sep")]
        names = max(names, own, key=len)
        for domain, values in enumerate(zip(*turned, strict=True)):
            # Apart, or the marks of one domain would hide the other's.
            height = place + 0.24 * (domain - (len(own) - 1) / 2)
            sides.append(Dots(place=height, values=values, colour=DOMAIN_COLOURS[domain % 4]))
        outside.append(Dots(place=place, values=study.values(of("P_ct"), runs)))
        recall.append(Dots(place=place, values=study.values(of("recall", after=most), runs)))
    rows = Axis(ticks=range(len(cells)), names=cells, limits=(len(cells) - 0.4, -0.6))
    panels = [
        Panel(
            marks=marks,
            title=title,
            x=Axis(limits=(low - 0.03 * (high - low), high + 0.03 * (high - low)), has_grid=True),
            y=rows,
            references=references,
        )
        for marks, title, (low, high), references in (
            (sides, "$D_{sep}$ of each domain", (-1.0, 1.0), [Reference(at=0.0, is_vertical=True)]),
            (outside, "$P_{ct}$", (0.0, 0.5), []),
            (recall, f"recall after {most:,} segments", (0.0, 1.0), []),
        )
    ]
    keys = [Key(name=name, colour=DOMAIN_COLOURS[domain % 4], marker="o") for domain, name in enumerate(names)]
    size = (11.0, 1.3 + 0.42 * len(cells))
    return draw([panels], size, legend=[*keys, Key(name="mean", marker="|")], share=(False, True))


def _turned(run: RunRecord) -> Sequence[float]:
    """Return D_sep of each domain; of two, so turned that the first one's side is positive."""
    sides = [row["value"] for row in run.rows("D_sep")]
    return [-value for value in sides] if len(sides) == 2 and sides[0] < 0.0 else sides
