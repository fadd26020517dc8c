"""Figures of what happens while a model learns: losses, lateralization, the cross-talk matrix."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callosal.lab.report.drawing import ARM_COLOURS, INK, draw_seeds, label_ends, spread
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import DOMAINS, SIGN_LABELS, Study

# Losses below this are drawn at it: a logarithmic axis has no zero.
FLOOR = 1e-6


def draw_losses(study: Study) -> Figure | None:
    """Draw the loss of each domain over training, one thin line per seed, geometric mean thick."""
    arms = [arm for arm in study.arms if has_series(study.of(arm), "cipher_loss")]
    if not arms:
        return None
    figure = Figure(figsize=(9.0, 4.0))
    panels = np.atleast_1d(figure.subplots(1, 2, sharey=True)).tolist()
    for axes, domain in zip(panels, DOMAINS, strict=True):
        axes.set_yscale("log")
        axes.set_title(f"{domain} loss")
        axes.set_xlabel("training step")
    ends: list[tuple[float, str, str]] = []
    for arm in arms:
        for axes, domain in zip(panels, DOMAINS, strict=True):
            steps, lines = series(study.of(arm), f"{domain}_loss")
            lines = np.maximum(lines, FLOOR)
            mean = np.exp(np.log(lines).mean(0))
            draw_seeds(axes, steps, lines, ARM_COLOURS.get(arm, INK), mean=mean)
            if axes is panels[0]:
                ends.append((math.log10(mean[-1]), _short(arm), ARM_COLOURS.get(arm, INK)))
    chance = math.log(study.num_letters)
    panels[0].axhline(chance, color=INK, linewidth=1.0, linestyle=":")
    panels[0].annotate(
        f"chance, ln {study.num_letters} = {chance:.2f} nats",
        xy=(0.99, chance),
        xycoords=panels[0].get_yaxis_transform(),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    panels[0].set_ylabel("cross-entropy, nats")
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low, high * 2.0)
    reach = math.log10(high * 2.0) - math.log10(low)
    # Labels are spread in decades, as the axis is.
    apart = spread([height for height, _, _ in ends], reach * 0.07)
    placed = [(10.0**height, end[1], end[2]) for height, end in zip(apart, ends, strict=True)]
    label_ends(panels[0], placed, 0.0)
    return figure


def draw_lateralization(study: Study) -> Figure | None:
    """Draw D_sep of each domain and P_ct over training; every line is one seed."""
    arms = [arm for arm in study.arms if has_series(study.of(arm), "cross_talk")]
    if not arms:
        return None
    figure = Figure(figsize=(3.0 * max(len(arms), 2), 5.0))
    panels = figure.subplots(2, len(arms), sharex="col", sharey="row", squeeze=False)
    for column, arm in enumerate(arms):
        upper, lower = panels[0, column], panels[1, column]
        colour = ARM_COLOURS.get(arm, INK)
        upper.set_title(SIGN_LABELS.get(arm, arm), color=colour, fontweight="bold")
        steps, separation = series(study.of(arm), "separation")
        for domain, style in enumerate(("-", "--")):
            draw_seeds(upper, steps, separation[:, :, domain], colour, style=style)
        draw_seeds(lower, *series(study.of(arm), "cross_talk"), colour)
        for height in (-1.0, 0.0, 1.0):
            upper.axhline(height, color=INK, linewidth=0.6, alpha=0.4, zorder=0)
        lower.axhline(0.5, color=INK, linewidth=1.0, linestyle=":")
        lower.set_xlabel("training step")
        lower.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        upper.set_ylim(-1.08, 1.08)
        lower.set_ylim(-0.02, 0.6)
    panels[0, 0].set_ylabel("$D_{sep}$, left minus right")
    panels[1, 0].set_ylabel("$P_{ct}$")
    panels[1, 0].annotate(
        "no bank of its own",
        xy=(0.98, 0.5),
        xycoords=panels[1, 0].get_yaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    handles = [
        panels[0, 0].plot([], [], style, color=INK, linewidth=1.2, label=domain)[0]
        for style, domain in zip(("-", "--"), DOMAINS, strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=2,
        frameon=False,
        title="one line per seed and domain:",
        alignment="left",
        title_fontsize=10,
        fontsize=10,
    )
    return figure


def draw_crosstalk(study: Study) -> Figure | None:
    """Draw the two kinds of eigenvalue that W_s starts with, as they learn.

    Common mode: diagonal + (B - 1) times off-diagonal mean, 1 + s (B - 1) at the start. Differential
    mode: diagonal - off-diagonal mean, 1 - s at the start. Ours.
    """
    arms = [arm for arm in study.arms if has_series(study.of(arm), "coupling")]
    if not arms:
        return None
    figure = Figure(figsize=(9.0, 3.8))
    panels = np.atleast_1d(figure.subplots(1, 2, sharey=True)).tolist()
    ends: list[tuple[float, str, str]] = []
    for arm in arms:
        colour = ARM_COLOURS.get(arm, INK)
        steps, coupling = series(study.of(arm), "coupling")
        modes = modes_of(coupling)
        for axes, lines in zip(panels, modes, strict=True):
            draw_seeds(axes, steps, lines, colour, mean=lines.mean(0))
        ends.append((float(modes[1].mean(0)[-1]), _short(arm), colour))
    titles = ("what both banks share", "what sets the banks apart")
    formulas = ("common mode, 1 + s (B - 1) at the start", "differential mode, 1 - s at the start")
    for axes, title, formula in zip(panels, titles, formulas, strict=True):
        axes.set_title(f"{title}\n{formula}", fontsize=11)
        axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("training step")
    panels[0].set_ylabel("eigenvalue of $W_s$")
    low, high = panels[1].get_ylim()
    label_ends(panels[1], ends, (high - low) * 0.08)
    return figure


def _short(arm: str) -> str:
    return SIGN_LABELS.get(arm, arm).partition(",")[0]


def has_series(runs: Sequence[RunRecord], key: str) -> bool:
    """Whether every run logged ``key``."""
    return all(any(key in point for point in run.curve) for run in runs)


def series(
    runs: Sequence[RunRecord], key: str
) -> tuple[list[int], Float[np.ndarray, "seed point *rest"]]:
    """Return the steps that all runs have a point for, and a line of ``key`` for each run."""
    curves = [{p["step"]: p[key] for p in run.curve if key in p} for run in runs]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    return steps, np.array([[curve[step] for step in steps] for curve in curves], dtype=float)


def modes_of(
    coupling: Float[np.ndarray, "seed point bank bank"],
) -> tuple[Float[np.ndarray, "seed point"], Float[np.ndarray, "seed point"]]:
    """Return the common and the differential mode, averaged over the banks."""
    num_banks = coupling.shape[-1]
    diagonal = np.einsum("spbb->sp", coupling) / num_banks
    if num_banks == 1:
        return diagonal, diagonal
    others = num_banks - 1
    off = (coupling.sum((-1, -2)) / num_banks - diagonal) / others
    return diagonal + others * off, diagonal - off
