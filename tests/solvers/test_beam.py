"""Beam pursuit against its slow twin, with its limits: orthogonal matching pursuit and exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_encoders import brute_force_l0, random_problem
from slow_greedy import beam, error

from sparsesim.solvers.beam import BeamPursuit
from sparsesim.solvers.pursuit import orthogonal_matching_pursuit


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.integers(5, 12),
    st.integers(5, 20),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
)
def test_it_is_the_slow_twin(seed, d, p, k, width, branch, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 5, d, p, 3)
    codes = BeamPursuit(k, width, branch, non_negative=non_negative).encode(x, atoms).toarray()
    for row, code in zip(x, codes, strict=True):
        expected = beam(row, atoms, k, width, branch, non_negative)
        # equal errors, not codes: with non-negative codes two supports may differ by an unused atom
        np.testing.assert_allclose(error(row, atoms, code), error(row, atoms, expected), atol=1e-9 * (row @ row))


@pytest.mark.parametrize("non_negative", [False, True])
def test_one_path_is_orthogonal_matching_pursuit(non_negative):
    x, atoms = random_problem(np.random.default_rng(0), 300, 16, 40, 4)
    ours = BeamPursuit(5, 1, non_negative=non_negative).encode(x, atoms)
    theirs = orthogonal_matching_pursuit(x, atoms, 5, non_negative=non_negative)
    assert np.array_equal(ours.indices, theirs.indices)
    np.testing.assert_allclose(ours.data, theirs.data, atol=1e-11)  # five atoms in sixteen dimensions, float64


def test_enough_paths_find_the_best_support_of_all():
    x, atoms = random_problem(np.random.default_rng(1), 30, 6, 10, 3, noise=0.3)
    codes = BeamPursuit(3, width=120, branch=10).encode(x, atoms)
    best = [brute_force_l0(row, atoms, 3) for row in x]
    np.testing.assert_allclose(np.square(x - codes @ atoms).sum(axis=1), best, atol=1e-12)


def test_more_paths_come_closer_on_average():
    x, atoms = random_problem(np.random.default_rng(2), 500, 12, 40, 4)
    errors = [
        np.square(x - BeamPursuit(4, width).encode(x, atoms) @ atoms).sum(axis=1).mean() for width in (1, 2, 4, 8)
    ]
    assert np.all(np.diff(errors) < 0)


def test_a_tolerance_ends_at_the_first_level_that_meets_it():
    x, atoms = random_problem(np.random.default_rng(3), 60, 12, 30, 2, noise=0.0)
    codes = BeamPursuit(8, 4, tolerance=1e-6).encode(x, atoms)
    assert np.diff(codes.indptr).max() <= 8
    met = np.linalg.norm(x - codes @ atoms, axis=1) <= 1e-6 * np.linalg.norm(x, axis=1)
    assert met.mean() > 0.9
    fewer = BeamPursuit(1, 4).encode(x, atoms)
    for row in np.flatnonzero(met & (np.diff(codes.indptr) == 2)):
        assert np.linalg.norm(x[row] - fewer.toarray()[row] @ atoms) > 1e-6 * np.linalg.norm(x[row])


@pytest.mark.parametrize(("field", "value"), [("width", 0), ("branch", 0), ("tolerance", -1.0)])
def test_bad_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        BeamPursuit(2, **{field: value})
