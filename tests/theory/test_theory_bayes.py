"""The exact oracle is the posterior it claims to be, agrees with scalar channels, and nothing beats it."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from theory.bayes import Exactly, Independent, oracle, posterior, sparsest
from theory.denoisers import Gaussian, One, SpikeSlab
from theory.frames import identity_hadamard, simplex
from theory.one_step import linear_mse

seeds = st.integers(0, 2**32 - 1)
laws = st.one_of(st.integers(1, 4).map(lambda k: Exactly(4, k)), st.floats(0.05, 0.9).map(lambda e: Independent(4, e)))


def unit_rows(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_posterior(y, atoms, law, noise, mean, variance):
    """Each support's Gaussian, its covariance in full and the conditional mean by the textbook formula."""
    n, d = atoms.shape
    chances, means, seconds, actives = [], [], [], []
    for size, log_prior in law.sizes():
        for support in combinations(range(n), size):
            active = np.isin(np.arange(n), support).astype(float)
            covariance = variance * (atoms.T * active) @ atoms + noise * np.eye(d)
            centre = mean * active @ atoms
            chances.append(math.exp(log_prior) * multivariate_normal.pdf(y, centre, covariance))
            gain = variance * active[:, None] * atoms @ np.linalg.inv(covariance)
            estimate = mean * active + gain @ (y - centre)
            spread = variance * active - np.einsum("nd,nd->n", gain, variance * active[:, None] * atoms)
            means.append(estimate)
            seconds.append(spread + estimate**2)
            actives.append(active)
    p = np.array(chances)[:, None] / np.sum(chances)
    first, second = (p * means).sum(axis=0), (p * seconds).sum(axis=0)
    return (
        first,
        second - first**2,
        (p * actives).sum(axis=0),
        actives[int(p.argmax())],
        p.max(),
        math.log(sum(chances)),
    )


@settings(max_examples=60)
@given(seeds, laws, st.sampled_from([0.02, 0.3, 2.0]), st.sampled_from([(0.0, 1.0), (1.0, 0.0), (-0.7, 0.4)]))
def test_the_posterior_is_the_textbook_one(seed, law, noise, values):
    rng = np.random.default_rng(seed)
    atoms, y = rng.standard_normal((4, 3)), rng.standard_normal((1, 3))
    known = posterior(y, atoms, law, noise, mean=values[0], variance=values[1])
    expected = slow_posterior(y[0], atoms, law, noise, *values)
    fields = (known.mean, known.variance, known.active, known.support, known.support_probability, known.log_evidence)
    for found, value in zip(fields, expected, strict=True):
        np.testing.assert_allclose(found[0], value, rtol=1e-8, atol=1e-10)  # the slow one subtracts squares


@pytest.mark.parametrize(("slab", "mean", "variance"), [(Gaussian(), 0.0, 1.0), (One(), 1.0, 0.0)])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_with_orthonormal_atoms_entries_are_scalar_channels(slab, mean, variance, noise):
    rng, n, eps = np.random.default_rng(0), 5, 0.2
    prior = SpikeSlab(eps, slab)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    r = rng.standard_normal((50, n))
    known = posterior(r @ turn, turn, Independent(n, eps), noise, mean=mean, variance=variance)
    weight, estimate, spread = prior.posterior(r, noise)
    np.testing.assert_allclose(known.active, weight, atol=1e-12)
    np.testing.assert_allclose(known.mean, estimate, atol=1e-12)
    np.testing.assert_allclose(known.variance, spread, rtol=1e-9, atol=1e-24)  # rounding of the mean, squared
    found = oracle(turn, Independent(n, eps), noise, 4000, mean=mean, variance=variance, rng=rng)
    assert abs(found.mmse - n * float(prior.mmse(noise))) < 5 * found.mmse_error  # alpha = 6e-7
    assert abs(found.information - n * float(prior.mutual_information(noise))) < 5 * found.information_error


@given(seeds, st.integers(1, 6), st.floats(0.01, 1.0))
def test_a_dense_code_has_its_linear_estimate(seed, n, noise):
    rng = np.random.default_rng(seed)
    atoms, y = unit_rows(rng, n, 4), rng.standard_normal((3, 4))
    known = posterior(y, atoms, Exactly(n, n), noise)
    ridge = y @ atoms.T @ np.linalg.inv(atoms @ atoms.T + noise * np.eye(n))
    np.testing.assert_allclose(known.mean, ridge, atol=1e-9)
    np.testing.assert_array_equal(known.support, True)
    np.testing.assert_allclose(known.support_probability, 1.0)


