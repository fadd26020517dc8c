"""What the report of a study consists of; every folder of ``lab/studies`` declares one."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from matplotlib.figure import Figure

from callosal.lab.measures.intervals import Scale
from callosal.lab.report.claims import Claim, read_claims
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Derive, Study
from callosal.lab.report.tables import Cell, Table, number_range
from callosal.lab.report.upgrade import domain_names


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """A figure that a report may hold.

    Attributes:
        name: of its file.
        title: of its place on the page.
        caption: how to read it.
        draw: makes it; None where the study does not have what it shows.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Study], Figure | None]


def figure(title: str) -> Callable[[Callable[[Study], Figure | None]], FigureKind]:
    """Make a figure of the function that draws it: its name is the file's, its docstring the caption."""

    def made(draw: Callable[[Study], Figure | None]) -> FigureKind:
        name = draw.__name__.replace("_", "-")
        caption = " ".join((draw.__doc__ or "").split())
        return FigureKind(name=name, title=title, caption=caption, draw=draw)

    return made


def episode_facts(study: Study) -> dict[str, str]:
    """Say what a study of ciphers and rules had to remember, how it learned and how large it is."""
    runs = study.records
    configs = [run.config for run in runs]
    episodes = [config["episodes"] for config in configs]
    shown = number_range(config["pairs_per_segment"] for config in episodes)
    if study.has_arms:
        first = {run.arm: run.num_parameters for run in reversed(runs)}
        parameters = "; ".join(f"{arm} {first[arm]:,}" for arm in study.arms)
    else:
        parameters = number_range(run.num_parameters for run in runs)
    return {
        "domains": _domains(runs),
        "remembered": (
            f"{number_range(config['num_letters'] for config in episodes)} letters, a fresh mapping "
            f"per episode, {shown} pairs to a segment"
        ),
        "training": (
            f"{number_range(config['training']['num_steps'] for config in configs)} steps of "
            f"{number_range(config['training']['batch_size'] for config in configs)} fresh episodes"
        ),
        "evaluation": (
            f"{number_range(config['evaluation_episodes'] for config in configs)} held-out episodes, "
            "the same for every seed"
        ),
        "parameters": parameters,
    }


def declared(package: str) -> dict[str, Any]:
    """Return what stands in the ``study.toml`` of a study's package."""
    return tomllib.loads((files(package) / "study.toml").read_text())


def limit_of(package: str, name: str) -> float:
    """Return the limit that a claim states (as its row has it), for figures to show."""
    (row,) = (row for row in declared(package)["claims"] if row["id"] == name)
    return row["at_least"] if "at_least" in row else row["at_most"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a report consists of; its words and claims stand in ``study.toml`` beside the study's code.

    Attributes:
        title: of the page; ``{}`` stands for the recipe's name.
        lead: what was asked, in two or three sentences.
        tables: makes the tables, beside that of the claims and that of runs off the recipe.
        off_recipe: columns of the latter.
        summary: says in one sentence what the first figure shows.
        question: what ``callosal study`` answers; "" where another verb makes the runs.
        seeds: that the committed results have, fixed before looking.
        claims: what the runs are held against.
        figures: in their order on the page; the first stands at its top.
        remark: what a reader of this page must know beside the definitions.
        facts: says what was run, line by line.
        derive: gives values that follow from those of a run, for tables, figures and claims.
        scales: what the measures of these values can be; in ``study.toml`` their ends.
        cells: in the order of every table and figure; others follow.
        label: what an arm is called in the tables.
        notes: how to read the study's own tables, by their titles.
    """

    title: str
    lead: str
    tables: Callable[[Study], list[Table]]
    off_recipe: Mapping[str, Cell]
    summary: Callable[[Study], str]
    question: str = ""
    seeds: tuple[int, ...] = ()
    claims: tuple[Claim, ...] = ()
    figures: tuple[FigureKind, ...] = ()
    remark: str = ""
    facts: Callable[[Study], dict[str, str]] = episode_facts
    derive: Derive = lambda run: ()
    scales: Mapping[str, Scale] = field(default_factory=dict)
    cells: tuple[str, ...] = ()
    label: str = "cell"
    notes: Mapping[str, str] = field(default_factory=dict)

    def noted(self, table: Table) -> Table:
        """Return a table with the note that the study has for it, if it has one."""
        note = self.notes.get(table.title, table.note)
        return replace(table, note=" ".join(note.split()).format(**table.said))

    @classmethod
    def read(cls, package: str, *, as_claimed: bool = False, **made: Any) -> "Layout":
        """Read a study's words and claims from ``study.toml`` in its package, and add what code makes.

        ``as_claimed`` orders its cells as the claims ask about them.
        """
        words = declared(package)
        scales = {name: Scale(low=low, high=high) for name, (low, high) in words.pop("scales", {}).items()}
        words = {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in words.items()}
        claims = read_claims(words.pop("claims", ()))
        seeds = tuple(words.pop("seeds", ()))
        if as_claimed:
            made["cells"] = tuple(dict.fromkeys(arm for claim in claims for arm in claim.arms))
        fields: dict[str, Any] = words | made
        return cls(**fields, claims=claims, seeds=seeds, scales=scales)


def _domains(runs: Iterable[RunRecord]) -> str:
    """Name the domains, or say how many there are where runs differ in them."""
    found = {tuple(domain_names(run.config)) for run in runs}
    if len(found) == 1:
        return ", ".join(found.pop())
    return f"{number_range(map(len, found))}, by cell"
