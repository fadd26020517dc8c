"""The study of SmolLM2: a memory behind a late layer of a frozen pretrained model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from callosal.lab.report.records import RunRecord
from callosal.lab.runner import Report
from callosal.lab.runs import run_name
from callosal.lab.studies.smollm.cells import (
    ABLATIONS,
    ALONE,
    CUED,
    EARLIER,
    EARLIER_LAYER,
    FIRST_ABLATIONS,
    FIRST_VARIANTS,
    LAYER,
    LONGER,
    SECOND,
    TACTFUL,
    TOGETHER,
    VARIANTS,
)
from callosal.lab.studies.smollm.lessons import Lessons
from callosal.lab.studies.smollm.texts import BookConfig
from callosal.lab.tasks.profile import CUE, Wordings
from callosal.memory import MemoryConfig
from callosal.memory.config import ADDED
from callosal.training.loop import TrainingConfig

RECIPE = "smollm"
WIDTH = 576


@dataclass(frozen=True, kw_only=True)
class SmolRun:
    """Everything that determines the numbers of a run.

    Attributes:
        recipe: the study.
        arm: the name of its cell.
        seed: of memory and sessions; the turns that sessions are made of are the same for all.
        layer: the memory stands behind it, counted from 0.
        memory: the memory.
        book: the turns that it learns from.
        lessons: what it is taught.
        contrasting: how it learns before that to find what was said without slots; None leaves this out.
        pointing: how it learns to point at the answers, without the model above it.
        training: how it then learns to make the model say them.
        num_users: asked in every measurement.
        marks: increasing numbers of turns of chatter between the sessions.
        changed: what was set by hand; such a run is no evidence.
    """

    recipe: str = RECIPE
    arm: str
    seed: int
    layer: int = LAYER
    memory: MemoryConfig
    book: BookConfig
    lessons: Lessons
    pointing: TrainingConfig
    training: TrainingConfig
    num_users: int = 40
    marks: tuple[int, ...] = (0, 10, 100, 1000)
    changed: tuple[str, ...] = ()
    contrasting: TrainingConfig | None = field(default=None, metadata=ADDED)

    @property
    def name(self) -> str:
        """A readable, unique folder name."""
        return run_name(self)


def run(config: SmolRun, folder: Path, report: Report = lambda name, share, text: None) -> RunRecord:
    """Run one; see :func:`callosal.lab.studies.smollm.run.run`, which needs transformers."""
    from callosal.lab.studies.smollm import run as smollm  # noqa: PLC0415

    return smollm.run(config, folder, report)


def configs(seeds: Sequence[int]) -> list[SmolRun]:
    """Return the study's runs: both recipes' main cells and variants, then what is changed on one seed alone."""
    runs = [cell(ALONE, seeds[0])]
    for variants in (VARIANTS, FIRST_VARIANTS):
        main, *others = variants
        runs += [cell(main, seed) for seed in seeds]
        runs += [cell(arm, seed) for seed in seeds for arm in others]
    runs += [cell(arm, seed) for arm in (TACTFUL, CUED) for seed in seeds]
    runs += [cell(arm, seeds[0]) for arm in (*ABLATIONS, EARLIER)]
    runs += [cell(TOGETHER, seed) for seed in seeds[1:2]]
    return [*runs, *(cell(arm, seeds[0]) for arm in (LONGER, *FIRST_ABLATIONS))]


def cell(arm: str, seed: int, **memory: Any) -> SmolRun:
    """Return a run of the study; what is not named of the memory is as in its cell."""
    fields: dict[str, Any] = {
        "width": WIDTH,
        "inner_width": 128,
        "num_slots": 128,
        "observe": True,
        "embedded": True,
        "writers": "lagged",
        "salience": "learned",
        "output_gate": True,
        "calibrated": True,
        "learn_crosstalk": False,
    }
    book = BookConfig(num_stated=3600, num_chatter=600, num_rules=150, words=Wordings(), seed=0)
    if arm not in (*SECOND, TOGETHER):
        fields |= {"inertia": 0.2} | (FIRST_VARIANTS | FIRST_ABLATIONS).get(arm, {})
        return SmolRun(
            arm=arm,
            seed=seed,
            memory=MemoryConfig(**fields | memory),
            book=book,
            lessons=Lessons(),
            pointing=_stage(1200, 3e-2),
            training=_speaking(400 if arm == LONGER else 100, 1e-3),
        )
    fields |= {"normalised": "retrieved", "gates": "hidden", "temperature": 60.0, "inertia": 1.0, "write_scale": 1.0}
    fields |= SECOND.get(arm, {})
    steps, speaking, quiet = 1000, 20, Lessons(loudness=8.0, blank=0.02, level=0.1)
    book = replace(book, num_ordinary=400)
    if arm in (TACTFUL, CUED):
        book, quiet = replace(book, num_dialogues=320), replace(quiet, tact=1.0)
    if arm == CUED:
        book, quiet = replace(book, cue=CUE), replace(quiet, ending=True)
    if arm == TOGETHER:
        steps, speaking, quiet = 900, 60, Lessons(loudness=5.0, blank=0.05)
    return SmolRun(
        arm=arm,
        seed=seed,
        layer=EARLIER_LAYER if arm == EARLIER else LAYER,
        memory=MemoryConfig(**fields | memory),
        book=book,
        lessons=replace(quiet, noise=0.15, spelling=8.0, saying=("output_gate",)),
        contrasting=_stage(600, 1e-2),
        pointing=_stage(steps, 1e-2),
        training=_speaking(speaking, 3e-3),
    )


def _stage(num_steps: int, rate: float) -> TrainingConfig:
    return TrainingConfig(num_steps=num_steps, learning_rate=rate, batch_size=16, log_every=20)


def _speaking(num_steps: int, rate: float) -> TrainingConfig:
    return TrainingConfig(num_steps=num_steps, learning_rate=rate, batch_size=8, log_every=10, checkpoint_every=25)
