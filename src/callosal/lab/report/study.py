"""The runs of one folder as tidy rows: what counts, and every number that tables, plots and claims ask for."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from callosal.lab.measures.intervals import AMOUNT, NUMBER, SHARE, SIGNED_SHARE, Scale
from callosal.lab.report.records import ARMS, KEYS, RunRecord, Value

MIN_SEEDS = 3
# Both domains at least this far to sides of their own: what we ask of "saturated".
LATERALIZED = 0.99
# A model that recalls less than this after nothing in between has nothing that it could keep or lose.
LEAST_TO_KEEP = 0.5
# So many cells are named one by one in a note; of more, only the number is given.
MOST_NAMED = 4
# What the measures of any run can be; those that a study derives stand in its ``study.toml``.
SCALES: dict[str, Scale] = {
    **dict.fromkeys(("loss", "recall loss", "task loss", "state_floats", "train_seconds"), AMOUNT),
    **dict.fromkeys(("share", "P_ct", "dominance", "information", "accuracy", "recall", "own-bank share"), SHARE),
    "kept share of recall": SHARE,
    **dict.fromkeys(("own answers", "neighbour's answers", "other user's answers", "share of turns", "chance"), SHARE),
    **dict.fromkeys(("D_sep", "smaller |D_sep|"), SIGNED_SHARE),
    "differential mode": NUMBER,
}

Derive = Callable[[RunRecord], Iterable[Value]]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Which values of a run are meant: a measure, and exactly these keys of it (``records.KEYS``)."""

    measure: str
    domain: str | None = None
    condition: str | None = None
    after: int | None = None
    bank: int | None = None
    place: int | None = None
    fact: str | None = None


