"""One memory as a picture: how full every slot of every bank is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callosal.lab.report.drawing import BANK_COLOURS, INK, drawing_style, to_png


def draw_norms(
    norms: Float[np.ndarray, "row bank slot"], banks: Sequence[str], bound: float | None = None
) -> bytes:
    """Draw one panel per bank and return a PNG: bars for a single row, else one line of colour per row.

    Args:
        norms: of every slot; 0 is blank.
        banks: what the banks are called.
        bound: what no norm exceeds, drawn over the bars where it is near; or None.
    """
    num_rows, num_banks, _ = norms.shape
    with drawing_style():
        figure = Figure(figsize=(max(4.0 * num_banks, 6.0), 3.6))
        panels = figure.subplots(1, num_banks, sharey=True, squeeze=False)[0]
        most = float(norms.max(initial=0.0)) or 1.0
        image = None
        for bank, axes in enumerate(panels):
            colour = BANK_COLOURS[bank % len(BANK_COLOURS)]
            of_bank = norms[:, bank]
            if num_rows <= 1:
                # The sum over one row is the row, and over none is blank.
                axes.bar(range(of_bank.shape[1]), of_bank.sum(0), width=1.0, color=colour)
                axes.set_ylim(0.0, 1.05 * most)
                # A bound far above would only flatten the bars; the label names it anyway.
                if bound is not None and bound <= 2.0 * most:
                    axes.set_ylim(0.0, 1.05 * max(bound, most))
                    axes.axhline(bound, color=INK, linestyle="--", linewidth=1.0)
            else:
                # By square root, or the one slot that most tokens share leaves the others dark.
                image = axes.imshow(
                    of_bank,
                    aspect="auto",
                    interpolation="nearest",
                    cmap="cividis",
                    norm=PowerNorm(0.5, vmin=0.0, vmax=most),
                )
            axes.set_title(f"bank {banks[bank]}", fontweight="bold")
            axes.set_xlabel("slot")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        limit = "" if bound is None else f" (never above {bound:.3g})"
        if image is None:
            panels[0].set_ylabel(f"norm{limit}")
        else:
            panels[0].set_ylabel("row")
            panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
            bar = figure.colorbar(image, ax=panels.tolist(), fraction=0.05, pad=0.02)
            bar.set_label(f"norm of a slot{limit}")
        return to_png(figure)
