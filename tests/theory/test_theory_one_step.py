"""One matrix product recovers supports, and estimates codes, as well as predicted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from theory.denoisers import Gaussian, HalfNormal, SpikeSlab
from theory.one_step import (
    linear_mse,
    linear_noise,
    readout_error,
    tied_noise,
    top_k_capacity,
    top_k_success,
)

# family, delta, eps, sigma2, then one step LMMSE and Bayes, one step tied and Bayes, LMMSE, and the two noises
ONE_STEP = [
    ("gauss", .5, .1, .01, .02426, .03961, .05422, .1184, .21),
    ("gauss", .5, .1, .001, .02107, .03827, .05049, .102, .201),
    ("gauss", .5, .2, .001, .06562, .1059, .1005, .202, .401),
    ("gauss", .25, .1, .001, .05129, .06086, .07508, .3013, .401),
    ("gauss", .125, .02, .001, .007563, .008445, .01752, .1411, .161),
    ("half", .5, .1, .01, .01995, .03261, .051, .112, .1973),
    ("half", .5, .2, .001, .04964, .08195, .08776, .1765, .3501),
    ("half", .25, .05, .001, .01479, .01875, .03639, .1466, .1946),
    ("half", .125, .02, .001, .006707, .007508, .01729, .1394, .159),
]  # fmt: skip


def unit_rows(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "d", "k", "whiten", "value"), [
    (1024, 256, 10, False, .721), (1024, 256, 10, True, .949), (1024, 512, 14, False, .955),
    (1024, 512, 20, False, .526), (1024, 512, 20, True, .998),
])  # fmt: skip
def test_top_k_has_its_reference_values(n, d, k, whiten, value):
    assert top_k_success(n, d, k, whiten=whiten) == pytest.approx(value, abs=5.1e-4)  # rounded to three digits


@pytest.mark.parametrize(("n", "d", "k", "whiten"), [
    (400, 100, 3, False), (400, 100, 6, False), (400, 100, 6, True), (300, 150, 8, True), (400, 100, 12, False),
])  # fmt: skip
def test_top_k_succeeds_as_often_as_predicted(n, d, k, whiten):
    rng, hits, trials = np.random.default_rng(0), 0, 600
    for _ in range(6):
        atoms = unit_rows(rng, n, d)
        encoder = np.linalg.pinv(atoms).T if whiten else atoms
        encoder = encoder / (encoder * atoms).sum(axis=1, keepdims=True)  # a response of 1 to its own atom
        for _ in range(trials // 6):
            support = rng.choice(n, k, replace=False)
            score = encoder @ atoms[support].sum(axis=0)
            hits += set(np.argsort(-score)[:k]) == set(support)
    predicted = top_k_success(n, d, k, whiten=whiten)
    error = math.sqrt(0.25 / trials)
    assert abs(hits / trials - predicted) < 0.1 + 2 * error  # the stated tolerance of the model


def test_the_integral_agrees_with_simulation_of_its_own_model():
    rng, n, d, k, count = np.random.default_rng(1), 200, 60, 5, 20_000
    silent = math.sqrt(k / d) * rng.standard_normal((count, n - k)).max(axis=1)
    active = 1 + math.sqrt((k - 1) / d) * rng.standard_normal((count, k)).min(axis=1)
    error = math.sqrt(0.25 / count)
    assert abs((active > silent).mean() - top_k_success(n, d, k)) < 5 * error  # alpha = 6e-7
    single = math.sqrt(1 / d) * rng.standard_normal((count, n - 1)).max(axis=1)
    assert abs((single < 1).mean() - top_k_success(n, d, 1)) < 5 * error


@given(st.integers(10, 5000), st.floats(0.05, 0.9), st.floats(0.001, 0.2))
def test_more_dimensions_and_whitening_help_and_more_active_entries_do_not(n, delta, eps):
    d, k = max(2, round(delta * n)), max(1, round(eps * n))
    success = top_k_success(n, d, k)
    assert 0 <= success <= 1 + 1e-12
    assert success <= top_k_success(n, 2 * d, k) + 1e-12
    assert success >= top_k_success(n, d, k + 1) - 1e-12
    if d < n:
        assert success <= top_k_success(n, d, k, whiten=True) + 1e-12
        assert top_k_capacity(n, d, k, whiten=True) == pytest.approx(top_k_capacity(n, d, k) / (1 - d / n))


@pytest.mark.parametrize("n", [10**3, 10**5, 10**7])
def test_success_turns_near_the_capacity(n):
    k = round(n**0.5)
    d = k / top_k_capacity(n, 10**9, k) * 10**9
    # The extremes of finite samples fall short of sqrt(2 ln n), by ln ln n / ln n: the turn is below d.
    assert top_k_success(n, round(d), k) > 0.5
    assert top_k_success(n, round(0.6 * d), k) < 0.5


def test_a_threshold_readout_errs_as_predicted():
    rng, n, d, k = np.random.default_rng(2), 200, 64, 8
    wrong, count = 0, 0
    for _ in range(300):
        atoms = unit_rows(rng, n, d)
        code = np.zeros(n)
        code[:k] = 1
        wrong += ((atoms @ (code @ atoms) > 0.5) != (code > 0)).sum()
        count += n
    # independent over dictionaries; inactive scores have variance k/d; their law is a product's, not quite Gaussian
    assert wrong / count == pytest.approx(readout_error(d, k), rel=0.1)
    for n in (10**3, 10**6):
        assert n * readout_error(8 * k * math.log(n), k) < 1
        assert n * readout_error(4 * k * math.log(n), k) > 1


@pytest.mark.parametrize("row", ONE_STEP)
def test_one_step_estimates_have_their_reference_values(row):
    name, delta, eps, noise = row[:4]
    prior = SpikeSlab(eps, Gaussian() if name == "gauss" else HalfNormal())
    linear, tied = (f(prior.variance, delta, noise) for f in (linear_noise, tied_noise))
    found = [prior.mmse(linear), prior.mmse(tied), linear_mse(prior.variance, delta, noise), linear, tied]
    assert [float(f) for f in found] == pytest.approx(list(row[4:]), rel=5.1e-4)  # rounded to four digits


@given(st.floats(1e-3, 1e3), st.floats(0.01, 3.0), st.just(0.0) | st.floats(1e-9, 1e3))
def test_the_linear_noise_is_its_own_fixed_point_below_the_tied_one(variance, delta, noise):
    level = linear_noise(variance, delta, noise)
    estimate = linear_mse(variance, delta, noise)
    assert noise + estimate / delta == pytest.approx(level, rel=1e-9, abs=1e-12 * variance)
    assert noise <= level * (1 + 1e-12) and level <= tied_noise(variance, delta, noise) * (1 + 1e-12)
    assert linear_mse(variance, delta, 0.0) == pytest.approx(variance * max(0.0, 1 - delta), abs=1e-12 * variance)


@pytest.mark.parametrize(("delta", "noise"), [(0.5, 0.01), (0.25, 0.1), (1.5, 0.05)])
def test_the_linear_error_is_that_of_large_random_dictionaries(delta, noise):
    rng, n, variance = np.random.default_rng(3), 600, 0.1
    d = round(delta * n)
    atoms = rng.standard_normal((n, d)) / math.sqrt(d)
    values = np.linalg.svd(atoms, compute_uv=False) ** 2
    explained = (variance * values / (variance * values + noise)).sum()
    assert variance * (1 - explained / n) == pytest.approx(linear_mse(variance, delta, noise), rel=0.01)  # order 1/n


def test_scores_made_unbiased_have_the_linear_noise():
    rng, n, delta, eps, noise = np.random.default_rng(4), 1000, 0.5, 0.1, 0.01
    d, variance = round(delta * n), eps
    atoms = unit_rows(rng, n, d)
    encoder = variance * atoms @ np.linalg.inv(variance * atoms.T @ atoms + noise * np.eye(d))
    residuals = []
    for _ in range(20):
        code = (rng.random(n) < eps) * rng.standard_normal(n)
        y = code @ atoms + math.sqrt(noise) * rng.standard_normal(d)
        residuals.append(encoder @ y / (encoder * atoms).sum(axis=1) - code)
    level = linear_noise(variance, delta, noise)
    sample = np.array(residuals)
    assert sample.var() == pytest.approx(level, rel=0.05)  # sqrt(2 / (20 n eps)) of the active entries' energy
    assert np.mean(np.abs(sample) > 2 * math.sqrt(level)) == pytest.approx(2 * norm.sf(2), rel=0.1)  # Gaussian


@pytest.mark.parametrize("call", [
    lambda: top_k_success(10, 5, 0), lambda: top_k_success(10, 5, 10), lambda: top_k_success(10, 0, 2),
    lambda: top_k_success(10, 10, 2, whiten=True), lambda: top_k_capacity(10, 12, 2, whiten=True),
    lambda: readout_error(0, 1), lambda: readout_error(1, -1), lambda: tied_noise(0.0, 0.5, 0.1),
    lambda: linear_noise(1.0, 0.0, 0.1), lambda: linear_mse(1.0, 0.5, -0.1), lambda: linear_noise(math.nan, 0.5, 0.1),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
