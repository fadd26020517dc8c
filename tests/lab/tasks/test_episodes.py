"""Episodes: what they show, what they ask, and that nothing but the support can tell the answer."""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS
from torch import Generator, Tensor

from callosal.lab.tasks import EpisodeConfig, Episodes, Split, cipher, sample_episodes
from callosal.lab.tasks.episodes import scored
from callosal.training import UNSCORED

# The domains of the default episode, in its order.
CIPHER, ARITHMETIC = 0, 1
SPLITS: list[Split] = ["training", "evaluation"]


@st.composite
def episode_configs(draw: st.DrawFn) -> EpisodeConfig:
    pairs = draw(st.integers(1, 5))
    num_questions = draw(st.integers(-(-3 // pairs), 4))
    drawn: dict[str, Any] = {
        "num_letters": pairs * num_questions,
        "pairs_per_segment": pairs,
        "num_rounds": num_questions + draw(st.integers(0, 2)),
        "num_distractors": draw(st.integers(0, 3)),
        "modulus": draw(st.integers(2, 13)),
    }
    # The shape checker looks at one random item of a tuple; hypothesis wants that state untouched.
    before = random.getstate()
    config = EpisodeConfig(**drawn)
    random.setstate(before)
    return config


def draw_episodes(
    config: EpisodeConfig, seed: int, split: Split = "training", num_episodes: int = 3
) -> Episodes:
    return sample_episodes(config, num_episodes, Generator().manual_seed(seed), split)


def supports(config: EpisodeConfig, episodes: Episodes) -> Tensor:
    """Return the support's pairs, [batch, pair, side]."""
    return episodes.tokens[:, 0 : 2 * config.num_rounds : 2].reshape(len(episodes.tokens), -1, 2)


def questions(config: EpisodeConfig, tensor: Tensor) -> Tensor:
    """Return the part of tokens or targets that asks, [batch, pair, side]."""
    first = 2 * config.num_rounds + config.num_distractors
    return tensor[:, first::2].reshape(len(tensor), -1, 2)


@given(episode_configs(), SEEDS, st.sampled_from(SPLITS))
def test_the_support_shows_every_letter_with_its_one_image(
    config: EpisodeConfig, seed: int, split: Split
) -> None:
    pairs = supports(config, draw_episodes(config, seed, split))
    for row in pairs.tolist():
        image: dict[int, int] = {}
        for letter, answer in row:
            assert image.setdefault(letter, answer) == answer
        letters = list(range(config.num_letters))
        assert sorted(image) == letters
        assert sorted(image.values()) == letters
        odd = cipher.is_odd(torch.tensor([image[letter] for letter in letters]))
        assert bool(odd) == (split == "evaluation")


@given(episode_configs(), SEEDS)
def test_every_letter_is_asked_once_for_its_image_and_never_answered(
    config: EpisodeConfig, seed: int
) -> None:
    episodes = draw_episodes(config, seed)
    image = [dict(row) for row in supports(config, episodes).tolist()]
    asked, wanted = (questions(config, t) for t in (episodes.tokens, episodes.targets))
    for row, answers, targets in zip(image, asked.tolist(), wanted.tolist(), strict=True):
        assert sorted(letter for letter, _ in answers) == list(range(config.num_letters))
        assert {second for _, second in answers} == {config.blank}
        assert [target for target, _ in targets] == [row[letter] for letter, _ in answers]
        assert {second for _, second in targets} == {UNSCORED}


@given(episode_configs(), SEEDS)
def test_progressions_are_strict_and_scored_from_the_third_term(
    config: EpisodeConfig, seed: int
) -> None:
    episodes = draw_episodes(config, seed)
    where = episodes.domains[:, 0] == ARITHMETIC
    terms = episodes.tokens[:, where] - config.num_letters
    assert ((terms >= 0) & (terms < config.modulus)).all()
    steps = terms.diff(dim=-1) % config.modulus
    assert (steps == steps[..., :1]).all()
    assert (steps != 0).all()
    targets = episodes.targets[:, where]
    assert (targets[..., 0] == UNSCORED).all()
    assert (targets[..., -1] == UNSCORED).all()
    assert torch.equal(targets[..., 1:-1], episodes.tokens[:, where, 2:])


@given(episode_configs(), SEEDS)
def test_domains_come_in_turn_with_the_distractors_before_the_questions(
    config: EpisodeConfig, seed: int
) -> None:
    episodes = draw_episodes(config, seed)
    turn = [CIPHER, ARITHMETIC]
    expected = turn * config.num_rounds
    expected += [ARITHMETIC] * config.num_distractors
    expected += turn * config.num_questions
    assert episodes.domains.tolist() == [[d] * config.segment_length for d in expected]
    shape = (3, len(expected), config.segment_length)
    assert episodes.tokens.shape == episodes.targets.shape == shape
    letters = episodes.tokens[:, episodes.domains[:, 0] == CIPHER]
    assert ((letters < config.num_letters) | (letters == config.blank)).all()
    assert config.segment_length == 2 * config.pairs_per_segment


@given(episode_configs(), SEEDS, st.integers(1, 4))
def test_distractors_add_exactly_that_many_segments_and_nothing_else(
    config: EpisodeConfig, seed: int, more: int
) -> None:
    longer = replace(config, num_distractors=config.num_distractors + more)
    few, many = draw_episodes(config, seed), draw_episodes(longer, seed)
    count = [int((e.domains[:, 0] == ARITHMETIC).sum()) for e in (few, many)]
    assert count[1] - count[0] == more == len(many.domains) - len(few.domains)
    cipher_part = [e.tokens[:, e.domains[:, 0] == CIPHER] for e in (few, many)]
    assert torch.equal(*cipher_part)


@given(episode_configs(), SEEDS)
def test_tokens_fill_the_vocabulary_and_no_more(config: EpisodeConfig, seed: int) -> None:
    episodes = draw_episodes(config, seed)
    assert config.vocabulary == config.num_letters + config.modulus + 1
    assert config.blank == config.vocabulary - 1
    assert int(episodes.tokens.min()) >= 0
    assert int(episodes.tokens.max()) == config.blank
    targets = episodes.targets[episodes.targets != UNSCORED]
    assert ((targets >= 0) & (targets < config.blank)).all()


@given(episode_configs(), SEEDS)
def test_scored_marks_each_domains_targets_and_nothing_twice(
    config: EpisodeConfig, seed: int
) -> None:
    episodes = draw_episodes(config, seed)
    marks = [scored(episodes, domain) for domain in (CIPHER, ARITHMETIC)]
    assert not (marks[0] & marks[1]).any()
    assert torch.equal(marks[0] | marks[1], episodes.targets != UNSCORED)
    assert (marks[CIPHER].sum((1, 2)) == config.num_letters).all()
    num_arithmetic = int((episodes.domains[:, 0] == ARITHMETIC).sum())
    terms = num_arithmetic * (config.segment_length - 2)
    assert (marks[ARITHMETIC].sum((1, 2)) == terms).all()


@given(episode_configs(), SEEDS, st.sampled_from(SPLITS))
def test_equal_seeds_give_equal_episodes(config: EpisodeConfig, seed: int, split: Split) -> None:
    one, other = (draw_episodes(config, seed, split) for _ in range(2))
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.targets, other.targets)


def test_other_seeds_and_other_rows_give_other_episodes() -> None:
    config = EpisodeConfig(num_letters=26, pairs_per_segment=26, num_rounds=1, modulus=97)
    rows = torch.cat([draw_episodes(config, seed, num_episodes=10).tokens for seed in range(10)])
    assert len(rows.unique(dim=0)) == 100


def test_the_splits_differ_for_one_seed_where_a_cipher_shows() -> None:
    config = EpisodeConfig()
    training, evaluation = (draw_episodes(config, 0, split) for split in SPLITS)
    for one, other in zip(
        supports(config, training).tolist(), supports(config, evaluation).tolist(), strict=True
    ):
        assert sorted(map(tuple, one)) != sorted(map(tuple, other))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("num_letters", [4, 5])
def test_without_the_support_every_answer_is_as_likely_as_every_other(
    num_letters: int, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exhaustively: with everything but the cipher held fixed, nothing outside the support moves.

    So what is visible without it says nothing of pi, pi is uniform over its half, and given all that is
    visible each letter is the answer equally often. The least loss is then the entropy, ln K.
    """
    every = torch.tensor(list(permutations(range(num_letters))))
    half = every[cipher.is_odd(every) == (split == "evaluation")]
    config = EpisodeConfig(
        num_letters=num_letters, pairs_per_segment=num_letters, num_rounds=1, num_distractors=1
    )
    seen, answers = set(), []
    for pi in half:
        monkeypatch.setattr(cipher, "sample_ciphers", _always(pi))
        episodes = draw_episodes(config, 0, split, num_episodes=1)
        seen.add(tuple(episodes.tokens[0, 1:].flatten().tolist()))
        answers.append(questions(config, episodes.targets)[0, :, 0].tolist())
    assert len(seen) == 1
    for asked in zip(*answers, strict=True):
        counts = Counter(asked)
        assert len(counts) == num_letters
        shares = [count / len(half) for count in counts.values()]
        least_loss = -sum(share * math.log(share) for share in shares)
        assert least_loss == pytest.approx(cipher.chance_loss(num_letters), rel=1e-12)


def _always(pi: Tensor) -> Callable[..., Tensor]:
    def sample(*_: Any) -> Tensor:
        return pi[None]

    return sample


@pytest.mark.parametrize("split", SPLITS)
def test_on_samples_no_constant_guess_beats_chance(split: Split) -> None:
    """The best constant per asked letter reaches ln K less what it overfits, (K-1) / 2n per letter."""
    config = EpisodeConfig(num_letters=8)
    num_episodes = 4000
    episodes = draw_episodes(config, 0, split, num_episodes)
    asked, targets = (questions(config, t)[..., 0] for t in (episodes.tokens, episodes.targets))
    counts = torch.zeros(8, 8, dtype=torch.float64)
    counts.index_put_(
        (asked.flatten(), targets.flatten()), torch.ones(()).double(), accumulate=True
    )
    shares = counts / counts.sum(-1, keepdim=True)
    best = -(shares * shares.log()).sum(-1).mean().item()
    chance = cipher.chance_loss(8)
    # Twice n times the shortfall is chi-squared with K (K-1) degrees of freedom in all: 56, deviation 11.
    assert chance - 130 / (2 * 8 * num_episodes) < best <= chance


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_letters": 2, "pairs_per_segment": 2}, "num_letters is 2; it must be at least 3"),
        ({"pairs_per_segment": 0}, "pairs_per_segment is 0; it must divide num_letters"),
        ({"pairs_per_segment": 3}, r"pairs_per_segment is 3; it must divide num_letters \(8\)"),
        ({"pairs_per_segment": 16}, "pairs_per_segment is 16"),
        ({"pairs_per_segment": 2, "num_rounds": 3}, "num_rounds is 3; .* need at least 4"),
        ({"num_rounds": 0}, "num_rounds is 0; .* need at least 1"),
        ({"num_distractors": -1}, "num_distractors is -1; it must be at least 0"),
        ({"modulus": 1}, "modulus is 1; it must be at least 2"),
    ],
)
def test_a_wrong_size_is_refused_with_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"EpisodeConfig\.{message}"):
        EpisodeConfig(**fields)
