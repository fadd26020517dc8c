"""A memory written to for ever: the bounded rule stays where it says, the additive does not."""

import math
from typing import Any

import pytest
import torch
from tests.cases import Write
from tests.laws import largest_norm_over
from tests.tolerances import NORM_SLACK

from callosal.memory import LateralMemory, MemoryConfig
from callosal.memory.config import Normalised

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def build(write: Write, dtype: torch.dtype, **fields: Any) -> LateralMemory:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        memory = LateralMemory(MemoryConfig(width=16, write=write, **{"num_slots": 16, **fields}))
    return memory.eval().to(dtype)


def slack(dtype: torch.dtype) -> float:
    return NORM_SLACK[str(dtype).removeprefix("torch.")]


@DTYPES
@pytest.mark.parametrize(
    "fields",
    [{}, {"observe": True, "inner_width": 8, "salience": "learned"}, {"observe": True, "normalised": "retrieved"}],
    ids=str,
)
def test_norms_stay_in_bounds_over_10_000_segments(dtype: torch.dtype, fields: dict[str, Any]) -> None:
    memory = build("bounded", dtype, **fields)
    assert 0.0 < largest_norm_over(memory, 10_000) <= memory.max_slot_norm * (1 + slack(dtype))


@DTYPES
def test_additive_write_overflows_in_the_same_run(dtype: torch.dtype) -> None:
    assert not math.isfinite(largest_norm_over(build("additive", dtype), 10_000))


@DTYPES
def test_the_bound_is_reached_and_not_passed(dtype: torch.dtype) -> None:
    """Slots that all hold the same are the worst case: every write pulls in one direction.

    One bank, so that its share is one; then the bound is a limit, and rounding alone could pass it.
    """
    memory = build("bounded", dtype, num_slots=4, num_banks=1)
    with torch.no_grad():
        memory.prototypes.fill_(1.0)
        memory.maps.copy_(4.0 * torch.eye(16)[None])
    share = largest_norm_over(memory, 1_000) / memory.max_slot_norm
    assert 1 - slack(dtype) <= share <= 1 + slack(dtype)


@DTYPES
@pytest.mark.parametrize("normalised", ["slots", "retrieved"])
def test_the_bound_of_what_is_observed_is_reached_and_not_passed(dtype: torch.dtype, normalised: Normalised) -> None:
    """The same where every token is what the slots hold, so that payload and prototype pull alike."""
    memory = build("bounded", dtype, num_slots=4, num_banks=1, observe=True, normalised=normalised)
    with torch.no_grad():
        memory.prototypes.fill_(1.0)
        memory.maps.copy_(4.0 * torch.eye(16)[None])
        _, state = memory(torch.ones(1, 1000, 4, 16, dtype=dtype))
    share = state.trace.float().norm(dim=-1).max().item() / memory.max_slot_norm
    assert 1 - slack(dtype) <= share <= 1 + slack(dtype)


def test_the_bound_is_the_one_in_the_equation() -> None:
    memory = build("bounded", torch.float32)
    norms = [torch.linalg.svdvals(one).max().item() for one in memory.maps.detach()]
    assert memory.max_slot_norm == pytest.approx(math.sqrt(16) * max(norms), rel=1e-5)
    observing = build("bounded", torch.float32, observe=True, inner_width=9)
    with torch.no_grad():
        observing.observation.mul_(3.0)  # of the identity  # pyright: ignore[reportOptionalMemberAccess]
    norms = [torch.linalg.svdvals(one).max().item() for one in observing.maps.detach()]
    assert observing.max_slot_norm == pytest.approx(math.sqrt(9) * max(norms) * (1 + 3), rel=1e-5)
