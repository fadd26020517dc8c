"""The figures of the benchmark: their names, their captions, and those drawn from finished models."""

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from callosal.lab.report.drawing import (
    ARM_COLOURS,
    ARM_MARK_SIZES,
    ARM_MARKERS,
    ARM_STYLES,
    BANK_COLOURS,
    INK,
    draw_seeds,
    label_ends,
    mark_retention,
)
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import DOMAINS, SIGN_LABELS, Study
from callosal.lab.report.training_figures import draw_crosstalk, draw_lateralization, draw_losses

# A line must not end between a number and its sign.
_PERCENT = "\N{NO-BREAK SPACE}%"


def retention_sentence(study: Study) -> str:
    """Say in one sentence what the retention figure shows, from the means over seeds."""
    parts = []
    for arm in (arm for arm in study.arms if arm != "no-memory"):
        marks, lines = _recall(study.of(arm))
        parts.append((marks[-1], f"{arm} {100 * lines.mean(0)[-1]:.0f}{_PERCENT}"))
    chance = f"chance {100 / study.num_letters:.3g}{_PERCENT}"
    if not parts:
        return f"Without a memory the cipher is recalled at chance ({chance})"
    most = max(mark for mark, _ in parts)
    named = [text for mark, text in parts if mark == most]
    listed = f"{', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else named[0]
    return f"Recall of the cipher after {most:,} further segments: {listed} ({chance})"


def draw_retention(study: Study) -> Figure:
    """Draw recall of the cipher against the number of further segments that also wrote."""
    figure = Figure(figsize=(9.0, 4.6))
    axes = figure.subplots()
    axes.set_title(textwrap.fill(retention_sentence(study), 78), fontweight="bold", pad=12)
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    ends = []
    all_marks: set[int] = set()
    for arm in study.arms:
        colour = ARM_COLOURS.get(arm, INK)
        marks, lines = _recall(study.of(arm))
        mean = lines.mean(0)
        draw_seeds(axes, marks, lines, colour, style=ARM_STYLES.get(arm, "-"), mean=mean)
        size = ARM_MARK_SIZES.get(arm, 5.0)
        axes.plot(marks, mean, ARM_MARKERS.get(arm, "."), color=colour, markersize=size)
        all_marks.update(marks)
        ends.append((float(mean[-1]), SIGN_LABELS.get(arm, arm), colour))
    most = max(all_marks)
    mark_retention(axes, study.num_letters, most)
    axes.set_xlim(-0.08, most * 1.15 if most else 1.0)
    axes.set_ylim(-0.03, 1.04)
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("arithmetic segments read and written since the cipher was shown")
    axes.set_ylabel("letters recalled")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    label_ends(axes, ends, 0.065)
    return figure


def draw_shares(study: Study) -> Figure | None:
    """Draw which bank takes what share of each domain: one bar per seed, not averaged."""
    tables = {arm: _share_tables(study.of(arm)) for arm in _lateral_arms(study)}
    if not tables:
        return None
    figure = Figure(figsize=(3.0 * max(len(tables), 2), 3.8))
    panels = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    most_banks = 0
    for axes, (arm, found) in zip(panels, tables.items(), strict=True):
        num_seeds, num_domains, num_banks = found.shape
        most_banks = max(most_banks, num_banks)
        axes.set_title(
            SIGN_LABELS.get(arm, arm), color=ARM_COLOURS.get(arm, INK), fontweight="bold"
        )
        for domain in range(num_domains):
            places = domain * (num_seeds + 1.0) + np.arange(num_seeds)
            floor = np.zeros(num_seeds)
            for bank in range(num_banks):
                height = found[:, domain, bank]
                colour = BANK_COLOURS[bank % len(BANK_COLOURS)]
                axes.bar(places, height, 0.86, bottom=floor, color=colour)
                floor = floor + height
        centres = [d * (num_seeds + 1.0) + (num_seeds - 1) / 2 for d in range(num_domains)]
        axes.set_xticks(centres, DOMAINS[:num_domains])
        axes.tick_params(axis="x", length=0)
        axes.spines["bottom"].set_visible(False)
        axes.set_ylim(0.0, 1.0)
    panels[0].set_ylabel("mean share of a bank")
    handles = [
        Patch(color=BANK_COLOURS[bank % len(BANK_COLOURS)], label=_bank_name(bank, most_banks))
        for bank in range(most_banks)
    ]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=most_banks, frameon=False, fontsize=10
    )
    return figure


