"""Episodes: what they show, what they ask, and that nothing but the support can tell the answer."""

import math
import random
import re
from collections import Counter
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
from callosal.lab.tasks.episodes import scored, scored_questions
from callosal.lab.tasks.rules import RULES
from callosal.training import UNSCORED

# The domains of the default episode, in its order.
CIPHER, ARITHMETIC = 0, 1
SPLITS: list[Split] = ["training", "evaluation"]
EIGHT = ("cipher", "cipher", *RULES)


@st.composite
def episode_configs(draw: st.DrawFn) -> EpisodeConfig:
    pairs = draw(st.integers(1, 5))
    num_questions = draw(st.integers(-(-3 // pairs), 4))
    drawn: dict[str, Any] = {"num_letters": pairs * num_questions, "pairs_per_segment": pairs}
    drawn |= {"num_rounds": num_questions + draw(st.integers(0, 2))}
    drawn |= {"num_distractors": draw(st.integers(0, 3)), "modulus": draw(st.integers(2, 13))}
    # The shape checker looks at one random item of a tuple; hypothesis wants that state untouched.
    before = random.getstate()
    config = EpisodeConfig(**drawn)
    random.setstate(before)
    return config


def draw_episodes(config: EpisodeConfig, seed: int = 0, split: Split = "training", num_episodes: int = 3) -> Episodes:
    return sample_episodes(config, num_episodes, Generator().manual_seed(seed), split)


def supports(config: EpisodeConfig, episodes: Episodes) -> Tensor:
    """Return the support's pairs, [batch, pair, side]."""
    return episodes.tokens[:, 0 : 2 * config.num_rounds : 2].reshape(len(episodes.tokens), -1, 2)


def questions(config: EpisodeConfig, tensor: Tensor) -> Tensor:
    """Return the part of tokens or targets that asks, [batch, pair, side]."""
    first = 2 * config.num_rounds + config.num_distractors
    return tensor[:, first::2].reshape(len(tensor), -1, 2)


@given(episode_configs(), SEEDS, st.sampled_from(SPLITS))
def test_questions_ask_once_for_what_the_supports_show(config: Any, seed: int, split: Any) -> None:
    episodes = draw_episodes(config, seed, split)
    letters = list(range(config.num_letters))
    parts = (questions(config, t).tolist() for t in (episodes.tokens, episodes.targets))
    for pairs, asked, wanted in zip(supports(config, episodes).tolist(), *parts, strict=True):
        image: dict[int, int] = {}
        for letter, answer in pairs:
            assert image.setdefault(letter, answer) == answer
        assert sorted(image) == sorted(image.values()) == letters
        odd = cipher.is_odd(torch.tensor([image[letter] for letter in letters]))
        assert bool(odd) == (split == "evaluation")
        assert sorted(letter for letter, _ in asked) == letters
        assert {second for _, second in asked} == {config.blank}
        assert [target for target, _ in wanted] == [image[letter] for letter, _ in asked]
        assert {second for _, second in wanted} == {UNSCORED}
    again = draw_episodes(config, seed, split)
    assert torch.equal(again.tokens, episodes.tokens)
    assert torch.equal(again.targets, episodes.targets)


@given(episode_configs(), SEEDS)
def test_domains_come_in_turn_and_are_scored_apart(config: EpisodeConfig, seed: int) -> None:
    episodes = draw_episodes(config, seed)
    turn, distractors = [CIPHER, ARITHMETIC], [ARITHMETIC] * config.num_distractors
    expected = turn * config.num_rounds + distractors + turn * config.num_questions
    assert episodes.domains.tolist() == [[d] * config.segment_length for d in expected]
    assert config.segment_length == 2 * config.pairs_per_segment
    assert episodes.tokens.shape == episodes.targets.shape == (3, len(expected), config.segment_length)
    assert config.vocabulary == config.num_letters + config.modulus + 1 == config.blank + 1
    assert int(episodes.tokens.min()) >= 0
    assert int(episodes.tokens.max()) == config.blank
    letters = episodes.tokens[:, episodes.domains[:, 0] == CIPHER]
    assert ((letters < config.num_letters) | (letters == config.blank)).all()
    targets = episodes.targets[episodes.targets != UNSCORED]
    assert ((targets >= 0) & (targets < config.blank)).all()

    marks = [scored(episodes, domain) for domain in (CIPHER, ARITHMETIC)]
    assert not (marks[0] & marks[1]).any()
    assert torch.equal(marks[0] | marks[1], episodes.targets != UNSCORED)
    assert torch.equal(marks[0], scored_questions(episodes, config))
    assert (marks[CIPHER].sum((1, 2)) == config.num_letters).all()
    # A progression is scored from the third term on.
    where = episodes.domains[:, 0] == ARITHMETIC
    targets = episodes.targets[:, where]
    assert (targets[..., [0, -1]] == UNSCORED).all()
    assert torch.equal(targets[..., 1:-1], episodes.tokens[:, where, 2:])
    # More distractors change nothing else.
    more = draw_episodes(replace(config, num_distractors=config.num_distractors + 2), seed)
    assert torch.equal(more.tokens[:, more.domains[:, 0] == CIPHER], episodes.tokens[:, ~where])


def test_other_seeds_and_rows_give_other_episodes() -> None:
    config = EpisodeConfig(num_letters=26, pairs_per_segment=26, num_rounds=1, modulus=97)
    rows = torch.cat([draw_episodes(config, seed, num_episodes=10).tokens for seed in range(10)])
    assert len(rows.unique(dim=0)) == 100


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
    sizes: dict[str, Any] = {"num_letters": num_letters, "pairs_per_segment": num_letters}
    config = EpisodeConfig(**sizes, num_rounds=1, num_distractors=1)
    seen, answers = set(), []
    for pi in half:
        monkeypatch.setattr(cipher, "sample_ciphers", lambda *_, pi=pi: pi[None])
        episodes = draw_episodes(config, 0, split, num_episodes=1)
        seen.add(tuple(episodes.tokens[0, 1:].flatten().tolist()))
        answers.append(questions(config, episodes.targets)[0, :, 0].tolist())
    assert len(seen) == 1
    for asked in zip(*answers, strict=True):
        shares = [count / len(half) for count in Counter(asked).values()]
        assert len(shares) == num_letters
        least_loss = -sum(share * math.log(share) for share in shares)
        assert least_loss == pytest.approx(cipher.chance_loss(num_letters), rel=1e-12)


def test_every_domain_has_an_alphabet_of_its_own() -> None:
    config = EpisodeConfig(domains=EIGHT, num_distractors=7)
    episodes = draw_episodes(config)
    assert (episodes.targets[:, :, -1] == UNSCORED).all(), "its successor is in no segment"
    start = 0
    for domain, size in enumerate(config.alphabets):
        tokens = episodes.tokens[:, episodes.domains == domain]
        tokens = tokens[tokens != config.blank]
        assert start <= int(tokens.min())
        assert int(tokens.max()) < start + size
        start += size
    assert config.blank == start == config.vocabulary - 1


def test_two_ciphers_of_an_episode_are_two() -> None:
    episodes = draw_episodes(EpisodeConfig(domains=("cipher", "cipher", "arithmetic")))
    images = []
    for domain in (0, 1):
        start, segment = 8 * domain, 6 + domain
        pairs = episodes.tokens[:, domain].reshape(3, -1, 2) - start
        images.append([dict(row.tolist()) for row in pairs])
        asked, answers = (t[:, segment, 0::2] - start for t in (episodes.tokens, episodes.targets))
        for image, letters, wanted in zip(images[-1], asked.tolist(), answers.tolist(), strict=True):
            assert [image[letter] for letter in letters] == wanted
    assert any(a != b for a, b in zip(*images, strict=True))


def test_domains_come_as_often_as_they_are_said_to_and_share_an_alphabet_where_they_are() -> None:
    config = EpisodeConfig(num_rounds=2, repeats=(1, 9), num_distractors=3)
    assert draw_episodes(config).domains[:, 0].tolist() == [0, *[1] * 9] * 2 + [1] * 3 + [0, 1]
    assert config.num_told_segments == 20
    config = EpisodeConfig(num_letters=11, pairs_per_segment=11, shared_alphabet=True)
    assert config.vocabulary == 12
    episodes = draw_episodes(config, num_episodes=200)
    # Over a segment each token is as frequent in the one as in the other: only structure tells.
    for domain in (0, 1):
        tokens = episodes.tokens[:, domain]
        assert all(torch.equal(row.bincount(), torch.full((11,), 2)) for row in tokens)


@pytest.mark.parametrize("mixing", [0.125, 0.25, 0.5])
def test_mixed_segments_hold_both_domains_and_lose_nothing(mixing: float) -> None:
    config = EpisodeConfig(mixing=mixing, num_distractors=1)
    plain, mixed = draw_episodes(replace(config, mixing=0.0)), draw_episodes(config)
    assert (mixed.domains[0] == 1).double().mean().item() == mixing
    for domain in (0, 1):
        kept = [e.tokens[:, e.domains == domain].sort(-1).values for e in (plain, mixed)]
        assert torch.equal(*kept)
    assert scored(mixed, 0).sum() == scored(plain, 0).sum()
    # A progression is scored where two terms of it stand before, in its own segment.
    for row, segment, time in scored(mixed, 1).nonzero().tolist():
        terms = mixed.tokens[row, segment, time - 1 : time + 2] - config.num_letters
        assert (mixed.domains[segment, time - 1 : time + 2] == 1).all()
        assert (terms[2] - terms[1]) % 11 == (terms[1] - terms[0]) % 11
        assert mixed.targets[row, segment, time] == mixed.tokens[row, segment, time + 1]
    # Distractors have no neighbour of another domain.
    assert (mixed.domains[4] == 1).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_letters": 2, "pairs_per_segment": 2}, "num_letters is 2; it must be at least 3"),
        ({"pairs_per_segment": 0}, "pairs_per_segment is 0; it must divide num_letters"),
        ({"pairs_per_segment": 3}, "pairs_per_segment is 3; it must divide num_letters (8)"),
        ({"pairs_per_segment": 16}, "pairs_per_segment is 16"),
        ({"num_rounds": 0}, "num_rounds is 0; 8 letters at 8 a round need at least 1"),
        ({"pairs_per_segment": 2, "num_rounds": 3}, "num_rounds is 3; 8 letters at 2 a round need"),
        ({"num_distractors": -1}, "num_distractors is -1; it must be at least 0"),
        ({"num_distractors": 1, "domains": ("cipher",)}, "num_distractors is 1; it must be 0, since"),
        ({"modulus": 1}, "modulus is 1; it must be at least 2"),
        ({"modulus": 2, "domains": ("multiplication",)}, "modulus is 2; it must be at least 3"),
        ({"domains": ()}, "domains is (); it must be one or more of cipher, recall, arithmetic"),
        ({"domains": ("poetry",)}, "domains is ('poetry',); it must be one or more of cipher"),
        ({"repeats": (1,)}, "repeats is (1,); it must be empty, or a number from 1 on for each of the 2"),
        ({"repeats": (0, 1)}, "repeats is (0, 1); it must be empty, or a number from 1 on"),
        ({"mixing": 0.6}, "mixing is 0.6; it must be between 0 and 0.5"),
        ({"mixing": 0.5, "domains": ("cipher", "parity")}, "mixing is 0.5; it must be 0 unless"),
        ({"mixing": 0.5, "repeats": (1, 2)}, "mixing is 0.5; it must be 0 unless the domains are even"),
        ({"mixing": 0.05}, "mixing is 0.05; it must be 0 or move at least one of a segment's 8 pairs"),
    ],
)
def test_a_wrong_field_is_refused_with_what_is_allowed(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"EpisodeConfig.{message}")):
        EpisodeConfig(**fields)
