"""Episodes of other domains than the default's: alphabets, turns, frequencies, mixed segments."""

import re

import pytest
import torch
from torch import Generator

from callosal.lab.tasks import EpisodeConfig, Episodes, sample_episodes
from callosal.lab.tasks.episodes import scored
from callosal.lab.tasks.rules import RULES
from callosal.training import UNSCORED

EIGHT = ("cipher", "cipher", *RULES)


def draw_episodes(config: EpisodeConfig, seed: int = 0, num_episodes: int = 6) -> Episodes:
    return sample_episodes(config, num_episodes, Generator().manual_seed(seed), "training")


def test_every_domain_has_an_alphabet_of_its_own() -> None:
    config = EpisodeConfig(domains=EIGHT, num_distractors=7)
    episodes = draw_episodes(config)
    start = 0
    for domain, size in enumerate(config.alphabets):
        tokens = episodes.tokens[:, episodes.domains == domain]
        tokens = tokens[tokens != config.blank]
        assert start <= int(tokens.min())
        assert int(tokens.max()) < start + size
        start += size
    assert config.blank == start == config.vocabulary - 1


def test_two_ciphers_of_an_episode_are_two() -> None:
    config = EpisodeConfig(domains=("cipher", "cipher", "arithmetic"))
    episodes = draw_episodes(config)
    first, second = (dict_of(episodes, domain) for domain in (0, 1))
    assert any(a != b for a, b in zip(first, second, strict=True))
    for asked in (0, 1):
        for row, image in enumerate((first, second)[asked]):
            letters = episodes.tokens[row, 6 + asked, 0::2] - 8 * asked
            answers = episodes.targets[row, 6 + asked, 0::2] - 8 * asked
            assert [image[letter] for letter in letters.tolist()] == answers.tolist()


def dict_of(episodes: Episodes, domain: int) -> list[dict[int, int]]:
    told = episodes.tokens[:, domain].reshape(len(episodes.tokens), -1, 2)
    return [dict((pairs - 8 * domain).tolist()) for pairs in told]


def test_one_alphabet_for_all() -> None:
    config = EpisodeConfig(num_letters=11, pairs_per_segment=11, shared_alphabet=True)
    assert config.vocabulary == 12
    episodes = draw_episodes(config, num_episodes=200)
    # Over a segment each token is as frequent in the one as in the other: only structure tells.
    for domain in (0, 1):
        tokens = episodes.tokens[:, domain]
        assert all(torch.equal(row.bincount(), torch.full((11,), 2)) for row in tokens)


def test_domains_come_as_often_as_they_are_said_to() -> None:
    config = EpisodeConfig(num_rounds=2, repeats=(1, 9), num_distractors=3)
    order = draw_episodes(config).domains[:, 0].tolist()
    assert order == [0, *[1] * 9] * 2 + [1] * 3 + [0, 1]
    assert config.num_told_segments == 20


@pytest.mark.parametrize("mixing", [0.125, 0.25, 0.5])
def test_mixed_segments_hold_both_domains_and_lose_nothing(mixing: float) -> None:
    config = EpisodeConfig(mixing=mixing, num_distractors=1)
    plain = draw_episodes(EpisodeConfig(num_distractors=1))
    mixed = draw_episodes(config)
    share = (mixed.domains[0] == 1).double().mean().item()
    assert share == mixing
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
        ({"domains": ()}, "domains is ()"),
        ({"domains": ("poetry",)}, "must be one or more of cipher, recall, arithmetic"),
        ({"repeats": (1,)}, "repeats is (1,)"),
        ({"repeats": (0, 1)}, "a number from 1 on for each of the 2 domains"),
        ({"mixing": 0.6}, "mixing is 0.6; it must be between 0 and 0.5"),
        ({"mixing": 0.5, "domains": ("cipher", "parity")}, "once a round, and numeric or one of cipher, recall"),
        ({"mixing": 0.5, "repeats": (1, 2)}, "once a round, and numeric or one of cipher, recall"),
        ({"domains": ("cipher",), "num_distractors": 1}, "no domain is a rule"),
        ({"domains": ("cipher", "multiplication"), "modulus": 2}, "modulus is 2"),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        EpisodeConfig(**fields)


def test_the_last_token_of_a_segment_foretells_nothing() -> None:
    episodes = draw_episodes(EpisodeConfig(domains=EIGHT))
    assert (episodes.targets[:, :, -1] == UNSCORED).all()
