"""The Gibbs sampler against enumeration, in standard errors over seeds, and as a function of row and seed."""

from __future__ import annotations

import numpy as np
import pytest
from slow_encoders import random_problem, unit

from sparsesim.solvers.gibbs import GibbsSampler
from sparsesim.solvers.posterior import PosteriorMean
from sparsesim.solvers.priors import BernoulliExponential, BernoulliGaussian


def world(rng, n, d, p, rate, noise, mean=0.0):
    atoms = unit(rng.standard_normal((p, d)))
    codes = (rng.random((n, p)) < rate) * (mean + rng.standard_normal((n, p)))
    return codes @ atoms + noise * rng.standard_normal((n, d)), atoms, codes


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_its_average_is_the_enumerated_posterior_within_monte_carlo_error(mean):
    rng = np.random.default_rng(0)
    x, atoms, _ = world(rng, 8, 6, 9, 0.25, 0.3, mean)
    prior = BernoulliGaussian(tuple(rng.uniform(0.1, 0.4, 9)), tuple(rng.uniform(0.5, 2.0, 9)), mean)
    known = PosteriorMean(prior, 0.09).posterior(x, atoms)
    draws = [GibbsSampler(prior, 0.09, sweeps=100, seed=seed).sampled(x, atoms) for seed in range(24)]
    for sampled, exact in (
        ([codes.toarray() for codes, _ in draws], known.codes.toarray()),
        ([active for _, active in draws], known.active),
    ):
        error = np.std(sampled, axis=0, ddof=1) / np.sqrt(24)
        # 72 entries at 23 degrees of freedom: 5.5 standard errors are passed once in 1e3 such tests
        assert np.all(np.abs(np.mean(sampled, axis=0) - exact) < 5.5 * error + 1e-6)
        assert np.sqrt(np.mean(error**2)) < 0.01  # of codes of size 1: sharp enough to fail


def test_more_sweeps_come_nearer_to_the_posterior_mean():
    x, atoms, _ = world(np.random.default_rng(1), 40, 7, 10, 0.2, 0.1)
    prior = BernoulliGaussian(0.2)
    known = PosteriorMean(prior, 0.01).encode(x, atoms).toarray()
    distance = [
        np.sqrt(np.square(GibbsSampler(prior, 0.01, sweeps=sweeps).encode(x, atoms).toarray() - known).mean())
        for sweeps in (5, 500)
    ]
    assert distance[1] < 0.35 * distance[0]  # 0.1 for independent draws; modes hold the chain at little noise


def test_draws_are_a_function_of_the_row_and_the_seed():
    x, atoms, _ = world(np.random.default_rng(2), 12, 6, 9, 0.25, 0.3)
    encoder = GibbsSampler(BernoulliGaussian(0.25), 0.09, sweeps=5, warm=3)
    codes = encoder.encode(x, atoms).toarray()
    assert np.array_equal(encoder.encode(x[::-1], atoms).toarray(), codes[::-1])
    assert np.array_equal(np.vstack([encoder.encode(row[None], atoms).toarray() for row in x]), codes)
    assert np.array_equal(encoder.encode(np.vstack([x, x]), atoms).toarray(), np.vstack([codes, codes]))
    doubled = GibbsSampler(BernoulliGaussian(0.25, 4.0), 0.36, sweeps=5, warm=3).encode(2.0 * x, atoms).toarray()
    np.testing.assert_allclose(doubled, 2.0 * codes, rtol=1e-12)
    other = GibbsSampler(BernoulliGaussian(0.25), 0.09, sweeps=5, warm=3, seed=1).encode(x, atoms).toarray()
    assert not np.any(np.all(other == codes, axis=1))


def test_it_is_finite_for_odd_rows_and_atoms_and_exact_where_atoms_are_orthonormal():
    rng = np.random.default_rng(3)
    x, atoms = random_problem(rng, 4, 8, 12, 2, noise=0.1)
    odd = np.vstack([atoms, atoms[:2], np.zeros((1, 8))])
    for rows in (x, 1e150 * x, 1e-150 * x, np.zeros((1, 8))):
        codes, active = GibbsSampler(BernoulliGaussian(0.2), 1e-6, sweeps=5, warm=5).sampled(rows, odd)
        assert np.isfinite(codes.data).all()
        assert np.all(codes.toarray()[:, 14] == 0)
        np.testing.assert_allclose(active[:, 14], 0.2)
    square = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    prior = BernoulliGaussian(0.2)
    once = GibbsSampler(prior, 0.01, sweeps=1, warm=0, chains=1).encode(x, square).toarray()
    np.testing.assert_allclose(once, PosteriorMean(prior, 0.01).encode(x, square).toarray(), atol=1e-9)


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(TypeError, match="integrate out"):
        GibbsSampler(BernoulliExponential(0.1), 0.1)
    for name, value in (("hottest", 0.5), ("sweeps", 0), ("seed", -1), ("noise_variance", 0.0)):
        options = {"noise_variance": 0.1, name: value}
        with pytest.raises(ValueError, match=name):
            GibbsSampler(BernoulliGaussian(0.1), **options)
