"""Variance components: against the sums of a dense design, the restricted likelihood, simulation and known formulas."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from theory.variance_components import mean_squares, shares, surrogates, variance_components, variance_of_mean

TRUE = {(0,): 2.0, (1,): 0.5, (2,): 0.1, (0, 1): 1.0, (0, 2): 0.3, (1, 2): 0.2, (0, 1, 2): 0.4}


def drawn(components, shape, rng, law=None):
    """A table with these components: an independent draw for each level of each set of factors."""
    table = np.zeros(shape)
    for factors, variance in components.items():
        levels = [size if axis in factors else 1 for axis, size in enumerate(shape)]
        effect = rng.standard_normal(levels) if law is None else law(levels)
        table = table + math.sqrt(variance) * effect
    return table


def design_projections(shape):
    """The orthogonal projection on each set's space, as a Kronecker product of means and deviations."""
    found = {}
    for inside in itertools.product((False, True), repeat=len(shape)):
        matrix = np.ones((1, 1))
        for size, chosen in zip(shape, inside, strict=True):
            mean = np.full((size, size), 1.0 / size)
            matrix = np.kron(matrix, np.eye(size) - mean if chosen else mean)
        found[tuple(axis for axis, chosen in enumerate(inside) if chosen)] = matrix
    return found


def test_the_sums_of_squares_are_those_of_the_projections_and_add_up():
    shape = (3, 4, 2)
    values = np.random.default_rng(0).standard_normal(shape)
    projections = design_projections(shape)
    squares = mean_squares(values)
    for factors, (square, freedom) in squares.items():
        matrix = projections[factors]
        assert freedom == round(np.trace(matrix))
        assert square * freedom == pytest.approx(values.ravel() @ matrix @ values.ravel(), rel=1e-10)
    total = sum(square * freedom for square, freedom in squares.values())
    assert total == pytest.approx(np.square(values - values.mean()).sum(), rel=1e-12)


def test_the_expected_mean_squares_are_those_of_the_exact_covariance():
    """E x' P x = tr(P Cov), with the covariance built level by level; so the estimates are unbiased, exactly."""
    shape = (3, 4, 2)
    covariance = np.zeros((math.prod(shape),) * 2)
    for factors, variance in TRUE.items():
        matrix = np.ones((1, 1))
        for axis, size in enumerate(shape):
            matrix = np.kron(matrix, np.eye(size) if axis in factors else np.ones((size, size)))
        covariance += variance * matrix
    root = np.linalg.cholesky(covariance)
    # The components are quadratic forms: summed over the columns of a root of the covariance they are expectations.
    estimate = {factors: 0.0 for factors in TRUE}
    for column in root.T:
        for factors, value in variance_components(column.reshape(shape)).items():
            estimate[factors] += value
    assert estimate == pytest.approx(TRUE, rel=1e-9)


def test_two_factors_by_hand():
    """x_ij = (0, 1; 2, 5): rows 0.5 and 3.5, columns 1 and 3, interaction +-0.5."""
    squares = mean_squares([[0.0, 1.0], [2.0, 5.0]])
    assert squares == {(0,): (9.0, 1), (1,): (4.0, 1), (0, 1): (1.0, 1)}
    assert variance_components([[0.0, 1.0], [2.0, 5.0]]) == {(0,): 4.0, (1,): 1.5, (0, 1): 1.0}


def test_they_maximise_the_restricted_likelihood():
    """At positive estimates every derivative of the restricted likelihood, on a dense covariance, is zero."""
    shape = (6, 5)
    values = drawn({(0,): 2.0, (1,): 1.0, (0, 1): 0.5}, shape, np.random.default_rng(3))
    found = variance_components(values)
    assert min(found.values()) > 0
    parts = {
        (0,): np.kron(np.eye(6), np.ones((5, 5))),
        (1,): np.kron(np.ones((6, 6)), np.eye(5)),
        (0, 1): np.eye(30),
    }
    covariance = sum(found[factors] * part for factors, part in parts.items())
    inverse, one = np.linalg.inv(covariance), np.ones((30, 1))
    projected = inverse - inverse @ one @ np.linalg.solve(one.T @ inverse @ one, one.T @ inverse)
    residual = projected @ values.ravel()
    for part in parts.values():
        trace = np.trace(projected @ part)
        assert residual @ part @ residual == pytest.approx(trace, rel=1e-9)


@pytest.mark.parametrize("law", ["normal", "skewed"])
def test_known_components_come_back_on_average(law):
    """Unbiased for any law; the mean over repeats within four of its standard errors, all seven at once."""
    rng = np.random.default_rng(7)
    skewed = (lambda levels: rng.exponential(size=levels) - 1.0) if law == "skewed" else None
    found = [variance_components(drawn(TRUE, (5, 4, 3), rng, skewed)) for _ in range(600)]
    for factors, variance in TRUE.items():
        values = np.array([one[factors] for one in found])
        assert abs(values.mean() - variance) < 4.0 * values.std(ddof=1) / math.sqrt(len(values))


def test_the_intervals_cover():
    """Of 400 tables about 95% of the intervals hold the truth: four standard errors are 4.4%, and the approximation
    of these intervals is towards too many."""
    rng = np.random.default_rng(11)
    hits = {factors: 0 for factors in TRUE}
    share_hits = 0
    true_share = TRUE[0,] / sum(TRUE.values())
    for _ in range(400):
        found = surrogates(drawn(TRUE, (6, 5, 4), rng), 500, rng)
        for factors, values in found.items():
            low, high = np.quantile(values, [0.025, 0.975])
            hits[factors] += low <= TRUE[factors] <= high
        low, high = np.quantile(shares(found)[0,], [0.025, 0.975])
        share_hits += low <= true_share <= high
    assert min(hits.values()) / 400 > 0.905 and share_hits / 400 > 0.905
    assert hits[0, 1, 2] / 400 < 0.99  # a single mean square: its interval is exact


def test_the_variance_of_a_mean_is_that_of_simulated_means():
    rng = np.random.default_rng(5)
    levels = (3, 2, 4)
    means = [drawn(TRUE, levels, rng).mean() for _ in range(3000)]
    expected = variance_of_mean(TRUE, levels)
    # The variance of 3000 values has a relative standard error of sqrt(2 / 3000) = 2.6%.
    assert np.var(means) == pytest.approx(expected, rel=0.11)
    assert variance_of_mean(TRUE, (1, 10**9, 10**9)) == pytest.approx(TRUE[0,], rel=1e-6)


def test_shares_add_up_and_are_undefined_without_variance():
    found = shares({(0,): np.array([1.0, -1.0, 0.0]), (1,): np.array([3.0, 2.0, 0.0])})
    np.testing.assert_allclose(found[0,], [0.25, 0.0, np.nan])
    np.testing.assert_allclose(found[1,], [0.75, 1.0, np.nan])


def test_tables_that_cannot_be_decomposed_are_refused():
    with pytest.raises(ValueError, match="at least 2 levels"):
        mean_squares(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="finite"):
        variance_components([[0.0, np.nan], [1.0, 2.0]])
    with pytest.raises(ValueError, match="draws must be at least 1"):
        surrogates(np.zeros((2, 2)), 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="levels must give"):
        variance_of_mean({(1,): 1.0}, (3,))
