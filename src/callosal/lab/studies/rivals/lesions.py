"""Recorded interventions with the two banks named by what they serve. Imports no torch.

Which bank is the cipher's is chance, so the banks of several seeds can only be averaged by name: the
cipher's bank is the one with the larger share of the first domain's tokens, the other is the other.
"""

from dataclasses import dataclass
from typing import Any

from callosal.lab.report.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """What is left of a run's two domains when a bank is touched: the cipher's first, then the other.

    Attributes:
        warm: accuracy of each domain with the memory as it was told.
        zeroed: the same with one bank's trace zeroed before the questions, for either bank.
        silenced: the same with one bank taken out altogether, prototypes and writes too.
        swapped: (own answers, the neighbour's answers) with one bank exchanged between two episodes.
    """

    warm: list[float]
    zeroed: tuple[list[float], list[float]]
    silenced: tuple[list[float], list[float]]
    swapped: tuple[list[float], list[float]]


def interventions(record: RunRecord) -> dict[str, Any] | None:
    """Return what ``measures.interventions`` recorded of a run; None if it was not asked to."""
    return record.probes.get("interventions")


def lesions(record: RunRecord) -> Lesions | None:
    """Name the banks of a run; None without interventions or without exactly two banks."""
    found, measures = interventions(record), record.evaluation["specialization"]
    if found is None or measures is None or len(found["lesioned"]) != 2:
        return None
    of_cipher = measures["shares"][0]
    own = of_cipher.index(max(of_cipher))

    def named(banks: list[list[float]]) -> tuple[list[float], list[float]]:
        return banks[own], banks[1 - own]

    return Lesions(
        warm=found["warm"],
        zeroed=named(found["lesioned"]),
        silenced=named(found["silenced"]),
        swapped=named(found["swapped_banks"]),
    )
