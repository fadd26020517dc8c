"""The picture of a memory before and after: plain numbers, within the bound, none without a memory."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.lab.tiny import EPISODES, tiny, tiny_model

from callosal.lab.measures.snapshot import take_snapshot
from callosal.lab.runs import build_model
from callosal.lab.tasks import EpisodeConfig

TWO_ROUNDS = replace(EPISODES, num_rounds=2)


@pytest.mark.parametrize("episodes", [EPISODES, TWO_ROUNDS])
def test_norms_start_blank_grow_with_writing_and_stay_within_the_bound(episodes: EpisodeConfig) -> None:
    snapshot = take_snapshot(tiny_model(), episodes)
    assert snapshot is not None
    norms = torch.tensor(snapshot["norms"])
    points = 1 + 2 * episodes.num_rounds
    assert norms.shape == (points, 2, 8)
    assert (norms[0] == 0.0).all()
    assert all((one != other).any() for one, other in pairwise(norms))
    assert norms.max() <= snapshot["bound"]
    assert snapshot["domains"] == [0, 1] * episodes.num_rounds


def test_the_bound_is_that_of_the_memorys_own_maps() -> None:
    one, other = (take_snapshot(tiny_model(), EPISODES) for _ in range(2))
    assert one is not None
    # Orthogonal times four, width 16.
    assert one["bound"] == pytest.approx(4.0 * 16**0.5, rel=1e-5)
    # Plain numbers, and the same every time.
    assert json.loads(json.dumps(one)) == one == other


def test_a_memory_is_found_behind_whatever_block_it_stands() -> None:
    config = tiny()
    deeper = replace(config, transformer=replace(config.transformer, num_blocks=2), memory_behind=1)
    assert take_snapshot(build_model(deeper).eval(), EPISODES) is not None
    assert take_snapshot(tiny_model("no-memory"), EPISODES) is None
