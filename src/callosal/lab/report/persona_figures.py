"""The figures of the persona study: answers by condition, by layer, after further turns, and learning."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from callosal.lab.measures.intervals import mean_interval
from callosal.lab.report.drawing import CEILING, FLOOR, INK
from callosal.lab.report.persona_lines import (
    COLOURS,
    MARKERS,
    SHARES,
    draw_chance,
    draw_kept,
    draw_learning,
)
from callosal.lab.report.persona_measures import (
    ABOUT_FACTS,
    CROSS_TALK,
    OF_RULES,
    RECALL,
    chance_of,
    main_cells,
    trained_for,
)
from callosal.lab.report.pictures import FigureKind
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study
from callosal.lab.report.tables import Measure
from callosal.lab.studies.persona.claims import HOSTS, KNOWN, LAYER, LAYERS, NUM_LAYERS

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
    """Draw recall and P_ct by the layer of the Llama host that the memory is attached behind."""
    cells = {layer: study.of(cell) for layer, cell in LAYERS.items()}
    if not any(cells.values()):
        return None
    name = "inhibitory"
    figure = Figure(figsize=(10.0, 3.9))
    panels = figure.subplots(1, 2)
    shown: tuple[Measure, ...] = (RECALL, CROSS_TALK)
    for axes, measure in zip(panels, shown, strict=True):
        found = [_values(measure.value, runs) for runs in cells.values()]
        means = [float(np.mean(values)) if values else np.nan for values in found]
        axes.plot(list(cells), means, color=COLOURS[name], linewidth=1.2, alpha=0.6)
        for layer, values in zip(cells, found, strict=True):
            _draw_estimate(axes, layer, values, name, is_row=False)
        axes.set_xticks(range(NUM_LAYERS))
        axes.set_xlim(-0.4, NUM_LAYERS - 0.6)
        axes.set_xlabel("memory attached behind layer, counted from 0")
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    recall, outside = panels
    steps = trained_for(run for runs in cells.values() for run in runs)
    recall.set_title(f"Llama, {steps}", fontweight="bold")
    recall.set_ylim(FLOOR, CEILING)
    recall.set_yticks(*SHARES)
    recall.set_ylabel("facts known in the next session")
    recall.axhline(KNOWN, color=INK, linewidth=1.0, linestyle="--", zorder=0)
    draw_chance(recall, study)
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
    return figure


def _draw_estimate(
    axes: Axes, place: float, values: Sequence[float], name: str, *, is_row: bool
) -> None:
    """Draw every seed as a dot, their mean as a mark and its 95 % interval as a line.

    As in the tables there is no mean where a seed's number is none.
    """
    if not values:
        return
    interval, colour = mean_interval(values), COLOURS[name]

    def draw(along: Sequence[float], across: Sequence[float], style: str, **how: object) -> None:
        both = (along, across) if is_row else (across, along)
        axes.plot(*both, style, color=colour, **how)  # pyright: ignore[reportArgumentType]

    if np.isfinite(interval.high):
        draw([interval.low, interval.high], [place, place], "-", linewidth=1.6)
    wiggle = np.linspace(-0.07, 0.07, len(values)) if len(values) > 1 else np.zeros(1)
    draw(values, (place + wiggle).tolist(), ".", markersize=5, alpha=0.55, mew=0)
    draw([interval.estimate], [place], MARKERS[name], markersize=6.5, mec="white", mew=0.8)


def _name_hosts(figure: Figure, hosts: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=COLOURS[host], marker=MARKERS[host], markersize=7, label=host)
        for host in hosts
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(hosts), frameon=False, fontsize=10
    )


def _values(value: Callable[[RunRecord], float | None], runs: Sequence[RunRecord]) -> list[float]:
    """Return the numbers of the runs that have one, NaN where it is undefined."""
    return [number for number in map(value, runs) if number is not None]


PERSONA_KINDS: tuple[FigureKind, ...] = (
    FigureKind(
        name="answers",
        title="Who knows what",
        caption=(
            f"Accuracy of the answers in the hosts' own cells, memory behind layer {LAYER}: about the "
            "facts that a user stated in an earlier session (above), and of counting and spelling "
            "(below). Small dots are seeds, marks their mean, lines its 95 % t interval. Dotted: chance "
            "among what a fact can be; dashed: what we ask of the memory."
        ),
        draw=draw_answers,
    ),
    FigureKind(
        name="layers",
        title="Behind which layer",
        caption=(
            "The Llama host's memory, trained for as long behind each layer, and for less than in the "
            "hosts' own cells. Left: facts known right after the session boundary; dashed: what we ask of "
            "the hosts' own cells, dotted: chance. Right: P_ct, the share outside a domain's own bank. "
            "Small dots are seeds, marks their mean, lines its 95 % t interval."
        ),
        draw=draw_layers,
    ),
    FigureKind(
        name="retention",
        title="What is kept",
        caption=(
            "Facts known after more and more turns between the session that told them and the one that "
            "asks, each of which writes to the same memory: turns of rules on the left, turns of chatter "
            f"on the right. Above: the hosts' own cells. Below: the Llama host's memory behind layer {LAYER} "
            "and its variants, trained for fewer steps; inhibitory is the one of the layers' figure, apart "
            "tells in one session and asks in the other. Thin lines are seeds, thick lines with marks "
            "their mean, of which there is none where a seed's number is undefined."
        ),
        draw=draw_kept,
    ),
    FigureKind(
        name="learning",
        title="The memory learns, the host does not",
        caption=(
            "Loss of all answers of a conversation, rules among them, while the memory is trained and the "
            "host is frozen; logarithmic. Left: the hosts' own cells. Right: variants of the Llama host's "
            "memory, trained for fewer steps; apart scores no questions in the first session, so its loss "
            "averages over other answers. Thin lines are seeds, thick lines their geometric mean."
        ),
        draw=draw_learning,
    ),
)
