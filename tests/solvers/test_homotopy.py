"""The lasso's path and basis pursuit against the lasso, scikit-learn's LARS and linear programming."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.linear_model import lars_path
from slow_encoders import identity_hadamard, random_problem, simplex

from sparsesim.solvers import homotopy
from sparsesim.solvers.convex import Lasso, duality_gap
from sparsesim.solvers.homotopy import BasisPursuit, Homotopy, basis_pursuit_gap, lasso_path


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 25), st.floats(1e-4, 2.0), st.booleans())
def test_codes_on_the_path_are_certified_minima(seed, d, p, penalty, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 8, d, p, 3)
    codes, arrived = homotopy._end_of_paths(x, atoms, penalty, non_negative)
    # without ties the path needs no help: slopes of 1e-15 over penalties of 1e-4
    assert arrived.all() and duality_gap(x, atoms, codes, penalty, non_negative=non_negative).max() <= 1e-10


@pytest.mark.parametrize("non_negative", [False, True])
def test_ties_end_at_the_minimum_all_the_same(non_negative):
    rng = np.random.default_rng(0)
    a = np.concatenate([simplex(5), -simplex(5), simplex(5)])
    for atoms in (a, simplex(7), identity_hadamard(8), np.concatenate([np.eye(4), np.zeros((2, 4))])):
        x = np.concatenate([rng.standard_normal((20, atoms.shape[1])), atoms[:5], -2 * atoms[:3], 0 * atoms[:1]])
        for penalty in (0.9, 0.1, 1e-3):
            codes = Homotopy(penalty, non_negative).encode(x, atoms)
            assert duality_gap(x, atoms, codes, penalty, non_negative=non_negative).max() <= 1.1 * homotopy.SOLVED


@pytest.mark.parametrize("non_negative", [False, True])
def test_the_path_is_the_active_sets_lasso_at_every_penalty(non_negative):
    x, atoms = random_problem(np.random.default_rng(1), 5, 10, 20, 3)
    for row in x:
        path = lasso_path(row, atoms, non_negative=non_negative)
        assert path.complete and np.all(np.diff(path.penalties) < 0) and path.penalties[-1] == 0
        slopes = atoms @ row
        np.testing.assert_allclose(path.penalties[0], (slopes if non_negative else np.abs(slopes)).max(), rtol=1e-14)
        for penalty in np.concatenate([path.penalties[1:-1:3] * 1.01, path.penalties[:1] * [0.999, 0.5, 2.0]]):
            other = Lasso(penalty, non_negative, tolerance=1e-13).encode(row[None], atoms).toarray()[0]
            np.testing.assert_allclose(path.at(penalty), other, atol=1e-9)  # both exact to rounding


def test_breakpoints_are_scikit_learns():
    x, atoms = random_problem(np.random.default_rng(2), 5, 12, 8, 3)  # fewer atoms than d, where theirs is stable
    for row in x:
        penalties, _, codes = lars_path(atoms.T, row, method="lasso")
        ours = lasso_path(row, atoms)
        np.testing.assert_allclose(ours.penalties, penalties * 12, atol=1e-9)  # theirs divides by d
        np.testing.assert_allclose(ours.codes.toarray(), codes.T, atol=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 16))
def test_basis_pursuit_is_the_linear_programme(seed, d, p):
    rng = np.random.default_rng(seed)
    x, atoms = random_problem(rng, 3, d, p, 2)
    x = rng.standard_normal((3, len(atoms))) @ atoms  # in the span
    codes = BasisPursuit().encode(x, atoms)
    gap, error = basis_pursuit_gap(x, atoms, codes)
    assert gap.max() <= 1e-5 and error.max() <= 1e-8  # the dual point is of penalty 1e-6; conditions up to 1e7
    for row, code in zip(x, codes.toarray(), strict=True):
        best = linprog(np.ones(2 * p), A_eq=np.concatenate([atoms, -atoms]).T, b_eq=row)
        if best.status == 0:  # its presolve calls some feasible programmes of rank below d infeasible
            assert np.abs(code).sum() <= best.fun * (1 + 1e-6) + 1e-9  # its feasibility tolerance is 1e-7


def test_basis_pursuit_finds_the_sparsest_code_below_the_coherence_bound():
    rng, atoms = np.random.default_rng(3), identity_hadamard(64)  # coherence 1/8: unique for k < (1 + 8) / 2
    codes = np.zeros((40, 128))
    for row in codes:
        row[rng.choice(128, 4, replace=False)] = rng.standard_normal(4)
    np.testing.assert_allclose(BasisPursuit().encode(codes @ atoms, atoms).toarray(), codes, atol=1e-9)  # rounding


def test_the_certificate_tells_longer_codes_of_the_same_fit():
    x, atoms = random_problem(np.random.default_rng(4), 20, 6, 15, 2)
    codes = BasisPursuit().encode(x, atoms)
    assert basis_pursuit_gap(x, atoms, codes)[0].max() <= 1e-5
    kernel = np.linalg.svd(atoms.T)[2][6:]
    longer = codes.toarray() + 0.1 * kernel[0]
    excess = 1 - np.abs(codes).sum(axis=1) / np.abs(longer).sum(axis=1)
    gap, error = basis_pursuit_gap(x, atoms, type(codes)(longer))
    assert np.all(gap >= excess - 1e-12) and np.all(excess > 1e-3) and error.max() <= 1e-12


@pytest.mark.parametrize("encoder", [Homotopy(0.1), BasisPursuit()], ids=lambda encoder: type(encoder).__name__)
def test_rows_do_not_depend_on_each_other_nor_on_the_gram_matrix(encoder, monkeypatch):
    x, atoms = random_problem(np.random.default_rng(5), 20, 8, 17, 3)
    x[4] = 0
    whole = encoder.encode(x, atoms).toarray()
    alone = np.concatenate([encoder.encode(x[i : i + 1], atoms).toarray() for i in range(20)])
    assert np.array_equal(whole, alone) and not whole[4].any()
    assert encoder.encode(x[:0], atoms).shape == (0, 17)
    assert encoder.encode(x.astype(np.float32), atoms.astype(np.float32)).dtype == np.float32
    monkeypatch.setattr(homotopy, "STORED_GRAM", 0)
    monkeypatch.setattr(homotopy, "BLOCK_ENTRIES", 40)
    np.testing.assert_allclose(encoder.encode(x, atoms).toarray(), whole, atol=1e-9)  # other sums of the same terms


def test_a_path_that_is_cut_short_says_so():
    x, atoms = random_problem(np.random.default_rng(6), 1, 10, 20, 3)
    path = lasso_path(x[0], atoms, max_breakpoints=3)
    assert not path.complete and len(path.penalties) <= 3
    with pytest.raises(ValueError, match="penalty"):
        path.at(path.penalties[-1] / 2)
    with pytest.raises(ValueError, match="one sample"):
        lasso_path(x, atoms)
