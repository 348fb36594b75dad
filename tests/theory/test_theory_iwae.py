"""The importance-weighted bound of k samples: its ends in closed form, its order, its rate and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from theory.iwae import elbo_gap, iwae_asymptote, iwae_gap, weight_variance

shifts, ratios = st.floats(-3.0, 3.0), st.floats(0.1, 4.0)


@given(shifts, ratios)
def test_one_sample_is_the_divergence(shift, ratio):
    assert iwae_gap(1, shift, ratio) == pytest.approx(elbo_gap(shift, ratio), abs=1e-8)


@settings(max_examples=30)
@given(shifts, ratios, st.integers(1, 50), st.integers(1, 50))
def test_more_samples_never_loosen_the_bound(shift, ratio, k, more):
    low, high = iwae_gap(k + more, shift, ratio), iwae_gap(k, shift, ratio)
    assert -1e-8 <= low <= high + 1e-8  # the stated error of the quadrature


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_the_exact_posterior_is_tight_at_once(k):
    assert iwae_gap(k, 0.0, 1.0) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize(("shift", "ratio"), [(0.5, 1.0), (0.0, 1.5), (0.3, 0.8), (0.7, 2.0)])
def test_the_gap_falls_as_the_variance_of_the_weights_over_twice_k(shift, ratio):
    errors = [abs(iwae_gap(k, shift, ratio) / iwae_asymptote(k, shift, ratio) - 1) for k in (30, 300, 3000)]
    assert errors[2] < 0.01
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(("k", "shift", "ratio"), [(2, 0.8, 0.6), (5, 1.5, 2.0), (20, -1.0, 0.4)])
def test_the_gap_agrees_with_sampling(k, shift, ratio):
    rng = np.random.default_rng(0)
    point = shift + math.sqrt(ratio) * rng.standard_normal((100_000, k))
    log_weight = norm.logpdf(point) - norm.logpdf(point, shift, math.sqrt(ratio))
    gap = -(np.logaddexp.reduce(log_weight, axis=1) - math.log(k))
    assert abs(gap.mean() - iwae_gap(k, shift, ratio)) < 4.9 * gap.std() / math.sqrt(len(gap))  # alpha = 1e-6


@given(shifts, st.floats(0.6, 4.0))
def test_the_variance_of_the_weights_is_its_integral(shift, ratio):
    z = np.linspace(-80.0, 80.0, 16_001)  # the trapezoidal rule, of a Gaussian at least one wide
    second = 0.01 * np.exp(2 * norm.logpdf(z) - norm.logpdf(z, shift, math.sqrt(ratio))).sum()
    assert weight_variance(shift, ratio) == pytest.approx(second - 1, rel=1e-6, abs=1e-7)


def test_a_proposal_half_as_wide_has_weights_of_infinite_variance():
    assert weight_variance(0.0, 0.5) == math.inf
    assert math.isfinite(weight_variance(0.0, 0.51))
    assert iwae_gap(10, 0.0, 0.4) < elbo_gap(0.0, 0.4)  # the bound itself stays finite


@pytest.mark.parametrize("call", [
    lambda: iwae_gap(0, 0.0, 1.0), lambda: iwae_gap(1, 6.0, 1.0), lambda: iwae_gap(1, 0.0, 5.0),
    lambda: iwae_asymptote(3, 0.0, 0.5), lambda: elbo_gap(math.nan, 1.0), lambda: elbo_gap(0.0, 0.0),
    lambda: weight_variance(0.0, -1.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
