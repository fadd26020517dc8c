"""The lesson of the demo's second tab: a small model is told a cipher, distracted, and asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from torch import Tensor

from callosal.lab.measures.recording import record_shares
from callosal.lab.measures.retention import CHUNK, Retention, measure_retention
from callosal.lab.models.transformer import Transformer
from callosal.lab.runner import load_trained, open_place, require_writable
from callosal.lab.runs import RunConfig, build_model, fingerprint, load_config
from callosal.lab.studies.benchmark.recipe import quick
from callosal.lab.tasks import Episodes, sample_episodes
from callosal.lab.tasks.cipher import chance_recall
from callosal.lab.training import train
from callosal.memory import LateralMemory, MemoryState, diff, reset_banks
from callosal.training import UNSCORED
from callosal.training.checkpoint import CheckpointError, load_checkpoint
from callosal.training.seeding import generator_for

MARKS = (0, 1, 3, 10, 30, 100, 300)
NUM_CIPHERS = 16
Progress = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """A segment as it was read.

    Attributes:
        domain: of its first token, such as "cipher".
        tokens: in words.
        shares: of its tokens.
        marks: for each token whether it was answered rightly; None where nothing was asked.
    """

    domain: str
    tokens: tuple[str, ...]
    shares: Float[Tensor, "time bank"]
    marks: tuple[bool | None, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A cipher told, and asked after some distractors.

    Attributes:
        letters: those that were asked, in their order in the alphabet.
        images: what each stands for.
        answers: what the model said.
        told: the segments that told it, and those of the rules between them.
        asked: the segments that asked for the cipher.
        distraction: mean shares of the distractors; None without any.
        state: the memory that was asked, in one row.
        moved: how far each bank moved since the telling, as a share of its norm.
    """

    letters: tuple[str, ...]
    images: tuple[str, ...]
    answers: tuple[str, ...]
    told: tuple[Segment, ...]
    asked: tuple[Segment, ...]
    distraction: Float[Tensor, "bank"] | None
    state: MemoryState
    moved: tuple[float, ...]

    @property
    def num_right(self) -> int:
        """How many letters were answered rightly."""
        return sum(image == answer for image, answer in zip(self.images, self.answers, strict=True))


