"""The studies by name: what each asks, and its runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callosal.lab.report.records import RunRecord
from callosal.lab.runner import Report, Run, run
from callosal.lab.studies.banks import recipe as banks
from callosal.lab.studies.capacity import recipe as capacity
from callosal.lab.studies.hard import recipe as hard
from callosal.lab.studies.map import recipe as lateralization_map
from callosal.lab.studies.rivals import recipe as rivals
from callosal.lab.studies.sequel import recipe as sequel


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question and the runs that answer it.

    Attributes:
        question: in one sentence.
        configs: makes the runs of some seeds.
        seeds: those that the committed results have, fixed before looking.
        run: makes a record of a configuration.
    """

    question: str
    configs: Callable[[Sequence[int]], Sequence[Any]]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    run: Run = run


def _persona_configs(seeds: Sequence[int]) -> Sequence[Any]:
    # Its hosts are of transformers, an optional extra.
    from callosal.lab.studies.persona import recipe as persona  # noqa: PLC0415

    return persona.configs(seeds)


def _run_persona(config: Any, folder: Path, report: Report) -> RunRecord:
    from callosal.lab.studies.persona import run as persona_run  # noqa: PLC0415

    return persona_run.run(config, folder, report)


STUDIES: dict[str, Study] = {
    "map": Study(
        question="When do the banks lateralize: sign, gain, plasticity, homeostasis, context, length?",
        configs=lateralization_map.configs,
    ),
    "sequel": Study(
        question="Does a slow buffer make the banks lateralize, and abruptly, as arXiv 2603.07217 says?",
        configs=sequel.configs,
    ),
    "hard": Study(
        question="Where does it break: one alphabet, unequal frequency, mixed segments?",
        configs=hard.configs,
    ),
    "banks": Study(
        question="Do more than two banks find a domain each?",
        configs=banks.configs,
        # On earlier ones the mechanism was chosen (LOG.md), so they are no evidence for it.
        seeds=(30, 31, 32, 33, 34),
    ),
    "capacity": Study(
        question="How many pairs do how many slots hold?",
        configs=capacity.configs,
        seeds=(0, 1, 2),
    ),
    "rates": Study(
        question="Which learning rate suits each rival?",
        configs=rivals.rate_configs,
        seeds=(rivals.RATE_SEED,),
    ),
    "rivals": Study(
        question="How does this memory compare with others, and is the memory doing it?",
        configs=rivals.configs,
    ),
    "persona": Study(
        question="Does a frozen language model with a memory know in a later session what it was told?",
        configs=_persona_configs,
        # On seed 0 the number of steps was chosen (LOG.md), so it is no evidence.
        seeds=(1, 2, 3),
        run=_run_persona,
    ),
}
