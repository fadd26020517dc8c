"""The figures of the rivals: what is kept, what it costs, and what a lesion or a swap does."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callosal.lab.report.drawing import (
    ARM_COLOURS,
    CEILING,
    FLOOR,
    INK,
    LABEL_GAP,
    draw_seeds,
    keep_inside,
    mark_retention,
    spread,
)
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.records import RunRecord
from callosal.lab.report.rival_tables import (
    BASELINE,
    LONG,
    by_recall,
    mean_of,
    state_size,
    time_ratio,
    train_seconds,
)
from callosal.lab.report.study import Study
from callosal.lab.report.tables import recall_after
from callosal.lab.studies.rivals.claims import chance
from callosal.lab.studies.rivals.lesions import interventions, lesions

OURS = "inhibitory"
# The panels of the retention figure. What stands alone in neither is drawn with the rivals.
VARIANTS = (OURS, "uncoupled", "excitatory", "one bank", "additive write", "delta write")
# Colours and marks need to differ within a panel only. Okabe and Ito's, then Paul Tol's "muted".
COLOURS = {
    **ARM_COLOURS,
    "one bank": "#b8860b",
    "additive write": "#cc79a7",
    "delta write": "#56b4e9",
    BASELINE: "#6e6e6e",
    "full history": "#222222",
    "memory network": "#882255",
    "Turing machine": "#999933",
    "mixture of experts": "#d55e00",
    "recurrent tokens": "#cc6677",
    "titans-pytorch": "#44aa99",
}
MARKERS = "s^Dv<PX>"
CIPHER_COLOUR, ARITHMETIC_COLOUR = "#2f4b7c", "#f0c05a"
_PERCENT = "\N{NO-BREAK SPACE}%"


def rivals_sentence(study: Study) -> str:
    """Say in one sentence what the retention figure shows, from the means over seeds."""
    found = [
        (arm, mean_of(recall_after(LONG, "").value, study.of(arm))) for arm in by_recall(study)
    ]
    parts = [f"{arm} {100 * recall:.0f}{_PERCENT}" for arm, recall in found if recall is not None]
    guess = f"chance {100 / study.num_letters:.3g}{_PERCENT}"
    if not parts:
        return f"Recall of the cipher after further segments ({guess})"
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"Recall of the cipher after {LONG:,} further segments: {listed} ({guess})"


def draw_rival_retention(study: Study) -> Figure | None:
    """Draw recall against further segments: this memory's variants, and the other memories."""
    order = by_recall(study)
    panels = {
        "this memory and its variants": [arm for arm in order if arm in VARIANTS],
        "other memories": [arm for arm in order if arm not in VARIANTS or arm == OURS],
    }
    if not order:
        return None
    figure = Figure(figsize=(12.6, 5.2))
    both = figure.subplots(1, 2, sharey=True)
    for axes, (title, arms) in zip(both, panels.items(), strict=True):
        axes.set_title(title, fontweight="bold")
        _draw_recall(axes, study, arms)
    both[0].set_ylabel("letters recalled")
    both[0].set_yticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    return figure


def draw_dissociation(study: Study) -> Figure | None:
    """Draw what either bank's loss does to either domain, and whose answers a swap gives."""
    runs = [run for run in study.of(OURS) if lesions(run) is not None]
    found = [one for one in map(lesions, runs) if one is not None]
    whole = [one["swapped"] for one in map(interventions, runs) if one is not None]
    if not found:
        return None
    figure = Figure(figsize=(11.0, 4.4))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2.3))
    left.set_title("take a bank away", fontweight="bold")
    _draw_pairs(
        left,
        {
            "nothing\ntaken": np.array([one.warm for one in found]),
            "cipher's bank\nzeroed": np.array([one.zeroed[0] for one in found]),
            "other bank\nzeroed": np.array([one.zeroed[1] for one in found]),
            "cipher's bank\nsilenced": np.array([one.silenced[0] for one in found]),
            "other bank\nsilenced": np.array([one.silenced[1] for one in found]),
        },
        ("cipher", "arithmetic"),
        (CIPHER_COLOUR, ARITHMETIC_COLOUR),
    )
    right.set_title("swap it with a neighbour's", fontweight="bold")
    _draw_pairs(
        right,
        {
            "the whole\nmemory": np.array(whole),
            "the cipher's\nbank": np.array([one.swapped[0] for one in found]),
            "the other\nbank": np.array([one.swapped[1] for one in found]),
        },
        ("own answers", "the neighbour's"),
        ("#8fb8a8", "#b07aa1"),
    )
    guess = chance(runs[0], 0)
    for axes in (left, right):
        axes.axhline(guess, color=INK, linewidth=1.0, linestyle=":")
    left.set_ylabel("right answers")
    right.set_ylabel("answers to the cipher")
    right.tick_params(axis="y", labelleft=True)
    return figure


