"""The figures of the persona study: answers by condition, by layer, after further turns, and learning."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from callosal.measures.intervals import mean_interval
from callosal.report.drawing import (
    ARM_COLOURS,
    ARM_MARKERS,
    CEILING,
    FLOOR,
    INK,
    LABEL_GAP,
    draw_seeds,
    keep_inside,
    label_ends,
    mark_chance,
    mark_counts,
    spread,
)
from callosal.report.persona_tables import (
    ABOUT_FACTS,
    CROSS_TALK,
    OF_RULES,
    RECALL,
    chance_of,
    main_cells,
    variant_cells,
)
from callosal.report.pictures import FigureKind
from callosal.report.study import Study
from callosal.report.tables import Measure
from callosal.report.training_figures import FLOOR as LEAST_LOSS
from callosal.report.training_figures import has_series, series
from callosal.studies.persona_claims import HOSTS, KNOWN, LAYER, LAYERS, NUM_LAYERS
from callosal.studies.records import RunRecord

# Okabe and Ito's. The Llama host's inhibitory memory has one colour in all figures.
COLOURS = {
    "GPT-2": "#d55e00",
    "Llama": ARM_COLOURS["inhibitory"],
    **ARM_COLOURS,
    "one bank": "#8a6d00",
    "apart": "#cc79a7",
}
MARKERS = {"GPT-2": "^", "Llama": "o", **ARM_MARKERS, "one bank": "v", "apart": "D"}
# The first of a panel is larger, so that it is seen below what coincides with it.
SIZES = {"GPT-2": 10.0, "inhibitory": 9.0}
SHARES = ([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
# Between two hosts in one row or behind one layer.
APART = 0.3
_PERCENT = "\N{NO-BREAK SPACE}%"


def persona_sentence(study: Study) -> str:
    """Say in one sentence what the first figure shows, from the means over seeds."""
    parts = []
    for host, runs in main_cells(study).items():
        with_it, reset = (
            float(np.mean([run.evaluation[key] for run in runs])) for key in ("memory", "reset")
        )
        if np.isfinite(with_it) and np.isfinite(reset):
            parts.append(
                f"{host} answers {100 * with_it:.0f}{_PERCENT} rightly, and {100 * reset:.0f}{_PERCENT} "
                "with its memory reset"
            )
    guess = chance_of(study)
    behind = "" if guess is None else f" (chance {100 * guess:.3g}{_PERCENT})"
    asked = "Asked in a later session what they were told"
    return f"{asked}: {'; '.join(parts)}{behind}" if parts else f"{asked}{behind}"


def draw_answers(study: Study) -> Figure | None:
    """Draw accuracy by condition, a row each: facts above, rules below; hosts side by side."""
    cells = main_cells(study)
    if not cells:
        return None
    figure = Figure(figsize=(9.0, 5.8))
    panels = figure.subplots(
        2, 1, sharex=True, height_ratios=(len(ABOUT_FACTS) + 0.4, len(OF_RULES) + 0.4)
    )
    for axes, measures in zip(panels, (ABOUT_FACTS, OF_RULES), strict=True):
        for place, measure in enumerate(measures):
            for host, runs in cells.items():
                row = place + APART * (HOSTS.index(host) - (len(HOSTS) - 1) / 2)
                _draw_estimate(axes, row, _values(measure.value, runs), host, is_row=True)
        axes.set_yticks(range(len(measures)), [measure.name for measure in measures])
        axes.set_ylim(len(measures) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(-0.02, 1.02)
        for edge in np.arange(0.5, len(measures) - 1):
            axes.axhline(edge, color="#e6e6e6", linewidth=0.8, zorder=0)
    facts, rules = panels
    guess = chance_of(study)
    facts.axvline(KNOWN, color=INK, linewidth=1.0, linestyle="--", zorder=0)
    lines = [(KNOWN, f"wanted, {100 * KNOWN:.0f} %")]
    if guess is not None:
        facts.axvline(guess, color=INK, linewidth=1.0, linestyle=":", zorder=0)
        lines.append((guess, f"chance, {100 * guess:.3g} %"))
    for place, text in lines:
        facts.annotate(
            text,
            xy=(place, 1.0),
            xycoords=facts.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    facts.set_ylabel("about the facts", fontweight="bold")
    rules.set_ylabel("of the rules", fontweight="bold")
    figure.align_ylabels(panels.tolist())
    rules.set_xticks(*SHARES)
    rules.set_xlabel("right answers")
    _name_hosts(figure, list(cells))
    return figure


def draw_layers(study: Study) -> Figure | None:
    """Draw recall and P_ct by the layer that the memory is attached behind."""
    hosts = [host for host in HOSTS if any(study.of(LAYERS[key]) for key in LAYERS if host in key)]
    if not hosts:
        return None
    figure = Figure(figsize=(10.0, 4.2))
    panels = figure.subplots(1, 2)
    shown: tuple[Measure, ...] = (RECALL, CROSS_TALK)
    for axes, measure in zip(panels, shown, strict=True):
        for host in hosts:
            layers = [layer for name, layer in LAYERS if name == host]
            found = [_values(measure.value, study.of(LAYERS[host, layer])) for layer in layers]
            aside = 0.5 * APART * (HOSTS.index(host) - (len(HOSTS) - 1) / 2)
            means = [float(np.mean(values)) if values else np.nan for values in found]
            places = np.array(layers) + aside
            axes.plot(places, means, color=COLOURS[host], linewidth=1.2, alpha=0.6)
            for place, values in zip(places, found, strict=True):
                _draw_estimate(axes, float(place), values, host, is_row=False)
        axes.set_xticks(range(NUM_LAYERS))
        axes.set_xlim(-0.4, NUM_LAYERS - 0.6)
        axes.set_xlabel("memory attached behind layer, counted from 0")
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    recall, outside = panels
    recall.set_ylim(FLOOR, CEILING)
    recall.set_yticks(*SHARES)
    recall.set_ylabel("facts known in the next session")
    recall.axhline(KNOWN, color=INK, linewidth=1.0, linestyle="--", zorder=0)
    _mark_chance(recall, study)
    outside.axhline(0.5, color=INK, linewidth=1.0, linestyle=":", zorder=0)
    outside.annotate(
        "no bank of its own",
        xy=(0.99, 0.5),
        xycoords=outside.get_yaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    outside.set_ylim(-0.02, 0.6)
    outside.set_ylabel("$P_{ct}$ of facts and rules")
    _name_hosts(figure, hosts)
    return figure


def draw_persona_retention(study: Study) -> Figure | None:
    """Draw recall against further turns: both hosts, and the variants of the Llama host's memory."""

    def draw(axes: Axes, name: str, runs: Sequence[RunRecord]) -> float:
        marks = runs[0].retention["distractors"]
        lines = np.array([run.retention["recall"] for run in runs], dtype=float)
        draw_seeds(axes, marks, lines, COLOURS[name], mean=lines.mean(0))
        size = SIZES.get(name, 5.0)
        axes.plot(marks, lines.mean(0), MARKERS[name], color=COLOURS[name], markersize=size)
        return _end(lines)

    figure, panels = _two_panels(study, draw, has=lambda runs: True)
    for axes in panels:
        most = max(max(run.retention["distractors"]) for run in study.records)
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
        mark_counts(axes, most)
        axes.set_xlim(-0.08, most * 1.15 if most else 1.0)
        axes.set_ylim(FLOOR, CEILING)
        axes.set_yticks(*SHARES)
        axes.set_xlabel("further turns between the sessions")
        _mark_chance(axes, study)
    if panels:
        panels[0].set_ylabel("facts known in the next session")
    return figure


