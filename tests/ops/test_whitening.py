"""Whitening by its defining equation, and centres that lie where the queries do."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import SEEDS, normal
from tests.laws import assert_near

from callosal.ops import address, whitening


@given(seed=SEEDS, width=st.integers(1, 6), rank=st.integers(1, 6), floor=st.sampled_from([1e-3, 0.1, 1.0]))
def test_whitening_is_the_inverse_root_of_what_varies_and_orders_its_directions(
    seed: int, width: int, rank: int, floor: float
) -> None:
    root = normal(seed, rank, width)
    covariance = root.T @ root
    omega, directions = whitening.whitening(covariance, floor)
    identity = torch.eye(width, dtype=torch.float64)
    raised = covariance + floor * covariance.trace() / width * identity
    # These three hold for the inverse square root and for nothing else.
    assert_near(omega @ raised @ omega, identity)
    assert_near(omega, omega.T)
    assert (torch.linalg.eigvalsh(omega) > 0.0).all()
    assert_near(directions @ directions.T, identity)
    varies = directions @ covariance @ directions.T
    assert_near(varies, varies.diagonal().diag())
    assert (varies.diagonal().diff() <= 1e-9).all()


@given(seed=SEEDS, num_groups=st.integers(1, 5))
def test_centres_are_found_where_queries_gather(seed: int, num_groups: int) -> None:
    groups = torch.eye(6, dtype=torch.float64)[:num_groups].repeat_interleave(16, 0)
    queries = address.unit_norm(groups + 0.05 * normal(seed, len(groups), 6))
    generator = torch.Generator().manual_seed(seed)
    found = whitening.centres(queries, 12, generator=generator)
    assert_near(found.norm(dim=-1), torch.ones(12, dtype=torch.float64), 1e-5)
    nearest = queries @ found.T
    # With as many centres as this no group is left without one, and none lies where there are no queries.
    assert nearest.max(1).values.min() > 0.9
    assert nearest.max(0).values.min() > 0.9