def draw_costs(study: Study) -> Figure | None:
    """Draw recall after 1,000 segments, training time and size of state, one row per memory."""
    arms = by_recall(study)[::-1]
    if not any(mean_of(train_seconds, study.of(arm)) for arm in arms):
        return None
    figure = Figure(figsize=(11.0, 0.36 * len(arms) + 1.5))
    recall, time, state = figure.subplots(1, 3, sharey=True, width_ratios=(3, 3, 2.4))
    base = mean_of(train_seconds, study.of(BASELINE))
    sizes = [run.probes.get("state_floats") for run in study.records]
    most = max((size for size in sizes if size), default=1)
    for place, arm in enumerate(arms):
        runs, colour = study.of(arm), ARM_COLOURS["inhibitory"] if arm == OURS else "#7a7a7a"
        kept = [recall_after(LONG, "").value(run) for run in runs]
        _draw_row(recall, place, [value for value in kept if value is not None], colour)
        ratio = time_ratio(study, arm)
        if ratio is not None and base:
            seconds = [found / base for found in map(train_seconds, runs) if found is not None]
            _draw_row(time, place, seconds, colour)
        size = runs[0].probes.get("state_floats", 0)
        text = state_size(runs)
        if size is None:
            state.annotate("", (most * 4, place), (1, place), arrowprops=_arrow(colour))
        elif size:
            state.plot([1, size], [place, place], color=colour, linewidth=3.0)
        state.annotate(
            text,
            (most * 4 if size is None else max(size or 1, 1), place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
        )
    recall.set_yticks(range(len(arms)), arms)
    for label in recall.get_yticklabels():
        if label.get_text() == OURS:
            label.set(color=ARM_COLOURS["inhibitory"], fontweight="bold")
    recall.set_xlim(-0.03, 1.03)
    recall.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    recall.axvline(1 / study.num_letters, color=INK, linewidth=1.0, linestyle=":")
    recall.set_title(f"recall after {LONG:,} segments", fontsize=11)
    time.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100]
    time.set_xticks(ticks, [f"{tick}x" for tick in ticks])
    low, high = time.get_xlim()
    time.minorticks_off()
    reach = [mean_of(train_seconds, study.of(arm)) or 0.0 for arm in arms]
    top = max(reach) / base if base else 1.0
    time.set_xlim(min(low, 0.8), min(high, 1.5 * top) if top > 1 else high)
    time.set_title("training time (rough)", fontsize=11)
    state.set_xscale("log")
    state.set_xlim(1, most * 40)
    state.set_xticks([1, 100, 10_000], ["1", "100", "10,000"])
    state.minorticks_off()
    state.set_title("floats of state per row", fontsize=11)
    for axes in (recall, time, state):
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_ylim(-0.6, len(arms) - 0.4)
    return figure


def _draw_recall(axes: Axes, study: Study, arms: Sequence[str]) -> None:
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    ends = []
    most = 1
    # Ours last, on top of what coincides with it.
    for arm in sorted(arms, key=lambda arm: arm == OURS):
        runs, colour = study.of(arm), COLOURS.get(arm, INK)
        marks, lines = _recall(runs)
        mean = lines.mean(0)
        if arm == OURS:
            draw_seeds(axes, marks, lines, colour)
        axes.plot(
            marks,
            mean,
            marker=_marker(arm),
            color=colour,
            linewidth=3.2 if arm == OURS else 1.6,
            markersize=8.0 if arm == OURS else 5.0,
            zorder=3 if arm == OURS else 2,
        )
        most = max(most, marks[-1])
        ends.append((float(mean[-1]), arm, colour))
    mark_retention(axes, study.num_letters, most)
    axes.set_xlim(-0.08, most * 1.2)
    axes.set_ylim(FLOOR, CEILING)
    axes.set_xlabel("further segments read and written")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    _label_lines(axes, ends)


