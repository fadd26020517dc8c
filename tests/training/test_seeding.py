"""One seed, many generators that share nothing."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callosal.training.seeding import derive_seed, generator_for, seeded

PURPOSES = st.tuples(st.integers(0, 2**32), st.text(max_size=8), st.integers(0, 2**20))


@given(st.lists(PURPOSES, unique=True, min_size=2, max_size=6))
def test_every_seed_name_and_counter_has_a_seed_of_its_own(purposes: list[tuple[int, str, int]]) -> None:
    assert len({derive_seed(*purpose) for purpose in purposes}) == len(purposes)


def test_digits_and_names_do_not_run_together_and_seeds_stay_what_they_were() -> None:
    assert derive_seed(1, "a", 11) != derive_seed(11, "a", 1)
    assert derive_seed(1, "a", 1) != derive_seed(1, "a1", 0)
    assert derive_seed(0, "a/0", 0) != derive_seed(0, "a", 0)
    # A published run can be repeated only while this hash stays.
    assert derive_seed(0, "training", 0) == 0x6274_8DF2_AC2B_D9F6


@given(PURPOSES)
def test_a_seed_is_what_torch_takes(purpose: tuple[int, str, int]) -> None:
    assert 0 <= derive_seed(*purpose) < 2**63
    draws = [torch.rand(4, generator=generator_for(*purpose)) for _ in range(2)]
    assert torch.equal(*draws)


def test_streams_of_neighbouring_counters_are_uncorrelated() -> None:
    """1,000 streams' first draws: each pair of lags correlates within four standard errors."""
    first = torch.stack([torch.rand(4, generator=generator_for(0, "x", i)) for i in range(1000)])
    correlation = torch.corrcoef(torch.cat([first[:-1], first[1:]], dim=1).T)
    assert (correlation - torch.eye(8)).abs().max() < 4 / 999**0.5


@pytest.mark.parametrize("fails", [False, True])
def test_seeded_leaves_torchs_own_generator_as_it_was(fails: bool) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError) if fails else nullcontext(), seeded(0, "trunk"):
        torch.rand(100)
        assert 1 / (not fails) == 1
    assert torch.equal(torch.rand(3), expected)


def test_inside_seeded_draws_depend_on_seed_and_name_alone() -> None:
    def draw(seed: int, name: str) -> tuple[float, ...]:
        with seeded(seed, name):
            return tuple(torch.rand(2).tolist())

    assert draw(0, "trunk") == draw(0, "trunk")
    assert len({draw(0, "trunk"), draw(0, "memory"), draw(1, "trunk")}) == 3
