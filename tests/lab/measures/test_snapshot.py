"""The picture of a memory before and after: plain numbers, within the bound, none without a memory."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tests.lab.tiny import EPISODES, tiny, tiny_model

from callosal.lab.measures.snapshot import take_snapshot
from callosal.lab.runs import build_model


@pytest.mark.parametrize("num_rounds", [1, 2])
def test_norms_start_blank_and_grow_within_the_bound(num_rounds: int) -> None:
    episodes = replace(EPISODES, num_rounds=num_rounds)
    snapshot, again = (take_snapshot(tiny_model(), episodes) for _ in range(2))
    assert snapshot is not None
    norms = torch.tensor(snapshot["norms"])
    assert norms.shape == (1 + 2 * num_rounds, 2, 8)
    assert (norms[0] == 0.0).all()
    assert all((one != other).any() for one, other in pairwise(norms))
    assert norms.max() <= snapshot["bound"]
    assert snapshot["domains"] == [0, 1] * num_rounds
    # The bound is that of the memory's own maps: orthogonal times four, width 16.
    assert snapshot["bound"] == pytest.approx(4.0 * 16**0.5, rel=1e-5)
    # Plain numbers, and the same every time.
    assert json.loads(json.dumps(snapshot)) == snapshot == again
    # A memory is found behind whatever block it stands.
    config = tiny()
    deeper = replace(config, transformer=replace(config.transformer, num_blocks=2), memory_behind=1)
    assert take_snapshot(build_model(deeper).eval(), EPISODES) is not None
    assert take_snapshot(tiny_model("no-memory"), EPISODES) is None
