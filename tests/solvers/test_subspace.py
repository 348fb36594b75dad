"""Subspace pursuit and CoSaMP against slow twins and recovery below the coherence bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_encoders import identity_hadamard, random_problem
from slow_greedy import error, exchange

from sparsesim.solvers.subspace import CoSaMP, SubspacePursuit


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(6, 14), st.integers(6, 30), st.integers(1, 3), st.booleans())
def test_both_are_their_slow_twins(seed, d, p, k, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 5, d, p, k)
    for kind, extra, project in ((SubspacePursuit, k, True), (CoSaMP, 2 * k, False)):
        codes = kind(k, non_negative=non_negative).encode(x, atoms).toarray()
        for row, code in zip(x, codes, strict=True):
            if min(extra + k, p) > d:
                continue  # more atoms than dimensions have no unique least squares
            expected = exchange(row, atoms, k, extra, project, non_negative)
            # as many as nine random atoms in as few dimensions: condition below 1e5 but for one draw in thousands
            np.testing.assert_allclose(error(row, atoms, code), error(row, atoms, expected), atol=1e-9 * (row @ row))
            assert np.array_equal(np.flatnonzero(code), np.flatnonzero(expected))


@pytest.mark.parametrize("encoder", [SubspacePursuit(3), CoSaMP(3)])
def test_sparse_samples_are_recovered_exactly(encoder):
    # identity and Hadamard in 64 dimensions have coherence 1/8: Gershgorin bounds restricted isometry by 11/8 at 4k
    # = 12, so that recovery is not guaranteed by theorem, but by the average over random supports
    atoms, rng = identity_hadamard(64), np.random.default_rng(0)
    truth = np.zeros((500, 128))
    for row in truth:
        row[rng.choice(128, 3, replace=False)] = rng.choice([-1, 1], 3) * rng.uniform(0.5, 2, 3)
    np.testing.assert_allclose(encoder.encode(truth @ atoms, atoms).toarray(), truth, atol=1e-12)


def test_on_orthonormal_atoms_both_keep_the_largest_entries():
    x = np.random.default_rng(1).standard_normal((50, 12))
    kept = np.argsort(-np.abs(x), axis=1)[:, :4]
    expected = np.zeros_like(x)
    np.put_along_axis(expected, kept, np.take_along_axis(x, kept, 1), 1)
    for encoder in (SubspacePursuit(4), CoSaMP(4)):
        np.testing.assert_allclose(encoder.encode(x, np.eye(12)).toarray(), expected, atol=1e-14)


def test_one_atom_is_the_best_atom_and_a_step_more_never_hurts():
    x, atoms = random_problem(np.random.default_rng(2), 80, 12, 40, 3)
    best = np.abs(x @ atoms.T).argmax(axis=1)
    for kind in (SubspacePursuit, CoSaMP):
        assert np.array_equal(kind(1).encode(x, atoms).indices, best)
        errors = [
            np.square(x - kind(3, max_iter=steps).encode(x, atoms) @ atoms).sum(axis=1) for steps in (1, 2, 3, 100)
        ]
        assert np.all(np.diff(errors, axis=0) <= 1e-12)
        assert np.any(errors[0] - errors[-1] > 1e-3)  # exchanges do happen
