"""Closed forms of random directions against each other, their limits and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from theory.chance import (
    abs_cosine_cdf,
    high_dimension_asymptote,
    max_abs_cosine_quantile,
    mean_abs_cosine,
    mean_max_abs_cosine,
    packing_asymptote,
    random_coherence_median,
)


@given(st.integers(2, 300), st.floats(0.0, 1.0))
def test_the_law_of_a_cosine_is_a_beta_law(d, t):
    # abs=1e-12: a recursion of at most 150 positive terms
    assert float(abs_cosine_cdf(math.asin(t), d)) == pytest.approx(beta.cdf(t * t, 0.5, (d - 1) / 2), abs=1e-12)


@pytest.mark.parametrize("p", [1, 2, 5, 100, 10**4])
def test_in_three_dimensions_the_largest_cosine_is_that_of_uniforms(p):
    assert mean_max_abs_cosine(p, 3) == pytest.approx(p / (p + 1), abs=1e-11)  # p * 2^-52 from F^p


@pytest.mark.parametrize("d", [1, 2, 3, 4, 10, 100, 5000])
def test_the_mean_of_one_cosine_is_a_ratio_of_gamma_functions(d):
    assert mean_max_abs_cosine(1, d) == pytest.approx(mean_abs_cosine(d), abs=1e-12)
    if d > 10:
        assert mean_abs_cosine(d) == pytest.approx(
            math.sqrt(2 / (math.pi * d)), rel=1 / d
        )  # its first correction is 1/(4d)


@pytest.mark.parametrize("p", [1, 2, 3, 8])
def test_in_the_plane_the_largest_cosine_agrees_with_its_series(p):
    # The angle to the nearest of p lines is pi/2 * min of p uniforms: E cos = p int_0^1 (1-u)^(p-1) cos(pi u / 2) du.
    u = (np.arange(200_000) + 0.5) / 200_000
    midpoint = (p * (1 - u) ** (p - 1) * np.cos(math.pi * u / 2)).mean()
    assert mean_max_abs_cosine(p, 2) == pytest.approx(midpoint, abs=1e-9)  # midpoint rule: (p^2 + 3) / (24 * 4e10)


@pytest.mark.parametrize(("p", "d"), [(3, 4), (20, 8), (200, 30)])
def test_mean_and_quantiles_agree_with_simulation(p, d):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, p, d))
    largest = np.abs(x[..., 0] / np.linalg.norm(x, axis=2)).max(axis=1)
    error = largest.std(ddof=1) / math.sqrt(4000)
    assert abs(largest.mean() - mean_max_abs_cosine(p, d)) < 4.9 * error  # alpha = 1e-6
    for level in (0.1, 0.5, 0.9):
        below = (largest < max_abs_cosine_quantile(p, d, level)).mean()
        assert abs(below - level) < 4.9 * math.sqrt(level * (1 - level) / 4000)


@pytest.mark.parametrize("d", [2, 3, 4, 6])
def test_many_directions_follow_the_packing_asymptote_ever_closer(d):
    for p in (10, 100, 1000, 10**4):
        error = abs(packing_asymptote(p, d) / (1 - mean_max_abs_cosine(p, d)) - 1)
        assert error < 4 / p + 0.5 * p ** (-2 / (d - 1))  # the order of the next terms; at d = 2 the first is 3/p


def test_in_the_plane_the_packing_asymptote_is_elementary():
    assert packing_asymptote(100, 2) == pytest.approx((math.pi / 2) ** 2 / 100**2, rel=1e-12)
    assert packing_asymptote(100, 3) == pytest.approx(1 / 100, rel=1e-12)


def test_high_dimensions_approach_their_scale_from_below():
    ratios = [mean_max_abs_cosine(p, 10**4) / high_dimension_asymptote(p, 10**4) for p in (10, 10**3, 10**6)]
    assert ratios == sorted(ratios)
    assert 0.7 < ratios[0] < ratios[-1] < 1.0
    assert ratios[-1] > 0.9


@pytest.mark.parametrize(
    ("n", "d", "value"), [(32, 16, 0.710), (512, 64, 0.531), (1024, 128, 0.411), (512, 256, 0.280)]
)
def test_the_coherence_of_random_dictionaries_has_its_reference_values(n, d, value):
    assert random_coherence_median(n, d) == pytest.approx(value, abs=0.0005)  # rounded to three digits


@pytest.mark.parametrize(("n", "d"), [(32, 16), (128, 32)])
def test_the_coherence_of_random_dictionaries_agrees_with_simulation(n, d):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        x = rng.standard_normal((n, d))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        found.append(np.abs(x @ x.T)[np.triu_indices(n, 1)].max())
    assert np.median(found) == pytest.approx(random_coherence_median(n, d), rel=0.03)  # the model's stated tolerance


@given(st.integers(1, 1000), st.integers(2, 60))
def test_more_directions_come_closer_and_more_dimensions_keep_them_apart(p, d):
    value = mean_max_abs_cosine(p, d)
    assert 0 < value < 1
    assert mean_max_abs_cosine(p + 1, d) > value
    assert mean_max_abs_cosine(p, d + 1) < value


@pytest.mark.parametrize("call", [
    lambda: abs_cosine_cdf(0.1, 1), lambda: mean_abs_cosine(0), lambda: mean_max_abs_cosine(0, 3),
    lambda: mean_max_abs_cosine(3, 0), lambda: max_abs_cosine_quantile(3, 4, 1.0), lambda: packing_asymptote(5, 1),
    lambda: high_dimension_asymptote(100, 9), lambda: high_dimension_asymptote(1, 9),
    lambda: random_coherence_median(1, 3),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