def of(measure: str, domain: str | None = None, condition: str | None = None, **where: Any) -> Quantity:
    """Name a quantity in short: ``of("loss", "episodic")``, ``of("recall", after=1000)``."""
    return Quantity(measure=measure, domain=domain, condition=condition, **where)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Recorded runs of one recipe.

    Attributes:
        name: of its folder.
        records: the runs that count, ordered by arm and seed.
        off_recipe: runs with settings changed by hand, which are no evidence.
        scales: what its measures can be.
    """

    name: str
    records: list[RunRecord]
    off_recipe: list[RunRecord]
    scales: Mapping[str, Scale] = field(default_factory=lambda: SCALES)

    @property
    def recipe(self) -> str:
        """The recipe's name; of the runs that do not count if there are no others."""
        return ", ".join(sorted({run.recipe for run in self.records or self.off_recipe}))

    @property
    def seeds(self) -> list[int]:
        """The seeds that any arm has."""
        return sorted({run.seed for run in self.records})

    @property
    def arms(self) -> list[str]:
        """The arms that have runs, in the order of every table."""
        return list(dict.fromkeys(run.arm for run in self.records))

    @property
    def has_arms(self) -> bool:
        """Whether this is a benchmark with its arms; the others are studies, with cells."""
        return {run.arm for run in self.records or self.off_recipe} <= set(ARMS)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: its arm, seed and factors, and the record's number as index."""
        rows = [{"arm": run.arm, "seed": run.seed} | run.factors for run in self.records]
        return pd.DataFrame(rows, columns=None if rows else ["arm", "seed"])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Every value of every run as a tidy row: arm, seed, factors, ``KEYS`` and value."""
        rows = [{"run": n} | dict(row) for n, run in enumerate(self.records) for row in run.values]
        values = pd.DataFrame(rows, columns=["run", *KEYS, "value"])
        return self.runs.join(values.set_index("run"), how="right").rename_axis("run").reset_index()

    @cached_property
    def _found(self) -> dict[tuple[Any, ...], pd.Series]:
        keys = list(KEYS)
        whole = self.frame[["run", *keys, "value"]].astype(dict.fromkeys(keys, object))
        whole = whole.where(whole.notna() | (whole.columns == "value"), None)
        groups: Any = whole.groupby(keys, dropna=False, sort=False)
        return {
            tuple(None if pd.isna(part) else part for part in key): group.set_index("run")["value"]
            for key, group in groups
        }

    def series(self, quantity: Quantity) -> pd.Series:
        """Return the quantity of every run that has it, by the run's number in :attr:`runs`."""
        key = tuple(getattr(quantity, name) for name in KEYS)
        return self._found.get(key, pd.Series(dtype=float)).astype(float)

    def values(self, quantity: Quantity, runs: pd.DataFrame | None = None) -> list[float]:
        """Return the quantity of these runs, in their order; those that do not have it are left out."""
        series = self.series(quantity)
        index = (self.runs if runs is None else runs).index
        return series[index[index.isin(series.index)]].tolist()

    def by_seed(self, quantity: Quantity, arm: str) -> dict[int, float]:
        """Return the quantity of an arm's runs by their seeds, to pair it with another arm's."""
        runs = self.having(quantity, self.where(arm=arm))
        return dict(zip(runs["seed"].tolist(), self.values(quantity, runs), strict=True))

    def scale(self, quantity: Quantity) -> Scale:
        """Return what a quantity can be.

        Raises:
            ValueError: nobody said so.
        """
        if quantity.measure not in self.scales:
            raise ValueError(
                f"nobody says what {quantity.measure!r} can be, so it has no interval; give it its ends under "
                "[scales] in the study's study.toml, such as [0, 1] or [0, inf]"
            )
        return self.scales[quantity.measure]

    def where(self, runs: pd.DataFrame | None = None, **factors: Any) -> pd.DataFrame:
        """Return the runs, of all or of some, with these factors; a list allows several values."""
        found: Any = self.runs if runs is None else runs
        for name, wanted in factors.items():
            allowed = wanted if isinstance(wanted, list | tuple) else [wanted]
            found = found.loc[found[name].isin(allowed) if name in found else []]
        return found

    def having(self, quantity: Quantity, runs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the runs, of all or of some, that have a quantity."""
        found: Any = self.runs if runs is None else runs
        return found.loc[found.index.isin(self.series(quantity).index)]

    def records_of(self, runs: pd.DataFrame) -> list[RunRecord]:
        """Return the records of these runs."""
        return [self.records[number] for number in runs.index]

    def marks(self, measure: str = "recall", condition: str | None = None) -> list[int]:
        """Return after how many further segments or turns any run was asked."""
        return sorted(
            {row["after"] for run in self.records for row in run.rows(measure) if row.get("condition") == condition}
        )

    @property
    def notes(self) -> list[str]:
        """What a reader must know before trusting the tables."""
        notes = []
        if self.off_recipe:
            notes.append(
                f"{_count(len(self.off_recipe), 'run')} with settings changed by hand left out of "
                "every claim, table and figure."
            )
        absent = [arm for arm in ARMS if arm not in self.arms] if self.has_arms else []
        if absent:
            notes.append(f"No runs of: {', '.join(absent)}.")
        notes += self._missing_seeds()
        if len(self.seeds) < MIN_SEEDS:
            notes.append(
                f"{_count(len(self.seeds), 'seed')} on record; nothing counts as reproduced with "
                f"fewer than {MIN_SEEDS}."
            )
        return notes

    def _missing_seeds(self) -> Iterator[str]:
        known = {arm: set(self.where(arm=arm)["seed"]) for arm in self.arms}
        missing = {arm: sorted(set(self.seeds) - seeds) for arm, seeds in known.items()}
        missing = {arm: seeds for arm, seeds in missing.items() if seeds}
        if len(missing) > MOST_NAMED:
            yield (
                f"Not finished: {len(missing)} of {len(self.arms)} cells lack a seed that others "
                f"have, {_count(sum(map(len, missing.values())), 'run')} in all."
            )
            return
        for arm, seeds in missing.items():
            yield f"{arm} lacks seed {', '.join(map(str, seeds))}."


def derive_common(run: RunRecord) -> Iterator[Value]:
    """Give what follows from the values of any run: the D_sep of both sides, the task loss, what is kept."""
    separation = [row["value"] for row in run.rows("D_sep") if "place" not in row]
    if separation:
        smallest = min(abs(value) for value in separation)
        is_apart = min(separation) < 0.0 < max(separation)
        yield {"measure": "smaller |D_sep|", "value": smallest if is_apart else -smallest}
    outside = run.get("P_ct")
    if outside is not None:
        yield {"measure": "own-bank share", "value": 1.0 - outside}
    losses = [run.get("loss", domain=kind) for kind in ("episodic", "rule")]
    if None not in losses:
        yield {"measure": "task loss", "value": sum(filter(None, losses))}
    for condition in dict.fromkeys(row.get("condition") for row in run.rows("recall")):
        marks = {r["after"]: r["value"] for r in run.rows("recall") if r.get("condition") == condition}
        if 0 in marks and max(marks) > 0:
            share = marks[max(marks)] / marks[0] if marks[0] >= LEAST_TO_KEEP else math.nan
            where = {} if condition is None else {"condition": condition}
            # More than was recalled at once is guessed, not kept; NaN, as the first of the two, stays.
            yield {"measure": "kept share of recall", "value": min(share, 1.0)} | where


def evidence(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that count: on their recipe, each once, ordered by arm and seed.

    Raises:
        ValueError: runs of several recipes, of one arm with several configurations, or on several benchmarks, none of
            which can be compared.
    """
    found: dict[tuple[str, int], RunRecord] = {}
    for record in (record for record in records if not record.changed):
        found.setdefault((record.arm, record.seed), record)
        if found[record.arm, record.seed].fingerprint != record.fingerprint:
            raise ValueError(
                f"{record.arm}, seed {record.seed}, is on record with two configurations; keep "
                "those of one version of the recipe in runs.jsonl"
            )
    known = list(ARMS)
    kept = sorted(found.values(), key=lambda run: (known.index(run.arm) if run.arm in known else len(known), run.seed))
    recipes = sorted({record.recipe for record in kept})
    if len(recipes) > 1:
        raise ValueError(
            f"runs of several recipes lie together: {', '.join(recipes)}; a study is of one recipe, "
            "so give each a folder of its own"
        )
    settings: dict[str, dict] = {}
    for record in kept:
        own = {name: value for name, value in record.config.items() if name != "seed"}
        if settings.setdefault(record.arm, own) != own:
            raise ValueError(
                f"runs of the arm {record.arm} have different configurations (seed {record.seed} is "
                "the first to differ); keep those of one version of the recipe in runs.jsonl"
            )
    # The cells of a study may differ in anything; its claims say which of them they compare.
    are_arms = set(settings) <= set(ARMS)
    if are_arms and any(o["episodes"] != kept[0].config["episodes"] for o in settings.values()):
        raise ValueError("the arms were run on different episodes; they cannot be compared")
    return kept


def make_study(
    name: str,
    records: Sequence[RunRecord],
    cells: Sequence[str] = (),
    derive: Derive = lambda run: (),
    scales: Mapping[str, Scale] | None = None,
) -> Study:
    """Sort runs into those that count and those off their recipe, and add what follows from their values.

    Args:
        name: of the folder.
        records: all of its runs.
        cells: those that come first, in this order, whatever run ended first.
        derive: gives a study's own values that follow from those of a run, common ones included.
        scales: what the measures that it derives can be.

    Raises:
        ValueError: runs that cannot be compared; see :func:`evidence`.
    """

    def whole(run: RunRecord) -> RunRecord:
        run = replace(run, values=[*run.values, *derive_common(run)])
        return replace(run, values=[*run.values, *derive(run)])

    places = {cell: place for place, cell in enumerate(cells)}
    kept = evidence(records)
    if cells:
        kept.sort(key=lambda run: (places.get(run.arm, len(places)), run.seed))
    return Study(
        name=name,
        records=[whole(run) for run in kept],
        off_recipe=[whole(run) for run in records if run.changed],
        scales=SCALES | dict(scales or {}),
    )


def seed_range(seeds: Sequence[int]) -> str:
    """Write seeds as the command line takes them.

    >>> seed_range([0, 1, 2]), seed_range([3]), seed_range([1, 5])
    ('0-2', '3', '1,5')
    """
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
