"""Episodes: segments of several domains in turn, between which only the memory survives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from callosal.checks import require
from callosal.lab.tasks import cipher, recall, rules
from callosal.lab.tasks.cipher import Split
from callosal.lab.tasks.rules import Rule
from callosal.memory.config import ADDED
from callosal.training import UNSCORED

# The domains whose answers must be remembered from a support to a question. All others are rules.
TOLD = ("cipher", "recall")


@dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
    """An episode: rounds in which every domain has its turn, distractors, then questions.

    Attributes:
        num_letters: K, the letters of a cipher (or keys and values of a recall), at least 3.
        pairs_per_segment: pairs in a support segment; it divides K. Every segment has twice as many tokens.
        num_rounds: rounds of supports; together they must show every letter.
        num_distractors: segments of the rules, in turn, between the last round and the questions.
        modulus: P of the numeric rules, at least 2 (a prime above 2 for multiplication).
        domains: "cipher" and "recall" have supports and questions; the others are rules of ``tasks.rules``. A domain
            named twice is two domains, each with an alphabet of its own.
        shared_alphabet: all domains use the same tokens, so that only their structure tells them apart.
        repeats: segments of each domain in a round; empty is one each.
        mixing: share of every segment, in [0, 0.5], that changes places with its neighbour's, domain for domain (first
            with second, third with fourth): 0.5 is half of each in every segment.
    """

    num_letters: int = 8
    pairs_per_segment: int = 8
    num_rounds: int = 2
    num_distractors: int = 0
    modulus: int = 11
    domains: tuple[str, ...] = field(default=("cipher", "arithmetic"), metadata=ADDED)
    shared_alphabet: bool = field(default=False, metadata=ADDED)
    repeats: tuple[int, ...] = field(default=(), metadata=ADDED)
    mixing: float = field(default=0.0, metadata=ADDED)

    def __post_init__(self) -> None:
        known = (*TOLD, *rules.RULES)
        letters, pairs, domains = self.num_letters, self.pairs_per_segment, self.domains
        require(self, "num_letters", letters >= 3, "it must be at least 3")
        divides = pairs >= 1 and letters % pairs == 0
        require(self, "pairs_per_segment", divides, f"it must divide num_letters ({letters})")
        some = bool(domains) and set(domains) <= set(known)
        require(self, "domains", some, f"it must be one or more of {', '.join(known)}")
        each = not self.repeats or (len(self.repeats) == len(domains) and min(self.repeats) >= 1)
        remedy = f"it must be empty, or a number from 1 on for each of the {len(domains)} domains"
        require(self, "repeats", each, remedy)
        a_round = pairs * min(self.turns)
        remedy = f"{letters} letters at {a_round} a round need at least {-(-letters // a_round)}"
        require(self, "num_rounds", self.num_rounds * a_round >= letters, remedy)
        require(self, "num_distractors", self.num_distractors >= 0, "it must be at least 0")
        ruled = self.num_distractors == 0 or not set(domains) <= set(TOLD)
        require(self, "num_distractors", ruled, "it must be 0, since no domain is a rule")
        least = 3 if "multiplication" in domains else 2
        require(self, "modulus", self.modulus >= least, f"it must be at least {least}")
        require(self, "mixing", 0.0 <= self.mixing <= 0.5, "it must be between 0 and 0.5")
        if self.mixing:
            mixable = len(domains) % 2 == 0 and not self.repeats and set(domains) <= {*TOLD, *rules.NUMERIC}
            remedy = "it must be 0 unless the domains are even in number, once a round, and numeric or one of "
            require(self, "mixing", mixable, remedy + ", ".join(TOLD))
            remedy = f"it must be 0 or move at least one of a segment's {pairs} pairs"
            require(self, "mixing", self.pairs_mixed >= 1, remedy)

    @property
    def turns(self) -> tuple[int, ...]:
        """Segments of each domain in a round."""
        return self.repeats or (1,) * len(self.domains)

    @property
    def pairs_mixed(self) -> int:
        """Pairs of every segment that change places with its neighbour's."""
        return round(self.mixing * self.pairs_per_segment)

    @property
    def segment_length(self) -> int:
        """Tokens in every segment."""
        return 2 * self.pairs_per_segment

    @property
    def num_questions(self) -> int:
        """Question segments of a domain in ``TOLD``; together they ask for every letter once."""
        return self.num_letters // self.pairs_per_segment

    @property
    def num_told_segments(self) -> int:
        """Support segments, of all domains: those before the distractors."""
        return self.num_rounds * sum(self.turns)

    @property
    def alphabets(self) -> tuple[int, ...]:
        """Tokens of each domain's alphabet."""
        episodic = {"cipher": self.num_letters, "recall": 2 * self.num_letters}
        return tuple(
            episodic.get(name) or rules.alphabet_size(cast(Rule, name), self.num_letters, self.modulus)
            for name in self.domains
        )

    @property
    def vocabulary(self) -> int:
        """Number of tokens: all alphabets, and the blank that stands where an answer would."""
        return self.blank + 1

    @property
    def blank(self) -> int:
        """The token shown in a question where the support shows the answer."""
        return max(self.alphabets) if self.shared_alphabet else sum(self.alphabets)


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """A batch of episodes.

    Attributes:
        tokens: what the model sees.
        targets: the right answer at each token; UNSCORED where there is none.
        domains: the domain of each token, as an index into ``EpisodeConfig.domains``, for measures alone: no model or
            loss sees it. The same in every row.
    """

    tokens: Int[Tensor, "batch segment time"]
    targets: Int[Tensor, "batch segment time"]
    domains: Int[Tensor, "segment time"]


