"""Episodes: segments of both domains in turn, between which only the memory survives."""

from dataclasses import dataclass
from enum import IntEnum

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from callosal.tasks import arithmetic, cipher
from callosal.tasks.cipher import Split

UNSCORED = -100


class Domain(IntEnum):
    """Which task a segment belongs to. Only measures look at it: no model or loss does."""

    CIPHER = 0
    ARITHMETIC = 1


@dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
    """An episode: rounds of (cipher support, arithmetic), distractors, then questions.

    Attributes:
        num_letters: K, the letters of the cipher, at least 3.
        pairs_per_segment: letter pairs in a support segment; it divides K. A segment has twice as many tokens.
        num_rounds: support segments; together they must show every letter.
        num_distractors: arithmetic segments between the last round and the questions.
        modulus: P of the progressions, at least 2.
    """

    num_letters: int = 8
    pairs_per_segment: int = 8
    num_rounds: int = 2
    num_distractors: int = 0
    modulus: int = 11

    def __post_init__(self) -> None:
        if self.num_letters < 3:
            raise ValueError(
                f"EpisodeConfig.num_letters is {self.num_letters}; it must be at least 3"
            )
        if self.pairs_per_segment < 1 or self.num_letters % self.pairs_per_segment:
            raise ValueError(
                f"EpisodeConfig.pairs_per_segment is {self.pairs_per_segment}; it must divide "
                f"num_letters ({self.num_letters})"
            )
        if self.num_rounds * self.pairs_per_segment < self.num_letters:
            raise ValueError(
                f"EpisodeConfig.num_rounds is {self.num_rounds}; {self.num_letters} letters at "
                f"{self.pairs_per_segment} a segment need at least "
                f"{self.num_letters // self.pairs_per_segment}"
            )
        if self.num_distractors < 0:
            raise ValueError(
                f"EpisodeConfig.num_distractors is {self.num_distractors}; it must be at least 0"
            )
        if self.modulus < 2:
            raise ValueError(f"EpisodeConfig.modulus is {self.modulus}; it must be at least 2")

    @property
    def segment_length(self) -> int:
        """Tokens in every segment."""
        return 2 * self.pairs_per_segment

    @property
    def num_questions(self) -> int:
        """Question segments, which together ask every letter once."""
        return self.num_letters // self.pairs_per_segment

    @property
    def vocabulary(self) -> int:
        """Number of tokens: letters, numbers, and the blank that stands where an answer would."""
        return self.num_letters + self.modulus + 1

    @property
    def blank(self) -> int:
        """The token shown in a question where the support shows the answer."""
        return self.num_letters + self.modulus


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """A batch of episodes.

    Attributes:
        tokens: what the model sees.
        targets: what it should say at each token; UNSCORED where nothing is asked.
        domains: the Domain of each segment, for measures alone; the same in every row.
    """

    tokens: Int[Tensor, "batch segment time"]
    targets: Int[Tensor, "batch segment time"]
    domains: Int[Tensor, "segment"]


def sample_episodes(
    config: EpisodeConfig, num_episodes: int, generator: Generator, split: Split
) -> Episodes:
    """Draw episodes: (support, arithmetic) x rounds, distractors, (question, arithmetic) x questions.

    A support segment shows x pi(x) x pi(x) ...; a question shows x and a blank in turn and is scored
    at x on pi(x), every letter once, the answer never shown. A progression is scored from its third
    term on.
    """
    letters, pairs, rounds = config.num_letters, config.pairs_per_segment, config.num_rounds
    questions, length = config.num_questions, config.segment_length
    num_arithmetic = rounds + config.num_distractors + questions

    ciphers = cipher.sample_ciphers(num_episodes, letters, generator, split)
    passes = -(-rounds * pairs // letters)
    shown = cipher.sample_orders(num_episodes, letters, passes, generator)[:, : rounds * pairs]
    asked = cipher.sample_orders(num_episodes, letters, 1, generator)
    terms = arithmetic.sample_progressions(
        (num_episodes, num_arithmetic), length, config.modulus, generator
    )

    answers = ciphers.take_along_dim(asked, dim=1)
    nothing = torch.full_like(answers, UNSCORED)
    support = _interleave(shown, ciphers.take_along_dim(shown, dim=1), rounds)
    question = _interleave(asked, torch.full_like(asked, config.blank), questions)
    question_targets = _interleave(answers, nothing, questions)
    numbers = terms + letters
    number_targets = torch.full_like(numbers, UNSCORED)
    number_targets[..., 1:-1] = numbers[..., 2:]

    tokens, targets, domains = [], [], []

    def add(segment: Tensor, target: Tensor, domain: Domain) -> None:
        tokens.append(segment)
        targets.append(target)
        domains.append(domain)

    def add_arithmetic() -> None:
        index = domains.count(Domain.ARITHMETIC)
        add(numbers[:, index], number_targets[:, index], Domain.ARITHMETIC)

    for index in range(rounds):
        add(support[:, index], torch.full_like(support[:, index], UNSCORED), Domain.CIPHER)
        add_arithmetic()
    for _ in range(config.num_distractors):
        add_arithmetic()
    for index in range(questions):
        add(question[:, index], question_targets[:, index], Domain.CIPHER)
        add_arithmetic()
    return Episodes(
        tokens=torch.stack(tokens, dim=1),
        targets=torch.stack(targets, dim=1),
        domains=torch.tensor(domains),
    )


def _interleave(
    first: Int[Tensor, "batch shown"], second: Int[Tensor, "batch shown"], num_segments: int
) -> Int[Tensor, "batch segment time"]:
    """Alternate two rows of tokens, first second first second, and cut them into segments."""
    return rearrange(
        [first, second],
        "side batch (segment pair) -> batch segment (pair side)",
        segment=num_segments,
    )


def scored(episodes: Episodes, domain: Domain) -> Bool[Tensor, "batch segment time"]:
    """Mark the tokens that a domain is scored on."""
    return (episodes.targets != UNSCORED) & (episodes.domains == domain)[:, None]
