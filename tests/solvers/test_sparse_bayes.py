"""Sparse Bayesian learning against expectation maximisation written out, its own cost, and limits in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from slow_encoders import random_problem, unit

from sparsesim.kernels.sparse_bayes import alternate_, leading_pair_
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.sparse_bayes import KroneckerSparseBayes, SparseBayesianLearning


def slow_em(x, atoms, noise, steps, learn, shape=None, update=None):
    """Return code, noise variance and -ln p(x) after ``steps`` of expectation maximisation, by inverses."""
    p, d = atoms.shape
    gamma = np.full(p, x @ x / p)
    rows = columns = None
    if shape:
        rows, columns = np.full(shape[0], np.sqrt(x @ x / p)), np.full(shape[1], np.sqrt(x @ x / p))
    for _ in range(steps):
        inverse = np.linalg.inv(noise * np.eye(d) + atoms.T @ np.diag(gamma) @ atoms)
        mean = gamma * (atoms @ inverse @ x)
        spread = gamma - gamma**2 * np.einsum("pd,de,pe->p", atoms, inverse, atoms)
        if learn:
            noise = (np.square(x - mean @ atoms).sum() + noise * (1 - spread / gamma).sum()) / d
        gamma = mean**2 + spread
        if update == "alternating":
            second = gamma.reshape(shape)
            for _ in range(8):
                rows = (second / columns).mean(axis=1)
                columns = (second / rows[:, None]).mean(axis=0)
            gamma = np.outer(rows, columns).ravel()
        elif update == "singular":
            left, size, right = np.linalg.svd(gamma.reshape(shape))
            gamma = (size[0] * np.outer(left[:, 0], right[0])).ravel()
    cover = noise * np.eye(d) + atoms.T @ np.diag(gamma) @ atoms
    return gamma * (atoms @ np.linalg.solve(cover, x)), noise, -multivariate_normal.logpdf(x, np.zeros(d), cover)


@settings(max_examples=15)
@given(
    st.integers(0, 2**32),
    st.sampled_from([(6, 4), (4, 9), (7, 7)]),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from([0.1, 0.5]),
)
def test_it_is_expectation_maximisation_whether_atoms_are_few_or_many(seed, shape, steps, learn, noise):
    d, p = shape
    x, atoms = random_problem(np.random.default_rng(seed), 2, d, p, 2, noise=noise)
    encoder = SparseBayesianLearning(None if learn else noise**2, prune=0.0, tolerance=0.0, max_iter=steps)
    found = encoder.learned(x, atoms)
    for i, row in enumerate(x):
        first = 0.01 * (row @ row) / d if learn else noise**2
        code, level, cost = slow_em(row, atoms, first, steps, learn)
        # d = 4 leaves condition up to 1e4; learned noise may shrink by another 1e4 over the steps
        np.testing.assert_allclose(found.codes.toarray()[i], code, atol=1e-7 * np.abs(row).max())
        np.testing.assert_allclose(found.noise_variance[i], level, rtol=1e-6)
        np.testing.assert_allclose(found.cost[i], cost, atol=1e-6)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("prune", [0.0, 1e-4])
def test_the_evidence_never_falls(learn, prune):
    x, atoms = random_problem(np.random.default_rng(1), 6, 15, 30, 3, noise=0.05)
    cost = np.array(
        [
            SparseBayesianLearning(None if learn else 0.0025, prune=prune, tolerance=0.0, max_iter=steps)
            .learned(x, atoms)
            .cost
            for steps in range(1, 40)
        ]
    )
    assert np.all(np.diff(cost, axis=0) < 1e-9 * np.abs(cost).max())
    assert np.all(cost[0] - cost[-1] > 1.0)


def test_for_orthonormal_atoms_variances_have_their_closed_form():
    rng = np.random.default_rng(2)
    atoms = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    x = rng.standard_normal((20, 8))
    inner = x @ atoms.T
    noise = 0.5
    gamma = np.maximum(inner**2 - noise, 0.0)  # the maximum of the likelihood of N(0, gamma + noise)
    expected = gamma / (gamma + noise) * inner
    found = SparseBayesianLearning(noise, prune=0.01, tolerance=1e-12, max_iter=100_000).learned(x, atoms)
    # where x^2 is near the noise, convergence is like 1/t: 1e5 steps leave 1e-4
    np.testing.assert_allclose(found.codes.toarray(), expected, atol=2e-3)
    assert found.codes.nnz < 1.3 * np.count_nonzero(expected)


def test_it_reaches_the_error_of_the_sheet():
    rng = np.random.default_rng(3)
    atoms = unit(rng.standard_normal((100, 60)))
    codes = np.zeros((40, 100))
    for row in codes:
        row[rng.choice(100, 8, replace=False)] = rng.standard_normal(8)
    noise = unit(rng.standard_normal((40, 60))) * 0.01 * np.linalg.norm(codes @ atoms, axis=1)[:, None]
    x = codes @ atoms + noise

    def error(encoder):
        return np.linalg.norm(encoder.encode(x, atoms).toarray() - codes, axis=1) / np.linalg.norm(codes, axis=1)

    plain, pruned = error(SparseBayesianLearning(prune=0.0)), error(SparseBayesianLearning())
    assert abs(plain.mean() - 0.0144) < 0.006  # one draw at another size of step; .0174 measured
    assert pruned.mean() < 0.006  # least squares on the true support has .004
    assert np.diff(SparseBayesianLearning().encode(x, atoms).indptr).mean() < 10


def test_half_steps_lower_the_objective_and_singular_pairs_are_numpys():
    rng = np.random.default_rng(4)
    second = rng.exponential(size=(5, 7))
    second[2] *= 1e-3

    def objective(rows, columns):
        product = np.outer(rows, columns)
        return (np.log(product) + second / product).sum()

    rows, columns = rng.exponential(size=5), rng.exponential(size=7)
    last = objective(rows, columns)
    for _ in range(6):
        alternate_(second, rows, columns, 1)
        now = objective(rows, columns)
        half = objective((second / columns).mean(axis=1), columns)
        assert now <= last + 1e-12
        assert half <= now + 1e-12
        last = now
    leading_pair_(second, rows, columns)
    left, size, right = np.linalg.svd(second)
    np.testing.assert_allclose(np.outer(rows, columns), size[0] * np.outer(left[:, 0], right[0]), atol=1e-10)


@pytest.mark.parametrize("update", ["alternating", "singular"])
@pytest.mark.parametrize("d", [6, 15])
def test_the_kronecker_form_is_expectation_maximisation(update, d):
    x, atoms = random_problem(np.random.default_rng(5), 3, d, 12, 3, noise=0.2)
    for steps in (1, 7):
        encoder = KroneckerSparseBayes(3, 4, 0.04, update, prune=0.0, tolerance=0.0, max_iter=steps)
        found = encoder.learned(x, atoms)
        for i, row in enumerate(x):
            code, _, cost = slow_em(row, atoms, 0.04, steps, False, (3, 4), update)
            np.testing.assert_allclose(found.codes.toarray()[i], code, atol=1e-8)
            np.testing.assert_allclose(found.cost[i], cost, atol=1e-8)


def kronecker_world(rng, n, d1, d2, p1, p2, k):
    left, right = unit(rng.standard_normal((p1, d1))), unit(rng.standard_normal((p2, d2)))
    atoms, codes = np.kron(left, right), np.zeros((n, p1, p2))
    for code in codes:
        chosen = np.ix_(rng.choice(p1, k, replace=False), rng.choice(p2, k, replace=False))
        code[chosen] = rng.standard_normal((k, k))
    codes = codes.reshape(n, -1)
    return codes @ atoms + 0.02 * rng.standard_normal((n, d1 * d2)), atoms, codes


def test_variances_that_factor_pay_where_supports_do_and_samples_are_short():
    x, atoms, codes = kronecker_world(np.random.default_rng(6), 30, 5, 6, 10, 12, 3)

    def error(encoder):
        return np.square(encoder.encode(x, atoms).toarray() - codes).sum(axis=1)

    plain = error(SparseBayesianLearning(0.0004))
    gain = plain - error(KroneckerSparseBayes(10, 12, 0.0004))
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(x))


def test_the_kronecker_evidence_never_falls_under_alternation():
    x, atoms, _ = kronecker_world(np.random.default_rng(7), 4, 3, 4, 5, 6, 2)
    cost = np.array(
        [
            KroneckerSparseBayes(5, 6, prune=0.0, tolerance=0.0, max_iter=steps).learned(x, atoms).cost
            for steps in range(1, 30)
        ]
    )
    assert np.all(np.diff(cost, axis=0) < 1e-9 * np.abs(cost).max())


@pytest.mark.parametrize(
    "encoder", [SparseBayesianLearning(), KroneckerSparseBayes(3, 4)], ids=lambda e: type(e).__name__
)
def test_codes_move_with_the_symmetries_and_rows_are_coded_alone(encoder):
    rng = np.random.default_rng(8)
    x, atoms = random_problem(rng, 12, 8, 12, 2, noise=0.1)
    fitted = FittedDictionary(atoms, np.zeros(8), encoder, Status.CONVERGED)
    codes = fitted.encode(x).toarray()
    assert np.array_equal(np.vstack([fitted.encode(row[None]).toarray() for row in x]), codes)
    assert np.array_equal(fitted.encode(np.asfortranarray(x)).toarray(), codes)
    turn, sign = np.linalg.qr(rng.standard_normal((8, 8)))[0], rng.choice([-1.0, 1.0], 12)
    moved = encoder.encode(x @ turn, sign[:, None] * atoms @ turn).toarray()
    # rounding of the rotation, times the condition of C that learned noise leaves (up to 1e6)
    np.testing.assert_allclose(moved, codes * sign, atol=1e-7)
    for scale in (1e150, 1e-150, 3.0):
        np.testing.assert_allclose(fitted.encode(scale * x).toarray() / scale, codes, atol=1e-7)
    for kind in (np.float32, np.float16):
        found = fitted.encode(x.astype(kind))
        assert found.dtype == np.float32
        assert np.isfinite(found.data).all()


def test_atoms_may_be_swapped_copied_and_dead_and_rows_zero():
    rng = np.random.default_rng(9)
    x, atoms = random_problem(rng, 6, 8, 10, 2, noise=0.1)
    order = rng.permutation(10)
    codes = SparseBayesianLearning(0.01).encode(x, atoms).toarray()
    np.testing.assert_allclose(
        SparseBayesianLearning(0.01).encode(x, atoms[order]).toarray(), codes[:, order], atol=1e-8
    )
    odd = np.vstack([atoms, atoms[:2], np.zeros((2, 8))])
    for encoder in (
        SparseBayesianLearning(),
        KroneckerSparseBayes(7, 2),
        KroneckerSparseBayes(2, 7, update="singular"),
    ):
        found = encoder.learned(np.vstack([x, np.zeros((1, 8))]), odd)
        dense = found.codes.toarray()
        assert np.isfinite(dense).all()
        assert np.all(dense[6] == 0)
        assert np.all(dense[:, 12:] == 0)
    copies = SparseBayesianLearning(0.01).encode(x, odd).toarray()
    np.testing.assert_allclose(copies[:, 0], copies[:, 10], atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseBayesianLearning(0.0), "noise_variance"),
        (lambda: SparseBayesianLearning(prune=2.0), "prune"),
        (lambda: KroneckerSparseBayes(3, 4, update="both"), "update must be"),
        (lambda: KroneckerSparseBayes(3, 4).encode(np.ones((1, 2)), np.eye(2)), "rows \\* columns must be p=2"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dependent_atoms_without_noise_are_fitted_to_what_is_resolved():
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((14, 8))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    atoms[3], atoms[6] = atoms[1], 0.0
    x = ((rng.random((30, 14)) < 0.15) * rng.standard_normal((30, 14))) @ atoms
    encoders = [SparseBayesianLearning(1e-30, max_iter=200), KroneckerSparseBayes(2, 7, 1e-300, max_iter=50)]
    for encoder in encoders:
        found = encoder.learned(x, atoms)
        assert np.isfinite(found.cost).all()
        np.testing.assert_allclose(found.noise_variance, 1e-12 * np.square(np.abs(x).max(1) + (x == 0).all(1)))
        assert np.isfinite(found.codes.toarray()).all()
        silent = ~x.any(axis=1)
        np.testing.assert_allclose(found.cost[silent], 4 * np.log(2 * np.pi * 1e-12))  # d / 2 = 4
    left = x - encoders[0].encode(x, atoms) @ atoms
    assert np.abs(left).max() < 1e-9  # noise of 1e-12, and 41 steps of variances that fall like one over the steps
    learned = SparseBayesianLearning(None, max_iter=3000, tolerance=0.0).learned(x, atoms)
    assert np.isfinite(learned.codes.toarray()).all() and np.isfinite(learned.cost).all()
