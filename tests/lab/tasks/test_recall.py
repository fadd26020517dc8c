"""Associative recall: any function of the keys, the splits apart."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS
from torch import Generator

from callosal.lab.tasks import EpisodeConfig, Split, sample_episodes
from callosal.lab.tasks.recall import sample_functions


@given(SEEDS, st.integers(1, 6), st.integers(1, 4))
def test_the_splits_cannot_meet(seed: int, num_keys: int, half: int) -> None:
    splits: dict[Split, int] = {"training": 0, "evaluation": 1}
    for split, parity in splits.items():
        values = sample_functions(20, num_keys, 2 * half, Generator().manual_seed(seed), split)
        assert ((values >= 0) & (values < 2 * half)).all()
        assert (values.sum(-1) % 2 == parity).all()


def test_every_value_is_equally_likely_for_every_key() -> None:
    values = sample_functions(20_000, 3, 4, Generator().manual_seed(0), "training")
    for key in range(3):
        share = torch.bincount(values[:, key], minlength=4) / len(values)
        assert share.tolist() == pytest.approx([0.25] * 4, abs=0.015)
    # The halves would not be alike.
    with pytest.raises(ValueError, match="recall over 3 values; an even number"):
        sample_functions(1, 3, 3, Generator(), "training")


def test_an_episode_asks_each_key_for_its_value() -> None:
    config = EpisodeConfig(domains=("recall", "counting"), modulus=10)
    episodes = sample_episodes(config, 50, Generator().manual_seed(0), "evaluation")
    assert config.alphabets == (16, 10)
    pairs = episodes.tokens[:, 0].reshape(50, -1, 2)
    asked, answers = episodes.tokens[:, 4, 0::2], episodes.targets[:, 4, 0::2]
    assert (pairs[..., 0] < 8).all()
    assert ((pairs[..., 1] >= 8) & (pairs[..., 1] < 16)).all()
    for row in range(50):
        value = dict(pairs[row].tolist())
        assert [value[key] for key in asked[row].tolist()] == answers[row].tolist()
        assert sorted(value) == list(range(8))
    # Values come with replacement: nearly no function is a bijection.
    assert any(len(set(pairs[row, :, 1].tolist())) < 8 for row in range(50))
