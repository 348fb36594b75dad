"""Successive sampling: rates against enumeration of all orders, a slow twin of the draws, limits, the race."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from sparsesim.generators import ExactlyK, SuccessiveSampling
from sparsesim.kernels import sampling
from sparsesim.kernels.successive import race_window
from tests.generators.chance import assert_rates
from tests.generators.strategies import seeds, successive_samplings
from tests.generators.test_sampling_kernels import Twin
from tests.generators.test_supports import dense


def by_orders(weights, k):
    """Joint rates by summing over the order of all draws, in exact arithmetic."""
    exact = [Fraction(weight) for weight in weights]
    joint = [[Fraction(0)] * len(weights) for _ in weights]
    for order in itertools.permutations([i for i, weight in enumerate(exact) if weight], k):
        left, probability = sum(exact), Fraction(1)
        for feature in order:
            probability *= exact[feature] / left
            left -= exact[feature]
        for i in order:
            for j in order:
                joint[i][j] += probability
    return np.array(joint, dtype=float)


@given(law=successive_samplings(most=6))
@settings(max_examples=60)
def test_joint_rates_equal_the_sum_over_all_orders(law):
    # The quadrature stops at changes of 1e-13, and leaves tails of 1e-16 out.
    np.testing.assert_allclose(law.pairwise(), by_orders(law.weights, law.k), rtol=0, atol=1e-12)
    assert law.marginal_error < 1e-12


@pytest.mark.parametrize(
    ("weights", "k"),
    [
        ((1e-12, 1.0, 1e12, 1e-3), 2),
        ((1.0, 1e-6, 1e-9, 2.0), 3),
        ((1e-150, 1e-20, 1.0), 2),
        ((3.0, 1.0, 1.0, 1.0, 1.0, 0.5), 5),
    ],
)
def test_weights_of_any_ratio_are_integrated(weights, k):
    law, exact = SuccessiveSampling(weights, k), by_orders(weights, k)
    np.testing.assert_allclose(law.marginals(), np.diag(exact), rtol=0, atol=1e-13)
    np.testing.assert_allclose(law.pairwise(), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("m", "k", "decay"), [(42, 32, 0.99), (150, 10, 0.98), (1_000, 3, 0.9), (60, 59, 0.8)])
def test_rates_sum_to_k_and_rows_of_joint_rates_to_k_times_the_rate(m, k, decay):
    law = SuccessiveSampling(tuple((decay ** np.arange(m)).tolist()), k)
    rates = law.marginals()
    assert rates.sum() == pytest.approx(k, abs=1e-10)  # m errors below 1e-13
    assert np.all(np.diff(rates) < 1e-13)  # the likelier, the larger the weight
    if m <= 300:
        assert law.pairwise().sum(axis=1) == pytest.approx(k * rates, abs=1e-10)


def test_equal_weights_are_uniform_subsets_and_one_draw_is_in_proportion():
    equal, uniform = SuccessiveSampling((2.5,) * 9, 4), ExactlyK(9, 4)
    assert equal.pairwise() == pytest.approx(uniform.pairwise(), abs=1e-13)
    vectors = np.random.default_rng(0).standard_normal((9, 3))
    assert equal.energy(vectors) == pytest.approx(uniform.energy(vectors), rel=1e-11)
    weights = np.array([5.0, 1.0, 0.0, 2.0])
    one = SuccessiveSampling(tuple(weights.tolist()), 1)
    assert one.pairwise() == pytest.approx(np.diag(weights / 8.0), abs=1e-14)
    assert np.array_equal(SuccessiveSampling((1.0, 0.0, 9.0), 2).pairwise(), np.outer([1, 0, 1], [1, 0, 1]))


def test_the_law_is_that_of_numpy_choice_without_replacement_and_not_in_proportion_to_weights():
    weights, n = np.array([4.0, 2.0, 1.0, 1.0]) / 8.0, 8_000
    law, rng = SuccessiveSampling(tuple(weights.tolist()), 2), np.random.default_rng(0)
    counts = np.zeros((4, 4))
    for _ in range(n):
        chosen = rng.choice(4, 2, replace=False, p=weights)
        counts[np.ix_(chosen, chosen)] += 1
    assert_rates(counts, n, law.pairwise())
    assert np.abs(law.marginals() - np.minimum(2 * weights, 1)).max() > 0.1


def test_only_ratios_of_weights_matter_and_permuting_them_permutes_the_law():
    weights = np.random.default_rng(0).random(8)
    law = SuccessiveSampling(tuple(weights.tolist()), 3)
    scaled = SuccessiveSampling(tuple((2.0**40 * weights).tolist()), 3)
    assert np.array_equal(scaled.marginals(), law.marginals())
    order = np.random.default_rng(1).permutation(8)
    moved = SuccessiveSampling(tuple(weights[order].tolist()), 3)
    assert moved.pairwise() == pytest.approx(law.pairwise()[np.ix_(order, order)], abs=1e-12)


@given(law=successive_samplings(), seed=seeds)
@settings(max_examples=40)
def test_samples_are_drawn_as_by_the_twin(law, seed):
    """Of the features that are left, the one where the running sum of weights passes a uniform share of the total."""
    n = 300
    rows = law.draw(n, np.random.default_rng(seed)).indices.reshape(n, law.k)
    words = np.random.default_rng(seed).integers(0, 2**64, size=(-(-n // sampling.BLOCK), 4), dtype=np.uint64)
    largest = max(law.weights)
    for row in range(n):
        if row % sampling.BLOCK == 0:
            twin = Twin(words[row // sampling.BLOCK])
        left = {i: Fraction(weight / largest) for i, weight in enumerate(law.weights) if weight > 0}
        taken = []
        for _ in range(law.k):
            value = Fraction(twin.uniform()) * sum(left.values())
            sums = itertools.accumulate(left.values())
            feature = next(feature for feature, total in zip(left, sums, strict=True) if value < total)
            taken.append(feature)
            del left[feature]
        assert sorted(taken) == rows[row].tolist()


def test_exactly_k_distinct_features_of_positive_weight_fire_whatever_the_rounding():
    law = SuccessiveSampling((1e100, 1.0, 0.0, 1e-80, 1.0), 4)
    support = law.draw(2_000, np.random.default_rng(0))
    assert np.array_equal(support.indices.reshape(2_000, 4), np.tile([0, 1, 3, 4], (2_000, 1)))
    fires = dense(SuccessiveSampling((1e100, 1.0, 1e-80, 1.0), 2).draw(2_000, np.random.default_rng(0)))
    assert np.all(fires.sum(axis=1) == 2) and fires[:, 0].all() and not fires[:, 2].any()


def test_the_window_of_the_race_leaves_almost_nothing_out():
    """One clock of rate 1: it rings before exp(low), and after exp(high), with probability 1e-6 each."""
    low, high = race_window(np.array([1.0]), 1, 1e-6)
    assert -np.expm1(-np.exp(low)) == pytest.approx(1e-6, rel=1e-9)  # sixty halvings of 1600
    assert np.exp(-np.exp(high)) == pytest.approx(1e-6, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SuccessiveSampling((0.0, 0.0), 1), "at least one positive number"),
        (lambda: SuccessiveSampling((1.0, 0.0, 2.0), 3), r"k must lie in \[1, number of positive weights=2\]; got 3"),
        (lambda: SuccessiveSampling((1.0,), 0), r"k must lie in \[1"),
        (lambda: SuccessiveSampling((1.0, -1.0), 1), r"weights\[1\] must be finite and lie in \[0, inf\]; got -1.0"),
        (lambda: SuccessiveSampling((1.0, float("inf")), 1), r"weights\[1\] must be finite"),
        (lambda: SuccessiveSampling((1e-150, 1e150), 1), "within a factor 1e200 of each other"),
        (lambda: SuccessiveSampling((1.0,) * 1_025, 2).pairwise(), "joint rates of m=1025 features .* at most 1024"),
        (lambda: SuccessiveSampling((1.0, 1.0), 1).draw(-1, np.random.default_rng(0)), r"n must lie in \[0"),
    ],
)
def test_infeasible_samples_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_of_the_wrong_type_are_refused():
    with pytest.raises(TypeError, match="weights must be a tuple"):
        SuccessiveSampling([1.0], 1)
    with pytest.raises(TypeError, match="k must be an integer"):
        SuccessiveSampling((1.0, 2.0), 1.0)
