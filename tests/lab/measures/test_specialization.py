"""D_sep, P_ct, dominance and information: tables worked out by hand, bounds, and symmetries."""

import math
from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosal.lab.measures import specialization as measures
from callosal.lab.measures.specialization import cross_talk, dominance, information, separation


@st.composite
def tables(draw: st.DrawFn, *, num_domains: int | None = None, num_banks: int | None = None) -> np.ndarray:
    """Draw mean shares, [domain, bank]; rows sum to one and may hold zeros and ties."""
    shape = (num_domains or draw(st.integers(1, 4)), num_banks or draw(st.integers(1, 4)))
    weights = st.integers(0, 9)
    rows = st.lists(weights, min_size=shape[1], max_size=shape[1]).filter(any)
    table = np.array([draw(rows) for _ in range(shape[0])], dtype=float)
    return table / table.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("table", "d_sep", "p_ct", "largest"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0], 0.0, 0.5),
        ([[0.0, 1.0], [1.0, 0.0]], [-1.0, 1.0], 0.0, 0.5),
        ([[0.5, 0.5], [0.5, 0.5]], [0.0, 0.0], 0.5, 0.5),
        ([[1.0, 0.0], [1.0, 0.0]], [1.0, 1.0], 0.5, 1.0),
        # Own banks 0 and 1: P_ct = (0.1 + 0.3) / 2.
        ([[0.9, 0.1], [0.3, 0.7]], [0.8, -0.4], 0.2, 0.6),
        # Both prefer bank 0, which can be own to one only: 0.8 + 0.4 is more than 0.6 + 0.2.
        ([[0.8, 0.2], [0.6, 0.4]], [0.6, 0.2], 0.4, 0.7),
        # Three banks for two domains: D_sep is own bank less the largest other.
        ([[0.7, 0.2, 0.1], [0.0, 0.8, 0.2]], [0.5, 0.6], 0.25, 0.5),
        ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [1.0] * 3, 0.0, 1 / 3),
        # Two banks for three domains: the third has none of its own, so all of its share is cross-talk.
        ([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [1.0, -1.0, 0.0], 1 / 3, 0.5),
        # Three banks, four domains: the last has none, which D_sep says as 0.
        ([*np.eye(3).tolist(), [0.4, 0.3, 0.3]], [1.0, 1.0, 1.0, 0.0], 0.25, 0.35),
        # One bank: nothing to separate, and with one domain nothing is shared with another.
        ([[1.0]], [0.0], 0.0, 1.0),
        ([[1.0], [1.0]], [0.0, 0.0], 0.5, 1.0),
    ],
)
def test_tables_worked_out_by_hand(table: list, d_sep: list, p_ct: float, largest: float) -> None:
    shares = np.array(table)
    assert separation(shares) == pytest.approx(d_sep)
    assert cross_talk(shares) == pytest.approx(p_ct)
    assert dominance(shares) == pytest.approx(largest)
    every = measures.specialization(shares)
    assert every.shares == table
    for measure in (separation, cross_talk, dominance, information):
        assert getattr(every, measure.__name__) == measure(shares)


@given(tables(), st.randoms(use_true_random=False))
def test_measures_are_in_range_whatever_the_names(table: np.ndarray, random: Random) -> None:
    assert len(separation(table)) == len(table)
    assert all(-1.0 <= value <= 1.0 for value in separation(table))
    assert -1e-12 <= cross_talk(table) <= 1.0
    assert 1.0 / table.shape[1] - 1e-12 <= dominance(table) <= 1.0 + 1e-12
    assert 0.0 <= information(table) <= 1.0
    rows, columns = (random.sample(range(size), size) for size in table.shape)
    renamed = table[rows][:, columns]
    for measure in (cross_talk, information, dominance):
        assert measure(renamed) == pytest.approx(measure(table), abs=1e-12)


@given(tables())
def test_own_banks_are_the_best_matching_there_is(table: np.ndarray) -> None:
    """Against trying every one-to-one assignment."""
    owned = measures.own_banks(table)
    given_out = [bank for bank in owned if bank is not None]
    assert len(set(given_out)) == len(given_out) == min(table.shape)
    total = sum(table[d, bank] for d, bank in enumerate(owned) if bank is not None)
    size = max(table.shape)
    padded = np.pad(table, [(0, size - n) for n in table.shape])
    best = max(sum(padded[range(size), p]) for p in permutations(range(size)))
    assert total == pytest.approx(best)
    assert cross_talk(table) == pytest.approx(1.0 - best / len(table))
    if table.shape[1] > 2:
        for d, (bank, d_sep) in enumerate(zip(owned, separation(table), strict=True)):
            own = 0.0 if bank is None else table[d, bank] - np.delete(table[d], bank).max()
            assert d_sep == pytest.approx(own)


@given(tables())
def test_information_is_the_divergence_of_joint_from_product(table: np.ndarray) -> None:
    """Term by term, from the definition of mutual information with domains equally likely."""
    num_domains, num_banks = table.shape
    total = 0.0
    for (_, bank), share in np.ndenumerate(table):
        if share > 0.0:
            joint, product = share / num_domains, table[:, bank].mean() / num_domains
            total += joint * math.log(joint / product)
    most = math.log(min(num_domains, num_banks))
    expected = total / most if most else 0.0
    assert information(table) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 999))
def test_domain_shares_are_means_over_tokens(num_domains: int, num_banks: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = [*range(num_domains), *generator.integers(num_domains, size=7).tolist()]
    shares = generator.dirichlet(np.ones(num_banks), size=len(labels))
    table = measures.domain_shares(shares, labels, num_domains)
    for domain in range(num_domains):
        mine = [row for row, label in zip(shares, labels, strict=True) if label == domain]
        assert table[domain] == pytest.approx(sum(mine) / len(mine))
    with pytest.raises(ValueError, match=f"no token belongs to domain {num_domains}"):
        measures.domain_shares(shares, labels, num_domains + 1)
