"""The figures of the benchmark, from its arms as they learn and when they have learned."""

import math
import textwrap

import numpy as np
from jaxtyping import Float
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from callosal.lab.report.curves import drawable, eigenvalues, has_curve, recall_lines, recall_sentence, training_lines
from callosal.lab.report.layout import figure
from callosal.lab.report.marks import ARM_COLOURS, ARM_MARKERS, BANK_COLOURS, INK, Bars, Heat
from callosal.lab.report.plots import Axis, Key, Panel, Reference, counts, draw, percent, words
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study, of
from callosal.lab.report.tables import SIGN_LABELS
from callosal.lab.report.upgrade import BENCHMARK_DOMAINS

_STEPS = Axis(label="training step")


def num_letters(study: Study) -> int:
    """Return K, the letters of the cipher; recall of one is right by chance once in K."""
    return study.records[0].config["episodes"]["num_letters"]


def chance_line(study: Study) -> Reference:
    """Return the line at the chance of recalling a letter."""
    letters = num_letters(study)
    return Reference(at=1 / letters, text=f"chance, 1/{letters}")


def summary(study: Study) -> str:
    """Say in one sentence what the retention figure shows."""
    arms = [arm for arm in study.arms if arm != "no-memory"]
    return recall_sentence(study, arms, 1 / num_letters(study))


@figure("What is kept")
def retention(study: Study) -> Figure | None:
    """Every model is shown a fresh cipher, then reads more and more arithmetic, each segment of which writes to the
    same memory, and is asked for every letter. Points and thin lines are single seeds, thick
    lines their mean.
    """
    arms = {arm: study.where(arm=arm) for arm in study.arms}
    panel = Panel(
        marks=recall_lines(study, arms, ARM_COLOURS, ARM_MARKERS),
        title=textwrap.fill(summary(study), 78),
        x=counts("arithmetic segments read and written since the cipher was shown", study.marks()[-1]),
        y=percent("letters recalled"),
        references=[chance_line(study)],
        is_labelled=True,
    )
    return draw([[panel]], (9.0, 4.6))


@figure("Learning the two tasks")
def losses(study: Study) -> Figure | None:
    """Loss on the training stream, logarithmic; thin lines are seeds, thick lines their geometric mean.

    Nothing about a cipher can be in the weights, so without a memory its loss cannot leave ln K (dotted); the
    arithmetic needs no memory.
    """
    chance = math.log(num_letters(study))
    text = f"chance, ln {num_letters(study)} = {chance:.2f} nats"
    panels = []
    for kind, domain in zip(("episodic", "rule"), BENCHMARK_DOMAINS, strict=True):
        is_first = kind == "episodic"
        panels.append(
            Panel(
                marks=training_lines(study, study.arms, f"{kind}_loss", drawable, mean="geometric"),
                title=f"{domain} loss",
                x=_STEPS,
                y=Axis(label="cross-entropy, nats", scale="log"),
                references=[Reference(at=chance, text=text, is_above=True, on_right=True)] * is_first,
                is_labelled=is_first,
            )
        )
    return draw([panels], (9.0, 4.0), share=(False, "row")) if panels[0].marks else None


@figure("Banks taking sides")
def lateralization(study: Study) -> Figure | None:
    """Above: D_sep, +1 when only the left bank serves a domain and -1 when only the right does; cipher solid,
    arithmetic dashed, one line per seed. Which side the cipher goes to is chance, so there is no mean. Below: P_ct,
    the share outside a domain's own bank; 0 is one bank each, and both an even split and one bank for everything give
    0.5.
    """
    arms = [arm for arm in study.arms if has_curve(study, arm, "cross_talk")]
    upper, lower = [], []
    for arm in arms:
        sides = [
            training_lines(study, [arm], "separation", lambda f, d=d: f[:, :, d], dash=dash, mean=None)
            for d, dash in enumerate(("-", "--"))
        ]
        upper.append(
            Panel(
                marks=[line for lines in sides for line in lines],
                title=SIGN_LABELS.get(arm, arm),
                colour=ARM_COLOURS.get(arm, INK),
                y=Axis(
                    label="$D_{sep}$, left minus right",
                    limits=(-1.08, 1.08),
                    ticks=(-1.0, -0.5, 0.0, 0.5, 1.0),
                    has_grid=True,
                ),
            )
        )
        text = "no bank of its own" if arm == arms[0] else ""
        lower.append(
            Panel(
                marks=training_lines(study, [arm], "cross_talk", mean=None),
                x=_STEPS,
                y=Axis(label="$P_{ct}$", limits=(-0.02, 0.6)),
                references=[Reference(at=0.5, text=text, is_above=True, on_right=True)],
            )
        )
    return draw(
        [upper, lower],
        (3.0 * max(len(arms), 2), 5.0),
        legend=[
            Key(name=f"{d}, one line per seed", dash=s) for s, d in zip(("-", "--"), BENCHMARK_DOMAINS, strict=True)
        ],
        place="outside upper left",
        share=("col", "row"),
    )


