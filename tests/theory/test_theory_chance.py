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
    expected_close_pairs,
    high_dimension_asymptote,
    matched_mean_estimate,
    max_abs_cosine_quantile,
    mean_abs_cosine,
    mean_max_abs_cosine,
    packing_asymptote,
    random_coherence_median,
    random_packing_count,
    rv_by_chance,
    sequential_match_mean,
    simulated_matched_mean,
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


@pytest.mark.parametrize(("d", "n"), [(8, 16), (16, 32), (32, 64), (40, 20), (3, 40), (2, 20)])
def test_the_chance_of_a_matching_lies_between_greedy_and_best_and_near_their_middle(d, n):
    draws = simulated_matched_mean(n, n, d, 60, np.random.default_rng(d))
    mean, error = draws.mean(), draws.std(ddof=1) / math.sqrt(len(draws))
    assert sequential_match_mean(n, n, d) < mean + 4 * error
    assert mean < mean_max_abs_cosine(n, d) + 4 * error  # a theorem
    assert abs(matched_mean_estimate(n, n, d) - mean) < 0.01 + 4 * error  # the rule's stated tolerance


@pytest.mark.parametrize(("m", "p", "d"), [(16, 64, 16), (64, 16, 16), (4, 100, 6)])
def test_the_chance_of_matching_different_numbers_is_symmetric_and_near_the_rule(m, p, d):
    draws = simulated_matched_mean(m, p, d, 100, np.random.default_rng(0))
    assert matched_mean_estimate(m, p, d) == matched_mean_estimate(p, m, d)
    error = draws.std(ddof=1) / math.sqrt(len(draws))
    assert abs(matched_mean_estimate(m, p, d) - draws.mean()) < 0.01 + 4 * error


def test_one_row_is_matched_to_the_best_of_all():
    assert matched_mean_estimate(1, 9, 5) == pytest.approx(mean_max_abs_cosine(9, 5), abs=1e-12)


# Computed from the Beta law; two significant digits are given there.
@pytest.mark.parametrize(
    ("d", "cosine", "count"),
    [(256, 0.1, 4.3), (256, 0.2, 40), (256, 0.3, 1.4e3), (512, 0.2, 633), (768, 0.1, 19), (768, 0.3, 3.3e8)],
)
def test_the_packing_count_has_the_reference_values(d, cosine, count):
    # sqrt(2/P) against the root of n(n-1)/2 P = 1 differ by 1/2 + O(1/n); the reference is rounded to 4 %.
    assert random_packing_count(d, cosine) == pytest.approx(count, rel=0.04, abs=0.6)


def test_the_packing_count_has_one_expected_close_pair():
    for d, cosine in ((8, 0.9), (64, 0.5), (768, 0.3)):
        n = random_packing_count(d, cosine)
        pairs = n * (n - 1) / 2 * expected_close_pairs(2, d, cosine)
        assert pairs == pytest.approx(1.0, rel=1e-12)


def test_the_number_of_close_pairs_agrees_with_simulation():
    rng = np.random.default_rng(3)
    counts = []
    for _ in range(300):
        rows = rng.standard_normal((30, 12))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        counts.append((np.abs(rows @ rows.T)[np.triu_indices(30, 1)] > 0.6).sum())
    expected = expected_close_pairs(30, 12, 0.6)
    assert abs(np.mean(counts) - expected) < 5 * np.std(counts) / math.sqrt(300)


def test_the_packing_count_grows_exponentially_with_the_dimension():
    # ln n ~ -(d/4) ln(1 - t^2): the slope over a doubling of d, to the logarithmic correction ln(d)/4.
    logs = [math.log(random_packing_count(d, 0.3)) for d in (1000, 2000)]
    assert logs[1] - logs[0] == pytest.approx(-250 * math.log(1 - 0.09), abs=0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: expected_close_pairs(1, 4, 0.5), "n must"),
        (lambda: expected_close_pairs(4, 4, 1.0), "cosine"),
        (lambda: random_packing_count(4, 0.0), "cosine"),
        (lambda: random_packing_count(100_000, 0.9), "exceeds"),
        (lambda: sequential_match_mean(0, 3, 4), "m must"),
        (lambda: simulated_matched_mean(2, 2, 2, 0, np.random.default_rng(0)), "draws"),
    ],
)
def test_chance_refuses_what_has_no_answer(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("block", [1, 4, 16])
def test_random_directions_have_the_rv_of_their_diagonal(block):
    n, d, rho = 64, 16, 0.5
    covariance = np.kron(np.eye(n // block), np.full((block, block), rho)) + (1.0 - rho) * np.eye(n)
    energy = 1.0 + (block - 1) * rho**2
    rng = np.random.default_rng(7)
    found = []
    for _ in range(40):
        rows = rng.standard_normal((n, d))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        gram = rows @ rows.T
        found.append((covariance * gram).sum() / np.linalg.norm(covariance) / np.linalg.norm(gram))
    # the root of an expected square stands for the expected inverse root: below 0.01 at this size
    assert np.mean(found) == pytest.approx(rv_by_chance(energy, n, d), abs=0.01)
    assert rv_by_chance(energy, n, 10**9) == pytest.approx(1.0 / np.sqrt(energy))
    with pytest.raises(ValueError, match="energy"):
        rv_by_chance(0.5, n, d)
