"""The figures of the rivals: what is kept, what it costs, and what a lesion or a swap does."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from callosal.lab.report.curves import recall_by_size, recall_lines, recall_sentence
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import ARM_COLOURS, BANK_COLOURS, BLUE, Bars, Dots, Mark
from callosal.lab.report.plots import Axis, Key, Panel, Reference, counts, draw, percent
from callosal.lab.report.study import Quantity, Study, of
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS
from callosal.lab.studies.benchmark.figures import chance_line, num_letters
from callosal.lab.studies.rivals.measures import ANSWERS, BANKS, CIPHER
from callosal.lab.studies.rivals.tables import BASELINE, LONG, MARKS, compared, mean_of

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
    "titans-pytorch": "#44aa99",
}
MARKERS = {arm: "o" if arm == OURS else "s^Dv<PX>"[n % 8] for n, arm in enumerate(COLOURS)} | {"titans-pytorch": "*"}
# What stands between states of nearly equal size, on an axis as long as full history needs.
BESIDE = 1.18


def summary(study: Study) -> str:
    """Say in one sentence what the retention figure shows."""
    return recall_sentence(study, compared(study), 1 / num_letters(study))


@figure("What is kept")
def retention(study: Study) -> Figure | None:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which writes to the
    same memory, and is asked for every letter. Lines are means over seeds, points the seeds; thin lines join those of
    the inhibitory memory, which stands in both panels.
    """
    order = compared(study)
    groups = {
        "this memory and its variants": [arm for arm in order if arm in VARIANTS],
        "other memories": [arm for arm in order if arm not in VARIANTS or arm == OURS],
    }
    panels = [
        Panel(
            marks=recall_lines(study, {arm: study.where(arm=arm) for arm in arms}, COLOURS, MARKERS, main=OURS),
            title=title,
            x=counts("further segments read and written", study.marks()[-1]),
            y=percent("letters recalled"),
            references=[chance_line(study)],
            is_labelled=True,
        )
        for title, arms in groups.items()
        if arms
    ]
    return draw([panels], (12.6, 5.2), share=(False, True))


@figure("What is kept, by the size of the state")
def sizes(study: Study) -> Figure | None:
    """Recall after 30 further segments and after 1,000 by the floats that a row's state holds by then; a point for
    each seed. Those of nearly equal size stand side by side. Full history holds a key and a value of every token, so it
    moves to the right; without a memory nothing is held, and it is left out.
    """
    runs = {arm: study.where(arm=arm) for arm in COLOURS if arm in compared(study)}
    ticks = (2000, 10_000, 100_000, 1_000_000)
    names = ("2,000", "10,000", "100,000", "1,000,000")
    panels, drawn = [], dict[str, Key]()
    for after in MARKS[1:]:
        found = recall_by_size(study, runs, after, COLOURS, MARKERS, beside=BESIDE)
        drawn |= {arm: Key(name=arm, colour=COLOURS[arm], marker=MARKERS[arm]) for arm in found}
        panels.append(
            Panel(
                marks=list(found.values()),
                title=f"after {after:,} further segments",
                x=Axis(label="floats of state", scale="log", ticks=ticks, names=names, limits=(1000, 2_500_000)),
                y=percent("letters recalled"),
                references=[replace(chance_line(study), on_right=True)],
            )
        )
    return draw([panels], (11.0, 4.8), legend=list(drawn.values()), share=(False, True)) if drawn else None


