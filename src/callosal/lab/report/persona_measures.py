"""What the persona study's report shows of a run, and of which runs."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from callosal.lab.report.facts import number_range
from callosal.lab.report.records import RunRecord
from callosal.lab.report.study import Study
from callosal.lab.report.tables import Measure
from callosal.lab.studies.persona.claims import (
    MAIN,
    VARIANTS,
    chance,
    cross_talk,
    known,
    mean_over_memories,
    rule_change,
    without_bank,
)

# What is said between the sessions.
Between = Literal["rules", "chatter"]
BETWEEN: tuple[Between, ...] = get_args(Between)
LONG = 100
FACTS, RULES = 0, 1
TELLING, ASKING, RULE_TURNS = 0, 1, 2


def answered(key: str) -> Callable[[RunRecord], float]:
    """Return what gives a run's accuracy under a condition by its name."""
    return lambda run: run.evaluation[key]


# Under which condition the questions about the facts are asked, and the rules read.
ABOUT_FACTS: tuple[Measure, ...] = (
    Measure(name="no memory", value=answered("no_memory")),
    Measure(name="memory", value=known),
    Measure(name="memory reset", value=answered("reset")),
    Measure(name="another user's memory", value=answered("others")),
    Measure(name="answers as that user", value=answered("as_others")),
    Measure(name="facts in context", value=answered("in_context")),
    Measure(name="without facts' bank", value=without_bank(own=True, domain=FACTS)),
    Measure(name="without other bank", value=without_bank(own=False, domain=FACTS)),
)
OF_RULES: tuple[Measure, ...] = (
    Measure(name="no memory", value=answered("rule_before")),
    Measure(name="memory", value=answered("rule")),
    Measure(name="without facts' bank", value=without_bank(own=True, domain=RULES)),
    Measure(name="without other bank", value=without_bank(own=False, domain=RULES)),
)
RECALL = Measure(name="recall", value=known)
CROSS_TALK = Measure(name="P_ct", value=cross_talk)
RULE_CHANGE = Measure(name="rule change", value=rule_change)


def after(run: RunRecord, between: Between) -> dict[str, Any] | None:
    """Return recall after turns of a kind; None where it was not recorded."""
    return run.retention if between == "rules" else run.probes.get("after_chatter")


def recall_through(between: Between, mark: int, name: str) -> Measure:
    """Return the measure of recall after so many turns of a kind; None where it was not asked."""

    def value(run: RunRecord) -> float | None:
        found = after(run, between)
        if found is None or mark not in found["distractors"]:
            return None
        return found["recall"][found["distractors"].index(mark)]

    return Measure(name=name, value=value)


LATE = tuple(recall_through(kind, LONG, f"after {LONG} of {kind}") for kind in BETWEEN)


def marks_through(runs: Iterable[RunRecord], between: Between) -> list[int]:
    """Return the numbers of turns of a kind after which any run was asked."""
    found = (after(run, between) for run in runs)
    return sorted({mark for part in found if part is not None for mark in part["distractors"]})


def main_cells(study: Study) -> dict[str, list[RunRecord]]:
    """Return the runs of each host's own cell, where there are any."""
    return _that_ran(study, MAIN)


def variant_cells(study: Study) -> dict[str, list[RunRecord]]:
    """Return the runs of the Llama host's variants, the inhibitory memory first."""
    return _that_ran(study, VARIANTS)


def chance_of(study: Study) -> float | None:
    """Return the accuracy of a guess, which is the same in all cells; None if no run says it."""
    return next((found for found in map(chance, study.records) if found is not None), None)


def trained_for(runs: Iterable[RunRecord]) -> str:
    """Say for how many steps the memories of these runs were trained."""
    return f"{number_range(run.config['training']['num_steps'] for run in runs)} steps"


def separation_size(domain: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the size of D_sep, whose sign is chance, averaged over what is attached."""
    return lambda run: mean_over_memories(run, lambda found: abs(found["separation"][domain]))


def left_separation(domain: int) -> Callable[[RunRecord], float | None]:
    """Return what gives D_sep with its sign, averaged over what is attached."""
    return lambda run: mean_over_memories(run, lambda found: found["separation"][domain])


def left_share(kind: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the left bank's mean share in turns that tell, that ask, or of rules."""

    def value(run: RunRecord) -> float | None:
        if cross_talk(run) is None:
            return None
        return sum(shares[kind] for shares in run.evaluation["shares"]) / len(
            run.evaluation["shares"]
        )

    return value


def tellers_share(kind: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the share, in turns of a kind, of the bank that takes most of the telling.

    Which side that is is chance, so shares of the left bank cannot be averaged over seeds.
    """

    def value(run: RunRecord) -> float | None:
        told, found = left_share(TELLING)(run), left_share(kind)(run)
        if told is None or found is None:
            return None
        return found if told >= 0.5 else 1.0 - found

    return value


def _that_ran(study: Study, cells: dict[Any, str]) -> dict[str, list[RunRecord]]:
    found = {name: study.of(cell) for name, cell in cells.items()}
    return {name: runs for name, runs in found.items() if runs}


def about_kind(kind: str, way: int) -> Callable[[RunRecord], float | None]:
    """Return what gives the accuracy about a kind of fact: 0 by memory, 1 in context; None if never asked."""

    def value(run: RunRecord) -> float | None:
        found = run.evaluation["by_attribute"].get(kind)
        return None if found is None else found[way]

    return value


def differential(run: RunRecord) -> float | None:
    """Return by how much W_s tells two banks apart after training, averaged over what is attached.

    It is the eigenvalue of the banks' difference, 1 - s at the start; None where it was not recorded.
    """
    found = [w for w in run.probes.get("coupling", []) if len(w) == 2]
    sizes = [(w[0][0] - w[0][1] - w[1][0] + w[1][1]) / 2 for w in found]
    return sum(sizes) / len(sizes) if sizes else None
