"""The figures of the benchmark, from its arms as they learn and when they have learned."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from callosal.lab.report.curves import curve, eigenvalues, has_curve
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import (
    ARM_COLOURS,
    ARM_MARKERS,
    BANK_COLOURS,
    INK,
    Bars,
    Heat,
    Line,
)
from callosal.lab.report.plots import Axis, Key, Panel, Reference, counts, draw, percent, words
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import SIGN_LABELS
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS

# A line must not end between a number and its sign.
_PERCENT = "\N{NO-BREAK SPACE}%"
# Losses below this are drawn at it: a logarithmic axis has no zero.
LEAST_LOSS = 1e-6


def num_letters(study: Study) -> int:
    """Return K, the letters of the cipher; recall of one is right by chance once in K."""
    return study.records[0].config["episodes"]["num_letters"]


def chance_line(study: Study) -> Reference:
    """Return the line at the chance of recalling a letter."""
    letters = num_letters(study)
    return Reference(at=1 / letters, text=f"chance, 1/{letters}")


def recall_lines(
    study: Study,
    arms: Sequence[str],
    colours: dict[str, str],
    markers: dict[str, str],
    main: str = "",
) -> list[Line]:
    """Return a line of recall over further segments for each arm; with a main one, its seeds alone show."""
    lines = []
    for arm in arms:
        runs = study.records_of(study.where(arm=arm))
        marks = [row["after"] for row in runs[0].rows("recall")]
        lines.append(
            Line(
                x=marks,
                seeds=np.array(
                    [[run.get("recall", after=mark) for mark in marks] for run in runs], float
                ),
                name=SIGN_LABELS.get(arm, arm),
                colour=colours.get(arm, INK),
                marker=markers.get(arm, "."),
                is_main=arm == main,
                shows_seeds=main in ("", arm),
            )
        )
    return lines


def summary(study: Study) -> str:
    """Say in one sentence what the retention figure shows, from the means over seeds."""
    most = study.marks()[-1]
    parts = []
    for arm in (arm for arm in study.arms if arm != "no-memory"):
        values = study.values(of("recall", after=most), study.where(arm=arm))
        if values:
            parts.append(f"{arm} {100 * np.mean(values):.0f}{_PERCENT}")
    chance = f"chance {100 / num_letters(study):.3g}{_PERCENT}"
    if not parts:
        return f"Without a memory the cipher is recalled at chance ({chance})"
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"Recall of the cipher after {most:,} further segments: {listed} ({chance})"


@figure("What is kept")
def retention(study: Study) -> Figure:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which
    writes to the same memory, and is asked for every letter. Thin lines are single seeds, thick lines
    their mean.
    """
    panel = Panel(
        marks=recall_lines(study, study.arms, ARM_COLOURS, ARM_MARKERS),
        title=textwrap.fill(summary(study), 78),
        x=counts(
            "arithmetic segments read and written since the cipher was shown", study.marks()[-1]
        ),
        y=percent("letters recalled"),
        references=[chance_line(study)],
        is_labelled=True,
    )
    return draw([[panel]], (9.0, 4.6))


@figure("Learning the two tasks")
def losses(study: Study) -> Figure | None:
    """Loss on the training stream, logarithmic; thin lines are seeds, thick lines their geometric mean.

    Nothing about a cipher can be in the weights, so without a memory its loss cannot leave ln K
    (dotted); the arithmetic needs no memory.
    """
    arms = [arm for arm in study.arms if has_curve(study, arm, "episodic_loss")]
    if not arms:
        return None
    chance = math.log(num_letters(study))
    text = f"chance, ln {num_letters(study)} = {chance:.2f} nats"
    panels = []
    for kind, domain in zip(("episodic", "rule"), BENCHMARK_DOMAINS, strict=True):
        lines = []
        for arm in arms:
            steps, losses = curve(study, arm, f"{kind}_loss")
            seeds = np.maximum(losses, LEAST_LOSS)
            name, colour = SIGN_LABELS.get(arm, arm).partition(",")[0], ARM_COLOURS.get(arm, INK)
            lines.append(Line(x=steps, seeds=seeds, name=name, colour=colour, mean="geometric"))
        is_first = kind == "episodic"
        panels.append(
            Panel(
                marks=lines,
                title=f"{domain} loss",
                x=Axis(label="training step"),
                y=Axis(label="cross-entropy, nats" if is_first else "", scale="log"),
                references=[Reference(at=chance, text=text, is_above=True, on_right=True)]
                * is_first,
                is_labelled=is_first,
            )
        )
    return draw([panels], (9.0, 4.0), share=(False, "row"))


