"""From bank shares to D_sep, P_ct, dominance and information, for any number of banks and domains.

All functions take a table of mean shares, [domain, bank], with rows that sum to one, and use numpy: they run on
recorded numbers as well as on fresh ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

Shares = Float[np.ndarray, "domain bank"]


def domain_shares(
    shares: Float[np.ndarray, "token bank"], domains: Sequence[int] | np.ndarray, num_domains: int
) -> Shares:
    """Average each bank's share over each domain's tokens.

    Raises:
        ValueError: a domain has no token.

    >>> domain_shares(np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]), [0, 0, 1], 2)
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    labels = np.asarray(domains)
    empty = [d for d in range(num_domains) if not (labels == d).any()]
    if empty:
        raise ValueError(f"no token belongs to domain {empty[0]} of {num_domains}")
    return np.stack([shares[labels == d].mean(0) for d in range(num_domains)])


def own_banks(table: Shares) -> list[int | None]:
    """Give each domain a bank of its own by the best one-to-one matching of shares.

    With fewer banks than domains some domains get none.
    """
    rows, columns = linear_sum_assignment(table, maximize=True)
    owner = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    return [owner.get(d) for d in range(len(table))]


def separation(table: Shares) -> list[float]:
    r"""Return D_sep per domain, in [-1, 1].

    Two banks: $D = p_\mathrm{left} - p_\mathrm{right}$, so opposite signs mean opposite banks (arXiv
    2603.03355 reports values on this scale; the formula is ours). More than two: own bank minus
    the largest other (ours). One bank, or no bank of its own: 0.

    >>> separation(np.array([[1.0, 0.0], [0.25, 0.75]]))
    [1.0, -0.5]
    """
    num_banks = table.shape[1]
    if num_banks == 1:
        return [0.0] * len(table)
    if num_banks == 2:
        return [float(row[0] - row[1]) for row in table]
    return [
        0.0 if bank is None else float(row[bank] - np.delete(row, bank).max())
        for row, bank in zip(table, own_banks(table), strict=True)
    ]


def cross_talk(table: Shares) -> float:
    r"""Return P_ct: the mean share outside a domain's own bank, in [0, 1].

    Two banks and two domains: 0 is one bank each; both an even split and one bank for everything give 0.5. The symbol
    and the values 0 and 0.5 are reported in arXiv 2603.03355; the formula is ours.

    >>> cross_talk(np.array([[1.0, 0.0], [1.0, 0.0]]))
    0.5
    """
    owned = [0.0 if bank is None else row[bank] for row, bank in zip(table, own_banks(table), strict=True)]
    return float(1.0 - np.mean(owned))


def dominance(table: Shares) -> float:
    """Return the largest mean share of any bank over all domains: 1 / B is even, 1 is one for all."""
    return float(table.mean(0).max())


def information(table: Shares) -> float:
    """Return I(bank; domain) / log min(B, domains), in [0, 1], with domains equally likely. Ours.

    >>> information(np.eye(2)), information(np.full((2, 2), 0.5))
    (1.0, 0.0)
    """
    most = np.log(min(table.shape))
    if most == 0.0:
        return 0.0
    marginal = table.mean(0)
    safe = np.where(table > 0, table, 1.0)
    ratio = np.log(safe) - np.log(np.where(marginal > 0, marginal, 1.0))
    return float(np.clip((table * ratio).sum(1).mean() / most, 0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Specialization:
    """All measures of one table of shares.

    Attributes:
        shares: mean share per domain and bank.
        separation: D_sep per domain.
        cross_talk: P_ct.
        dominance: largest mean share of a bank.
        information: normalised mutual information.
    """

    shares: list[list[float]]
    separation: list[float]
    cross_talk: float
    dominance: float
    information: float


def specialization(table: Shares) -> Specialization:
    """Compute every measure of a table of shares."""
    return Specialization(
        shares=table.tolist(),
        separation=separation(table),
        cross_talk=cross_talk(table),
        dominance=dominance(table),
        information=information(table),
    )
