"""A memory written to for ever: the bounded rule stays where it says, the additive does not."""

import math

import pytest
import torch
from tests.cases import Write
from tests.laws import largest_norm_over
from tests.tolerances import NORM_SLACK

from callosal.memory import LateralMemory, MemoryConfig

NUM_SEGMENTS = 10_000


def build(
    write: Write, dtype: torch.dtype, *, num_slots: int = 16, num_banks: int = 2
) -> LateralMemory:
    config = MemoryConfig(width=16, num_slots=num_slots, num_banks=num_banks, write=write)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        memory = LateralMemory(config)
    return memory.eval().to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_stay_in_bounds_over_10_000_segments(dtype: torch.dtype) -> None:
    memory = build("bounded", dtype)
    largest = largest_norm_over(memory, NUM_SEGMENTS)
    assert 0.0 < largest <= memory.max_slot_norm * (1 + NORM_SLACK[str(dtype).split(".")[1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_additive_write_overflows_in_the_same_run(dtype: torch.dtype) -> None:
    memory = build("additive", dtype)
    # It stops at the first norm that is not below infinity.
    assert not math.isfinite(largest_norm_over(memory, NUM_SEGMENTS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bound_is_reached_and_not_passed(dtype: torch.dtype) -> None:
    """Slots that all hold the same are the worst case: every write pulls in one direction.

    One bank, so that its share is one; then the bound is a limit, and rounding alone could pass it.
    """
    memory = build("bounded", dtype, num_slots=4, num_banks=1)
    with torch.no_grad():
        memory.prototypes.fill_(1.0)
        memory.maps.copy_(4.0 * torch.eye(16)[None])
    largest = largest_norm_over(memory, 1_000)
    slack = NORM_SLACK[str(dtype).split(".")[1]]
    assert memory.max_slot_norm * (1 - slack) <= largest <= memory.max_slot_norm * (1 + slack)


def test_the_bound_is_the_one_in_the_equation() -> None:
    memory = build("bounded", torch.float32)
    norms = [torch.linalg.svdvals(one).max().item() for one in memory.maps.detach()]
    assert memory.max_slot_norm == pytest.approx(math.sqrt(16) * max(norms), rel=1e-5)