@figure("Banks taking sides")
def lateralization(study: Study) -> Figure | None:
    """Above: D_sep, +1 when only the left bank serves a domain and -1 when only the right does; cipher
    solid, arithmetic dashed, one line per seed. Which side the cipher goes to is chance, so there is no
    mean. Below: P_ct, the share outside a domain's own bank; 0 is one bank each, and both an even split
    and one bank for everything give 0.5.
    """
    arms = [arm for arm in study.arms if has_curve(study, arm, "cross_talk")]
    if not arms:
        return None
    upper, lower = [], []
    for arm in arms:
        colour, is_first = ARM_COLOURS.get(arm, INK), arm == arms[0]
        steps, sides = curve(study, arm, "separation")
        lines = [
            Line(x=steps, seeds=sides[:, :, domain], colour=colour, dash=dash, mean=None)
            for domain, dash in enumerate(("-", "--"))
        ]
        upper.append(
            Panel(
                marks=lines,
                title=SIGN_LABELS.get(arm, arm),
                colour=colour,
                y=Axis(
                    label="$D_{sep}$, left minus right" if is_first else "",
                    limits=(-1.08, 1.08),
                    ticks=(-1.0, -0.5, 0.0, 0.5, 1.0),
                    has_grid=True,
                ),
            )
        )
        steps, outside = curve(study, arm, "cross_talk")
        text = "no bank of its own" if is_first else ""
        lower.append(
            Panel(
                marks=[Line(x=steps, seeds=outside, colour=colour, mean=None)],
                x=Axis(label="training step"),
                y=Axis(label="$P_{ct}$" if is_first else "", limits=(-0.02, 0.6)),
                references=[Reference(at=0.5, text=text, is_above=True, on_right=True)],
            )
        )
    return draw(
        [upper, lower],
        (3.0 * max(len(arms), 2), 5.0),
        legend=[
            Key(name=f"{d}, one line per seed", dash=s)
            for s, d in zip(("-", "--"), BENCHMARK_DOMAINS, strict=True)
        ],
        place="outside upper left",
        share=("col", "row"),
    )


@figure("Who serves what")
def shares(study: Study) -> Figure | None:
    """Mean share of each bank over a domain's tokens on the held-out episodes, one bar per seed in the
    order of the seeds. Colours that swap between the domains are a bank each; the same bar twice is no
    specialization.
    """
    found = {arm: study.records_of(study.where(arm=arm)) for arm in study.arms}
    found = {arm: runs for arm, runs in found.items() if all(run.rows("share") for run in runs)}
    if not found:
        return None
    panels, most_banks = [], 0
    for arm, runs in found.items():
        marks, centres = [], []
        for place, domain in enumerate(BENCHMARK_DOMAINS):
            places = place * (len(runs) + 1.0) + np.arange(len(runs))
            floor = np.zeros(len(runs))
            num_banks = len([r for r in runs[0].rows("share") if r["domain"] == domain])
            most_banks = max(most_banks, num_banks)
            for bank in range(num_banks):
                heights = np.array(
                    [run.get("share", domain=domain, bank=bank) for run in runs], float
                )
                colour = BANK_COLOURS[bank % len(BANK_COLOURS)]
                marks.append(
                    Bars(places=places.tolist(), heights=heights, bottoms=floor, colour=colour)
                )
                floor = floor + heights
            centres.append(places.mean())
        panels.append(
            Panel(
                marks=marks,
                title=SIGN_LABELS.get(arm, arm),
                colour=ARM_COLOURS.get(arm, INK),
                x=Axis(ticks=centres, names=BENCHMARK_DOMAINS),
                y=Axis(label="" if panels else "mean share of a bank", limits=(0.0, 1.0)),
            )
        )
    keys = [
        Key(
            name=bank_name(bank, most_banks),
            colour=BANK_COLOURS[bank % len(BANK_COLOURS)],
            marker="patch",
        )
        for bank in range(most_banks)
    ]
    return draw([panels], (3.0 * max(len(found), 2), 3.8), legend=keys, share=(False, True))


