"""The persona study's figures of lines: what is kept through further turns, and learning."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from callosal.lab.report.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    CEILING,
    FLOOR,
    LABEL_GAP,
    draw_seeds,
    keep_inside,
    label_ends,
    mark_chance,
    spread,
)
from callosal.lab.report.persona_measures import (
    BETWEEN,
    Between,
    after,
    chance_of,
    main_cells,
    marks_through,
    trained_for,
    variant_cells,
)
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study
from callosal.lab.report.training_figures import FLOOR as LEAST_LOSS
from callosal.lab.report.training_figures import has_series, series

# Okabe and Ito's for the variants, others for the hosts, whose memories are trained for longer.
COLOURS = {
    "GPT-2": "#1b7f5c",
    "Llama": "#5b3a9e",
    "inhibitory": ARM_COLOURS["inhibitory"],
    "excitatory": ARM_COLOURS["excitatory"],
    "one bank": "#8a6d00",
    "told and asked apart": "#b8528c",
}
MARKERS = {
    "GPT-2": "^",
    "Llama": "o",
    "inhibitory": ARM_MARKERS["inhibitory"],
    "excitatory": ARM_MARKERS["excitatory"],
    "one bank": "v",
    "told and asked apart": "D",
}
# The first of a panel is larger, so that it is seen below what coincides with it.
SIZES = {"GPT-2": 10.0, "inhibitory": 9.0}
SHARES = ([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
# At the end of a line there is room for a short name only.
SHORT = {"told and asked apart": "apart"}

Groups = dict[str, dict[str, list[RunRecord]]]
End = tuple[float, str, str]


def draw_kept(study: Study) -> Figure | None:
    """Draw recall after turns of rules, left, and of chatter, right: hosts above, variants below."""
    kinds: list[Between] = [kind for kind in BETWEEN if any(_groups(study, _asked(kind)).values())]
    rows = _groups(study, lambda run: any(after(run, kind) for kind in kinds))
    if not rows:
        return None
    figure = Figure(figsize=(max(5.2 * len(kinds), 7.0), 0.4 + 3.5 * len(rows)))
    panels = figure.subplots(len(rows), len(kinds), sharex=True, sharey=True, squeeze=False)
    marks = sorted({mark for kind in kinds for mark in marks_through(study.records, kind)})
    for line, (title, cells) in zip(panels, rows.items(), strict=True):
        for axes, kind in zip(line, kinds, strict=True):
            asked = {name: list(filter(_asked(kind), runs)) for name, runs in cells.items()}
            ends = [_draw_kept(axes, name, runs, kind) for name, runs in asked.items() if runs]
            axes.set_title(f"{title}: {kind}", fontweight="bold")
            _dress_kept(axes, marks, study)
            _label_lines(axes, ends)
        line[0].set_ylabel("facts known in the next session")
    for axes in panels[-1]:
        axes.set_xlabel("turns between the sessions")
    return figure


def draw_learning(study: Study) -> Figure | None:
    """Draw the loss of the memory's training: both hosts, and the variants."""
    groups = _groups(study, lambda run: has_series([run], "loss"))
    if not groups:
        return None
    figure = Figure(figsize=(6.3 * max(len(groups), 1.5), 4.4))
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0].tolist()
    panels[0].set_yscale("log")
    ends = [
        [_draw_loss(axes, name, runs) for name, runs in cells.items()]
        for axes, cells in zip(panels, groups.values(), strict=True)
    ]
    for axes, title, found in zip(panels, groups, ends, strict=True):
        axes.set_title(title, fontweight="bold")
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.set_xlabel("step of the memory's training")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        _label_lines(axes, found)
    panels[0].set_ylabel("cross-entropy of answers, nats")
    return figure


def draw_chance(axes: Axes, study: Study) -> None:
    """Draw a line at the accuracy of a guess, where a run says what it is."""
    guess = chance_of(study)
    if guess is not None:
        mark_chance(axes, guess, f"chance, {100 * guess:.3g} %", is_above=True)


def _groups(study: Study, has: Callable[[RunRecord], object]) -> Groups:
    """Return the runs that have what is drawn: of the hosts' own cells, and of the variants."""

    def with_it() -> Iterator[tuple[str, dict[str, list[RunRecord]]]]:
        for title, cells in (("hosts", main_cells(study)), ("Llama", variant_cells(study))):
            found = {name: list(filter(has, runs)) for name, runs in cells.items()}
            found = {name: runs for name, runs in found.items() if runs}
            if found:
                yield f"{title}, {trained_for(r for runs in found.values() for r in runs)}", found

    return dict(with_it())


def _asked(kind: Between) -> Callable[[RunRecord], bool]:
    return lambda run: after(run, kind) is not None


def _draw_kept(axes: Axes, name: str, runs: Sequence[RunRecord], kind: Between) -> End:
    found = [part for part in (after(run, kind) for run in runs) if part is not None]
    marks = found[0]["distractors"]
    lines = np.array([part["recall"] for part in found], dtype=float)
    draw_seeds(axes, marks, lines, COLOURS[name], mean=lines.mean(0))
    size = SIZES.get(name, 5.0)
    axes.plot(marks, lines.mean(0), MARKERS[name], color=COLOURS[name], markersize=size)
    return _end(lines), SHORT.get(name, name), COLOURS[name]


def _dress_kept(axes: Axes, marks: Sequence[int], study: Study) -> None:
    most = marks[-1]
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    axes.set_xticks(marks, [f"{mark:,}" for mark in marks])
    axes.minorticks_off()
    axes.set_xlim(-0.08, most * 1.15 if most else 1.0)
    axes.set_ylim(FLOOR, CEILING)
    axes.set_yticks(*SHARES)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    draw_chance(axes, study)


def _draw_loss(axes: Axes, name: str, runs: Sequence[RunRecord]) -> End:
    steps, lines = series(runs, "loss")
    lines = np.maximum(lines, LEAST_LOSS)
    mean = np.exp(np.log(lines).mean(0))
    draw_seeds(axes, steps, lines, COLOURS[name], mean=mean)
    return float(np.exp(_end(np.log(lines)))), SHORT.get(name, name), COLOURS[name]


def _label_lines(axes: Axes, ends: Sequence[End]) -> None:
    """Write every line's name at its end, apart on the axis as it is drawn, and inside it."""
    ends = [end for end in ends if np.isfinite(end[0])]
    is_log = axes.get_yscale() == "log"
    low, high = np.log10(axes.get_ylim()) if is_log else (0.0, 1.0)
    heights = np.array([np.log10(height) if is_log else height for height, _, _ in ends])
    parts = spread(((heights - low) / (high - low)).tolist(), LABEL_GAP)
    apart = low + (high - low) * np.array(keep_inside(parts))
    placed = [
        (float(10.0**height if is_log else height), name, colour)
        for height, (_, name, colour) in zip(apart, ends, strict=True)
    ]
    label_ends(axes, placed, 0.0)


def _end(lines: Float[np.ndarray, "seed point"]) -> float:
    """Return where the lines end on average, of those that do; NaN if none does."""
    ends = lines[:, -1][np.isfinite(lines[:, -1])]
    return float(ends.mean()) if len(ends) else np.nan
