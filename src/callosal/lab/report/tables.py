"""Tables of a study, declared as rows of runs and columns of quantities; and what every study's report has."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from callosal.lab.measures.intervals import Scale, seed_interval, share_interval
from callosal.lab.report.claims import OURS, Claim, Verdict
from callosal.lab.report.study import LATERALIZED, Quantity, Study, of

NOTHING = "-"
MEAN = "Mean over seeds and its 95 % interval"
# What the names of arms say at more length.
SIGN_LABELS = {
    "no-memory": "no memory",
    "inhibitory": "inhibitory, s = -1",
    "uncoupled": "uncoupled, s = 0",
    "excitatory": "excitatory, s = +1",
}

# What stands in a cell: made of the runs of its row.
Cell = Callable[[Study, pd.DataFrame], str]
# A row's labels and its runs.
Row = tuple[Sequence[str], pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text.

    Attributes:
        title: what it shows.
        headers: of the columns.
        rows: the cells, as many in each row as there are headers.
        num_labels: leading columns that hold words and are set to the left.
        note: how to read it; a study states those of its own tables in its ``study.toml``.
        said: what stands for the names in braces there.
    """

    title: str
    headers: list[str]
    rows: list[list[str]]
    num_labels: int = 1
    note: str = ""
    said: Mapping[str, object] = field(default_factory=dict)


def number(value: float | None) -> str:
    """Write a number with the digits that matter.

    >>> [number(v) for v in (4213.4, 3.25812, 0.98765, 0.00987, 0.00012, 0.0, None)]
    ['4,213', '3.258', '0.988', '0.0099', '1.2e-4', '0', '-']
    """
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0.0:
        return "0"
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    if abs(value) >= 0.1:
        return f"{value:.3f}"
    return f"{value:.4f}" if abs(value) >= 0.001 else f"{value:.1e}".replace("e-0", "e-")


def percentage(share: float, digits: str = ".0f") -> str:
    """Write a share in per cent, for a sentence: no line ends between the number and its sign."""
    return f"{100 * share:{digits}}\N{NO-BREAK SPACE}%"


def number_range(values: Iterable[float]) -> str:
    """Write the numbers that runs have, from the smallest to the largest.

    >>> number_range([500, 1500]), number_range([3, 3])
    ('500 to 1,500', '3')
    """
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def mean(quantity: Quantity, *, of_size: bool = False) -> Cell:
    """Write the mean over seeds, of sizes where the sign is a mere label, and its 95 % interval."""

    def cell(study: Study, runs: pd.DataFrame) -> str:
        values, scale = study.values(quantity, runs), study.scale(quantity)
        return averaged([abs(value) for value in values], scale.of_sizes) if of_size else averaged(values, scale)

    return cell


def averaged(values: Sequence[float], scale: Scale, unit: str = "") -> str:
    """Write the mean of what seeds have and its 95 % interval, if there is one."""
    if not values:
        return NOTHING
    interval = seed_interval(values, scale)
    text = number(interval.estimate) + unit
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        text += f" [{number(interval.low)}, {number(interval.high)}]"
    return text


def each(quantity: Quantity, *, signed: bool = False) -> Cell:
    """Write the number of every run of the row, one after another."""

    def cell(study: Study, runs: pd.DataFrame) -> str:
        series = study.series(quantity).reindex(runs.index)
        # What a run lacks and what is undefined both show as nothing.
        return ", ".join(f"{value:+.4f}" if signed and not math.isnan(value) else number(value) for value in series)

    return cell


def each_count(quantity: Quantity) -> Cell:
    """Write the whole number, such as a step, of every run of the row; nothing for a run without one."""

    def cell(study: Study, runs: pd.DataFrame) -> str:
        series = study.series(quantity).reindex(runs.index)
        return ", ".join(NOTHING if math.isnan(value) else f"{value:,.0f}" for value in series)

    return cell


def count(_: Study, runs: pd.DataFrame) -> str:
    """Write how many runs the row has."""
    return str(len(runs))