# The tokens and targets of a domain's next segment, each [batch, time].
_Segment = tuple[Tensor, Tensor]


def sample_episodes(config: EpisodeConfig, num_episodes: int, generator: Generator, split: Split) -> Episodes:
    """Draw episodes: rounds of every domain in turn, distractors of the rules, then every question.

    A support segment shows x f(x) x f(x) ...; a question shows x and a blank in turn and is scored at x on f(x), every
    letter once, the answer never shown. A rule is scored wherever it predicts the next token.
    """
    order, sizes = _order(config), config.alphabets
    starts = [0 if config.shared_alphabet else sum(sizes[:index]) for index in range(len(sizes))]
    draw = [
        _episodic_segments(config, index, starts[index], num_episodes, generator, split)
        if name in TOLD
        else _rule_segments(config, index, starts[index], (num_episodes, order.count(index)), generator)
        for index, name in enumerate(config.domains)
    ]
    tokens, targets = zip(*(draw[index]() for index in order), strict=True)
    time = config.segment_length
    episodes = Episodes(
        tokens=torch.stack(tokens, dim=1),
        targets=torch.stack(targets, dim=1),
        domains=torch.tensor(order)[:, None].expand(-1, time),
    )
    return _mix(episodes, config) if config.mixing else episodes


def _order(config: EpisodeConfig) -> list[int]:
    """Return the domain of each segment."""
    turn = [index for index, times in enumerate(config.turns) for _ in range(times)]
    of_rules = [index for index, name in enumerate(config.domains) if name not in TOLD]
    distractors = [of_rules[n % len(of_rules)] for n in range(config.num_distractors)]
    return turn * config.num_rounds + distractors + [*range(len(config.domains))] * (config.num_questions)


