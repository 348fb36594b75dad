"""Bivariate normal orthants: against Owen's T, closed forms and symmetries; and the way back to the correlation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri, owens_t
from scipy.stats import multivariate_normal

from sparsesim.generators import BlockCorrelation, CorrelatedBernoulli, EqualRates, GivenRates, latent_correlation
from sparsesim.kernels.orthant import orthant_excess
from tests.generators.strategies import seeds


def upper_orthant(h, k, r):
    """P(X > h, Y > k) = P(X < -h, Y < -k) by Owen's T function, for h, k != 0 and |r| < 1."""
    h, k, s = -h, -k, np.sqrt((1.0 - r) * (1.0 + r))
    t = owens_t(h, (k - r * h) / (h * s)) + owens_t(k, (h - r * k) / (k * s))
    return 0.5 * (ndtr(h) + ndtr(k)) - t - np.where(h * k > 0, 0.0, 0.5)


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.1), (-0.3, 0.3), (-0.85, 0.85), (0.85, 0.9999), (-0.9999, -0.85)])
def test_orthants_agree_with_owens_function(low, high):
    rng = np.random.default_rng(0)
    h, k, r = rng.uniform(-5.0, 5.0, (2, 20_000)), rng.uniform(-5.0, 5.0, (2, 20_000)), rng.uniform(low, high, 20_000)
    h, k = h[0], np.where(rng.random(20_000) < 0.3, h[0] + 10.0 ** rng.uniform(-12, 0, 20_000), k[0])
    joint = ndtr(-h) * ndtr(-k) + orthant_excess(h, k, r)
    # Both are sums of a few numbers below 1; Owen's argument (k - r h) / s loses up to 1 / s = 70 roundings.
    assert joint == pytest.approx(upper_orthant(h, k, r), abs=2e-14)


def test_orthants_agree_with_scipys_distribution_function():
    rng = np.random.default_rng(1)
    for r in (-0.97, -0.5, 0.02, 0.4, 0.999):
        h, k = rng.standard_normal(2)
        expected = multivariate_normal([0.0, 0.0], [[1.0, r], [r, 1.0]]).cdf([-h, -k])
        joint = ndtr(-h) * ndtr(-k) + orthant_excess(np.array([h]), np.array([k]), np.array([r]))[0]
        assert joint == pytest.approx(expected, abs=1e-10)


def test_the_quadrant_has_its_closed_form():
    """P(X > 0, Y > 0) = 1/4 + arcsin(r) / 2 pi."""
    r = np.concatenate([np.linspace(-1.0, 1.0, 2001), 1.0 - 10.0 ** np.arange(-15.0, -1.0)])
    excess = orthant_excess(np.zeros(len(r)), np.zeros(len(r)), r)
    # Where arcsin is steepest, at 1 - 1e-15, the rounding of r alone is worth 1e-16 / sqrt(2e-15) = 2e-9 of an arc.
    slack = 1e-15 + 2e-17 / np.sqrt(np.maximum((1.0 - r) * (1.0 + r), 1e-17))
    assert np.all(np.abs(excess - np.arcsin(r) / (2.0 * np.pi)) < slack)


@given(seed=seeds)
@settings(max_examples=20)
def test_orthants_are_symmetric_grow_with_the_correlation_and_keep_the_bounds(seed):
    rng = np.random.default_rng(seed)
    h, k = rng.uniform(-8.0, 8.0, 2)
    r = np.sort(np.concatenate([rng.uniform(-1.0, 1.0, 200), [-1.0, -0.85, -0.3, -0.1, 0.0, 0.1, 0.3, 0.85, 1.0]]))
    full = np.full(len(r), h), np.full(len(r), k)
    excess = orthant_excess(*full, r)
    assert np.array_equal(excess, orthant_excess(*full[::-1], r))
    assert np.all(np.diff(excess) >= -1e-15)  # rounding, at the seams between the formulas too
    p, q = ndtr(-h), ndtr(-k)
    assert excess[0] == pytest.approx(max(p + q - 1.0, 0.0) - p * q, abs=1e-15)  # at -1 and 1 the bounds are reached
    assert excess[-1] == pytest.approx(min(p, q) - p * q, abs=1e-15)


def test_features_that_always_or_never_fire_go_with_nothing():
    infinite = np.array([np.inf, -np.inf, np.inf])
    assert np.array_equal(orthant_excess(infinite, np.array([0.0, 1.0, -np.inf]), np.full(3, 0.9)), np.zeros(3))