@figure("Who serves what")
def shares(study: Study) -> Figure | None:
    """Mean share of each bank over a domain's tokens on the held-out episodes, one bar per seed in the order of the
    seeds. Colours that swap between the domains are a bank each; the same bar twice is no specialization.
    """
    panels, most_banks = [], 0
    for arm in study.arms:
        runs, marks, centres = study.where(arm=arm), [], []
        for place, domain in enumerate(BENCHMARK_DOMAINS):
            places = place * (len(runs) + 1.0) + np.arange(len(runs))
            shares = [study.values(of("share", domain, bank=bank), runs) for bank in range(len(BANK_COLOURS))]
            floor = np.zeros(len(runs))
            for bank, values in enumerate(values for values in shares if values):
                look = {"places": places.tolist(), "bottoms": floor, "colour": BANK_COLOURS[bank]}
                marks.append(Bars(heights=np.array(values), **look))
                floor, most_banks = floor + values, max(most_banks, bank + 1)
            centres.append(places.mean())
        if marks:
            panels.append(
                Panel(
                    marks=marks,
                    title=SIGN_LABELS.get(arm, arm),
                    colour=ARM_COLOURS.get(arm, INK),
                    x=Axis(ticks=centres, names=BENCHMARK_DOMAINS),
                    y=Axis(label="mean share of a bank", limits=(0.0, 1.0)),
                )
            )
    names = [bank_name(bank, most_banks) for bank in range(most_banks)]
    keys = [Key(name=n, colour=c, marker="patch") for n, c in zip(names, BANK_COLOURS, strict=False)]
    return draw([panels], (3.0 * max(len(panels), 2), 3.8), legend=keys, share=(False, True))


@figure("The cross-talk matrix as it learns")
def crosstalk(study: Study) -> Figure | None:
    """W_s starts as I + s (11^T - I) and is learned.

    Left: its common mode, diagonal plus off-diagonal, which passes what the banks share. Right: its differential mode,
    diagonal minus off-diagonal, which passes what sets them apart. Thin lines are seeds.
    """
    titles = ("common mode, 1 + s (B - 1) at the start", "differential mode, 1 - s at the start")
    panels = [
        Panel(
            marks=training_lines(study, study.arms, "coupling", lambda w, n=n: eigenvalues(w)[n]),
            title=title,
            x=_STEPS,
            y=Axis(label="eigenvalue of $W_s$"),
            references=[Reference(at=0.0)],
            is_labelled=n == 1,
        )
        for n, title in enumerate(titles)
    ]
    return draw([panels], (11.0, 3.8), share=(False, True)) if panels[0].marks else None


@figure("A memory before and after it is written")
def memory(study: Study) -> Figure | None:
    """Norm of every slot of one memory, blank and after each segment of an episode; each row is a slot, ordered within
    its bank by what it holds in the end. Where the banks have taken sides, a segment changes one of them only.
    """
    runs: list[RunRecord] = []
    for arm in ("inhibitory", "excitatory"):
        known = study.records_of(study.where(arm=arm))
        runs += [run for run in known if "snapshot" in run.extras][:1]
    norms = [_ordered_norms(run) for run in runs]
    most = max((float(found.max()) for found in norms), default=0.0) or 1.0
    bound = max((run.extras["snapshot"]["bound"] for run in runs), default=0.0)
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
                y=Axis(ticks=centres, names=[bank_name(bank, num_banks) for bank in range(num_banks)]),
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
