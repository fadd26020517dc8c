"""The figures of the persona study: answers by condition, by layer, after further turns, and learning."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callosal.lab.report.curves import drawable, recall_lines, training_lines
from callosal.lab.report.layout import figure, limit_of
from callosal.lab.report.marks import ARM_COLOURS, ARM_MARKERS, Dots
from callosal.lab.report.plots import Axis, Key, Panel, Reference, counts, draw, percent
from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.studies.persona.cells import HOSTS, LAYERS, NUM_LAYERS
from callosal.lab.studies.persona.measures import BETWEEN, FACTS, chance_of, main_cells, trained_for, variant_cells
from callosal.lab.studies.persona.tables import ABOUT_FACTS, OF_RULES, P_CT, RECALL

# Okabe and Ito's for the variants, others for the base models, whose memories are trained for longer.
COLOURS = {
    "GPT-2": "#1b7f5c",
    "Llama": "#5b3a9e",
    "inhibitory": ARM_COLOURS["inhibitory"],
    "excitatory": ARM_COLOURS["excitatory"],
    "one bank": "#8a6d00",
    "apart": "#b8528c",
}
MARKERS = {
    "GPT-2": "^",
    "Llama": "o",
    "inhibitory": ARM_MARKERS["inhibitory"],
    "excitatory": ARM_MARKERS["excitatory"],
    "one bank": "v",
    "apart": "D",
}
# At the end of a line there is room for a short name only.
SHORT = {"facts and questions apart": "apart"}
# Between two base models in one row.
APART = 0.3
KNOWN = limit_of(__package__ or "", "persona-{lower}-recall")


def summary(study: Study) -> str:
    """Say in one sentence what the first figure shows, from the means over seeds."""
    parts = []
    for host, runs in main_cells(study).items():
        both = [study.values(of("accuracy", FACTS, how), runs) for how in ("memory", "reset")]
        known, reset = (float(np.mean(values)) if values else np.nan for values in both)
        if np.isfinite(known) and np.isfinite(reset):
            parts.append(f"{host} answers {percentage(known)} rightly, and {percentage(reset)} with its memory reset")
    guess = chance_of(study)
    behind = "" if guess is None else f" (chance {percentage(guess, '.3g')})"
    asked = "Asked in a later session what their users said"
    return f"{asked}: {'; '.join(parts)}{behind}" if parts else f"{asked}{behind}"


@figure("Who knows what")
def answers(study: Study) -> Figure | None:
    """Accuracy of the answers in the base models' own cells, memory behind layer 2.

    Above: about the facts that a user stated in an earlier session. Below: of counting and spelling. Small dots are
    seeds, marks their mean, lines its 95 % interval. Dotted: chance among what a fact can be; dashed: what we ask of
    the memory.
    """
    cells = main_cells(study)
    if not cells:
        return None
    bar = Reference(at=KNOWN, text=f"wanted, {100 * KNOWN:.0f} %", is_vertical=True, dash="--")
    guess = chance_of(study)
    lines = [bar] if guess is None else [bar, _chance(guess, is_vertical=True)]
    panels: list[list[Panel | None]] = [
        [_conditions(study, cells, ABOUT_FACTS, "about the facts", lines)],
        [_conditions(study, cells, OF_RULES, "of the rules", [], "right answers")],
    ]
    ratios = ([1.0], [len(ABOUT_FACTS) + 0.4, len(OF_RULES) + 0.4])
    keys = [Key(name=host, colour=COLOURS[host], marker=MARKERS[host]) for host in cells]
    return draw(panels, (9.0, 5.8), legend=keys, place="outside upper left", ratios=ratios)


@figure("Behind which layer")
def layers(study: Study) -> Figure | None:
    """Llama's memory behind each layer, trained for as long, and for less than in its own cell.

    Left: facts known right after the session boundary; dashed: what we ask of the base models' own cells, dotted:
    chance. Right: P_ct, the share outside a domain's own bank. Small dots are seeds, marks their mean, lines its 95 %
    interval.
    """
    cells = {layer: study.where(arm=cell) for layer, cell in LAYERS.items()}
    found = [runs for runs in cells.values() if len(runs)]
    if not found:
        return None
    guess = chance_of(study)
    layers = Axis(
        label="memory attached behind layer, counted from 0", limits=(-0.4, NUM_LAYERS - 0.6), ticks=range(NUM_LAYERS)
    )

    def columns(quantity: Quantity) -> list[Dots]:
        look = {"colour": COLOURS["inhibitory"], "marker": "o", "within": study.scale(quantity), "is_column": True}
        return [Dots(place=layer, values=study.values(quantity, runs), **look) for layer, runs in cells.items()]

    recall = Panel(
        marks=columns(RECALL),
        title=f"Llama, {trained_for(pd.concat(found))}",
        x=layers,
        y=percent("facts known in the next session"),
        references=[Reference(at=KNOWN, dash="--"), *([] if guess is None else [_chance(guess)])],
    )
    outside = Panel(
        marks=columns(P_CT),
        x=layers,
        y=Axis(label="$P_{ct}$ of facts and rules", limits=(-0.02, 0.6), has_grid=True),
        references=[Reference(at=0.5, text="no bank of its own", is_above=True, on_right=True)],
    )
    return draw([[recall, outside]], (10.0, 3.9))


@figure("What is kept")
def retention(study: Study) -> Figure | None:
    """Facts known after more and more turns between the sessions, each of which writes to the same memory.

    Turns of rules on the left, of chatter on the right. Above: the base models' own cells. Below: Llama's memory
    behind layer 2 and its variants, trained for fewer steps; inhibitory is the one of the layers' figure, apart states
    facts in one session and asks in the other. Thin lines are seeds, thick lines with marks their mean, of which there
    is none where a seed's number is undefined.
    """
    guess = chance_of(study)
    panels = []
    for title, cells in _groups(study).items():
        named = {SHORT.get(name, name): runs for name, runs in cells.items()}
        line = []
        for kind in BETWEEN:
            lines = recall_lines(study, named, COLOURS, MARKERS, condition=kind)
            if lines:
                line.append(
                    Panel(
                        marks=lines,
                        title=f"{title}: {kind}",
                        x=counts("turns between the sessions", study.marks(condition=kind)[-1]),
                        y=percent("facts known in the next session"),
                        references=[] if guess is None else [_chance(guess)],
                        is_labelled=True,
                    )
                )
        panels.append(line)
    return draw(panels, (10.4, 0.4 + 3.5 * len(panels)), share=(False, True))


@figure("The memory learns, the base model does not")
def learning(study: Study) -> Figure | None:
    """Loss of all answers of a conversation, rules among them, while the memory is trained; logarithmic.

    The base model is frozen. Left: the base models' own cells. Right: variants of Llama's memory, trained for fewer
    steps; apart scores no questions in the first session, so its loss averages over other answers. Thin lines are
    seeds, thick lines their geometric mean.
    """
    panels = []
    for title, cells in _groups(study).items():
        lines = []
        for name, runs in cells.items():
            look = {"name": SHORT.get(name, name), "colour": COLOURS[SHORT.get(name, name)], "mean": "geometric"}
            arms = runs["arm"].unique().tolist()
            lines += training_lines(study, arms, "loss", drawable, **look)
        if lines:
            panels.append(
                Panel(
                    marks=lines,
                    title=title,
                    x=Axis(label="step of the memory's training"),
                    y=Axis(
                        label="cross-entropy of answers, nats",
                        scale="log",
                        ticks=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
                        has_grid=True,
                    ),
                    is_labelled=True,
                )
            )
    return draw([panels], (6.3 * max(len(panels), 1.5), 4.4), share=(False, True))


def _conditions(
    study: Study,
    cells: Mapping[str, pd.DataFrame],
    quantities: Mapping[str, Quantity],
    label: str,
    references: Sequence[Reference],
    below: str = "",
) -> Panel:
    marks = []
    for place, quantity in enumerate(quantities.values()):
        for host, runs in cells.items():
            row = place + APART * (list(HOSTS).index(host) - (len(HOSTS) - 1) / 2)  # pyright: ignore[reportArgumentType]
            look = {"colour": COLOURS[host], "marker": MARKERS[host], "within": study.scale(quantity)}
            marks.append(Dots(place=row, values=study.values(quantity, runs), **look))
    return Panel(
        marks=marks,
        x=percent(below, limits=(-0.02, 1.02)),
        y=Axis(label=label, limits=(len(quantities) - 0.5, -0.5), ticks=range(len(quantities)), names=list(quantities)),
        references=references,
    )


def _groups(study: Study) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the runs of the base models' own cells, and of the variants."""
    groups = {"base models": main_cells(study), "Llama": variant_cells(study)}
    return {f"{title}, {trained_for(pd.concat(cells.values()))}": cells for title, cells in groups.items() if cells}


def _chance(guess: float, *, is_vertical: bool = False) -> Reference:
    return Reference(at=guess, text=f"chance, {100 * guess:.3g} %", is_vertical=is_vertical, is_above=True)


FIGURES = (answers, layers, retention, learning)