def _episodic_segments(
    config: EpisodeConfig, index: int, start: int, num_episodes: int, generator: Generator, split: Split
) -> Callable[[], _Segment]:
    """Draw a mapping per episode; return a function that gives its supports, then its questions."""
    letters, pairs, questions = config.num_letters, config.pairs_per_segment, config.num_questions
    supports = config.num_rounds * config.turns[index]
    if config.domains[index] == "recall":
        mapping = start + letters + recall.sample_functions(num_episodes, letters, letters, generator, split)
    else:
        mapping = start + cipher.sample_ciphers(num_episodes, letters, generator, split)
    passes = -(-supports * pairs // letters)
    shown = cipher.sample_orders(num_episodes, letters, passes, generator)[:, : supports * pairs]
    queried = cipher.sample_orders(num_episodes, letters, 1, generator)

    images, answers = (mapping.take_along_dim(order, dim=1) for order in (shown, queried))
    blanks = torch.full_like(queried, config.blank)
    support = _interleave(start + shown, images, supports)
    tokens = torch.cat([support, _interleave(start + queried, blanks, questions)], dim=1)
    targets = _interleave(answers, torch.full_like(answers, UNSCORED), questions)
    targets = torch.cat([torch.full_like(support, UNSCORED), targets], dim=1)
    return zip(tokens.unbind(1), targets.unbind(1), strict=True).__next__


def _rule_segments(
    config: EpisodeConfig, index: int, start: int, shape: tuple[int, int], generator: Generator
) -> Callable[[], _Segment]:
    """Draw a rule's segments; return a function that gives them one a call."""
    rule, alphabet = cast(Rule, config.domains[index]), config.alphabets[index]
    tokens, predicts = rules.sample_rule(rule, shape, config.segment_length, alphabet, generator)
    tokens = start + tokens
    targets = torch.full_like(tokens, UNSCORED)
    targets[..., :-1] = torch.where(predicts[:-1], tokens[..., 1:], UNSCORED)
    return zip(tokens.unbind(1), targets.unbind(1), strict=True).__next__


def _mix(episodes: Episodes, config: EpisodeConfig) -> Episodes:
    """Let neighbours exchange the ends of their segments; a rule's end starts anew, unscored."""
    # Whole pairs, so that no letter loses its answer.
    kept = config.segment_length - 2 * config.pairs_mixed
    segments = torch.arange(len(episodes.domains))
    # Distractors stay as they are: they have no neighbour of another domain.
    first = config.num_told_segments
    after = segments - first - config.num_distractors
    # One segment a domain and an even number of domains: neighbours are the pairs of a turn.
    step = torch.where(torch.where(after >= 0, after, segments) % 2 == 0, 1, -1)
    partner = torch.where((segments < first) | (after >= 0), segments + step, segments)

    def exchanged(values: Tensor) -> Tensor:
        return torch.cat([values[..., :kept], values[..., partner, kept:]], dim=-1)

    domains, targets = exchanged(episodes.domains), exchanged(episodes.targets)
    # What the rule predicts there rests on tokens that are now in the other segment.
    of_rule = torch.tensor([name not in TOLD for name in config.domains])[domains]
    restart = (domains[:, :1] != domains) & of_rule
    restart[:, kept + 1 :] = False
    targets = targets.masked_fill(restart, UNSCORED)
    # The last token before the cut predicted one that has left.
    left = (domains[:, kept - 1] != domains[:, kept]) & of_rule[:, kept - 1]
    targets[:, left, kept - 1] = UNSCORED
    return Episodes(tokens=exchanged(episodes.tokens), targets=targets, domains=domains)


def _interleave(
    first: Int[Tensor, "batch shown"], second: Int[Tensor, "batch shown"], num_segments: int
) -> Int[Tensor, "batch segment time"]:
    """Alternate two rows of tokens, first second first second, and cut them into segments."""
    return rearrange([first, second], "side batch (segment pair) -> batch segment (pair side)", segment=num_segments)


def scored(episodes: Episodes, domain: int) -> Bool[Tensor, "batch segment time"]:
    """Mark the tokens that a domain is scored on."""
    return (episodes.targets != UNSCORED) & (episodes.domains == domain)


def scored_questions(episodes: Episodes, config: EpisodeConfig) -> Bool[Tensor, "batch segment time"]:
    """Mark the questions of all domains whose answers must be remembered."""
    domains = [index for index, name in enumerate(config.domains) if name in TOLD]
    return torch.stack([scored(episodes, domain) for domain in domains]).any(0)