@figure("What it costs")
def costs(study: Study) -> Figure | None:
    """Dots are seeds, bars their mean, in the order of the table.

    Training time is a multiple of the mean without a memory; two runs shared two cores, so it is rough. State is what
    each row holds between segments; the full history grows with the stream.
    """
    arms = compared(study)
    base = mean_of(study, of("train_seconds"), study.where(arm=BASELINE))
    if not base:
        return None
    kept: list[Mark] = []
    times: list[Mark] = []
    sizes: list[Mark] = []
    names = []
    finite = [size for size in study.values(of("state_floats")) if math.isfinite(size)]
    most = max(finite, default=1.0)
    for place, arm in enumerate(arms):
        runs, colour = study.where(arm=arm), BLUE if arm == OURS else "#7a7a7a"
        look = {"place": place, "colour": colour}
        kept.append(Dots(values=study.values(of("recall", after=LONG), runs), **look))
        seconds = study.values(of("train_seconds"), runs)
        times.append(Dots(values=[found / base for found in seconds], **look))
        held = study.values(of("state_floats"), runs)[:1]
        # What grows without bound is drawn to the end of the axis, and says so; nothing is drawn at one float.
        ends = [size if math.isfinite(size) else most * 20 for size in held if size]
        sizes.append(Dots(values=ends, **look))
        grows = any(not math.isfinite(size) for size in held)
        names.append(f"{arm} (state grows)" if grows else arm)
    rows = Axis(ticks=range(len(arms)), names=names, limits=(len(arms) - 0.4, -0.6), has_grid=True)
    chance = Reference(at=1 / num_letters(study), is_vertical=True)
    panels = [
        Panel(marks=kept, title=f"recall after {LONG:,} segments", x=percent(), y=rows, references=[chance]),
        Panel(
            marks=times,
            title="training time (rough)",
            x=Axis(scale="log", ticks=(1, 2, 5), names=("1x", "2x", "5x"), limits=(0.8, 6.0)),
            y=rows,
        ),
        Panel(
            marks=sizes,
            title="floats of state per row",
            x=Axis(scale="log", ticks=(1, 100, 10_000), names=("1", "100", "10,000"), limits=(1, most * 40)),
            y=rows,
        ),
    ]
    return draw([panels], (11.0, 0.36 * len(arms) + 1.5), share=(False, True), ratios=([3, 3, 2.4], [1]))


@figure("Lesions and swaps, inhibitory memory")
def dissociation(study: Study) -> Figure | None:
    """Left: accuracy of the two domains after a bank's trace is zeroed before the questions, or the bank is silenced
    altogether from the start. Right: whose answers are given to the cipher's questions after two episodes exchange
    what they hold. The cipher's bank is the one with the larger share of its tokens in that seed. Bars are means, dots
    seeds; dotted: chance for the cipher.
    """
    runs = study.where(arm=OURS)
    if not study.values(of("accuracy", CIPHER, f"{BANKS[0]} zeroed"), runs):
        return None
    lesions = {"nothing\ntaken": "intact"} | {
        f"{bank.removeprefix('the ')}\n{how}": f"{bank} {how}" for how in ("zeroed", "silenced") for bank in BANKS
    }
    swaps = {"the whole\nmemory": "swapped"} | {bank.replace(" bank", "\nbank"): f"{bank} swapped" for bank in BANKS}
    of_domains = {
        domain: {name: of("accuracy", domain, how) for name, how in lesions.items()} for domain in BENCHMARK_DOMAINS
    }
    of_answers = {measure: {name: of(measure, condition=how) for name, how in swaps.items()} for measure in ANSWERS}
    guess = Reference(at=1 / num_letters(study))
    left = _pairs(study, "take a bank away", of_domains, BANK_COLOURS[:2], "right answers", guess)
    right = _pairs(study, "swap it with a neighbour's", of_answers, BANK_COLOURS[2:], "answers to the cipher", guess)
    keys = [
        Key(name=name, colour=colour, marker="patch")
        for name, colour in zip((*BENCHMARK_DOMAINS, *ANSWERS), BANK_COLOURS, strict=True)
    ]
    return draw([[left, right]], (11.0, 4.4), legend=keys, ratios=([3, 2.3], [1]))


def _pairs(
    study: Study,
    title: str,
    sides: Mapping[str, Mapping[str, Quantity]],
    colours: tuple[str, ...],
    label: str,
    reference: Reference,
) -> Panel:
    """Return two bars for each group, their mean over seeds, and every seed as a dot."""
    runs, marks, groups = study.where(arm=OURS), [], []
    for side, (quantities, colour) in enumerate(zip(sides.values(), colours, strict=True)):
        groups = list(quantities)
        seeds = np.array([study.values(quantity, runs) for quantity in quantities.values()])
        places = (np.arange(len(groups)) + 0.4 * (side - 0.5)).tolist()
        marks.append(Bars(places=places, heights=seeds.mean(1), colour=colour, width=0.36, seeds=seeds))
    return Panel(
        marks=marks,
        title=title,
        x=Axis(ticks=range(len(groups)), names=groups),
        y=percent(label, limits=(0.0, 1.03)),
        references=[reference],
    )


FIGURES = (retention, sizes, costs, dissociation)
