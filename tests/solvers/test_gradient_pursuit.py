"""Gradient pursuit against its slow twin and against matching pursuit where the two are one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from slow_encoders import random_problem
from slow_greedy import gradient_pursuit

from sparsesim.solvers.gradient_pursuit import GradientPursuit
from sparsesim.solvers.pursuit import MatchingPursuit, orthogonal_matching_pursuit


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 30), st.integers(1, 8), st.booleans())
def test_it_is_the_slow_twin_and_loses_energy_at_each_selection(seed, d, p, k, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 6, d, p, 3)
    codes = GradientPursuit(k, non_negative=non_negative).encode(x, atoms).toarray()
    assert not non_negative or codes.min() >= 0
    for row, code in zip(x, codes, strict=True):
        expected, energies = gradient_pursuit(row, atoms, k, non_negative)
        assert np.all(np.diff(energies) <= 1e-15 * energies[0])
        np.testing.assert_allclose(code, expected, atol=1e-9 * np.linalg.norm(row))


def test_with_one_atom_it_is_matching_pursuit():
    x, atoms = random_problem(np.random.default_rng(0), 100, 8, 20, 3)
    ours, theirs = GradientPursuit(1).encode(x, atoms), MatchingPursuit(1).encode(x, atoms)
    assert np.array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.data, theirs.data, atol=1e-13)


def test_on_orthonormal_atoms_every_greedy_pursuit_is_the_same():
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((9, 9)))[0]
    x = np.random.default_rng(2).standard_normal((50, 9))
    ours = GradientPursuit(4).encode(x, basis).toarray()
    np.testing.assert_allclose(ours, orthogonal_matching_pursuit(x, basis, 4).toarray(), atol=1e-13)


def test_it_comes_closer_than_matching_pursuit_and_not_as_close_as_the_orthogonal_one():
    x, atoms = random_problem(np.random.default_rng(3), 400, 16, 40, 4)
    error = {
        name: np.square(x - codes @ atoms).sum(axis=1).mean()
        for name, codes in {
            "gradient": GradientPursuit(6).encode(x, atoms),
            "plain": MatchingPursuit(6).encode(x, atoms),
            "orthogonal": orthogonal_matching_pursuit(x, atoms, 6),
        }.items()
    }
    assert error["orthogonal"] < error["gradient"] < error["plain"]


def test_many_non_negative_selections_approach_non_negative_least_squares():
    x, atoms = random_problem(np.random.default_rng(5), 20, 12, 6, 3)
    codes = GradientPursuit(3000, non_negative=True).encode(x, atoms).toarray()
    expected = np.array([nnls(atoms.T, row)[0] for row in x])
    assert np.mean(expected == 0) > 0.2  # the bounds matter
    np.testing.assert_allclose(codes, expected, atol=1e-8)


def test_many_selections_approach_least_squares_on_all_atoms():
    x, atoms = random_problem(np.random.default_rng(4), 20, 12, 5, 3)
    codes = GradientPursuit(3000).encode(x, atoms).toarray()
    # five random atoms in twelve dimensions: steepest descent gains a constant factor a step, here below 0.9
    np.testing.assert_allclose(codes, x @ np.linalg.pinv(atoms), atol=1e-10)
