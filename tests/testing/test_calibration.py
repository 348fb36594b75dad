"""Ranks of truths among posterior draws: uniform where the posterior is exact, and found out where it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from sparsesim.solvers.gibbs import GibbsSampler
from sparsesim.solvers.posterior import PosteriorMean
from sparsesim.solvers.priors import BernoulliGaussian
from sparsesim.testing import rank_truths
from theory import bayes
from theory.vae import linear_posterior

N, DRAWS = 2000, 31
ATOMS = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8], [0.48, 0.6, 0.64]])
RATE, NOISE = 0.3, 0.2  # of each code, and the variance of the noise


def gaussian(n, rng):
    return rng.standard_normal((n, 2))


def observed(truths, rng):
    """x = z A + noise for orthogonal atoms of norms 2 and 1/2, noise variance 1/2."""
    return truths * [2.0, 0.5] + np.sqrt(0.5) * rng.standard_normal(truths.shape)


def diagonal(shift=0.0, stretch=1.0):
    """The sampler of the linear-Gaussian posterior at its optimum, or one whose means or deviations are off."""
    encoder, variances = linear_posterior(np.diag([2.0, 0.5]), 0.5)

    def sampler(x, draws, rng):
        noise = rng.standard_normal((len(x), draws, 2)) * np.sqrt(variances) * stretch
        return (x @ encoder + shift * np.sqrt(variances))[:, None] + noise

    return sampler


def sparse(n, rng):
    return (rng.random((n, len(ATOMS))) < RATE) * rng.standard_normal((n, len(ATOMS)))


def seen(codes, rng):
    return codes @ ATOMS + np.sqrt(NOISE) * rng.standard_normal((len(codes), ATOMS.shape[1]))


def enumerated(x, draws, rng):
    """Exact draws of codes: a support by its posterior probability, then its values from their normal posterior."""
    p = len(ATOMS)
    masks = ((np.arange(2**p)[:, None] >> np.arange(p)) & 1).astype(bool)
    logs, parts = np.empty((len(x), len(masks))), []
    for index, mask in enumerate(masks):
        cover = NOISE * np.eye(ATOMS.shape[1]) + ATOMS[mask].T @ ATOMS[mask]
        inverse = np.linalg.inv(cover)
        logs[:, index] = mask.sum() * np.log(RATE / (1 - RATE)) - 0.5 * np.linalg.slogdet(cover)[1]
        logs[:, index] -= 0.5 * np.einsum("ni,ij,nj->n", x, inverse, x)
        gain = ATOMS[mask] @ inverse
        spread = np.eye(mask.sum()) - gain @ ATOMS[mask].T
        parts.append((mask, gain, np.linalg.cholesky(spread) if mask.any() else spread))
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    edges = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    chosen = (rng.random((len(x), draws, 1)) > edges[:, None, :-1]).sum(axis=2)
    out = np.zeros((len(x), draws, p))
    for index, (mask, gain, root) in enumerate(parts):
        rows, columns = np.nonzero(chosen == index)
        values = x[rows] @ gain.T + rng.standard_normal((len(rows), mask.sum())) @ root.T
        out[rows[:, None], columns[:, None], np.flatnonzero(mask)[None]] = values
    return out


def activities(encoder):
    """Draws of each code's activity by the marginal probability that ``encoder`` states."""

    def sampler(x, draws, rng):
        if isinstance(encoder, GibbsSampler):
            chance = encoder.sampled(x, ATOMS)[1]
        else:
            chance = encoder.posterior(x, ATOMS).active
        return rng.random((len(x), draws, chance.shape[1])) < chance[:, None]

    return sampler


def active(n, rng):
    return (rng.random((n, len(ATOMS))) < RATE).astype(float)


def seen_active(masks, rng):
    return seen(masks * rng.standard_normal(masks.shape), rng)


def test_the_linear_gaussian_posterior_is_calibrated_at_its_optimum():
    found = rank_truths(gaussian, observed, diagonal(), n=N, draws=DRAWS, rng=np.random.default_rng(0))
    assert found.calibrated and "calibrated at error" in str(found)
    assert np.abs(found.bias).max() < 4 / np.sqrt(12 * N)
    assert np.abs(found.spread - 1).max() < 4 * np.sqrt(0.8 / N)
    for ranks in found.ranks.T:
        assert chisquare(np.bincount(ranks, minlength=DRAWS + 1)).pvalue > 1e-4  # another test of the same claim


