"""One memory as a picture: how full every slot of every bank is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import PowerNorm

from callosal.lab.report.marks import BANK_COLOURS, Bars, Heat, Mark
from callosal.lab.report.plots import Axis, Panel, Reference, draw, style, to_png


def draw_norms(norms: Float[np.ndarray, "row bank slot"], banks: Sequence[str], bound: float | None = None) -> bytes:
    """Draw one panel per bank and return a PNG: bars for a single row, else one line of colour per row.

    Args:
        norms: of every slot; 0 is blank.
        banks: what the banks are called.
        bound: what no norm exceeds, drawn over the bars where it is near; or None.
    """
    num_rows, num_banks, num_slots = norms.shape
    most = float(norms.max(initial=0.0)) or 1.0
    # A bound far above would only flatten the bars; the label names it anyway.
    near = bound if bound is not None and bound <= 2.0 * most else None
    limit = "" if bound is None else f" (never above {bound:.3g})"
    panels = []
    for bank, of_bank in enumerate(norms.swapaxes(0, 1)):
        y = Axis(label="" if bank else f"norm{limit}", limits=(0.0, 1.05 * max(most, near or 0.0)))
        # The sum over one row is the row, and over none is blank.
        mark: Mark = Bars(
            places=range(num_slots), heights=of_bank.sum(0), colour=BANK_COLOURS[bank % len(BANK_COLOURS)], width=1.0
        )
        if num_rows > 1:
            y = Axis(label="" if bank else "row")
            # By square root, or the one slot that most tokens share leaves the others dark.
            norm = PowerNorm(0.5, vmin=0.0, vmax=most)
            mark = Heat(table=of_bank, norm=norm, bar=f"norm of a slot{limit}", gaps=False)
        panels.append(
            Panel(
                marks=[mark],
                title=f"bank {banks[bank]}",
                x=Axis(label="slot"),
                y=y,
                references=[Reference(at=near, dash="--")] if near and num_rows <= 1 else [],
            )
        )
    with style():
        figure = draw([panels], (max(4.0 * num_banks, 6.0), 3.6), share=(False, True))
        assert figure is not None, "a memory has at least one bank"
        return to_png(figure)
