"""The runs of one folder, sorted into what counts and what does not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from callosal.lab.report.claims import MIN_SEEDS, evidence
from callosal.lab.report.records import ARMS, RunRecord, read_records

SIGN_LABELS = {
    "no-memory": "no memory",
    "inhibitory": "inhibitory, s = -1",
    "uncoupled": "uncoupled, s = 0",
    "excitatory": "excitatory, s = +1",
}
# What the domains are where a configuration does not name them.
DOMAINS = ("cipher", "arithmetic")
# So many cells are named one by one in a note; of more, only the number is given.
MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Study:
    """Recorded runs of one recipe.

    Attributes:
        name: of its folder.
        records: the runs that count, ordered by arm and seed.
        off_recipe: runs with settings changed by hand, which are no evidence.
    """

    name: str
    records: list[RunRecord]
    off_recipe: list[RunRecord]

    @property
    def recipe(self) -> str:
        """The recipe's name; of the runs that do not count if there are no others."""
        return ", ".join(sorted({run.recipe for run in self.records or self.off_recipe}))

    @property
    def arms(self) -> list[str]:
        """The arms that have runs, in the order of every table."""
        return list(dict.fromkeys(run.arm for run in self.records))

    @property
    def seeds(self) -> list[int]:
        """The seeds that any arm has."""
        return sorted({run.seed for run in self.records})

    @property
    def num_letters(self) -> int:
        """K, the letters of the cipher."""
        return self.records[0].config["episodes"]["num_letters"]

    @property
    def has_arms(self) -> bool:
        """Whether this is a benchmark with its arms; the others are studies, with cells."""
        return {run.arm for run in self.records or self.off_recipe} <= set(ARMS)

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

    def in_order(self, cells: Sequence[str]) -> "Study":
        """Return the study with some cells first, in this order, whatever run ended first."""
        places = {cell: place for place, cell in enumerate(cells)}
        last = len(places)
        order = sorted(self.records, key=lambda run: (places.get(run.arm, last), run.seed))
        return replace(self, records=order if cells else self.records)

    def _missing_seeds(self) -> Iterator[str]:
        missing = {
            arm: sorted(set(self.seeds) - {run.seed for run in self.of(arm)}) for arm in self.arms
        }
        missing = {arm: seeds for arm, seeds in missing.items() if seeds}
        if len(missing) > MOST_NAMED:
            yield (
                f"Not finished: {len(missing)} of {len(self.arms)} cells lack a seed that others "
                f"have, {_count(sum(map(len, missing.values())), 'run')} in all."
            )
            return
        for arm, seeds in missing.items():
            yield f"{arm} lacks seed {', '.join(map(str, seeds))}."

    def of(self, arm: str) -> list[RunRecord]:
        """Return an arm's runs, by seed."""
        return [run for run in self.records if run.arm == arm]


def domains_of(run: RunRecord) -> tuple[str, ...]:
    """Return the names of a run's domains."""
    return tuple(run.config["episodes"].get("domains") or DOMAINS)


def make_study(name: str, records: Sequence[RunRecord]) -> Study:
    """Sort runs into those that count and those off their recipe.

    Raises:
        ValueError: runs that cannot be compared; see ``claims.evidence``.
    """
    return Study(
        name=name,
        records=evidence(records),
        off_recipe=[run for run in records if run.changed],
    )


def load_study(folder: Path) -> Study:
    """Read the runs of a folder.

    Raises:
        RecordError: there are none, or the file is damaged.
        ValueError: runs that cannot be compared.
    """
    return make_study(folder.resolve().name, read_records(folder))


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
