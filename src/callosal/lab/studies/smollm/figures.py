"""The figures of the study of SmolLM2: answers by condition, and what is kept through small talk."""

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_lines
from callosal.lab.report.layout import figure, limit_of
from callosal.lab.report.marks import ARM_COLOURS, ARM_MARKERS, Dots
from callosal.lab.report.plots import Axis, Panel, Reference, counts, draw, percent
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.studies.smollm.cells import ALONE, FIRST_VARIANTS, MAIN, VARIANTS
from callosal.lab.studies.smollm.measures import BETWEEN, WORDINGS
from callosal.lab.studies.smollm.tables import BY_CONTEXT, BY_MEMORY, RECALL

# The variants of both recipes are the same ones, in the same order.
_LOOKS = list(zip(VARIANTS, FIRST_VARIANTS, strict=True))
COLOURS = {arm: (ARM_COLOURS | {"one bank": "#8a6d00"})[first] for arm, first in _LOOKS}
MARKERS = {arm: (ARM_MARKERS | {"one bank": "v"})[first] for arm, first in _LOOKS}
KNOWN = {
    domain: limit_of(__package__ or "", claim)
    for domain, claim in zip(WORDINGS, ("smollm-recall", "smollm-wordings"), strict=True)
}


def summary(study: Study) -> str:
    """Say in one sentence what the first figure shows, from the means over seeds."""
    main = study.where(arm=MAIN)
    known, reset = (study.values(of("accuracy", WORDINGS[0], how), main) for how in ("memory", "reset"))
    if not known or not reset:
        return "No memory has been trained yet"
    shares = [percentage(float(np.mean(values))) for values in (known, reset)]
    return (
        f"Asked in the next session what its user said, the frozen model answers {shares[0]} rightly with the user's "
        f"memory, and {shares[1]} with it reset"
    )


@figure("Who knows what")
def answers(study: Study) -> Figure | None:
    """Questions about four facts in a later session, whose values were never trained on.

    Left: in wordings of training; right: in held-out ones. Small dots are seeds, marks their mean, lines its 95 % t
    interval; the model alone, above, has no seeds. Dashed: what we ask of the memory.
    """
    main, alone = study.where(arm=MAIN), study.where(arm=ALONE)
    if not study.values(RECALL, main):
        return None
    names = [*BY_CONTEXT, *BY_MEMORY]
    panels = []
    for domain in WORDINGS:
        marks = [
            Dots(
                place=place,
                values=study.values(of("accuracy", domain, name), alone if name in BY_CONTEXT else main),
                colour="#555555" if name in BY_CONTEXT else COLOURS[MAIN],
                marker="o",
                within=study.scale(of("accuracy", domain, name)) if name in BY_MEMORY else None,
            )
            for place, name in enumerate(names)
        ]
        bar = Reference(at=KNOWN[domain], is_vertical=True, dash="--")
        rows = Axis(label="", limits=(len(names) - 0.5, -0.5), ticks=range(len(names)), names=names)
        panels.append(
            Panel(marks=marks, title=domain, x=percent("right", limits=(-0.02, 1.02)), y=rows, references=[bar])
        )
    return draw([panels], (10.4, 3.9), share=(False, True))


@figure("What is kept")
def retention(study: Study) -> Figure | None:
    """Right answers after more and more turns of small talk between the sessions, each of which writes.

    Left: small talk about other things; right: in the very words that facts are made of. Wordings of training, held-out
    values. Thin lines are seeds, thick ones their mean.
    """
    panels = []
    for kind in BETWEEN:
        cells = {arm: study.where(arm=arm) for arm in VARIANTS if len(study.where(arm=arm))}
        lines = recall_lines(study, cells, COLOURS, MARKERS, domain=WORDINGS[0], condition=kind)
        if lines:
            last = study.marks(condition=kind)[-1]
            panels.append(
                Panel(
                    marks=lines,
                    title=kind,
                    x=counts("turns between the sessions", last),
                    y=percent("facts known in the next session"),
                    is_labelled=True,
                )
            )
    return draw([panels], (10.4, 3.9), share=(False, True)) if panels else None


FIGURES = (answers, retention)
