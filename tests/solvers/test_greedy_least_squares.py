"""Non-negative least squares on few atoms, inside the greedy searches: against scipy, from any start, at size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.optimize import nnls
from slow_encoders import unit
from slow_greedy import error, exchange

from sparsesim.kernels.greedy import least_squares_, resume_
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.subspace import CoSaMP, SubspacePursuit


def room(size):
    """Return arrays for the atoms in use, and spare ones."""
    held = (np.empty(size, np.int64), np.empty((size, size)), np.empty(size))
    return held, (np.empty(size), np.empty(size), np.empty(size, np.bool_))


@njit
def resumed(g, b, held, work, solution):
    count = resume_(g, b, len(b), held, work, solution)
    return least_squares_(g, b, len(b), count, 1e-13, held, work, solution)


def solved(atoms, x, start):
    g, b, solution, (held, work) = atoms @ atoms.T, atoms @ x, start.copy(), room(len(atoms))
    count = resumed(g, b, held, work, solution)
    return solution, held[0][:count], held[1][:count, :count]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 14), st.integers(1, 14), st.sampled_from([0.0, 0.3, 1.0]))
def test_from_any_start_it_is_scipys_solution_with_the_factor_of_its_atoms(seed, d, size, filled):
    rng = np.random.default_rng(seed)
    atoms, x = unit(rng.standard_normal((size, d)) + 0.3), rng.standard_normal(d)
    start = np.where(rng.random(size) < filled, 3.0 * rng.random(size), 0.0)
    solution, used, factor = solved(atoms, x, start)
    assert solution.min(initial=0.0) >= 0 and np.array_equal(np.sort(used), np.flatnonzero(solution))
    expected, distance = nnls(atoms.T, x)
    assert error(x, atoms, solution) <= distance**2 + 1e-12  # of ||x|| about 1: unique in fit whatever the atoms
    slope = atoms @ (x - solution @ atoms)
    assert slope.max(initial=0.0) < 1e-9 and np.abs(slope[used]).max(initial=0.0) < 1e-9  # condition below 1e5
    upper = np.triu(factor)
    np.testing.assert_allclose(upper.T @ upper, (atoms @ atoms.T)[np.ix_(used, used)], atol=1e-11)
    if size <= d and np.linalg.cond(atoms) < 1e3:
        np.testing.assert_allclose(solution, expected, atol=1e-8)


def test_a_dependent_atom_that_looks_useful_bars_no_other():
    base = np.eye(4)[:3]
    near = unit(base[:1] + 1e-7 * base[1:2])  # of the span of the first to 1e-14, but of another slope
    atoms, x = np.concatenate([base[:1], near, base[2:]]), np.array([1.0, 0.5, 1e-9, 0.0])
    solution, _, _ = solved(atoms, x, np.zeros(3))
    assert solution[2] == pytest.approx(1e-9, abs=1e-15) and solution[1] * solution[0] == 0


def planted(seed, n, d, p, k):
    rng = np.random.default_rng(seed)
    atoms, codes = unit(rng.standard_normal((p, d))), np.zeros((n, p))
    for row in codes:
        row[rng.choice(p, k, replace=False)] = np.abs(rng.standard_normal(k))
    return codes @ atoms + 0.01 * rng.standard_normal((n, d)), atoms


@pytest.mark.parametrize(
    ("encoder", "extra", "project"), [(SubspacePursuit(16, True), 16, True), (CoSaMP(16, True), 32, False)]
)
def test_exchanges_of_many_atoms_are_those_of_scipys_least_squares(encoder, extra, project):
    x, atoms = planted(0, 3, 80, 140, 16)  # where no coefficient vanishes on the way: the twin forgets its atom
    for row, codes in zip(x, encoder.encode(x, atoms).toarray(), strict=True):
        expected = exchange(row, atoms, 16, extra, project, non_negative=True)
        np.testing.assert_allclose(codes, expected, atol=1e-9)


def test_a_hundred_and_sixty_non_negative_atoms_are_least_squares_on_their_support():
    x, atoms = planted(1, 1, 320, 640, 160)
    for encoder in (SubspacePursuit(160, True), CoSaMP(100, True), OrthogonalMatchingPursuit(160, True)):
        codes = encoder.encode(x, atoms)
        assert encoder.k < 160 or error(x[0], atoms, codes.toarray()[0]) < 1e-3 * float(x[0] @ x[0])
        slopes = ((x - codes @ atoms) @ atoms.T)[:, codes.indices]
        assert np.abs(slopes).max() < 1e-11 * np.linalg.norm(x) and codes.data.min() > 0
