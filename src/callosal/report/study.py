"""The runs of one folder, sorted into what counts and what does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from callosal.studies.claims import MIN_SEEDS, evidence
from callosal.studies.records import ARMS, RunRecord, read_records

SIGN_LABELS = {
    "no-memory": "no memory",
    "inhibitory": "inhibitory, s = -1",
    "uncoupled": "uncoupled, s = 0",
    "excitatory": "excitatory, s = +1",
}


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
    def notes(self) -> list[str]:
        """What a reader must know before trusting the tables."""
        notes = []
        if self.off_recipe:
            notes.append(
                f"{_count(len(self.off_recipe), 'run')} with settings changed by hand left out of "
                "every claim, table and figure."
            )
        absent = [arm for arm in ARMS if arm not in self.arms]
        if absent:
            notes.append(f"No runs of: {', '.join(absent)}.")
        for arm in self.arms:
            missing = sorted(set(self.seeds) - {run.seed for run in self.of(arm)})
            if missing:
                notes.append(f"{arm} lacks seed {', '.join(map(str, missing))}.")
        if len(self.seeds) < MIN_SEEDS:
            notes.append(
                f"{_count(len(self.seeds), 'seed')} on record; nothing counts as reproduced with "
                f"fewer than {MIN_SEEDS}."
            )
        return notes

    def of(self, arm: str) -> list[RunRecord]:
        """Return an arm's runs, by seed."""
        return [run for run in self.records if run.arm == arm]


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
