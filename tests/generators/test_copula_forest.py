"""Trees over roots of any law, and forests in which some parents have exclusive children and others not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators import (
    Bernoulli,
    BlockCorrelation,
    CorrelatedBernoulli,
    EqualRates,
    ExactlyK,
    Forest,
    ForestOver,
    GivenRates,
    LowRankCorrelation,
    SynthSAEBenchSupport,
)
from tests.generators.chance import assert_mean, assert_rates
from tests.generators.strategies import forests_over, parent_tuples, probabilities, seeds
from tests.generators.test_supports import dense

N = 40_000
ROOTS = CorrelatedBernoulli(GivenRates((0.5, 0.3, 0.8)), BlockCorrelation((3,), 0.7))
BELOW = ((0, 0, 1, 3, 3, 6, 2, 2, 0), (0.6, 0.4, 0.9, 0.5, 0.5, 1.0, 0.7, 0.6, 0.0))
SOME = tuple(feature % 3 == 0 for feature in range(12))
LAWS = {
    "correlated": ForestOver(ROOTS, *BELOW, exclusive=SOME),
    "independent_children": ForestOver(ROOTS, *BELOW, exclusive=False),
    "exactly_k": ForestOver(ExactlyK(3, 2), *BELOW, exclusive=SOME),
    "roots_only": ForestOver(ROOTS, (), ()),
}
laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@laws
def test_every_feature_and_every_pair_fires_at_its_true_rate(law):
    fires = dense(law.draw(N, np.random.default_rng(0)))
    assert_rates(fires.sum(axis=0), N, law.marginals())
    assert_rates(fires.T @ fires, N, law.pairwise())
    assert_rates(fires[0::2].T @ fires[1::2], N // 2, np.outer(law.marginals(), law.marginals()))


@laws
def test_energy_is_the_mean_squared_norm_of_the_firing_rows(law):
    vectors = np.random.default_rng(3).standard_normal((law.n_features, 4)) + 0.5
    fires = dense(law.draw(N, np.random.default_rng(1)))
    assert_mean(np.square(fires @ vectors).sum(axis=1), law.energy(vectors))


def by_enumeration(parents, rates, exclusive, root_rates):
    """Joint rates of a forest by summing the probability of all 2^m firing patterns, group by group of siblings."""
    m, parents = len(parents), np.array(parents)
    patterns = (np.arange(2**m)[:, None] >> np.arange(m) & 1).astype(bool)
    probability = np.ones(len(patterns))
    for parent in range(-1, m):
        children = np.flatnonzero(parents == parent)
        on, fired = np.ones(len(patterns), bool) if parent < 0 else patterns[:, parent], patterns[:, children]
        p = np.asarray(root_rates if parent < 0 else rates)[children]
        if parent >= 0 and exclusive[parent]:
            single = np.where(fired.sum(axis=1) == 1, fired @ p, 0.0)
            chosen = np.where(fired.any(axis=1), single, max(1.0 - p.sum(), 0.0))
        else:
            chosen = np.where(fired, p, 1.0 - p).prod(axis=1)
        probability *= np.where(on, chosen, ~fired.any(axis=1))
    return (patterns * probability[:, None]).T @ patterns


@st.composite
def mixed_forests(draw, most=9):
    parents = draw(parent_tuples(most))
    exclusive = tuple(draw(st.booleans()) for _ in parents)
    rates = np.array([draw(probabilities) for _ in parents])
    for parent in {parent for parent in parents if parent >= 0 and exclusive[parent]}:
        mine = np.array(parents) == parent
        rates[mine] /= max(1.0, rates[mine].sum())
    return Forest(parents, tuple(rates.tolist()), exclusive)


@given(law=mixed_forests(), seed=seeds)
@settings(max_examples=60)
def test_forests_may_be_exclusive_below_some_parents_only(law, seed):
    joint = by_enumeration(law.parents, law.rates, law.exclusive, law.rates)
    assert law.pairwise() == pytest.approx(joint, abs=1e-12)  # 512 terms, rounding 2^-53 each
    vectors = np.random.default_rng(seed).standard_normal((law.n_features, 3))
    assert law.energy(vectors) == pytest.approx(np.sum(joint * (vectors @ vectors.T)), abs=1e-10)
    assert_rates(dense(law.draw(2_000, np.random.default_rng(seed))).sum(axis=0), 2_000, law.marginals())


@given(law=mixed_forests())
@settings(max_examples=40)
def test_a_forest_over_independent_roots_is_the_forest(law):
    roots = [node for node, parent in enumerate(law.parents) if parent < 0]
    order = [*roots, *(node for node in range(law.n_features) if node not in roots)]
    place = np.argsort(order)
    over = ForestOver(
        Bernoulli(GivenRates(tuple(law.rates[node] for node in roots))),
        tuple(int(place[law.parents[node]]) for node in order[len(roots) :]),
        tuple(law.rates[node] for node in order[len(roots) :]),
        tuple(law.exclusive[node] for node in order),
    )
    assert over.pairwise() == pytest.approx(law.pairwise()[np.ix_(order, order)], abs=1e-15)
    vectors = np.random.default_rng(0).standard_normal((law.n_features, 3))
    assert over.energy(vectors[order]) == pytest.approx(law.energy(vectors), abs=1e-12)


def test_one_flag_for_all_parents_is_the_same_flag_for_each():
    parents, rates = (-1, 0, 0, 1, 1, -1), (0.5, 0.4, 0.6, 0.3, 0.3, 0.2)
    for flag in (True, False):
        one, each = Forest(parents, rates, flag), Forest(parents, rates, (flag,) * 6)
        first, second = (law.draw(700, np.random.default_rng(0)) for law in (one, each))
        assert np.array_equal(first.indices, second.indices) and np.array_equal(first.indptr, second.indptr)


def violations(law, n, seed):
    """How often a child fires without its parent, or two exclusive siblings fire together."""
    support = law.draw(n, np.random.default_rng(seed))
    m, parents = law.n_features, np.array((-1,) * law.roots.n_features + law.parents)
    row = np.repeat(np.arange(n, dtype=np.int64), np.diff(support.indptr))
    on = np.zeros((n, m), dtype=bool)
    on[row, support.indices] = True
    child = parents[support.indices] >= 0
    alone = np.count_nonzero(~on[row[child], parents[support.indices[child]]])
    exclusive = np.full(m, law.exclusive)[parents] & (parents >= 0)
    mine = exclusive[support.indices]
    pairs = row[mine] * m + parents[support.indices[mine]]
    return alone, len(pairs) - len(np.unique(pairs))


@given(law=forests_over(), seed=seeds)
@settings(max_examples=60)
def test_a_child_never_fires_without_its_parent_and_exclusive_siblings_never_together(law, seed):
    assert violations(law, 300, seed) == (0, 0)


@pytest.mark.parametrize("n", [100_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_no_implication_is_violated_in_many_draws(n):
    law = LAWS["correlated"]
    for seed in range(max(n // 10**6, 1)):
        assert violations(law, min(n, 10**6), seed) == (0, 0)


def test_a_child_of_rate_one_fires_whenever_its_parent_does():
    fires = dense(ForestOver(ROOTS, (1, 1), (1.0, 0.0), exclusive=False).draw(5_000, np.random.default_rng(0)))
    assert np.array_equal(fires[:, 3], fires[:, 1]) and not fires[:, 4].any()


@dataclass(frozen=True)
class FirstOrder:
    """A law of somebody else of which only the rates are known."""

    n_features: int = 2

    def marginals(self):
        return np.full(2, 0.5)

    def draw(self, n, rng):
        return ExactlyK(2, 1).draw(n, rng)


def test_roots_without_joint_rates_have_trees_without_joint_rates():
    law = ForestOver(FirstOrder(), (0, 1), (0.5, 1.0))
    assert law.marginals() == pytest.approx([0.5, 0.5, 0.25, 0.5])
    assert_rates(dense(law.draw(N, np.random.default_rng(0))).sum(axis=0), N, law.marginals())
    for ask in (law.pairwise, lambda: law.energy(np.ones((4, 1)))):
        with pytest.raises(TypeError, match="joint rates need those of the roots, which FirstOrder does not give"):
            ask()


def test_numerical_rates_of_roots_hand_their_errors_down():
    roots = SynthSAEBenchSupport(EqualRates(4, 0.3), (-1, 0, 0, -1), LowRankCorrelation(2, 0.2, 0))
    errors = ForestOver(roots, (1, 4, 3), (0.5, 0.2, 0.9)).marginal_errors()
    above = roots.marginal_errors()
    assert above[1] > 0
    assert errors == pytest.approx([*above, 0.5 * above[1], 0.1 * above[1], 0.0], rel=1e-12)  # root 3 is exact
    assert not ForestOver(ExactlyK(3, 2), (0,), (0.5,)).marginal_errors().any()


def test_a_thousand_correlated_roots_with_deep_trees_are_drawn_and_summed():
    roots, levels = 1_000, 9
    parents = tuple(range(roots * levels))  # chains: the parent of each feature is the one a thousand before it
    law = ForestOver(
        CorrelatedBernoulli(EqualRates(roots, 0.05), LowRankCorrelation(5, 0.2, seed=0)),
        parents,
        (0.8,) * len(parents),
    )
    assert law.marginals()[-1] == pytest.approx(0.05 * 0.8**levels, rel=1e-13)  # nine products
    support = law.draw(4_000, np.random.default_rng(0))
    assert_mean(np.square(np.diff(support.indptr).astype(float)), law.energy(np.ones((law.n_features, 1))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ForestOver(ROOTS, (4, 3), (0.5, 0.5)), "cycle 3 -> 4 -> 3"),
        (lambda: ForestOver(ROOTS, (-1,), (0.5,)), r"parents\[0\] must lie in \[0, m-1=3\]; got -1"),
        (lambda: ForestOver(ROOTS, (4,), (0.5,)), r"parents\[0\] must lie in \[0, m-1=3\]; got 4"),
        (lambda: ForestOver(ROOTS, (0,), (0.5, 0.5)), "rates must be as many as parents, 1; got 2"),
        (lambda: ForestOver(ROOTS, (0,), (1.5,)), r"rates\[0\] must be finite and lie in \[0, 1\]; got 1.5"),
        (lambda: ForestOver(ROOTS, (0, 0), (0.6, 0.6)), "those of parent 0 sum to 1.2 > 1"),
        (lambda: ForestOver(ROOTS, (0, 0), (0.6, 0.6), (True, False)), "a tuple of m=5 of these; got 2"),
        (lambda: Forest((-1, 0, 0), (0.5, 0.6, 0.6), (True, False, False)), "those of parent 0 sum to 1.2 > 1"),
        (
            lambda: Forest.from_marginals((-1, 0, 0), (0.5, 0.3, 0.3), (True, False, False)),
            "those of 0 sum to at least 0.6",
        ),
    ],
)
def test_infeasible_trees_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ForestOver(0.5, (), ()), "roots must be a support law such as"),
        (lambda: ForestOver(ExactlyK, (), ()), "roots must be a support law such as"),
        (lambda: ForestOver(ROOTS, [0], (0.5,)), "parents must be a tuple; got list"),
        (lambda: ForestOver(ROOTS, (0,), [0.5]), "rates must be a tuple of rates; got list"),
        (lambda: ForestOver(ROOTS, (), []), "rates must be a tuple of rates; got list"),
        (lambda: ForestOver(ROOTS, (0,), (0.5,), 1), "exclusive must be True or False; got 1"),
        (lambda: Forest((-1, 0), (0.5, 0.5), (True, 0)), "exclusive must be a tuple of True and False"),
    ],
)
def test_trees_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_siblings_that_do_not_exclude_each_other_may_fire_as_often_as_they_like():
    law = Forest.from_marginals((-1, 0, 0, -1, 3, 3), (0.5, 0.4, 0.4, 0.5, 0.2, 0.2), (False, *(True,) * 5))
    assert law.marginals() == pytest.approx([0.5, 0.4, 0.4, 0.5, 0.2, 0.2], abs=1e-15)
