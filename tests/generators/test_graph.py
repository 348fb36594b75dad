"""Acyclic graphs: rates by enumeration, every pattern of a graph, gates, shapes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import chi2

from sparsesim.generators import AcyclicGraph, Bernoulli, Forest, GivenRates
from sparsesim.generators.elimination import joint_rate, rates_above
from tests.generators.chance import ALPHA, assert_rates
from tests.generators.strategies import graphs, seeds
from tests.generators.test_supports import dense


def needs_of(law):
    return law.needs if isinstance(law.needs, tuple) else (law.needs,) * law.n_features


def patterns_of(law):
    """All 2^m firing patterns and their probabilities, from the definition of the law."""
    m = law.n_features
    patterns = (np.arange(2**m)[:, None] >> np.arange(m) & 1).astype(bool)
    probability = np.ones(len(patterns))
    for node, (above, need) in enumerate(zip(law.parents, needs_of(law), strict=True)):
        gate = np.ones(len(patterns), bool)
        if above:
            fired = patterns[:, list(above)]
            gate = fired.any(axis=1) if need == "any" else fired.all(axis=1)
        rate = np.where(gate, law.rates[node], 0.0)
        probability *= np.where(patterns[:, node], rate, 1.0 - rate)
    return patterns, probability


@given(law=graphs(), seed=seeds)
@settings(max_examples=150)
def test_joint_rates_equal_the_sum_over_all_firing_patterns(law, seed):
    patterns, probability = patterns_of(law)
    joint = (patterns * probability[:, None]).T @ patterns
    # Sums of at most 1024 products of 10 factors, rounded by 2^-53 each.
    np.testing.assert_allclose(law.pairwise(), joint, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(law.marginals(), np.diag(joint), rtol=1e-11, atol=1e-300)
    targets = np.random.default_rng(seed).permutation(law.n_features)[:3].tolist()
    every = [need == "all" for need in needs_of(law)]
    together = probability[patterns[:, targets].all(axis=1)].sum()
    assert joint_rate(law.parents, every, law.rates, targets) == pytest.approx(together, rel=1e-11, abs=1e-300)


@given(law=graphs(), seed=seeds)
@settings(max_examples=60)
def test_no_feature_fires_with_its_gate_shut(law, seed):
    fires = dense(law.draw(300, np.random.default_rng(seed))) > 0
    for node, (above, need) in enumerate(zip(law.parents, needs_of(law), strict=True)):
        if above:
            parents = fires[:, list(above)]
            gate = parents.any(axis=1) if need == "any" else parents.all(axis=1)
            assert not np.any(fires[:, node] & ~gate)


@given(law=graphs(most=6))
@settings(max_examples=40)
def test_every_pattern_is_as_likely_as_the_definition_says(law):
    n = 4_000
    patterns, probability = patterns_of(law)
    codes = (dense(law.draw(n, np.random.default_rng(0))) @ 2 ** np.arange(law.n_features)).astype(int)
    counts = np.bincount(codes, minlength=len(patterns))
    assert not counts[probability == 0].any()
    assert_rates(counts, n, np.clip(probability, 0.0, 1.0))  # rounding may leave a probability a little above 1


def test_all_patterns_of_a_graph_with_both_gates_pass_one_chi_square_test():
    law = AcyclicGraph(
        ((), (), (0, 1), (0, 1), (2, 3, 0), (4, 1)),
        (0.6, 0.5, 0.7, 0.8, 0.6, 0.5),
        ("any", "any", "all", "any", "any", "all"),
    )
    n = 60_000
    patterns, probability = patterns_of(law)
    codes = (dense(law.draw(n, np.random.default_rng(1))) @ 2 ** np.arange(6)).astype(int)
    counts, likely = np.bincount(codes, minlength=len(patterns)), probability > 0
    statistic = np.square(counts[likely] - n * probability[likely]) / (n * probability[likely])
    assert n * probability[likely].min() > 5  # or the statistic would not be chi-square
    assert not counts[~likely].any() and statistic.sum() < chi2.isf(ALPHA, likely.sum() - 1)


def test_one_parent_each_gives_the_law_of_a_forest_and_none_that_of_independent_features():
    parents, rates = (-1, 0, 0, 1, -1, 4), (0.5, 0.3, 0.6, 0.3, 0.2, 0.9)
    forest = Forest(parents, rates, exclusive=False)
    for needs in ("any", "all"):
        law = AcyclicGraph(tuple(() if parent < 0 else (parent,) for parent in parents), rates, needs)
        assert law.pairwise() == pytest.approx(forest.pairwise(), abs=1e-15)
        vectors = np.random.default_rng(0).standard_normal((6, 3))
        assert law.energy(vectors) == pytest.approx(forest.energy(vectors), rel=1e-13)
    alone = AcyclicGraph(((),) * 6, rates)
    assert np.array_equal(alone.pairwise(), Bernoulli(GivenRates(rates)).pairwise())


def test_relabelling_the_nodes_relabels_the_law():
    rng = np.random.default_rng(0)
    law = AcyclicGraph(
        ((), (0,), (0,), (1, 2), (), (3, 4)), (0.6, 0.5, 0.7, 0.9, 0.3, 0.8), ("any",) * 3 + ("all",) * 3
    )
    order = rng.permutation(6)
    place = np.argsort(order)
    moved = AcyclicGraph(
        tuple(tuple(int(place[parent]) for parent in law.parents[node]) for node in order),
        tuple(law.rates[node] for node in order),
        tuple(law.needs[node] for node in order),
    )
    assert moved.pairwise() == pytest.approx(law.pairwise()[np.ix_(order, order)], abs=1e-15)


def test_rare_rates_keep_their_relative_accuracy():
    """P(any of two rare parents) is nearly their sum; 1 - (1 - p)^2 in floating point would be 0."""
    law = AcyclicGraph(((), (), (0, 1), (2,), (2,), (3, 4)), (1e-20, 1e-20, 1.0, 1e-5, 1e-5, 1.0))
    assert law.marginals()[2] == pytest.approx(2e-20, rel=1e-12)
    assert law.marginals()[5] == pytest.approx(2e-20 * (2e-5 - 1e-10), rel=1e-12)


def test_thirty_independent_parents_and_long_chains_are_exact():
    law = AcyclicGraph((*((),) * 30, tuple(range(30)), tuple(range(31))), (0.1,) * 32)
    some = 1 - 0.9**30
    assert law.marginals()[30] == pytest.approx(0.1 * some, rel=1e-12)
    assert law.marginals()[31] == pytest.approx(0.1 * some, rel=1e-12)  # the thirty-first parent adds no case
    m = 30_000
    chain = AcyclicGraph(((), *((node,) for node in range(m - 1))), (0.5, *((1 - 1e-4,) * (m - 1))), "all")
    assert chain.marginals()[-1] == pytest.approx(0.5 * (1 - 1e-4) ** (m - 1), rel=1e-10)
    assert np.diff(chain.draw(20, np.random.default_rng(0)).indptr).max() > 1_000
    rungs = AcyclicGraph(((), (), *((n - n % 2 - 2, n - n % 2 - 1) for n in range(2, 80))), (0.9,) * 80)
    count = {0: 0.01, 1: 0.18, 2: 0.81}  # how many of a rung fire is a Markov chain
    for _ in range(39):
        some = 1 - count[0]
        count = {0: count[0] + some * 0.01, 1: some * 0.18, 2: some * 0.81}
    assert rungs.marginals()[-1] == pytest.approx(count[2] + count[1] / 2, rel=1e-12)
    assert rungs.pairwise()[-1, -2] == pytest.approx(count[2], rel=1e-12)


def test_one_elimination_gives_the_rates_of_all_ancestors(monkeypatch):
    """One for each node would take minutes for a ladder of this height."""
    asked = []

    def watched(parents, every, rates, targets):
        asked.append(targets)
        return rates_above(parents, every, rates, targets)

    monkeypatch.setattr("sparsesim.generators.graph.rates_above", watched)
    ladder = ((), (), *((node - node % 2 - 2, node - node % 2 - 1) for node in range(2, 4_000)))
    law = AcyclicGraph(ladder, (0.95,) * 4_000)
    alone = AcyclicGraph(ladder[:82], (0.95,) * 82)
    assert law.marginals()[:82] == pytest.approx(alone.marginals(), rel=1e-12)  # 82 rounded products and sums
    assert asked == [(3_999,), (3_998,), (81,), (80,)]


def test_graphs_that_are_too_entangled_are_refused_but_drawn():
    """Forty roots, each pair of which feeds a node, and one node below them all."""
    pairs = [(i, j) for i in range(40) for j in range(i)]
    law = AcyclicGraph((*((),) * 40, *pairs, tuple(range(40, 40 + len(pairs)))), (0.5,) * (41 + len(pairs)), "all")
    with pytest.raises(ValueError, match="too entangled for an exact rate: more than 65536 states"):
        law.marginals()
    assert law.draw(10, np.random.default_rng(0)).n_samples == 10


def test_energy_of_too_many_related_pairs_is_refused():
    law = AcyclicGraph(((), *(((0,),) * 3_000)), (0.5,) * 3_001)
    with pytest.raises(ValueError, match="more than 4194304 pairs of features with a common ancestor"):
        law.energy(np.ones((3_001, 1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AcyclicGraph(((1,), (0,)), (0.5, 0.5)), r"cycle 0 -> 1 -> 0. Remove one of its edges"),
        (lambda: AcyclicGraph(((0,),), (0.5,)), r"cycle 0 -> 0"),
        (lambda: AcyclicGraph(((), (0, 3), (1,), (2,)), (0.5,) * 4), r"cycle 1 -> 3 -> 2 -> 1"),
        (lambda: AcyclicGraph(((), (0, 0)), (0.5,) * 2), r"parents\[1\] must be distinct; got \(0, 0\)"),
        (lambda: AcyclicGraph(((), (2,)), (0.5,) * 2), r"parents\[1\]\[0\] must lie in \[0, m-1=1\]; got 2"),
        (lambda: AcyclicGraph(((), (-1,)), (0.5,) * 2), r"parents\[1\]\[0\] must lie in \[0"),
        (lambda: AcyclicGraph((), ()), "at least one node"),
        (lambda: AcyclicGraph(((),), (0.5, 0.5)), "rates must be as many as parents, m=1; got 2"),
        (lambda: AcyclicGraph(((),), (1.5,)), r"rates\[0\] must be finite and lie in \[0, 1\]; got 1.5"),
        (lambda: AcyclicGraph(((),), (0.5,), "some"), 'needs must be "any" or "all"; got \'some\''),
        (lambda: AcyclicGraph(((),), (0.5,), ("any", "all")), "needs must be as many as parents, m=1; got 2"),
        (lambda: AcyclicGraph(((),), (0.5,)).energy(np.ones((2, 2))), "vectors must have shape"),
        (lambda: AcyclicGraph(((),), (0.5,)).draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
    ],
)
def test_infeasible_graphs_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AcyclicGraph([()], (0.5,)), "parents must be a tuple of tuples"),
        (lambda: AcyclicGraph((-1, 0), (0.5, 0.5)), "parents must be a tuple of tuples"),
        (lambda: AcyclicGraph(((), (0.0,)), (0.5, 0.5)), r"parents\[1\]\[0\] must be an integer"),
        (lambda: AcyclicGraph(((),), (0.5,), True), "needs must be"),
    ],
)
def test_graphs_of_the_wrong_type_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