class Student:
    """A small trained model with a lateralized memory, which learns a cipher by being told it.

    Args:
        model: in evaluation mode.
        config: the run that trained it.

    Raises:
        ValueError: it has no memory with banks, or was never trained on ciphers.
    """

    def __init__(self, model: Transformer, config: RunConfig) -> None:
        memory = model.memory_at(config.memory_behind)
        if not isinstance(memory, LateralMemory) or config.episodes.domains[0] != "cipher":
            raise ValueError(
                f"the run {config.name} has no lateralized memory taught by ciphers; give one such as "
                "callosal train --recipe quick --arm inhibitory makes"
            )
        self.model, self.config, self.memory = model, config, memory

    @cached_property
    def retention(self) -> Retention:
        """Recall of other ciphers after more and more distractors."""
        marks = MARKS if self.most_distractors else (0,)
        stream = generator_for(0, "demo", 1)
        return measure_retention(self.model, self.config.episodes, marks, NUM_CIPHERS, stream)

    @property
    def most_distractors(self) -> int:
        """How many distractors a lesson can have: none where every domain must be remembered."""
        return MARKS[-1] if set(self.config.episodes.domains) - {"cipher", "recall"} else 0

    @property
    def chance(self) -> float:
        """Recall by guessing."""
        return chance_recall(self.config.episodes.num_letters)

    @torch.no_grad()
    def lesson(self, number: int, num_distractors: int, lesioned: Sequence[str] = ()) -> Lesson:
        """Tell a cipher, distract, and ask for every letter; the questions leave no trace.

        Args:
            number: which cipher, from 0 on; none of them was seen in training.
            num_distractors: segments of the rules between telling and asking, each of which writes.
            lesioned: names of banks that are blanked before the questions.
        """
        config = replace(self.config.episodes, num_distractors=num_distractors)
        episodes = sample_episodes(config, 1, generator_for(number, "demo"), "evaluation")
        told = config.num_told_segments
        with record_shares(self.model) as shares:
            _, states = self.model(episodes.tokens[:, :told], self.model.blank(1))
        after_telling = states[self.config.memory_behind]
        with record_shares(self.model) as passing:
            for start in range(told, told + num_distractors, CHUNK):
                stop = min(start + CHUNK, told + num_distractors)
                _, states = self.model(episodes.tokens[:, start:stop], states)
        state = states[self.config.memory_behind]
        met = reset_banks(state, list(lesioned)) if lesioned else state
        with record_shares(self.model) as asked:
            logits, _ = self.model(
                episodes.tokens[:, told + num_distractors :], states | {self.config.memory_behind: met}
            )
        guesses = torch.full_like(episodes.tokens[0], UNSCORED)
        guesses[told + num_distractors :] = logits[0].argmax(-1)
        questions = [
            self._segment(episodes, segment, of_segment, guesses)
            for segment, of_segment in enumerate(asked[0][0], start=told + num_distractors)
        ]
        letters, images, answers = self._answers(episodes, guesses)
        return Lesson(
            letters=letters,
            images=images,
            answers=answers,
            told=tuple(self._segment(episodes, n, of_segment) for n, of_segment in enumerate(shares[0][0])),
            asked=tuple(segment for segment in questions if segment.domain == "cipher"),
            distraction=torch.cat([piece[0].flatten(0, 1) for piece in passing]).mean(0) if passing else None,
            state=state,
            moved=tuple(change.relative for change in diff(after_telling, state)),
        )

    def _answers(self, episodes: Episodes, guesses: Tensor) -> tuple[tuple[str, ...], ...]:
        """Return letters, images and answers, sorted by letter."""
        asked = (episodes.targets[0] != UNSCORED) & (episodes.domains == 0)
        asked &= guesses != UNSCORED
        found = torch.stack([part[asked] for part in (episodes.tokens[0], episodes.targets[0], guesses)], dim=1)
        rows = [[self._word(number, 0) for number in row] for row in sorted(found.tolist())]
        letters, images, answers = zip(*rows, strict=True)
        return letters, images, answers

    def _segment(
        self, episodes: Episodes, segment: int, shares: Float[Tensor, "time bank"], guesses: Tensor | None = None
    ) -> Segment:
        domains = episodes.domains[segment].tolist()
        tokens = episodes.tokens[0, segment].tolist()
        words = [self._word(token, domain) for token, domain in zip(tokens, domains, strict=True)]
        marks: list[bool | None] = [None] * len(words)
        if guesses is not None:
            for place, target in enumerate(episodes.targets[0, segment].tolist()):
                if target != UNSCORED:
                    marks[place] = target == int(guesses[segment, place])
        name = self.config.episodes.domains[domains[0]]
        return Segment(domain=name, tokens=tuple(words), shares=shares, marks=tuple(marks))

    def _word(self, token: int, domain: int) -> str:
        """Return a token in words: letters where something must be remembered, numbers where a rule holds."""
        config = self.config.episodes
        if token == config.blank:
            return "?"
        if not config.shared_alphabet:
            # An answer can be of another domain's alphabet.
            ends = torch.tensor(config.alphabets).cumsum(0)
            domain = int((ends <= token).sum())
            token -= int(ends[domain - 1]) if domain else 0
        if config.domains[domain] in ("cipher", "recall"):
            return chr(ord("A") + token) if token < 26 else f"L{token}"
        return str(token)


def train_student(folder: Path, on_progress: Progress = lambda share, text: None) -> Student:
    """Train the small benchmark's inhibitory arm, about a minute on one core, or go on where it was left.

    Args:
        folder: keeps it; where it lies trained already, it is only loaded.
        on_progress: called with the share that is done, in [0, 1], and a line of text.

    Raises:
        ValueError: the folder cannot be written to, another process trains in it, or its checkpoint is damaged.
    """
    require_writable(folder)
    config = quick("inhibitory", 0)
    place = open_place(config, folder)

    def say(step: int, point: dict[str, float]) -> None:
        on_progress(step / config.training.num_steps, f"step {step}, loss of the cipher {point['episodic_loss']:.2f}")

    num_threads = torch.get_num_threads()
    try:
        with FileLock(place / ".lock", timeout=0):
            torch.set_num_threads(config.training.num_threads)
            how = {"checkpoint": place / "checkpoint.pt", "fingerprint": fingerprint(config)}
            train(build_model(config), config.episodes, config.training, config.seed, **how, on_progress=say)
    except Timeout as error:
        raise ValueError(f"another process trains in {place}; wait until it is done") from error
    finally:
        torch.set_num_threads(num_threads)
    return load_student(place)


def trained_student(folder: Path) -> Student | None:
    """Return the student that a folder keeps, if it was trained there to its end."""
    config = quick("inhibitory", 0)
    place = folder / "runs" / config.name
    try:
        saved = load_checkpoint(place / "checkpoint.pt", fingerprint(config))
    except CheckpointError:
        return None
    return load_student(place) if saved["step"] == config.training.num_steps else None


def load_student(place: Path) -> Student:
    """Load the student of a run's folder, such as ``callosal train`` prints.

    Raises:
        ValueError: it is no run's folder, its checkpoint is missing or damaged, or it has no memory with banks.
    """
    if not (place / "config.json").is_file() and (runs := sorted(place.glob("runs/*/config.json"))):
        raise ValueError(f"{place} is the folder of a study; give that of a run, such as {runs[0].parent}")
    config = load_config(place)
    return Student(load_trained(config, place), config)