@given(seed=seeds)
@settings(max_examples=20)
def test_the_latent_correlation_gives_the_firing_correlation_back(seed):
    rng = np.random.default_rng(seed)
    p, q, r = rng.uniform(1e-4, 1.0 - 1e-4, 50), rng.uniform(1e-4, 1.0 - 1e-4, 50), rng.uniform(-0.999, 0.999, 50)
    scale = np.sqrt(p * (1 - p) * q * (1 - q))
    excess = orthant_excess(-ndtri(p), -ndtri(q), r)
    back = orthant_excess(-ndtri(p), -ndtri(q), latent_correlation(p, q, excess / scale))
    assert back == pytest.approx(excess, abs=1e-14)  # the bisection ends where rounding hides the change


@pytest.mark.parametrize("p", [1e-90, 1e-16, 1e-6, 0.3, 1.0 - 1e-9, 1.0 - 1e-15])
def test_the_extreme_firing_correlations_can_be_asked_for(p):
    q = np.array([1e-80, 1e-9, 0.2, 0.7, 1.0 - 1e-12, p])
    scale = np.sqrt(p * (1 - p) * q * (1 - q))
    highest = latent_correlation(p, q, (np.minimum(p, q) - p * q) / scale)
    assert np.all(highest > 0.0)  # not 1 at unequal rates, where the bound is met to rounding long before
    assert np.all(latent_correlation(p, q, (np.maximum(p + q - 1.0, 0.0) - p * q) / scale) < 0.0)


def test_firing_correlations_are_those_asked_for():
    rows = ((1.0, 0.3, -0.05), (0.3, 1.0, 0.1), (-0.05, 0.1, 1.0))
    law = CorrelatedBernoulli.from_firing_correlation(GivenRates((0.2, 0.1, 0.4)), rows)
    p = law.marginals()
    spread = np.sqrt(p * (1 - p))
    assert (law.pairwise() - np.outer(p, p)) / np.outer(spread, spread) == pytest.approx(np.array(rows), abs=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: latent_correlation(0.1, 0.4, 0.9), r"outside max\(0, p \+ q - 1\) = 0 <= P <= min\(p, q\) = 0.1"),
        (lambda: latent_correlation(0.1, 0.1, -0.5), "asks for the joint rate -0.035"),
        (lambda: latent_correlation(0.0, 0.1, 0.0), "what always or never fires has none"),
        (lambda: latent_correlation(1e-16, 1e-13, 0.3), r"9.48683e-16, outside .* <= P <= min\(p, q\) = 1e-16"),
        (lambda: latent_correlation(1e-300, 1e-300, 0.5), r"rates must lie in \[1e-100, 1\)"),
        (lambda: latent_correlation(0.5, 0.1, np.nan), "correlations be finite"),
        (
            lambda: CorrelatedBernoulli.from_firing_correlation(EqualRates(2, 0.5), ((1.0,),)),
            r"rows must have shape \(m, m\) with m=2",
        ),
        (
            lambda: CorrelatedBernoulli.from_firing_correlation(EqualRates(2, 0.5), ((1.0, 0.1), (0.2, 1.0))),
            "rows must be symmetric",
        ),
        (
            lambda: CorrelatedBernoulli.from_firing_correlation(
                EqualRates(3, 0.5), ((1.0, -0.6, -0.6), (-0.6, 1.0, -0.6), (-0.6, -0.6, 1.0))
            ),
            "the smallest eigenvalue of rows is -0.6",
        ),
    ],
)
def test_infeasible_firing_correlations_are_refused_by_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@given(r=st.floats(-0.49, 0.99))
@settings(max_examples=20)
def test_joint_rates_of_pairs_are_entries_of_the_matrix(r):
    law = CorrelatedBernoulli(GivenRates((0.0, 0.3, 1.0, 0.01, 0.7)), BlockCorrelation((3, 2), r))
    first, second = np.divmod(np.arange(25), 5)
    assert np.array_equal(law.pairwise_at(first, second).reshape(5, 5), law.pairwise())
    assert law.pairwise()[0, 3] == 0.0 and law.pairwise()[1, 3] == 0.3 * 0.01


def test_indices_of_pairs_are_checked():
    law = CorrelatedBernoulli(EqualRates(3, 0.5), BlockCorrelation((3,), 0.5))
    with pytest.raises(ValueError, match=r"indices must lie in \[0, m-1=2\]; got -1 to 2"):
        law.pairwise_at(np.array([0, -1]), np.array([2, 2]))
    with pytest.raises(TypeError, match="one-dimensional arrays of indices"):
        law.pairwise_at(np.array([0.5]), np.array([1]))