def _label_lines(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write every line's name at its end, with a hair line to it where names had to make room."""
    heights = keep_inside(spread([height for height, _, _ in ends], LABEL_GAP))
    for height, (end, name, colour) in zip(heights, ends, strict=True):
        across = axes.get_yaxis_transform()
        axes.plot(
            [1.0, 1.03],
            [end, height],
            color=colour,
            linewidth=0.8,
            transform=across,
            clip_on=False,
        )
        axes.text(
            1.035,
            height,
            name,
            transform=across,
            color=colour,
            va="center",
            fontsize=10,
            fontweight="bold" if name == OURS else "normal",
        )


def _draw_pairs(
    axes: Axes,
    groups: dict[str, Float[np.ndarray, "seed 2"]],
    names: tuple[str, str],
    colours: tuple[str, str],
) -> None:
    """Draw two bars for each group, their mean over seeds, and every seed as a dot."""
    for side, (name, colour) in enumerate(zip(names, colours, strict=True)):
        places = np.arange(len(groups)) + 0.4 * (side - 0.5)
        values = np.stack([group[:, side] for group in groups.values()])
        axes.bar(places, values.mean(1), 0.36, color=colour, label=name)
        wiggle = np.linspace(-0.08, 0.08, values.shape[1])
        for place, seeds in zip(places, values, strict=True):
            axes.plot(place + wiggle, seeds, ".", color=INK, markersize=5, clip_on=False)
    axes.set_xticks(range(len(groups)), list(groups), fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0.0, 1.03)
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=10
    )


def _draw_row(axes: Axes, place: int, values: Sequence[float], colour: str) -> None:
    if not values:
        return
    axes.plot(values, [place] * len(values), "o", color=colour, markersize=4, alpha=0.5)
    axes.plot([float(np.mean(values))], [place], "|", color=colour, markersize=14, mew=2.5)


def _arrow(colour: str) -> dict[str, object]:
    return {"arrowstyle": "->", "color": colour, "linewidth": 2.0}


def _marker(arm: str) -> str:
    """Return an arm's own mark, the same whatever its place."""
    return (
        "o"
        if arm == OURS
        else MARKERS[list(COLOURS).index(arm) % len(MARKERS)]
        if arm in COLOURS
        else "*"
    )


def _recall(runs: Sequence[RunRecord]) -> tuple[list[int], Float[np.ndarray, "seed point"]]:
    return runs[0].retention["distractors"], np.array([run.retention["recall"] for run in runs])


RIVAL_KINDS: tuple[FigureKind, ...] = (
    FigureKind(
        name="retention",
        title="What is kept",
        caption=(
            "Every model is shown a fresh cipher, then reads more and more arithmetic, each segment "
            "of which writes to the same memory, and is asked for every letter. Lines are means over "
            "seeds; the thin lines are the inhibitory memory's single seeds. It stands in both panels."
        ),
        draw=draw_rival_retention,
    ),
    FigureKind(
        name="costs",
        title="What it costs",
        caption=(
            "Dots are seeds, bars their mean, in the order of the table. Training time is a multiple "
            "of the mean without a memory; two runs shared two cores, so it is rough. State is what "
            "each row holds between segments; the full history grows with the stream."
        ),
        draw=draw_costs,
    ),
    FigureKind(
        name="dissociation",
        title="Lesions and swaps, inhibitory memory",
        caption=(
            "Left: accuracy of the two domains after a bank's trace is zeroed before the questions, or "
            "the bank is silenced altogether from the start. Right: whose answers are given to the "
            "cipher's questions after two episodes exchange what they hold. The cipher's bank is the "
            "one with the larger share of its tokens in that seed. Bars are means, dots seeds; "
            "dotted: chance for the cipher."
        ),
        draw=draw_dissociation,
    ),
)
