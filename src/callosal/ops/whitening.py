"""Statistics of hidden states that all look alike, used to tell them apart."""

import torch
from jaxtyping import Float
from torch import Tensor

from callosal.ops import address


def whitening(
    covariance: Float[Tensor, "width width"], floor: float
) -> tuple[Float[Tensor, "width width"], Float[Tensor, "width width"]]:
    r"""Return the map after which directions vary about equally, and the directions by how much they did before.

    $$\Omega = (\Sigma + f \, \tfrac{\mathrm{tr} \Sigma}{\text{width}} I)^{-1/2}$$   Ours.

    Args:
        covariance: Sigma, positive semi-definite and not zero.
        floor: f, above 0: what directions that hardly vary are raised by, in units of the mean variance. Near 0 their
            noise counts as much as what tells tokens apart; 1 keeps it down.

    Returns:
        The map, symmetric, and the eigenvectors as rows, the direction that varies most first.
    """
    # Eigenvalues of hidden states span many orders of magnitude.
    variances, directions = torch.linalg.eigh(covariance.double())
    raised = variances.clamp_min(0.0) + floor * variances.mean()
    omega = (directions * raised.rsqrt()) @ directions.T
    return omega.to(covariance.dtype), directions.T.flip(0).to(covariance.dtype)


def centres(
    queries: Float[Tensor, "sample width"],
    num_centres: int,
    *,
    num_steps: int = 20,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "centre width"]:
    """Return directions that the queries gather around: spherical k-means, started at queries drawn at random. Ours.

    Args:
        queries: of length one, at least as many as there are centres.
        num_centres: how many.
        num_steps: of the iteration.
        generator: of the draws, on the CPU.

    Returns:
        Centres of length one. One that no query is nearest to starts again at a query.
    """
    found = queries[torch.randperm(len(queries), generator=generator)[:num_centres].to(queries.device)]
    for _ in range(num_steps):
        nearest = (queries @ found.T).argmax(-1)
        sums = torch.zeros_like(found).index_add_(0, nearest, queries)
        again = queries[torch.randint(len(queries), (num_centres,), generator=generator).to(queries.device)]
        empty = torch.bincount(nearest, minlength=num_centres) == 0
        found = address.unit_norm(torch.where(empty[:, None], again, sums))
    return found