@figure("The cross-talk matrix as it learns")
def crosstalk(study: Study) -> Figure | None:
    """W_s starts as I + s (11^T - I) and is learned.

    Left: its common mode, diagonal plus off-diagonal, which passes what the banks share. Right: its
    differential mode, diagonal minus off-diagonal, which passes what sets them apart. Thin lines are
    seeds.
    """
    arms = [arm for arm in study.arms if has_curve(study, arm, "coupling")]
    if not arms:
        return None
    titles = (
        "common mode, 1 + s (B - 1) at the start",
        "differential mode, 1 - s at the start",
    )
    marks: tuple[list[Line], list[Line]] = ([], [])
    for arm in arms:
        steps, coupling = curve(study, arm, "coupling")
        name = SIGN_LABELS.get(arm, arm).partition(",")[0]
        for lines, seeds in zip(marks, eigenvalues(coupling), strict=True):
            lines.append(Line(x=steps, seeds=seeds, name=name, colour=ARM_COLOURS.get(arm, INK)))
    panels = [
        Panel(
            marks=lines,
            title=title,
            x=Axis(label="training step"),
            y=Axis(label="" if number else "eigenvalue of $W_s$"),
            references=[Reference(at=0.0)],
            is_labelled=number == 1,
        )
        for number, (title, lines) in enumerate(zip(titles, marks, strict=True))
    ]
    return draw([panels], (11.0, 3.8), share=(False, True))


@figure("A memory before and after it is written")
def memory(study: Study) -> Figure | None:
    """Norm of every slot of one memory, blank and after each segment of an episode; each row is a slot,
    ordered within its bank by what it holds in the end. Where the banks have taken sides, a segment
    changes one of them only.
    """
    runs: list[RunRecord] = []
    for arm in ("inhibitory", "excitatory"):
        known = study.records_of(study.where(arm=arm))
        runs += [run for run in known if "snapshot" in run.extras][:1]
    if not runs:
        return None
    norms = [_ordered_norms(run) for run in runs]
    most = max(float(found.max()) for found in norms) or 1.0
    bound = max(run.extras["snapshot"]["bound"] for run in runs)
    panels = []
    for run, found in zip(runs, norms, strict=True):
        num_points, num_banks, num_slots = found.shape
        steps = ["blank", *(f"+ {BENCHMARK_DOMAINS[d]}" for d in run.extras["snapshot"]["domains"])]
        centres = [num_slots * (bank + 0.5) - 0.5 for bank in range(num_banks)]
        heat = Heat(
            # By square root, or the one slot that most tokens share leaves the others dark.
            table=found.reshape(num_points, num_banks * num_slots).T,
            norm=PowerNorm(0.5, vmin=0.0, vmax=most),
            bar=f"norm of a slot (never above {bound:.3g})",
            gaps=False,
        )
        borders = [Reference(at=num_slots * bank - 0.5, dash="-") for bank in range(1, num_banks)]
        panels.append(
            Panel(
                marks=[heat],
                title=f"{SIGN_LABELS.get(run.arm, run.arm)} (seed {run.seed})",
                colour=ARM_COLOURS.get(run.arm, INK),
                x=words(steps, angle=35.0),
                y=Axis(
                    ticks=centres, names=[bank_name(bank, num_banks) for bank in range(num_banks)]
                ),
                references=borders,
            )
        )
    return draw([panels], (4.5 * max(len(runs), 2), 4.8))


def bank_name(bank: int, num_banks: int) -> str:
    """Return what a bank is called in a figure."""
    return ("left bank", "right bank")[bank] if num_banks == 2 else f"bank {bank}"


def _ordered_norms(run: RunRecord) -> Float[np.ndarray, "point bank slot"]:
    """Order each bank's slots by what they hold in the end, fullest first."""
    norms = np.array(run.extras["snapshot"]["norms"], dtype=float)
    order = np.argsort(-norms[-1], axis=-1, kind="stable")
    return np.take_along_axis(norms, order[None], axis=-1)


FIGURES = (retention, losses, lateralization, shares, crosstalk, memory)