def test_what_the_posterior_expects_is_what_happens():
    rng, n, d, k, noise, count = np.random.default_rng(1), 16, 8, 3, 0.01, 4000
    atoms, law = unit_rows(rng, n, d), Exactly(n, k)
    active = law.draw(count, rng)
    assert np.all(active.sum(axis=1) == k)
    codes = active * rng.standard_normal((count, n))
    known = posterior(codes @ atoms + 0.1 * rng.standard_normal((count, d)), atoms, law, noise)
    pairs = (
        (((codes - known.mean) ** 2).sum(axis=1), known.variance.sum(axis=1)),
        (np.all(active == known.support, axis=1), known.support_probability),
        (active[:, 0], known.active[:, 0]),
    )
    for happened, expected in pairs:
        difference = happened - expected
        assert abs(difference.mean()) < 5 * difference.std(ddof=1) / math.sqrt(count)  # alpha = 6e-7
    np.testing.assert_allclose(known.active.sum(axis=1), k, rtol=1e-9)


def test_nothing_beats_the_posterior_mean():
    rng, n, d, k, noise, count = np.random.default_rng(2), 16, 8, 2, 0.01, 3000
    atoms, law = unit_rows(rng, n, d), Exactly(n, k)
    codes = law.draw(count, rng) * rng.standard_normal((count, n))
    y = codes @ atoms + math.sqrt(noise) * rng.standard_normal((count, d))
    known = posterior(y, atoms, law, noise)
    best = ((codes - known.mean) ** 2).sum(axis=1)
    variance = k / n
    linear = variance * y @ np.linalg.inv(variance * atoms.T @ atoms + noise * np.eye(d)) @ atoms.T
    accused = {
        "omp": OrthogonalMatchingPursuit(k).encode(y, atoms).toarray(),
        "lasso": Lasso(0.1).encode(y, atoms).toarray(),
        "weak lasso": Lasso(0.02).encode(y, atoms).toarray(),
        "l0": np.where(known.support, known.mean, 0.0),
        "linear": linear,
        "scaled": 0.9 * known.mean,
    }
    for name, estimate in accused.items():
        worse = ((codes - estimate) ** 2).sum(axis=1) - best
        error = worse.std(ddof=1) / math.sqrt(count)
        assert worse.mean() > (4 if name == "l0" else 6) * error > 0, name  # here all are clearly worse
    assert best.mean() / n < linear_mse(variance, d / n, noise)
    right = {name: np.mean((estimate != 0) == (codes != 0), axis=1) == 1 for name, estimate in accused.items()}
    mine = np.all(known.support == (codes != 0), axis=1)
    assert all(mine.mean() > other.mean() - 6 * math.sqrt(0.5 / count) for other in right.values())


@settings(max_examples=30)
@given(seeds, st.floats(0.05, 0.9), st.floats(0.02, 2.0))
def test_the_slope_of_the_evidence_is_the_estimate(seed, eps, noise):
    # Tweedie: E(s | y) @ atoms = y + sigma2 d/dy ln p(y).
    rng, h = np.random.default_rng(seed), 1e-5
    atoms, y = rng.standard_normal((6, 3)), rng.standard_normal(3)
    steps = np.concatenate([np.eye(3), -np.eye(3)]) * h
    law = Independent(6, eps)
    evidence = posterior(y + steps, atoms, law, noise).log_evidence
    slope = (evidence[:3] - evidence[3:]) / (2 * h)
    estimate = posterior(y[None], atoms, law, noise).mean[0] @ atoms
    np.testing.assert_allclose(y + noise * slope, estimate, atol=1e-6)  # h^2 / noise^3 and rounding over h


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (1.0, 0.0)])
def test_information_grows_with_precision_at_half_the_error_of_the_clean_sample(mean, variance):
    # One measurement of four entries, so that y is integrated and nothing is drawn.
    atoms, law = np.array([[1.0], [0.7], [-0.5], [0.3]]), Independent(4, 0.3)
    y, step = np.linspace(-16, 16, 8001, retstep=True)

    def information(noise):
        evidence = posterior(y[:, None], atoms, law, noise, mean=mean, variance=variance).log_evidence
        return -step * (np.exp(evidence) * evidence).sum() - 0.5 * math.log(2 * math.pi * math.e * noise)

    noise, h = 0.2, 1e-3
    known = posterior(y[:, None], atoms, law, noise, mean=mean, variance=variance)
    density = step * np.exp(known.log_evidence)
    assert density.sum() == pytest.approx(1.0, abs=1e-12)
    second = 0.3 * (variance + mean**2) * (atoms**2).sum() + (0.3 * mean) ** 2 * (atoms.sum() ** 2 - (atoms**2).sum())
    error = second - (density * (known.mean @ atoms)[:, 0] ** 2).sum()
    slope = (information(noise * math.exp(-h)) - information(noise * math.exp(h))) / (2 * h / noise)
    assert slope == pytest.approx(error / 2, rel=1e-5)  # h^2


