"""Forests: a child never without its parent, exclusivity, rates at every depth, every shape, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from sparsesim.generators import Forest
from tests.generators.chance import assert_rates
from tests.generators.strategies import forests, parent_tuples, seeds
from tests.generators.test_supports import dense


@given(law=forests(), seed=seeds)
@settings(max_examples=100)
def test_a_child_never_fires_without_its_parent_and_exclusive_siblings_never_together(law, seed):
    fires = dense(law.draw(300, np.random.default_rng(seed))) > 0
    for node, parent in enumerate(law.parents):
        if parent >= 0:
            assert not np.any(fires[:, node] & ~fires[:, parent])
    if law.exclusive:
        for parent in set(law.parents) - {-1}:
            assert fires[:, np.array(law.parents) == parent].sum(axis=1).max() <= 1


def by_enumeration(law):
    """Joint rates by summing the probability of all 2^m firing patterns, from the definition of the law."""
    m, parents = law.n_features, np.array(law.parents)
    patterns = (np.arange(2**m)[:, None] >> np.arange(m) & 1).astype(bool)
    probability = np.ones(len(patterns))
    for node in range(m):
        above = np.ones(len(patterns), bool) if parents[node] < 0 else patterns[:, parents[node]]
        rate = np.where(above, law.rates[node], 0.0)
        if not (law.exclusive and parents[node] >= 0):
            probability *= np.where(patterns[:, node], rate, 1.0 - rate)
    for parent in set(law.parents) - {-1} if law.exclusive else ():
        children = np.flatnonzero(parents == parent)
        fired, rates = patterns[:, children], np.array(law.rates)[children]
        one = np.where(fired.sum(axis=1) == 1, fired @ rates, 0.0)
        none = np.maximum(1.0 - rates.sum(), 0.0)
        chosen = np.where(fired.any(axis=1), one, none)
        probability *= np.where(patterns[:, parent], chosen, ~fired.any(axis=1))
    weighted = patterns * probability[:, None]
    return weighted.T @ patterns, probability.sum()


@given(law=forests(most=9))
@settings(max_examples=60)
def test_joint_rates_equal_the_sum_over_all_firing_patterns(law):
    joint, total = by_enumeration(law)
    assert total == pytest.approx(1.0, abs=1e-12)  # 512 terms, rounding 2^-53 each
    assert law.pairwise() == pytest.approx(joint, abs=1e-12)
    assert law.marginals() == pytest.approx(np.diag(joint), abs=1e-12)


def test_rates_hold_at_every_depth_of_the_published_shape():
    law, n = Forest.regular(8, 4, 3, root_rate=0.15, child_rate=0.2), 60_000
    assert law.n_features == 8 * (1 + 4 + 16 + 64)
    support, depths = law.draw(n, np.random.default_rng(0)), law.depths()
    counts = np.bincount(support.indices, minlength=law.n_features)
    assert np.array_equal(np.bincount(depths), [8, 32, 128, 512])
    for depth in range(4):
        expected = 0.15 * 0.2**depth
        assert law.marginals()[depths == depth] == pytest.approx(np.full(8 * 4**depth, expected), rel=1e-14)
        assert_rates(counts[depths == depth], n, np.full(8 * 4**depth, expected))


@pytest.mark.parametrize("exclusive", [True, False])
def test_forests_of_given_marginals_have_them(exclusive):
    parents, marginals = (-1, 0, 0, 1, -1, 4), (0.5, 0.3, 0.2, 0.3, 0.0, 0.0)
    law = Forest.from_marginals(parents, marginals, exclusive)
    assert law.marginals() == pytest.approx(np.array(marginals), abs=1e-15)  # one division and one product
    counts = np.bincount(law.draw(50_000, np.random.default_rng(0)).indices, minlength=6)
    assert_rates(counts, 50_000, marginals)


@given(parents=parent_tuples())
@settings(max_examples=60)
def test_depths_count_the_ancestors(parents):
    depths = Forest(parents, (0.0,) * len(parents)).depths()
    for node, parent in enumerate(parents):
        assert depths[node] == (0 if parent < 0 else depths[parent] + 1)


def test_a_hundred_thousand_nodes_in_one_chain_are_drawn_and_summed_without_recursion():
    m = 100_000
    chain = Forest((-1, *range(m - 1)), (0.5, *((1.0 - 1e-5,) * (m - 1))))
    assert chain.depths()[-1] == m - 1
    support = chain.draw(20, np.random.default_rng(0))
    lengths = np.diff(support.indptr)
    for low, high in zip(support.indptr[:-1], support.indptr[1:], strict=True):
        assert np.array_equal(support.indices[low:high], np.arange(high - low))  # a chain fires from its top
    assert lengths.max() > 10_000
    # With all vectors 1 the energy is E[length^2]; the length is 0 or a truncated geometric number.
    j = np.arange(1, m + 1)
    tail = 0.5 * (1.0 - 1e-5) ** (j - 1)
    expected = np.sum((2 * j - 1) * tail)
    assert chain.energy(np.ones((m, 1))) == pytest.approx(expected, rel=1e-9)  # 1e5 roundings of 1e-16, correlated


def test_a_hundred_thousand_children_of_one_root_are_handled():
    m = 100_000
    for exclusive in (True, False):
        star = Forest((-1, *((0,) * (m - 1))), (1.0, *((1.0 / (m - 1),) * (m - 1))), exclusive)
        support = star.draw(2_000, np.random.default_rng(0))
        children = np.diff(support.indptr) - 1
        assert np.all(children == 1) if exclusive else 0.8 < children.mean() < 1.2  # Poisson(1): s.e. 0.022


def test_relabelling_the_nodes_relabels_the_law():
    rng = np.random.default_rng(0)
    law = Forest((-1, 0, 0, 1, 1, -1, 5), (0.5, 0.4, 0.6, 0.3, 0.3, 0.2, 0.9))
    order = rng.permutation(7)  # new label i is old node order[i]
    place = np.argsort(order)
    moved = Forest(
        tuple(-1 if law.parents[node] < 0 else int(place[law.parents[node]]) for node in order),
        tuple(law.rates[node] for node in order),
    )
    assert moved.pairwise() == pytest.approx(law.pairwise()[np.ix_(order, order)], abs=1e-15)
    vectors = rng.standard_normal((7, 3))
    assert moved.energy(vectors[order]) == pytest.approx(law.energy(vectors), rel=1e-13)


def test_ten_exclusive_children_of_a_tenth_each_are_feasible():
    law = Forest((-1, *((0,) * 10)), (1.0, *((0.1,) * 10)))
    support = law.draw(20_000, np.random.default_rng(0))
    assert np.all(np.diff(support.indptr) == 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Forest((1, 0), (0.5, 0.5)), r"cycle 0 -> 1 -> 0"),
        (lambda: Forest((-1, 1), (0.5, 0.5)), r"cycle 1 -> 1"),
        (lambda: Forest((-1, 2, 3, 2), (0.5,) * 4), r"cycle 2 -> 3 -> 2"),
        (lambda: Forest((-1, 2), (0.5, 0.5)), r"parents\[1\] must lie in \[-1, m-1=1\]; got 2"),
        (lambda: Forest((-2,), (0.5,)), r"parents\[0\] must lie in \[-1"),
        (lambda: Forest((), ()), "at least one node"),
        (lambda: Forest((-1, 0), (0.5,)), "rates must be as many as parents, m=2; got 1"),
        (lambda: Forest((-1,), (1.2,)), r"rates\[0\] must be finite and lie in \[0, 1\]; got 1.2"),
        (
            lambda: Forest((-1, 0, 0), (0.5, 0.6, 0.6)),
            r"those of parent 0 sum to 1.2 > 1. Lower them, or pass exclusive",
        ),
        (lambda: Forest.regular(2, 4, 1, 0.5, 0.3), r"sum to 1.2 > 1"),
        (lambda: Forest.regular(0, 4, 1, 0.5, 0.2), r"roots must lie in \[1"),
        (lambda: Forest.regular(1, 0, 1, 0.5, 0.2), r"branching must lie in \[1"),
        (lambda: Forest.regular(1, 1, -1, 0.5, 0.2), r"depth must lie in \[0"),
        (lambda: Forest.from_marginals((-1, 0), (0.2, 0.3)), r"marginals\[1\]=0.3 > marginals\[0\]=0.2"),
        (lambda: Forest.from_marginals((-1, 0, 0), (0.5, 0.3, 0.3)), r"sum to at least 0.6 > marginals\[0\]=0.5"),
        (lambda: Forest.from_marginals((-1, 0), (0.5,)), "marginals must be as many as parents, m=2; got 1"),
    ],
)
def test_infeasible_forests_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Forest([-1], (0.5,)), r"parents must be a tuple; got list"),
        (lambda: Forest((-1,), [0.5]), r"rates must be a tuple of rates; got list"),
        (lambda: Forest((-1.0,), (0.5,)), r"parents\[0\] must be an integer"),
        (lambda: Forest((-1,), (0.5,), exclusive=1), "exclusive must be True or False; got 1"),
    ],
)
def test_forests_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
