"""Posterior means by enumeration against the oracle of `theory`, a sum written out, and the symmetries of the model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from slow_encoders import unit

from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.posterior import PosteriorMean
from sparsesim.solvers.priors import BernoulliExponential, BernoulliGaussian, BernoulliHalfNormal, ExactlyK
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from theory import bayes


def world(rng, n, d, p, rate, noise, variance=1.0, mean=0.0):
    atoms = unit(rng.standard_normal((p, d)))
    codes = (rng.random((n, p)) < rate) * (mean + np.sqrt(variance) * rng.standard_normal((n, p)))
    return codes @ atoms + noise * rng.standard_normal((n, d)), atoms, codes


def slow_posterior(x, atoms, rate, variance, mean, noise_variance, sizes):
    """Return mean, P(active), the largest weight and ln p(x): Gaussian densities of every support, one at a time."""
    p, d = atoms.shape
    logs, means, masks = [], [], []
    for mask in itertools.product([False, True], repeat=p):
        mask = np.array(mask)
        if mask.sum() not in sizes:
            continue
        cover = noise_variance * np.eye(d) + atoms.T @ np.diag(variance * mask) @ atoms
        centre = mean * mask @ atoms
        prior = np.where(mask, np.log(rate), np.log1p(-rate)).sum()
        logs.append(prior + multivariate_normal.logpdf(x, centre, cover))
        means.append(mean * mask + variance * mask * (atoms @ np.linalg.solve(cover, x - centre)))
        masks.append(mask)
    weights = np.exp(np.array(logs) - logsumexp(logs))
    allowed = [np.where(mask, np.log(rate), np.log1p(-rate)).sum() for mask in masks]
    best = int(weights.argmax())
    return (
        weights @ np.array(means),
        weights @ np.array(masks),
        weights.max(),
        logsumexp(logs) - logsumexp(allowed),
        means[best],
    )


@settings(max_examples=12)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.integers(1, 7),
    st.sampled_from([0.05, 0.6]),
    st.sampled_from([0.0, -1.5]),
    st.integers(0, 7),
)
def test_it_is_the_sum_over_supports_with_rates_and_variances_of_their_own(seed, d, p, noise, mean, largest):
    rng = np.random.default_rng(seed)
    rate, variance = rng.uniform(0.05, 0.7, p), rng.uniform(0.2, 3.0, p)
    x, atoms, _ = world(rng, 3, d, p, rate, noise, variance, mean)
    largest = min(largest, p)
    prior = BernoulliGaussian(tuple(rate), tuple(variance), mean)
    found = PosteriorMean(prior, noise**2, max_support=largest).posterior(x, atoms)
    likeliest = PosteriorMean(prior, noise**2, max_support=largest, mode="support").encode(x, atoms).toarray()
    for i, row in enumerate(x):
        average, active, top, evidence, best = slow_posterior(
            row, atoms, rate, variance, mean, noise**2, range(largest + 1)
        )
        # both solve systems of condition up to variance * p / noise^2 = 1e4, and logs of size 1e3 lose three digits
        np.testing.assert_allclose(found.codes.toarray()[i], average, atol=1e-9)
        np.testing.assert_allclose(found.active[i], active, atol=1e-9)
        np.testing.assert_allclose(found.support_probability[i], top, atol=1e-9)
        np.testing.assert_allclose(found.log_evidence[i], evidence, atol=1e-8)
        np.testing.assert_allclose(likeliest[i], best, atol=1e-8)


@pytest.mark.parametrize("law", ["independent", "exactly"])
def test_it_is_the_oracle_of_theory_at_twelve_atoms(law):
    rng = np.random.default_rng(1)
    x, atoms, _ = world(rng, 21, 8, 12, 0.2, 0.1, variance=1.7, mean=0.4)  # 21 rows: the last lanes are part empty
    if law == "independent":
        prior, oracle = BernoulliGaussian(0.2, 1.7, 0.4), bayes.Independent(12, 0.2)
    else:
        prior, oracle = ExactlyK(3, 1.7, 0.4), bayes.Exactly(12, 3)
    known = bayes.posterior(x, atoms, oracle, 0.01, mean=0.4, variance=1.7)
    found = PosteriorMean(prior, 0.01).posterior(x, atoms)
    # log weights reach 1e4 (|x|^2 / noise variance), so that probabilities hold twelve digits
    np.testing.assert_allclose(found.codes.toarray(), known.mean, atol=1e-10)
    np.testing.assert_allclose(found.active, known.active, atol=1e-10)
    np.testing.assert_allclose(found.support_probability, known.support_probability, atol=1e-10)
    np.testing.assert_allclose(found.log_evidence, known.log_evidence, rtol=1e-10)


def test_its_error_is_the_minimum_that_theory_computes_and_no_encoder_has_less():
    rng, noise = np.random.default_rng(2), 0.15
    x, atoms, codes = world(rng, 800, 8, 10, 0.2, noise)

    def errors(encoder):
        return np.square(encoder.encode(x, atoms).toarray() - codes).sum(axis=1)

    best = PosteriorMean(BernoulliGaussian(0.2), noise**2)
    least = errors(best)
    oracle = bayes.oracle(atoms, bayes.Independent(10, 0.2), noise**2, 800, rng=rng)
    deviation = np.hypot(least.std() / np.sqrt(len(x)), oracle.mmse_error)
    assert abs(least.mean() - oracle.mmse) < 4 * deviation
    rivals = [OrthogonalMatchingPursuit(k) for k in (2, 3)] + [Lasso(penalty) for penalty in (0.03, 0.1, 0.2)]
    rivals += [PosteriorMean(BernoulliGaussian(0.2), noise**2, mode="support")]
    rivals += [PosteriorMean(BernoulliGaussian(0.35), noise**2), PosteriorMean(BernoulliGaussian(0.2), 2.5 * noise**2)]
    for rival in rivals:
        excess = errors(rival) - least
        assert excess.mean() > -3 * excess.std() / np.sqrt(len(x)), rival  # paired: the same rows, in standard errors


def test_it_moves_with_permutations_signs_rotations_and_scale():
    rng = np.random.default_rng(3)
    x, atoms, _ = world(rng, 10, 6, 9, 0.3, 0.2)
    encoder = PosteriorMean(BernoulliGaussian(0.3), 0.04)
    codes = encoder.encode(x, atoms).toarray()
    order, sign = rng.permutation(9), rng.choice([-1.0, 1.0], 9)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    moved = encoder.encode(x @ turn, (sign[:, None] * atoms)[order] @ turn).toarray()
    np.testing.assert_allclose(moved, (codes * sign)[:, order], atol=1e-11)
    scaled = PosteriorMean(BernoulliGaussian(0.3, 9.0), 0.36).encode(3.0 * x, atoms).toarray()
    np.testing.assert_allclose(scaled, 3.0 * codes, atol=1e-11)


def test_copies_of_an_atom_share_its_code_and_a_zero_atom_keeps_its_prior():
    rng = np.random.default_rng(4)
    x, atoms, _ = world(rng, 8, 6, 5, 0.3, 0.2)
    twice = np.vstack([atoms, atoms[:1], np.zeros((1, 6))])
    found = PosteriorMean(BernoulliGaussian(0.3), 1e-9).posterior(x, twice)
    codes = found.codes.toarray()
    np.testing.assert_allclose(codes[:, 0], codes[:, 5], atol=1e-6)  # pivots of 1e-9 leave 7 digits
    assert np.all(codes[:, 6] == 0)
    np.testing.assert_allclose(found.active[:, 6], 0.3, rtol=1e-6)


def test_extreme_rows_stay_finite_and_a_zero_row_has_zero_codes():
    rng = np.random.default_rng(5)
    x, atoms, _ = world(rng, 4, 6, 8, 0.3, 0.1)
    for scale in (1e150, 1e-150):
        own = PosteriorMean(BernoulliGaussian(0.3, scale**2), 0.01 * scale**2).encode(scale * x, atoms).toarray()
        plain = PosteriorMean(BernoulliGaussian(0.3), 0.01).encode(x, atoms).toarray()
        np.testing.assert_allclose(own / scale, plain, atol=1e-10)
        for mean in (0.0, 1.0):
            found = PosteriorMean(BernoulliGaussian(0.3, 1.0, mean), 0.01).posterior(scale * x, atoms)
            assert np.isfinite(found.codes.data).all()
            assert np.isfinite(found.active).all()
    assert np.all(PosteriorMean(BernoulliGaussian(0.3), 0.01).encode(np.zeros((2, 6)), atoms).toarray() == 0)


def test_a_row_is_coded_alone_in_either_precision_and_any_layout():
    rng = np.random.default_rng(6)
    x, atoms, _ = world(rng, 30, 6, 8, 0.3, 0.1)
    encoder = PosteriorMean(BernoulliGaussian(0.3), 0.01)
    fitted = FittedDictionary(atoms, np.zeros(6), encoder, Status.CONVERGED)
    codes = fitted.encode(x)
    assert codes.nnz == codes.shape[0] * codes.shape[1]
    alone = np.vstack([fitted.encode(row[None]).toarray() for row in x])
    assert np.array_equal(codes.toarray(), alone)
    frozen = np.asfortranarray(x)
    frozen.flags.writeable = False
    assert np.array_equal(fitted.encode(frozen).toarray(), codes.toarray())
    single = fitted.encode(x.astype(np.float32))
    assert single.dtype == np.float32
    # float32 rows carry 1e-7; a weight depends on them through |x|^2 / noise variance, up to 1e3
    np.testing.assert_allclose(single.toarray(), codes.toarray(), atol=1e-3)
    half = fitted.encode(x.astype(np.float16))
    assert np.array_equal(half.toarray(), fitted.encode(x.astype(np.float16).astype(np.float32)).toarray())


def test_entries_that_are_unlikely_are_left_out_on_request():
    x, atoms, _ = world(np.random.default_rng(7), 20, 6, 8, 0.3, 0.1)
    known = PosteriorMean(BernoulliGaussian(0.3), 0.01).posterior(x, atoms)
    sparse = PosteriorMean(BernoulliGaussian(0.3), 0.01, least_activity=0.5).encode(x, atoms)
    assert 0 < sparse.nnz < known.codes.nnz
    assert np.array_equal(sparse.toarray(), np.where(known.active >= 0.5, known.codes.toarray(), 0.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PosteriorMean(BernoulliGaussian(0.1), 0.0), "noise_variance"),
        (lambda: BernoulliGaussian(1.0), "rate must lie strictly"),
        (lambda: BernoulliHalfNormal(0.1, -1.0), "variance"),
        (lambda: PosteriorMean(ExactlyK(3), 0.1, max_support=2), "max_support"),
        (lambda: PosteriorMean(BernoulliGaussian(0.1), 0.1, mode="mode"), "mode must be"),
        (
            lambda: PosteriorMean(BernoulliGaussian(0.1), 0.1).encode(np.ones((1, 4)), np.eye(4)[[0] * 19]),
            "max_support",
        ),
        (lambda: PosteriorMean(BernoulliGaussian((0.1, 0.2)), 0.1).encode(np.ones((1, 4)), np.eye(4)), "rate must be"),
        (lambda: PosteriorMean(ExactlyK(5), 0.1).encode(np.ones((1, 4)), np.eye(4)), "k must lie"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_law_of_positive_values_is_not_taken_for_a_gaussian_one():
    for prior in (BernoulliExponential(0.4), BernoulliHalfNormal(0.4), "gaussian"):
        with pytest.raises(TypeError, match="prior must be a BernoulliGaussian or ExactlyK"):
            PosteriorMean(prior, 0.1)


def test_copies_of_an_atom_share_its_code_whatever_the_noise():
    rng = np.random.default_rng(4)
    atoms = unit(rng.standard_normal((5, 3)))
    atoms[1] = atoms[0]
    x = rng.standard_normal((8, 3))
    for noise in (1e-9, 1e-12, 1e-30, 1e-300):  # the last ones act as 1e-12 of the variance
        known = PosteriorMean(BernoulliGaussian(0.6), noise).posterior(x, atoms)
        codes = known.codes.toarray()
        # R of two copies is known to eps / sqrt(noise), 1e-4 at the least
        np.testing.assert_allclose(codes[:, 0], codes[:, 1], atol=2e-3)
        assert np.abs(x - codes @ atoms).max() < 1e-3
        assert np.isfinite(known.log_evidence).all()