def draw_learning(study: Study) -> Figure | None:
    """Draw the loss of the memory's training: both hosts, and the variants."""

    def draw(axes: Axes, name: str, runs: Sequence[RunRecord]) -> float:
        steps, lines = series(runs, "loss")
        lines = np.maximum(lines, LEAST_LOSS)
        mean = np.exp(np.log(lines).mean(0))
        draw_seeds(axes, steps, lines, COLOURS[name], mean=mean)
        return float(np.exp(_end(np.log(lines))))

    figure, panels = _two_panels(study, draw, has=lambda runs: has_series(runs, "loss"), log=True)
    for axes in panels:
        axes.set_xlabel("step of the memory's training")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    if panels:
        panels[0].set_ylabel("cross-entropy of answers, nats")
    return figure


def _two_panels(
    study: Study,
    draw: Callable[[Axes, str, Sequence[RunRecord]], float],
    has: Callable[[Sequence[RunRecord]], bool],
    *,
    log: bool = False,
) -> tuple[Figure | None, list[Axes]]:
    """Draw the hosts in one panel and the variants in another, each line's name at its end."""
    groups = {
        f"hosts, layer {LAYER}": main_cells(study),
        "variants, Llama": variant_cells(study),
    }
    if len(groups["variants, Llama"]) == 1 and main_cells(study):
        groups.pop("variants, Llama")  # it stands in the other panel
    groups = {title: {n: r for n, r in cells.items() if has(r)} for title, cells in groups.items()}
    groups = {title: cells for title, cells in groups.items() if cells}
    if not groups:
        return None, []
    figure = Figure(figsize=(6.3 * max(len(groups), 1.5), 4.4))
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0].tolist()
    if log:
        panels[0].set_yscale("log")
    ends = [
        [(draw(axes, name, runs), name, COLOURS[name]) for name, runs in cells.items()]
        for axes, cells in zip(panels, groups.values(), strict=True)
    ]
    for axes, title, found in zip(panels, groups, ends, strict=True):
        axes.set_title(title, fontweight="bold")
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        _label_lines(axes, [end for end in found if np.isfinite(end[0])])
    return figure, panels