def num_parameters(study: Study, runs: pd.DataFrame) -> str:
    """Write how many parameters the row's models train."""
    return f"{study.records_of(runs)[0].num_parameters:,}"


def tally(met: Sequence[bool]) -> str:
    """Write how many seeds do something, with Wilson's 95 % interval of their share."""
    if not met:
        return NOTHING
    interval = share_interval(sum(met), len(met))
    return f"{sum(met)} of {len(met)} [{interval.low:.2f}, {interval.high:.2f}]"


def lateralized(study: Study, runs: pd.DataFrame) -> str:
    """Count the seeds that lateralized."""
    return tally([value >= LATERALIZED for value in study.values(of("smaller |D_sep|"), runs)])


def opposite(study: Study, runs: pd.DataFrame) -> str:
    """Count the seeds whose domains lie on opposite sides."""
    return tally([value > 0.0 for value in study.values(of("smaller |D_sep|"), runs)])


def by_arm(study: Study, arms: Iterable[str] | None = None) -> list[Row]:
    """Return a row for each arm, in the study's order or in this one."""
    return [([arm], study.where(arm=arm)) for arm in (study.arms if arms is None else arms)]


def every_run(study: Study, runs: pd.DataFrame | None = None) -> list[Row]:
    """Return a row for each run, named by its arm and seed."""
    runs = study.runs if runs is None else runs
    names = zip(runs["arm"], runs["seed"], strict=True)
    return [([arm, str(seed)], runs.iloc[[n]]) for n, (arm, seed) in enumerate(names)]


def grid(
    study: Study,
    title: str,
    labels: Sequence[str],
    rows: Sequence[Row],
    columns: Mapping[str, Cell],
    note: str = "",
    *,
    num_labels: int | None = None,
    **said: object,
) -> Table:
    """Make a table of rows of runs and columns of cells."""
    return Table(
        title=title,
        headers=[*labels, *columns],
        rows=[[*names, *(cell(study, runs) for cell in columns.values())] for names, runs in rows],
        num_labels=len(labels) if num_labels is None else num_labels,
        note=note,
        said=said,
    )


def transposed(
    study: Study,
    title: str,
    labels: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Cell]],
    columns: Mapping[str, pd.DataFrame],
    **said: object,
) -> Table:
    """Make a table of rows of cells and columns of runs."""
    return Table(
        title=title,
        headers=[*labels, *columns],
        rows=[[*names, *(cell(study, runs) for runs in columns.values())] for names, cell in rows],
        num_labels=len(labels),
        said=said,
    )


# Every report has some of these.


def recall_columns(
    study: Study,
    cell: Callable[[Quantity], Cell],
    name: str = "{:,}",
    marks: Iterable[int] | None = None,
    condition: str | None = None,
) -> dict[str, Cell]:
    """Return a column for recall after each number of further segments or turns."""
    marks = study.marks(condition=condition) if marks is None else marks
    return {name.format(m): cell(of("recall", condition=condition, after=m)) for m in marks}


def claims_table(verdicts: Sequence[Verdict], claims: Sequence[Claim]) -> Table:
    """Set what was reported, or what we ask for, against what was measured."""
    by_id = {claim.id: claim for claim in claims}
    rows = []
    for verdict in verdicts:
        claim = by_id[verdict.id]
        measured = number(verdict.measured)
        if verdict.measured is not None:
            measured += claim.unit
        if verdict.low is not None and verdict.high is not None:
            measured += f" [{number(verdict.low)}, {number(verdict.high)}]"
        values = [math.nan if value is None else value for value in verdict.per_seed]
        met = tally([*map(claim.meets, values)])
        reported = OURS if verdict.source == OURS else verdict.reported
        rows.append([verdict.claim, reported, claim.wanted, measured, met, verdict.verdict])
    papers = [p for claim in claims for p in re.findall(r"\d{4}\.\d{5}", claim.source)]
    source = f"Reported in arXiv {' and '.join(dict.fromkeys(papers))}" if papers else "Nothing of this was reported"
    return Table(
        title="Reported against measured",
        headers=["claim", "reported", "wanted", "measured", "met by", "verdict"],
        rows=rows,
        num_labels=3,
        note=(
            f"{source}; what is wanted, per seed, is ours. Measured is the mean over seeds (geometric for "
            "ratios) and [its 95 % interval]; met by: seeds, and [the 95 % interval of their share]."
        ),
    )