def test_small_noise_leaves_the_estimate_of_the_right_support():
    rng, n, d, k = np.random.default_rng(3), 14, 7, 3
    atoms, law = unit_rows(rng, n, d), Exactly(n, k)
    codes = law.draw(20, rng) * (1 + rng.random((20, n)))
    known = posterior(codes @ atoms, atoms, law, 1e-8)
    np.testing.assert_array_equal(known.support, codes != 0)
    np.testing.assert_allclose(known.mean, codes, atol=1e-6)  # the shrinkage of sigma2 times a condition number
    gram = [np.trace(np.linalg.inv(atoms[s] @ atoms[s].T)) for s in codes != 0]
    np.testing.assert_allclose(known.variance.sum(axis=1), 1e-8 * np.array(gram), rtol=1e-4)  # digits kept
    found, count = sparsest(codes @ atoms, atoms, k)
    np.testing.assert_allclose(found, codes, atol=1e-9)
    np.testing.assert_array_equal(count, 1)


def test_blocks_and_supports_do_not_change_the_answer():
    rng = np.random.default_rng(4)
    atoms, y = unit_rows(rng, 24, 8), rng.standard_normal((300, 8))
    whole = posterior(y, atoms, Exactly(24, 4), 0.1)  # 10,626 supports: 78 samples a block
    for row in (0, 77, 78, 299):
        one = posterior(y[row : row + 1], atoms, Exactly(24, 4), 0.1)
        np.testing.assert_allclose(whole.mean[row], one.mean[0], atol=1e-12)
        np.testing.assert_array_equal(whole.support[row], one.support[0])
    assert posterior(y[:0], atoms, Exactly(24, 2), 0.1).mean.shape == (0, 24)


def test_the_sparsest_code_is_counted():
    # 2 + 2 entries of the identity and the Hadamard basis in R^4 make one sample: spark 4.
    atoms = identity_hadamard(4)
    both = atoms[0] + atoms[1]
    found, count = sparsest(both[None], atoms, 2)
    assert count[0] >= 2
    np.testing.assert_allclose(found @ atoms, both[None], atol=1e-12)
    assert np.count_nonzero(found) == 2
    # Fewer than half the spark: unique.
    found, count = sparsest(2 * atoms[[5]], atoms, 3)
    assert count[0] == 1 and np.count_nonzero(found) == 1 and found[0, 5] == pytest.approx(2.0)
    # Without negative entries the simplex needs all but one of its atoms for the opposite of one of them.
    triangle = simplex(2)
    assert np.count_nonzero(sparsest(-triangle[:1], triangle, 2)[0]) == 1
    found, count = sparsest(-triangle[:1], triangle, 2, non_negative=True)
    np.testing.assert_allclose(found[0], [0.0, 1.0, 1.0], atol=1e-12)
    assert count[0] == 1
    # Nothing at all, and nothing that fits.
    rng = np.random.default_rng(5)
    found, count = sparsest(np.stack([np.zeros(5), rng.standard_normal(5)]), unit_rows(rng, 8, 5), 2)
    np.testing.assert_array_equal(found[0], 0.0)
    assert np.all(np.isnan(found[1])) and count.tolist() == [1, 0]


@pytest.mark.parametrize("call", [
    lambda: Exactly(5, 0), lambda: Exactly(5, 6), lambda: Exactly(64, 8), lambda: Independent(18, 0.1),
    lambda: Independent(4, 0.0), lambda: Independent(0, 0.5),
    lambda: posterior(np.ones((1, 3)), np.eye(3), Exactly(3, 1), 0.0),
    lambda: posterior(np.ones((1, 2)), np.eye(3), Exactly(3, 1), 0.1),
    lambda: posterior(np.ones(3), np.eye(3), Exactly(3, 1), 0.1),
    lambda: posterior(np.ones((1, 3)), np.eye(3), Exactly(4, 1), 0.1),
    lambda: posterior(np.full((1, 3), np.nan), np.eye(3), Exactly(3, 1), 0.1),
    lambda: posterior(np.ones((1, 3)), np.eye(3), Exactly(3, 1), 0.1, variance=0.0),
    lambda: posterior(np.ones((1, 3)), np.eye(3), Exactly(3, 1), 0.1, variance=-1.0),
    lambda: oracle(np.eye(3), Exactly(3, 1), 0.1, 1, rng=np.random.default_rng(0)),
    lambda: oracle(np.eye(3), Exactly(3, 1), 0.0, 10, rng=np.random.default_rng(0)),
    lambda: sparsest(np.ones((1, 3)), np.eye(3), 4), lambda: sparsest(np.ones((1, 2)), np.eye(3), 1),
    lambda: sparsest(np.ones((1, 40)), np.eye(40), 9),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