def _label_lines(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write every line's name at its end, apart on the axis as it is drawn, and inside it."""
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


def _draw_estimate(
    axes: Axes, place: float, values: Sequence[float], host: str, *, is_row: bool
) -> None:
    """Draw every seed as a dot, their mean as a mark and its 95 % interval as a line.

    As in the tables there is no mean where a seed's number is none.
    """
    if not values:
        return
    interval, colour = mean_interval(values), COLOURS[host]

    def draw(along: Sequence[float], across: Sequence[float], style: str, **how: object) -> None:
        both = (along, across) if is_row else (across, along)
        axes.plot(*both, style, color=colour, **how)  # pyright: ignore[reportArgumentType]

    if np.isfinite(interval.high):
        draw([interval.low, interval.high], [place, place], "-", linewidth=1.6)
    wiggle = np.linspace(-0.07, 0.07, len(values)) if len(values) > 1 else np.zeros(1)
    draw(values, (place + wiggle).tolist(), ".", markersize=5, alpha=0.55, mew=0)
    draw([interval.estimate], [place], MARKERS[host], markersize=6.5, mec="white", mew=0.8)


def _end(lines: Float[np.ndarray, "seed point"]) -> float:
    """Return where the lines end on average, of those that do; NaN if none does."""
    ends = lines[:, -1][np.isfinite(lines[:, -1])]
    return float(ends.mean()) if len(ends) else np.nan


def _name_hosts(figure: Figure, hosts: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=COLOURS[host], marker=MARKERS[host], markersize=7, label=host)
        for host in hosts
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(hosts), frameon=False, fontsize=10
    )


def _mark_chance(axes: Axes, study: Study) -> None:
    guess = chance_of(study)
    if guess is not None:
        mark_chance(axes, guess, f"chance, {100 * guess:.3g} %", is_above=True)


def _values(value: Callable[[RunRecord], float | None], runs: Sequence[RunRecord]) -> list[float]:
    """Return the numbers of the runs that have one, NaN where it is undefined."""
    return [number for number in map(value, runs) if number is not None]


PERSONA_KINDS: tuple[FigureKind, ...] = (
    FigureKind(
        name="answers",
        title="Who knows what",
        caption=(
            f"Accuracy of the answers, memory behind layer {LAYER}: about the facts that a user stated in "
            "an earlier session (above), and of counting and spelling (below). Small dots are seeds, marks "
            "their mean, lines its 95 % t interval. Dotted: chance among what a fact can be; dashed: what "
            "we ask of the memory."
        ),
        draw=draw_answers,
    ),
    FigureKind(
        name="layers",
        title="Behind which layer",
        caption=(
            "Left: facts known right after the session boundary; dashed: what we ask for, dotted: chance. "
            "Right: P_ct, the share outside a domain's own bank. Small dots are seeds, marks their mean, "
            "lines its 95 % t interval."
        ),
        draw=draw_layers,
    ),
    FigureKind(
        name="retention",
        title="What is kept",
        caption=(
            "Users state facts, then comes chatter in turn with rules, each turn of which writes to the "
            "same memory, then the facts are asked. Thin lines are seeds, thick lines with marks their "
            "mean, of which there is none where a seed's number is undefined. Llama in the left panel is "
            "the inhibitory memory in the right one."
        ),
        draw=draw_persona_retention,
    ),
    FigureKind(
        name="learning",
        title="The memory learns, the host does not",
        caption=(
            "Loss of all answers of a conversation, rules among them, while the memory is trained and the "
            "host is frozen; logarithmic. Thin lines are seeds, thick lines their geometric mean."
        ),
        draw=draw_learning,
    ),
)
