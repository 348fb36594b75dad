"""The Gibbs sampler against enumeration, in standard errors over seeds, and as a function of row and seed."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.stats import kstest, norm
from slow_encoders import random_problem, unit

from sparsesim.kernels.chains import above_zero_
from sparsesim.solvers.gibbs import GibbsSampler
from sparsesim.solvers.posterior import PosteriorMean
from sparsesim.solvers.priors import BernoulliExponential, BernoulliGaussian, BernoulliHalfNormal, ExactlyK


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


def assert_average(encoder, x, atoms, code, active):
    """Hold the average over 24 seeds against what is known, in standard errors."""
    draws = [dataclasses.replace(encoder, seed=seed).sampled(x, atoms) for seed in range(24)]
    for sampled, exact in (([codes.toarray() for codes, _ in draws], code), ([found for _, found in draws], active)):
        error = np.std(sampled, axis=0, ddof=1) / np.sqrt(24)
        # some 50 entries at 23 degrees of freedom: 5.5 standard errors are passed once in 1e3 such tests
        assert np.all(np.abs(np.mean(sampled, axis=0) - exact) < 5.5 * error + 1e-6)
        assert np.sqrt(np.mean(error**2)) < 0.01  # of codes of size 1: sharp enough to fail


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_of_exactly_k_atoms_its_average_is_the_enumerated_posterior(mean):
    rng = np.random.default_rng(4)
    atoms = unit(rng.standard_normal((8, 5)))
    codes = np.zeros((6, 8))
    for row in codes:
        row[rng.choice(8, 3, replace=False)] = mean + rng.standard_normal(3)
    x = codes @ atoms + 0.3 * rng.standard_normal((6, 5))
    prior = ExactlyK(3, tuple(rng.uniform(0.5, 2.0, 8)), mean)
    known = PosteriorMean(prior, 0.09).posterior(x, atoms)
    encoder = GibbsSampler(prior, 0.09, sweeps=1000)  # of two modes, one is rarely left
    assert_average(encoder, x, atoms, known.codes.toarray(), known.active)
    np.testing.assert_allclose(encoder.sampled(x, atoms)[1].sum(axis=1), 3.0, rtol=1e-9)  # each draw has three


def test_of_one_active_atom_or_all_nothing_is_left_to_chance():
    rng = np.random.default_rng(5)
    atoms, x = unit(rng.standard_normal((6, 4))), rng.standard_normal((5, 4))
    for k in (1, 6):  # the rest of the support is empty, or only the atom that left can come back
        known = PosteriorMean(ExactlyK(k), 0.2).posterior(x, atoms)
        codes, active = GibbsSampler(ExactlyK(k), 0.2, sweeps=1, warm=0, chains=1).sampled(x, atoms)
        np.testing.assert_allclose(codes.toarray(), known.codes.toarray(), atol=1e-10)
        np.testing.assert_allclose(active, known.active, atol=1e-10)


def by_quadrature(x, atoms, noise, rate, density, largest):
    """Return posterior means and P(active) ``(p,)`` of one row, by integration over the values of every support."""
    p = len(atoms)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    nodes, weights = largest * (nodes + 1) / 2, largest * weights / 2
    total, code, active = 0.0, np.zeros(p), np.zeros(p)
    for support in itertools.product([0, 1], repeat=p):
        values = np.stack(np.meshgrid(*[nodes if on else [0.0] for on in support]), axis=-1).reshape(-1, p)
        parts = np.meshgrid(*[weights * density(nodes) if on else [1.0] for on in support])
        mass = np.prod(np.stack(parts, axis=-1).reshape(-1, p), axis=1)
        mass *= np.exp(-np.square(x - values @ atoms).sum(axis=1) / (2 * noise)) * rate ** sum(support)
        mass *= (1 - rate) ** (p - sum(support))
        total, code, active = total + mass.sum(), code + mass @ values, active + mass.sum() * np.array(support)
    return code / total, active / total


SLABS = [
    (BernoulliHalfNormal(0.3, 1.5), lambda z: 2 * norm.pdf(z, scale=np.sqrt(1.5))),
    (BernoulliExponential(0.3, 0.8), lambda z: np.exp(-z / 0.8) / 0.8),
]


@pytest.mark.parametrize(("prior", "density"), SLABS)
def test_of_positive_values_its_average_is_the_posterior_by_quadrature(prior, density):
    rng = np.random.default_rng(6)
    atoms = unit(rng.standard_normal((3, 3)) + 0.5)  # of cosines up to 0.9: activities depend on each other
    x = np.abs(rng.standard_normal((8, 3))) * (rng.random((8, 3)) < 0.5) @ atoms + 0.4 * rng.standard_normal((8, 3))
    known = [by_quadrature(row, atoms, 0.16, 0.3, density, 12.0) for row in x]
    code, active = np.array([one for one, _ in known]), np.array([two for _, two in known])
    assert np.ptp(active) > 0.5
    encoder = GibbsSampler(prior, 0.16, sweeps=400)
    assert_average(encoder, x, atoms, code, active)
    doubled = GibbsSampler(scaled(prior, 4.0), 0.64, sweeps=10, warm=3).encode(4.0 * x / 2.0, atoms).toarray()
    np.testing.assert_allclose(doubled, 2.0 * GibbsSampler(prior, 0.16, sweeps=10, warm=3).encode(x, atoms).toarray())


def scaled(prior, factor):
    """Return the prior of values whose squares are ``factor`` times as large."""
    if isinstance(prior, BernoulliExponential):
        return BernoulliExponential(prior.rate, prior.mean * np.sqrt(factor))
    return BernoulliHalfNormal(prior.rate, prior.variance * factor)


@pytest.mark.parametrize("prior", [ExactlyK(2), BernoulliHalfNormal(0.2), BernoulliExponential(0.2)])
def test_other_priors_are_finite_for_odd_rows_too(prior):
    rng = np.random.default_rng(7)
    x, atoms = random_problem(rng, 4, 8, 12, 2, noise=0.1)
    odd = np.vstack([atoms, atoms[:2], np.zeros((1, 8))])
    for rows in (x, 1e150 * x, 1e-150 * x, np.zeros((1, 8))):
        codes, active = GibbsSampler(prior, 1e-6, sweeps=5, warm=5).sampled(rows, odd)
        assert np.isfinite(codes.data).all() and np.all((active >= 0) & (active <= 1 + 1e-12))
        assert isinstance(prior, ExactlyK) or codes.data.min() >= 0
        if not isinstance(prior, ExactlyK):
            np.testing.assert_allclose(active[:, 14], 0.2)
            if np.abs(rows).max() in (0.0, np.abs(x).max()):  # where the units of the row leave the prior within range
                mean = 1.0 if isinstance(prior, BernoulliExponential) else np.sqrt(2 / np.pi)
                np.testing.assert_allclose(codes.toarray()[:, 14], 0.2 * mean)
    encoder = GibbsSampler(prior, 0.01, sweeps=5, warm=3)
    codes = encoder.encode(x, atoms).toarray()
    assert np.array_equal(encoder.encode(x[::-1], atoms).toarray(), codes[::-1])


@pytest.mark.parametrize("location", [-40.0, -2.0, -0.4, 3.0])
def test_normal_numbers_above_zero_have_their_law(location):
    state, draws = np.array([1, 2, 3, 4], np.uint64), np.empty(4000)
    for i in range(len(draws)):
        draws[i] = above_zero_(state, location)
    assert kstest(draws, lambda z: -np.expm1(norm.logsf(z - location) - norm.logsf(-location))).pvalue > 1e-3  # seeded


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
    with pytest.raises(TypeError, match="prior must be"):
        GibbsSampler(0.1, 0.1)
    with pytest.raises(ValueError, match="k must lie"):
        GibbsSampler(ExactlyK(4), 0.1).encode(np.ones((1, 3)), np.eye(3))
    for name, value in (("hottest", 0.5), ("sweeps", 0), ("seed", -1), ("noise_variance", 0.0)):
        options = {"noise_variance": 0.1, name: value}
        with pytest.raises(ValueError, match=name):
            GibbsSampler(BernoulliGaussian(0.1), **options)


@pytest.mark.parametrize("prior", [ExactlyK(4), BernoulliGaussian(0.6)])
def test_copies_of_an_atom_and_little_noise_leave_the_posterior_as_it_is(prior):
    rng = np.random.default_rng(2)
    atoms = unit(rng.standard_normal((6, 3)))
    atoms[1] = atoms[0]  # whose inverse holds 1 / noise, and four atoms of three dimensions depend on each other, too
    x = rng.standard_normal((10, 3))
    plan = {"sweeps": 400, "warm": 60, "chains": 4, "hottest": 1e6}
    sampler = GibbsSampler(prior, 1e-7, **plan)
    codes, active = sampler.sampled(x, atoms)
    exact = PosteriorMean(prior, 1e-7).posterior(x, atoms)
    # 1600 draws, some correlated: standard errors of at most about 0.02 of an activity and 0.03 of a code
    np.testing.assert_allclose(active, exact.active, atol=0.07)
    np.testing.assert_allclose(codes.toarray(), exact.codes.toarray(), atol=0.1)
    for less in (1e-12, 1e-300):
        other = dataclasses.replace(sampler, noise_variance=less)
        assert np.array_equal(other.encode(x, atoms).toarray(), codes.toarray())


def test_gaussian_slabs_alone_have_the_least_noise():
    x, atoms = np.array([[2.0, 1e-4]]), np.eye(2)
    # an exact sample of positive values: a mean of 1e-4 is sure to be active at a noise of 1e-12
    codes, active = GibbsSampler(BernoulliHalfNormal(0.5), 1e-12, sweeps=5, warm=0).sampled(x, atoms)
    np.testing.assert_allclose(codes.toarray(), x, rtol=1e-6)
    assert active.min() > 0.999
