"""Denoisers and scores of Gaussian mixtures: Tweedie's formula, sampling, and the small-noise limit of contraction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solve_banded
from scipy.stats import multivariate_normal

from theory.score import GaussianMixture, gaussian_autoencoder


def mixture(k, d, rng, *, points=False):
    weights = rng.uniform(0.2, 1.0, k)
    factors = rng.standard_normal((k, d, d)) / math.sqrt(d)
    spread = np.zeros((k, d, d)) if points else factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(d)
    return GaussianMixture(weights / weights.sum(), 2.0 * rng.standard_normal((k, d)), spread)


mixtures = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())


@given(mixtures, st.floats(0.05, 4.0))
def test_the_best_denoiser_moves_along_the_score(shape, noise):
    rng = np.random.default_rng(shape[2])
    law = mixture(*shape[:2], rng, points=shape[3])
    x = 2.0 * rng.standard_normal((5, shape[1]))
    # Posterior mean of each component on one side, the gradient of the density on the other.
    assert np.allclose(law.denoise(x, noise), x + noise * law.score(x, noise), rtol=1e-9, atol=1e-9)


@given(mixtures, st.floats(0.05, 4.0))
def test_the_score_is_the_gradient_of_the_log_density_and_the_error_its_divergence(shape, noise):
    rng = np.random.default_rng(shape[2])
    law = mixture(*shape[:2], rng, points=shape[3])
    x, d, h = rng.standard_normal((3, shape[1])), shape[1], 1e-4
    steps = h * np.eye(d)
    gradient = [(law.log_density(x + e, noise) - law.log_density(x - e, noise)) / (2 * h) for e in steps]
    # h^2/6 times third derivatives, at most of order (distance / noise)^3, and rounding 1e-16 / h
    slack = 1e-8 * (1 + (10 / noise) ** 3)
    assert np.allclose(law.score(x, noise), np.array(gradient).T, atol=slack)
    divergence = sum((law.score(x + e, noise) - law.score(x - e, noise))[:, i] / (2 * h) for i, e in enumerate(steps))
    assert np.allclose(law.error(x, noise), noise * d + noise**2 * divergence, atol=slack * (1 + 10 / noise))


def test_the_density_is_that_of_its_components():
    rng = np.random.default_rng(0)
    law, x = mixture(3, 2, rng), rng.standard_normal((10, 2))
    parts = [
        w * multivariate_normal(m, c + 0.3 * np.eye(2)).pdf(x)
        for w, m, c in zip(law.weights, law.means, law.covariances, strict=True)
    ]
    assert law.log_density(x, 0.3) == pytest.approx(np.log(np.sum(parts, axis=0)), rel=1e-10)


def test_the_error_of_the_denoiser_agrees_with_sampling_and_no_other_map_does_better():
    rng = np.random.default_rng(1)
    law, n, noise = mixture(3, 2, rng), 100_000, 0.4
    which = rng.choice(3, n, p=law.weights)
    factors = np.linalg.cholesky(law.covariances)
    clean = law.means[which] + np.einsum("nij,nj->ni", factors[which], rng.standard_normal((n, 2)))
    noisy = clean + math.sqrt(noise) * rng.standard_normal((n, 2))
    denoised = law.denoise(noisy, noise)
    gap = ((clean - denoised) ** 2).sum(1) - law.error(noisy, noise)
    assert abs(gap.mean()) < 4.9 * gap.std() / math.sqrt(n)  # alpha = 1e-6
    for other in (0.9 * denoised, denoised + 0.1, noisy):  # orthogonality: the residual is uncorrelated with any map
        excess = ((clean - other) ** 2).sum(1) - ((clean - denoised) ** 2).sum(1)
        expected = ((other - denoised) ** 2).sum(1)
        assert abs((excess - expected).mean()) < 4.9 * (excess - expected).std() / math.sqrt(n)
        assert expected.mean() > 0


def test_two_points_denoise_by_a_hyperbolic_tangent():
    law = GaussianMixture(np.array([0.5, 0.5]), np.array([[1.0], [-1.0]]), np.zeros((2, 1, 1)))
    x = np.linspace(-3, 3, 7)[:, None]
    assert law.denoise(x, 0.5) == pytest.approx(np.tanh(x / 0.5), abs=1e-12)
    assert law.error(x, 0.5) == pytest.approx(1 / np.cosh(x[:, 0] / 0.5) ** 2, abs=1e-12)


@given(st.integers(1, 5), st.floats(0.01, 10.0), st.integers(0, 2**32 - 1))
def test_for_one_gaussian_denoising_and_contraction_have_one_linear_optimum(d, noise, seed):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((d, d))
    data = factor @ factor.T / d
    best = gaussian_autoencoder(data, noise)

    def loss(matrix):
        left = matrix - np.eye(d)
        return np.trace(left.T @ data @ left) + noise * (matrix**2).sum()

    law = GaussianMixture(np.ones(1), np.zeros((1, d)), data[None])
    x = rng.standard_normal((4, d))
    assert np.allclose(x @ best, law.denoise(x, noise), rtol=1e-8, atol=1e-8)
    assert loss(best + 0.1 * rng.standard_normal((d, d))) > loss(best)
    assert law.error(x, noise) == pytest.approx(loss(best), rel=1e-8)  # the same at every x


def contracted(law, grid, penalty):
    """Return the minimiser of E (r - x)^2 + penalty E r'^2 on a line by finite volumes: (penalty p r')' = p (r - x)."""
    h = grid[1] - grid[0]
    p = np.exp(law.log_density(grid[:, None]))
    between = penalty * np.exp(law.log_density((grid[1:] + grid[:-1])[:, None] / 2)) / h**2
    bands = np.zeros((3, len(grid)))
    bands[0, 1:] = bands[2, :-1] = -between
    bands[1] = p
    bands[1, 1:] += between
    bands[1, :-1] += between
    return solve_banded((1, 1), bands, p * grid)


