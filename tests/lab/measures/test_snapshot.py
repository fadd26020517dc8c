"""The picture of a memory before and after: plain numbers, within the bound, none without a memory."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.lab.tiny import EPISODES, tiny

from callosal.lab.measures.snapshot import take_snapshot
from callosal.lab.runs import RunConfig, build_model
from callosal.lab.tasks import EpisodeConfig

TWO_ROUNDS = replace(EPISODES, num_rounds=2)


@pytest.mark.parametrize("episodes", [EPISODES, TWO_ROUNDS])
def test_norms_start_blank_grow_with_writing_and_stay_within_the_bound(
    episodes: EpisodeConfig,
) -> None:
    snapshot = take_snapshot(build_model(tiny()).eval(), episodes)
    assert snapshot is not None
    norms = torch.tensor(snapshot["norms"])
    points = 1 + 2 * episodes.num_rounds
    assert norms.shape == (points, 2, 8)
    assert (norms[0] == 0.0).all()
    assert all((one != other).any() for one, other in pairwise(norms))
    assert norms.max() <= snapshot["bound"]
    assert snapshot["domains"] == [0, 1] * episodes.num_rounds


def test_the_bound_is_that_of_the_memorys_own_maps() -> None:
    model = build_model(tiny())
    memory = model.memory_at(0)
    assert memory is not None
    snapshot = take_snapshot(model.eval(), EPISODES)
    assert snapshot is not None
    # Orthogonal times four, width 16.
    assert snapshot["bound"] == pytest.approx(4.0 * 16**0.5, rel=1e-5)


def test_it_is_plain_numbers_and_the_same_every_time() -> None:
    model = build_model(tiny()).eval()
    one, other = (take_snapshot(model, EPISODES) for _ in range(2))
    assert one == other
    assert json.loads(json.dumps(one)) == one


def test_a_memory_behind_a_later_block_is_found() -> None:
    config: RunConfig = tiny()
    deeper = replace(config, transformer=replace(config.transformer, num_blocks=2), memory_behind=1)
    assert take_snapshot(build_model(deeper).eval(), EPISODES) is not None


def test_without_a_memory_there_is_none() -> None:
    assert take_snapshot(build_model(tiny("no-memory")).eval(), EPISODES) is None