@pytest.mark.parametrize(
    ("wrong", "low_spread", "sign"),
    [({"stretch": 0.7}, False, 0), ({"stretch": 1.5}, True, 0), ({"shift": -0.3}, 0, 1)],
)
def test_a_wrong_posterior_is_found_and_said_to_be_narrow_wide_or_low(wrong, low_spread, sign):
    found = rank_truths(gaussian, observed, diagonal(**wrong), n=N, draws=DRAWS, rng=np.random.default_rng(0))
    assert not found.calibrated and str(found).startswith("NOT")
    if sign:
        assert (found.bias > 4 / np.sqrt(12 * N)).all()
    else:
        off = (1 - found.spread) if low_spread else (found.spread - 1)
        assert (off > 4 * np.sqrt(0.8 / N)).all()


def with_energy(codes):
    return np.concatenate([codes, np.square(codes).sum(axis=-1, keepdims=True)], axis=-1)


def test_exact_draws_by_enumeration_are_calibrated_and_those_of_another_prior_are_not():
    def found(scale):
        return rank_truths(
            lambda n, rng: with_energy(scale * sparse(n, rng)),
            lambda truths, rng: seen(truths[:, :-1], rng),
            lambda x, draws, rng: with_energy(enumerated(x, draws, rng)),
            n=N,
            draws=DRAWS,
            rng=np.random.default_rng(1),
        )

    assert found(1.0).calibrated, found(1.0)
    # of codes that are mostly zero each alone ranks by chance among its ties: their energy sees what they do not
    louder = found(1.6)
    assert louder.p_values[:-1].min() > 1e-3 and louder.p_values[-1] < 1e-6 and not louder.calibrated
    # the draws are of the posterior that theory states, and not calibrated merely as the prior would be
    x = seen(sparse(20, np.random.default_rng(2)), np.random.default_rng(3))
    known = bayes.posterior(x, ATOMS, bayes.Independent(4, RATE), NOISE)
    drawn = enumerated(x, 4000, np.random.default_rng(4))
    error = drawn.std(axis=1) / np.sqrt(4000)
    assert np.abs((drawn.mean(axis=1) - known.mean) / error).max() < 5  # 80 means, five standard errors


@pytest.mark.parametrize("encoder", [PosteriorMean, GibbsSampler])
def test_stated_activities_are_calibrated_and_those_of_a_wrong_rate_are_not(encoder):
    options = {"sweeps": 100, "warm": 20} if encoder is GibbsSampler else {}
    right = encoder(BernoulliGaussian(RATE), NOISE, **options)
    found = rank_truths(active, seen_active, activities(right), n=1000, draws=DRAWS, rng=np.random.default_rng(5))
    assert found.calibrated, found
    wrong = encoder(BernoulliGaussian(0.5), NOISE, **options)
    found = rank_truths(active, seen_active, activities(wrong), n=1000, draws=DRAWS, rng=np.random.default_rng(5))
    assert not found.calibrated
    assert (found.bias < 0).all()  # too often active: truths rank low among the draws


def test_a_right_sampler_is_called_wrong_as_often_as_stated():
    # the prior as its own posterior is calibrated: a discrete quantity with ties, and a constant
    def prior(n, rng):
        return np.column_stack([rng.integers(0, 3, n), np.ones(n)]).astype(float)

    def sampler(x, draws, rng):
        return np.stack([prior(draws, rng) for _ in range(len(x))])

    wrong = 0
    for seed in range(200):
        found = rank_truths(prior, lambda t, rng: t, sampler, n=20, draws=3, error=0.2, rng=np.random.default_rng(seed))
        wrong += not found.calibrated
    # four tests at 0.05, two by two on the same places: between 0.0975 (were those one) and 0.1855 (independent)
    assert 200 * 0.0975 - 4 * np.sqrt(17.6) < wrong < 200 * 0.1855 + 4 * np.sqrt(30.2)  # four standard deviations


def test_what_has_the_wrong_shape_is_refused_with_a_remedy():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="sampler must return"):
        rank_truths(gaussian, observed, lambda x, draws, rng: np.zeros((len(x), 2)), n=5, draws=3, rng=rng)
    with pytest.raises(ValueError, match="prior must return"):
        rank_truths(lambda n, rng: np.zeros((n + 1, 2)), observed, diagonal(), n=5, draws=3, rng=rng)
    with pytest.raises(ValueError, match="infinity"):
        rank_truths(gaussian, observed, lambda x, k, rng: np.full((len(x), k, 2), np.nan), n=5, draws=3, rng=rng)
    with pytest.raises(ValueError, match="error"):
        rank_truths(gaussian, observed, diagonal(), n=5, draws=3, error=1.0, rng=rng)
    with pytest.raises(ValueError, match="draws"):
        rank_truths(gaussian, observed, diagonal(), n=5, draws=0, rng=rng)
