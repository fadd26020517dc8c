"""The figures of the distractors' study: recall over what came in between, and beside the size of the state."""

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, SKY, Mark, Points
from callosal.lab.report.plots import Axis, Key, Panel, counts, draw, percent
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import percentage
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS
from callosal.lab.studies.benchmark.figures import chance_line
from callosal.lab.studies.distractors.cells import BASELINE, BETWEEN, OURS, cell_name
from callosal.lab.studies.distractors.tables import HELD, ranked, trained

COLOURS = {
    OURS: BLUE,
    "uncoupled": GREEN,
    "one bank": "#b8860b",
    "delta write": SKY,
    "Gated DeltaNet": RED,
    "Gated DeltaNet, equal state": ORANGE,
    "DeltaNet": PINK,
    "titans-pytorch": "#44aa99",
    "memory network": "#882255",
    "full history": INK,
    BASELINE: GREY,
}
MARKERS = dict(zip(COLOURS, "osDv^<P*X>x", strict=True))
# States whose logarithms differ by less are drawn side by side, each by this factor beside its neighbour.
ALIKE, BESIDE = 0.3, 1.09
# The rows of the first figure; ours stands in both.
VARIANTS = (OURS, "uncoupled", "one bank", "delta write")


def summary(study: Study) -> str:
    """Say in one sentence what is recalled after the most segments of what was trained with 8 in between."""
    most = max(study.marks(), default=0)
    parts = []
    for name in ranked(study, BETWEEN[1]):
        values = study.values(of("recall", after=most), study.where(arm=cell_name(name, BETWEEN[1])))
        if values:
            parts.append(f"{name} {percentage(float(np.mean(values)))}")
    return f"Trained with {BETWEEN[1]} segments in between, recall after {most:,}: {'; '.join(parts)}"


@figure("What is kept, by what stood in between in training")
def retention(study: Study) -> Figure | None:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which writes to the
    same memory, and is asked for every letter. First this memory and its variants, then the others and this one again.
    Lines are means over seeds, points the seeds.
    """
    shown = trained(study)
    rows = []
    for wanted in (lambda name: name in VARIANTS, lambda name: name not in VARIANTS or name == OURS):
        panels = []
        for between in shown:
            names = [name for name in ranked(study, between) if wanted(name)]
            runs = {name: study.where(arm=cell_name(name, between)) for name in names}
            panels.append(
                Panel(
                    marks=recall_lines(study, runs, COLOURS, MARKERS, main=OURS),
                    title=f"trained with {between} in between",
                    x=counts("further segments read and written", study.marks()[-1]),
                    y=percent("letters recalled"),
                    references=[chance_line(study)],
                )
            )
        rows.append(panels)
    drawn = {name for between in shown for name in ranked(study, between)}
    return _drawn(rows, drawn)


@figure("What is kept, by the size of the state")
def sizes(study: Study) -> Figure | None:
    """Recall after 100 segments (first) and after 1,000 beside the floats that a row's state holds by then; a
    point for each seed. Full history holds all tokens; it was not asked after 1,000. Those of nearly equal size stand
    side by side.
    """
    shown = trained(study)
    drawn: set[str] = set()
    rows = []
    for after in HELD:
        panels = []
        for between in shown:
            marks: list[Mark] = []
            places: list[float] = []
            for name, colour in COLOURS.items():
                runs = study.having(of("recall", after=after), study.where(arm=cell_name(name, between)))
                floats = _floats(study, runs, after)
                if not floats:
                    continue
                # Beside those of nearly the same size, to either side in turn.
                crowd = sum(abs(math.log(floats / other)) < ALIKE for other in places)
                places.append(floats)
                x = floats * BESIDE ** ((crowd + 1) // 2 * (-1) ** crowd)
                found = study.values(of("recall", after=after), runs)
                marks.append(Points(x=[x] * len(found), y=found, colour=colour, marker=MARKERS[name]))
                drawn.add(name)
            panels.append(
                Panel(
                    marks=marks,
                    title=f"after {after:,}, trained with {between} in between",
                    x=Axis(
                        label="floats of state",
                        scale="log",
                        ticks=(2000, 4000, 10_000, 100_000),
                        names=("2,000", "4,000", "10,000", "100,000"),
                        limits=(1200, 150_000),
                    ),
                    y=percent("letters recalled"),
                    references=[replace(chance_line(study), on_right=True)],
                )
            )
        rows.append(panels)
    return _drawn(rows, drawn)


def _drawn(rows: list[list[Panel]], names: Collection[str]) -> Figure | None:
    """Draw a column for each number of segments in training; of one column, its panels stand side by side."""
    if not names:
        return None
    keys = [Key(name=name, colour=colour, marker=MARKERS[name]) for name, colour in COLOURS.items() if name in names]
    rows = rows if len(rows[0]) > 1 else [[panel for row in rows for panel in row]]
    return draw(rows, (4.8 * len(rows[0]), 0.8 + 3.8 * len(rows)), legend=keys, share=("col", "all"))


def _floats(study: Study, runs: pd.DataFrame, after: int) -> float:
    """Return what a row's state holds after so many segments; what grows holds a key and a value of every token."""
    found = study.values(of("state_floats"), runs)
    if not found or math.isfinite(found[0]):
        return found[0] if found else 0.0
    config = study.records_of(runs)[0].config
    told = config["episodes"]["num_rounds"] * len(BENCHMARK_DOMAINS)
    return (told + after) * config["transformer"]["max_time"] * 2.0 * config["transformer"]["width"]


FIGURES = (retention, sizes)
