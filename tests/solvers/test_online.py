"""Learners from mini-batches: exact updates, planted dictionaries, replacement of atoms that do nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.kernels.statistics import add_moments_, recurse_, sweep_atoms_
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.solvers.recursive import Recursion, RecursiveLeastSquares

LEARNERS = [OnlineDictionaryLearning, RecursiveLeastSquares]


def sparse_codes(rng, n, p, rate=0.4):
    return csr_array(rng.standard_normal((n, p)) * (rng.random((n, p)) < rate))


def planted(seed, n, d, m, k, noise):
    rng = np.random.default_rng(seed)
    atoms = unit_rows(rng.standard_normal((m, d)))[0]
    codes = np.zeros((n, m))
    for row in codes:
        row[rng.choice(m, k, replace=False)] = rng.standard_normal(k)
    x = codes @ atoms
    return atoms, x + noise * x.std() * rng.standard_normal(x.shape)


sizes = st.tuples(st.integers(1, 12), st.integers(1, 6), st.integers(1, 7), st.integers(0, 10**6))


@settings(max_examples=40)
@given(sizes)
def test_moments_are_those_of_the_dense_product(case):
    n, d, p, seed = case
    rng = np.random.default_rng(seed)
    codes, x = sparse_codes(rng, n, p), rng.standard_normal((n, d))
    gram, cross = np.ones((p, p)), np.ones((p, d))
    add_moments_(codes.indptr, codes.indices, codes.data, x, gram, cross)
    dense = codes.toarray()
    np.testing.assert_allclose(gram, 1 + dense.T @ dense, atol=1e-12)  # sums of at most 12 numbers of order 1
    np.testing.assert_allclose(cross, 1 + dense.T @ x, atol=1e-12)


def surrogate(gram, cross, atoms):
    return np.einsum("ij,ik,jk->", gram, atoms, atoms) / 2 - np.sum(atoms * cross)


@settings(max_examples=40)
@given(sizes)
def test_a_sweep_is_the_slow_sweep_and_never_raises_the_surrogate(case):
    n, d, p, seed = case
    rng = np.random.default_rng(seed)
    dense, x = sparse_codes(rng, n, p).toarray(), rng.standard_normal((n, d))
    gram, cross = dense.T @ dense, dense.T @ x
    atoms = unit_rows(rng.standard_normal((p, d)))[0]
    swept, slow = atoms.copy(), atoms.copy()
    sweep_atoms_(gram, cross, swept)
    for j in range(p):
        target = cross[j] - gram[j] @ slow + gram[j, j] * slow[j]
        if gram[j, j] > 0 and np.linalg.norm(target) > 0:
            slow[j] = target / np.linalg.norm(target)
    assert surrogate(gram, cross, swept) <= surrogate(gram, cross, atoms) + 1e-12 * (1 + np.abs(cross).sum())
    if p == 1 or np.linalg.cond(gram + np.eye(p)) < 1e3:  # a target that nearly cancels has no direction to compare
        left = [np.linalg.norm(cross[j] - gram[j] @ slow + gram[j, j] * slow[j]) for j in range(p)]
        if min(left) > 1e-6:
            np.testing.assert_allclose(swept, slow, atol=1e-8)
    assert np.allclose(np.linalg.norm(swept, axis=1), 1, atol=1e-12)


@settings(max_examples=40)
@given(sizes)
def test_the_recursion_is_the_weighted_least_squares_dictionary(case):
    n, d, p, seed = case
    rng = np.random.default_rng(seed)
    codes, x = sparse_codes(rng, n, p), rng.standard_normal((n, d))
    factors = rng.uniform(0.9, 1.0, n)
    start = rng.standard_normal((p, d))
    inverse, atoms = np.eye(p), start.copy()
    recurse_(codes.indptr, codes.indices, codes.data, x, factors, inverse, 1e6, atoms)
    weights = np.append(np.cumprod(factors[::-1])[::-1][1:], 1.0)  # a sample shrinks with each that comes after
    dense, first = codes.toarray(), np.prod(factors)
    gram = (dense * weights[:, None]).T @ dense + first * np.eye(p)
    expected = np.linalg.solve(gram, (dense * weights[:, None]).T @ x + first * start)
    np.testing.assert_allclose(atoms, expected, atol=1e-9)  # the prior keeps the condition number below 1e3
    np.testing.assert_allclose(inverse, np.linalg.inv(gram), atol=1e-9)
    assert np.array_equal(inverse, inverse.T)


def test_an_atom_that_is_not_used_is_forgotten_rather_than_overflowing():
    inverse, atoms = np.eye(2), np.eye(2)
    codes = csr_array(np.tile([1.0, 0.0], (5000, 1)))
    recurse_(
        codes.indptr, codes.indices, codes.data, np.tile([1.0, 0], (5000, 1)), np.full(5000, 0.9), inverse, 1e6, atoms
    )
    assert np.isfinite(inverse).all() and 1 <= inverse[1, 1] <= 1e6  # 0.9 ** -5000 would be 1e229
    np.testing.assert_allclose(atoms, np.eye(2), atol=1e-12)


def test_rescaling_atoms_and_codes_leaves_the_recursion_consistent():
    # Two batches through the memory are one weighted least squares problem in which the codes of the first batch are
    # scaled by the norms that the atoms had after it.
    rng = np.random.default_rng(3)
    first, second = sparse_codes(rng, 30, 4), sparse_codes(rng, 30, 4)
    x, y = rng.standard_normal((30, 5)), rng.standard_normal((30, 5))
    start = unit_rows(rng.standard_normal((4, 5)))[0]
    memory = Recursion(4, 1.0, 1.0)
    atoms = memory.absorb(y, second, memory.absorb(x, first, start))
    dense = first.toarray()
    middle = np.linalg.solve(dense.T @ dense + np.eye(4), dense.T @ x + start)
    norms = np.linalg.norm(middle, axis=1)
    scaled, after = dense * norms, second.toarray()
    gram = scaled.T @ scaled + np.diag(norms**2) + after.T @ after
    moment = scaled.T @ x + norms[:, None] * start + after.T @ y
    np.testing.assert_allclose(atoms, unit_rows(np.linalg.solve(gram, moment))[0], atol=1e-9)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_planted_dictionary_is_recovered_in_few_passes(learner):
    scores = []
    for seed in range(3):
        atoms, x = planted(seed, 4000, 16, 24, 2, 0.1)
        fitted = learner(24, OrthogonalMatchingPursuit(2), passes=6, batch_size=128).fit(
            x, rng=stream(seed, Role.SOLVER)
        )
        scores.append(match_rows(np.abs(cosines(atoms, fitted.atoms))).similarity.mean())
    # 0.92 to 0.97 measured: the fits end in local optima that miss one or two of 24 atoms; random atoms get 0.53
    assert min(scores) > 0.9 and np.median(scores) > 0.95, scores


@pytest.mark.slow
def test_the_published_comparison_is_solved_within_two_passes():
    # n = 50,000, d = 64, m = p = 128, k = 4, 20 dB
    for seed in range(2):
        atoms, x = planted(seed, 50_000, 64, 128, 4, 0.1)
        fitted = OnlineDictionaryLearning(128, OrthogonalMatchingPursuit(4), passes=2).fit(
            x, rng=stream(seed, Role.SOLVER)
        )
        assert match_rows(np.abs(cosines(atoms, fitted.atoms))).similarity.mean() > 0.98


@pytest.mark.parametrize("learner", LEARNERS)
def test_unused_atoms_are_replaced_and_reported(learner):
    _, x = planted(1, 3000, 8, 8, 1, 0.05)
    x[: len(x) // 2] = x[0]  # half of the random samples to start from are one direction: duplicates
    solver = learner(12, OrthogonalMatchingPursuit(1), passes=4, batch_size=64)
    fitted = solver.fit(x, rng=stream(0, Role.SOLVER))
    assert sum(fitted.trace["replaced"]) > 0
    assert len(fitted.trace["replaced"]) == len(fitted.trace["fvu"]) <= 4


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_settled_fit_says_converged_and_codes_that_are_not_finite_say_diverged(learner):
    _, x = planted(2, 2000, 8, 8, 1, 0.1)
    solver = learner(4, OrthogonalMatchingPursuit(1), passes=100, batch_size=64, tolerance=0.02, min_use=0.0)
    fitted = solver.fit(x, rng=stream(0, Role.SOLVER))
    assert fitted.status is Status.CONVERGED and len(fitted.trace["fvu"]) < 100

    class Broken:
        def encode(self, x, atoms):
            return csr_array(np.full((len(x), len(atoms)), np.nan))

    broken = learner(4, Broken()).fit(x, rng=stream(0, Role.SOLVER))
    assert broken.status is Status.DIVERGED and np.isfinite(broken.atoms).all()


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("scale", [0.0, 1e-150, 1.0, 1e150])
def test_degenerate_and_extreme_samples_give_a_dictionary(learner, scale):
    rng = np.random.default_rng(0)
    for x in (rng.standard_normal((40, 3)), np.ones((1, 3)), np.full((20, 1), 2.0), np.eye(3)):
        fitted = learner(4, MatchingPursuit(2), passes=2, batch_size=4, centre=True).fit(
            scale * x, rng=stream(0, Role.SOLVER)
        )
        assert np.isfinite(fitted.atoms).all() and fitted.status is not Status.DIVERGED
        assert np.isfinite(fitted.encode(scale * x).data).all()


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_scale_of_the_samples_does_not_change_the_atoms(learner):
    _, x = planted(4, 600, 8, 8, 2, 0.1)
    solver = learner(8, OrthogonalMatchingPursuit(2), passes=2, batch_size=50)
    fits = [solver.fit(c * x, rng=stream(0, Role.SOLVER)).atoms for c in (1.0, 2.0**300)]
    assert np.array_equal(*fits)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "width"),
        ({"passes": 0}, ValueError, "passes"),
        ({"batch_size": 2.0}, TypeError, "batch_size"),
        ({"min_use": 2.0}, ValueError, "min_use"),
        ({"forgetting": -1.0}, ValueError, "forgetting"),
        ({"encoder": 3}, TypeError, "encoder must have a method"),
    ],
)
@pytest.mark.parametrize("learner", LEARNERS)
def test_bad_configurations_are_refused(learner, arguments, error, message):
    with pytest.raises(error, match=message):
        learner(**({"width": 4, "encoder": OrthogonalMatchingPursuit(1)} | arguments))