def draw_memory(study: Study) -> Figure | None:
    """Draw how full every slot is, from blank through the support segments, one run of each arm."""
    runs = []
    for arm in ("inhibitory", "excitatory"):
        runs += [run for run in study.of(arm) if run.snapshot is not None][:1]
    if not runs:
        return None
    figure = Figure(figsize=(4.5 * max(len(runs), 2), 4.8))
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    shown = [_ordered_norms(run) for run in runs]
    most = max(float(norms.max()) for norms in shown) or 1.0
    image = None
    for axes, run, norms in zip(panels, runs, shown, strict=True):
        assert run.snapshot is not None
        num_points, num_banks, num_slots = norms.shape
        grid = norms.reshape(num_points, num_banks * num_slots).T
        # By square root, or the one slot that most tokens share leaves the others dark.
        image = axes.imshow(
            grid,
            aspect="auto",
            interpolation="nearest",
            cmap="cividis",
            norm=PowerNorm(0.5, vmin=0.0, vmax=most),
        )
        axes.set_title(
            f"{SIGN_LABELS.get(run.arm, run.arm)} (seed {run.seed})",
            color=ARM_COLOURS.get(run.arm, INK),
            fontweight="bold",
        )
        names = ["blank", *(f"+ {DOMAINS[domain]}" for domain in run.snapshot["domains"])]
        axes.set_xticks(range(num_points), names, rotation=35, ha="right", rotation_mode="anchor")
        centres = [num_slots * (bank + 0.5) - 0.5 for bank in range(num_banks)]
        labels = [_bank_name(bank, num_banks) for bank in range(num_banks)]
        axes.set_yticks(centres, labels, rotation=90, va="center")
        axes.tick_params(length=0)
        for bank in range(1, num_banks):
            axes.axhline(num_slots * bank - 0.5, color="white", linewidth=2.5)
        for point in range(1, num_points):
            axes.axvline(point - 0.5, color="white", linewidth=1.0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    bound = max(run.snapshot["bound"] for run in runs if run.snapshot is not None)
    assert image is not None
    bar = figure.colorbar(image, ax=panels.tolist(), fraction=0.05, pad=0.02)
    bar.set_label(f"norm of a slot (never above {bound:.3g})")
    return figure


def _recall(runs: Sequence[RunRecord]) -> tuple[list[int], Float[np.ndarray, "seed point"]]:
    """Return the marks of an arm, which all its runs share, and a line for each run."""
    return runs[0].retention["distractors"], np.array([run.retention["recall"] for run in runs])


def _lateral_arms(study: Study) -> list[str]:
    """Return the arms whose runs have banks."""
    return [
        arm
        for arm in study.arms
        if all(run.evaluation["specialization"] is not None for run in study.of(arm))
    ]


def _share_tables(runs: Sequence[RunRecord]) -> Float[np.ndarray, "seed domain bank"]:
    return np.array([run.evaluation["specialization"]["shares"] for run in runs])


def _ordered_norms(run: RunRecord) -> Float[np.ndarray, "point bank slot"]:
    """Order each bank's slots by what they hold in the end, fullest first."""
    assert run.snapshot is not None
    norms = np.array(run.snapshot["norms"], dtype=float)
    order = np.argsort(-norms[-1], axis=-1, kind="stable")
    return np.take_along_axis(norms, order[None], axis=-1)


def _bank_name(bank: int, num_banks: int) -> str:
    return ("left bank", "right bank")[bank] if num_banks == 2 else f"bank {bank}"


KINDS: tuple[FigureKind, ...] = (
    FigureKind(
        name="retention",
        title="What is kept",
        caption=(
            "Every model is shown a fresh cipher, then reads more and more arithmetic, each segment "
            "of which writes to the same memory, and is asked for every letter. Thin lines are single "
            "seeds, thick lines their mean."
        ),
        draw=draw_retention,
    ),
    FigureKind(
        name="losses",
        title="Learning the two tasks",
        caption=(
            "Loss on the training stream, logarithmic; thin lines are seeds, thick lines their "
            "geometric mean. Nothing about a cipher can be in the weights, so without a memory its "
            "loss cannot leave ln K (dotted); the arithmetic needs no memory."
        ),
        draw=draw_losses,
    ),
    FigureKind(
        name="lateralization",
        title="Banks taking sides",
        caption=(
            "Above: D_sep, +1 when only the left bank serves a domain and -1 when only the right "
            "does; cipher solid, arithmetic dashed, one line per seed. Which side the cipher goes to "
            "is chance, so there is no mean. Below: P_ct, the share outside a domain's own bank; 0 "
            "is one bank each, and both an even split and one bank for everything give 0.5."
        ),
        draw=draw_lateralization,
    ),
    FigureKind(
        name="shares",
        title="Who serves what",
        caption=(
            "Mean share of each bank over a domain's tokens on the held-out episodes, one bar per "
            "seed in the order of the seeds. Colours that swap between the domains are a bank each; "
            "the same bar twice is no specialization."
        ),
        draw=draw_shares,
    ),
    FigureKind(
        name="crosstalk",
        title="The cross-talk matrix as it learns",
        caption=(
            "W_s starts as I + s (11^T - I) and is learned. Left: its common mode, diagonal "
            "plus off-diagonal, which passes what the banks share. Right: its differential mode, "
            "diagonal minus off-diagonal, which passes what sets them apart. Thin lines are seeds."
        ),
        draw=draw_crosstalk,
    ),
    FigureKind(
        name="memory",
        title="A memory before and after it is written",
        caption=(
            "Norm of every slot of one memory, blank and after each segment of an episode; each row "
            "is a slot, ordered within its bank by what it holds in the end. Where the banks have "
            "taken sides, a segment changes one of them only."
        ),
        draw=draw_memory,
    ),
)