def retention_table(study: Study, label: str, note: str = "", runs: pd.DataFrame | None = None) -> Table:
    """Give recall after every number of further segments, of every single run that counts."""
    return grid(
        study,
        "Every seed: recall after further segments",
        [label, "seed"],
        every_run(study, runs),
        recall_columns(study, each) | {"minutes": _minutes},
        note,
        num_labels=1,
    )


def off_recipe_table(study: Study, label: str, columns: Mapping[str, Cell]) -> Table:
    """Give the runs with settings changed by hand, apart from the rest."""
    apart = make_off_recipe(study)
    return grid(
        apart,
        "Off the recipe: no evidence",
        [label, "seed"],
        every_run(apart),
        {**columns, "changed": lambda s, runs: ", ".join(s.records_of(runs)[0].changed)},
        "Runs with settings changed by hand; they count for no claim and no other table.",
    )


def make_off_recipe(study: Study) -> Study:
    """Return the runs that do not count as a study of their own, to show them."""
    return Study(name=study.name, records=study.off_recipe, off_recipe=[])


def _minutes(study: Study, runs: pd.DataFrame) -> str:
    return f"{study.records_of(runs)[0].wall_seconds / 60:.1f}"


# The columns of losses and banks that most tables are made of.
BANKS = {"P_ct": of("P_ct"), "dominance": of("dominance"), "I(bank; domain)": of("information")}
LOSSES = {"episodic loss": of("loss", "episodic"), "rule loss": of("loss", "rule")}


def columns(cell: Callable[[Quantity], Cell], quantities: Mapping[str, Quantity]) -> dict[str, Cell]:
    """Return a column for each quantity, under its name."""
    return {name: cell(quantity) for name, quantity in quantities.items()}


def sides(domains: Iterable[str], name: str = "D_sep {}") -> dict[str, Cell]:
    """Return a column for the D_sep of each domain, whose sign says which bank."""
    return {name.format(domain): each(of("D_sep", domain), signed=True) for domain in domains}


def cell_tables(study: Study) -> list[Table]:
    """Return what a study of cells shows: banks, losses and recall by cell, then every seed."""
    smaller = {"smaller |D_sep|": of("smaller |D_sep|")}
    counted: dict[str, Cell] = {"seeds": count}
    domains = {tuple(row["domain"] for row in run.rows("D_sep")) for run in study.records}
    # Cells that differ in their domains share no column for one of them.
    own_sides = sides(domains.pop()) if len(domains) == 1 else columns(each, smaller)
    return [
        grid(
            study,
            "The cells: banks",
            ["cell"],
            by_arm(study),
            counted | {"lateralized": lateralized} | columns(mean, smaller | BANKS),
            f"{MEAN}, on held-out episodes. Lateralized: seeds whose domains are both at |D_sep| "
            f"{LATERALIZED:g} or more, with opposite signs, and Wilson's 95 % interval of their share. "
            "The smaller |D_sep| of the two domains is negative where their signs are equal.",
        ),
        grid(
            study,
            "The cells: losses and recall",
            ["cell"],
            by_arm(study),
            counted | columns(mean, LOSSES) | recall_columns(study, mean, "recall after {:,}"),
            f"{MEAN}; losses in nats, on held-out episodes: of the answers that must be remembered, "
            "and of what the rule predicts. Recall after so many segments of the rule.",
        ),
        grid(
            study,
            "Every seed: losses and banks",
            ["cell", "seed"],
            every_run(study),
            columns(each, LOSSES) | own_sides | columns(each, BANKS),
            "No seed is dropped. The sign of D_sep says which bank: + left, - right.",
            num_labels=1,
        ),
        retention_table(
            study,
            "cell",
            "Share of what was stored answered rightly after so many segments of the rule. Minutes: wall time of "
            "training and measuring the run.",
        ),
    ]