def test_the_contractive_autoencoder_tends_to_the_score_as_its_penalty_vanishes():
    law = GaussianMixture(np.array([0.4, 0.6]), np.array([[-1.0], [1.2]]), np.array([[[0.3]], [[0.5]]]))
    grid = np.linspace(-6, 6, 24_001)
    inner = np.abs(grid) < 3
    errors, orders = [], (0.02, 0.01)
    for penalty in orders:
        straight = grid + penalty * law.score(grid[:, None])[:, 0]
        best = contracted(law, grid, penalty)
        denoised = law.denoise(grid[:, None], penalty)[:, 0]
        errors.append((np.abs(best - straight)[inner].max(), np.abs(denoised - straight)[inner].max()))
        assert np.abs(best - denoised)[inner].max() > 1e-5  # the two differ at second order off the Gaussian
    first, second = np.array(errors)
    assert np.all(first < 30 * orders[0] ** 2)
    assert first / second == pytest.approx(4.0, rel=0.2)  # second order: halved, it is quartered


def test_finite_volumes_return_the_linear_map_of_a_gaussian():
    law = GaussianMixture(np.ones(1), np.zeros((1, 1)), np.array([[[0.7]]]))
    grid = np.linspace(-5, 5, 4001)
    inner = np.abs(grid) < 2
    assert contracted(law, grid, 0.3)[inner] == pytest.approx(0.7 * grid[inner], abs=1e-4)  # 0.7 / (0.7 + 0.3)


@pytest.mark.parametrize("call", [
    lambda: GaussianMixture([0.5, 0.6], np.zeros((2, 1)), np.ones((2, 1, 1))),
    lambda: GaussianMixture([1.0], np.zeros((2, 1)), np.ones((2, 1, 1))),
    lambda: GaussianMixture([1.0], np.zeros((1, 1)), -np.ones((1, 1, 1))),
    lambda: GaussianMixture([1.0], np.zeros((1, 1)), np.zeros((1, 1, 1))).score([[0.0]]),
    lambda: GaussianMixture([1.0], np.zeros((1, 1)), np.ones((1, 1, 1))).denoise([[0.0]], 0.0),
    lambda: GaussianMixture([1.0], np.zeros((1, 1)), np.ones((1, 1, 1))).score([[0.0, 1.0]]),
    lambda: GaussianMixture([1.0], np.zeros((1, 1)), np.ones((1, 1, 1))).score([[0.0]], -1.0),
    lambda: gaussian_autoencoder(np.eye(2), 0.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
