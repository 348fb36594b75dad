"""Signed descent converges geometrically to a floor from a start near the truth, as its theory says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.alternating import SignedDescent, pairwise_start, sign_step
from sparsesim.solvers.base import Status
from sparsesim.solvers.thresholding import CorrelationThreshold


def world(seed, n, d, k):
    """Return orthonormal atoms and samples of k of them with coefficients of magnitude in [1, 2]."""
    rng = np.random.default_rng(seed)
    atoms = np.linalg.qr(rng.standard_normal((d, d)))[0]
    codes = np.zeros((n, d))
    for row in codes:
        row[rng.choice(d, k, replace=False)] = rng.choice([-1.0, 1.0], k) * rng.uniform(1, 2, k)
    return atoms, codes @ atoms


def near(atoms, distance, seed):
    step = unit_rows(np.random.default_rng(seed).standard_normal(atoms.shape))[0]
    return unit_rows(atoms + distance * step)[0]


def error(atoms, fitted):
    return np.linalg.norm(atoms - fitted.atoms, axis=1).max()


def test_the_step_is_the_sum_written_out():
    rng = np.random.default_rng(0)
    dense, residual = rng.standard_normal((9, 4)) * (rng.random((9, 4)) < 0.5), rng.standard_normal((9, 3))
    dense[:, 2] = 0
    step = sign_step(csr_array(dense), residual)
    for j in (0, 1, 3):
        expected = sum(np.sign(dense[i, j]) * residual[i] for i in range(9)) / np.abs(dense[:, j]).sum()
        np.testing.assert_allclose(step[j], expected, atol=1e-12)
    assert not step[2].any()


def test_the_error_falls_geometrically_from_a_start_near_the_truth():
    atoms, x = world(1, 2000, 16, 2)
    start = near(atoms, 0.4, 2)
    errors = [error(atoms, SignedDescent(16, CorrelationThreshold(0.5), t).fit_from(x, start)) for t in (1, 4, 8, 16)]
    assert errors[0] < 0.4
    assert errors[1] < 0.6 * errors[0] and errors[2] < 0.6 * errors[1]  # a rate of 1/2 a step halves it three times
    assert errors[3] < 0.02, errors  # the floor of order k / p times the error that companions still make


def test_pairs_of_samples_give_a_start_near_every_atom_and_the_fit_ends_at_the_truth():
    atoms, x = world(1, 3000, 16, 2)
    start = pairwise_start(x, 16, 400, np.random.default_rng(0))
    cosine = np.abs(atoms @ start.T)
    assert start.shape == (16, 16) and cosine.max(axis=1).min() > 0.9  # one for each; random directions reach 0.6
    solver = SignedDescent(16, CorrelationThreshold(0.5), iterations=40, pairs=400)
    fitted = solver.fit(x, rng=stream(0, Role.SOLVER))
    assert fitted.trace["started"] == (16.0,)
    assert np.abs(atoms @ fitted.atoms.T).max(axis=1).min() > 0.999
    plain = SignedDescent(16, CorrelationThreshold(0.5), iterations=40).fit(x, rng=stream(0, Role.SOLVER))
    assert np.abs(atoms @ plain.atoms.T).max(axis=1).min() < 0.9  # random samples are no start for this theory


def test_a_pair_is_judged_by_the_moment_written_out():
    _, x = world(2, 40, 4, 1)
    start = pairwise_start(x, 4, 1, np.random.default_rng(3))
    i, j = np.random.default_rng(3).integers(40, size=2)
    moment = sum((row @ x[i]) * (row @ x[j]) * np.outer(row, row) for row in x)
    values = np.sort(np.abs(np.linalg.eigvalsh(moment)))
    assert len(start) == (values[-2] < 0.5 * values[-1])
    for direction in start:
        np.testing.assert_allclose(np.abs(moment @ direction), np.abs(values[-1] * direction), atol=1e-9 * values[-1])


def test_the_truth_is_a_fixed_point():
    atoms, x = world(3, 500, 12, 2)
    fitted = SignedDescent(12, CorrelationThreshold(0.5)).fit_from(3 * x, atoms)
    assert fitted.status is Status.CONVERGED and len(fitted.trace["moved"]) == 1
    np.testing.assert_allclose(fitted.atoms, atoms, atol=1e-10)  # noiseless and orthonormal: the residual is rounding


def test_extreme_and_degenerate_samples_give_a_dictionary():
    rng = np.random.default_rng(0)
    for scale in (0.0, 1e-150, 1e150):
        x = scale * rng.standard_normal((20, 3))
        fitted = SignedDescent(4, CorrelationThreshold(0.5), 3, centre=True).fit(x, rng=stream(0, Role.SOLVER))
        assert np.isfinite(fitted.atoms).all() and fitted.status is not Status.DIVERGED


def test_codes_that_are_not_finite_are_a_status():
    class Broken:
        def encode(self, x, atoms):
            return csr_array(np.full((len(x), len(atoms)), np.nan))

    fitted = SignedDescent(4, Broken()).fit(np.eye(4), rng=stream(0, Role.SOLVER))
    assert fitted.status is Status.DIVERGED and np.isfinite(fitted.atoms).all()


def test_bad_configurations_and_starts_are_refused():
    encoder = CorrelationThreshold(0.5)
    for arguments in ({"width": 0}, {"iterations": 0}, {"rate": 0.0}, {"pairs": -1}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            SignedDescent(**({"width": 4, "encoder": encoder} | arguments))
    with pytest.raises(TypeError, match="encoder must have a method"):
        SignedDescent(4, 3)
    with pytest.raises(ValueError, match="width=4 rows"):
        SignedDescent(4, encoder).fit_from(np.eye(3), np.eye(3))
