"""The genie against numpy's least squares, row by row."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsesim.solvers import least_squares
from sparsesim.solvers.least_squares import SupportLeastSquares, least_squares_on_support


def problem(seed, n, d, p, rank_deficient):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((p, d))
    if rank_deficient and p > 2:
        atoms[1], atoms[2] = atoms[0], 0
    mask = rng.random((n, p)) < rng.random((n, 1))
    return rng.standard_normal((n, d)), atoms, csr_array(mask.astype(float))


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 8), st.integers(1, 10), st.booleans())
def test_each_row_is_the_least_norm_solution_on_its_support(seed, n, d, p, rank_deficient):
    x, atoms, support = problem(seed, n, d, p, rank_deficient)
    codes = least_squares_on_support(x, atoms, support)
    assert np.array_equal(codes.indices, support.indices) and np.array_equal(codes.indptr, support.indptr)
    for row in range(n):
        chosen = support.indices[support.indptr[row] : support.indptr[row + 1]]
        expected = np.linalg.lstsq(atoms[chosen].T, x[row], rcond=None)[0]
        singular = np.linalg.svd(atoms[chosen], compute_uv=False)
        singular = singular[singular > 1e-12]
        if len(singular) and singular.max() / singular.min() < 1e4:
            # rounding times the condition number
            np.testing.assert_allclose(codes.toarray()[row, chosen], expected, atol=1e-10, rtol=1e-10)


def test_it_is_exact_where_the_support_is_true():
    rng = np.random.default_rng(0)
    _, atoms, support = problem(1, 200, 16, 40, False)
    keep = np.flatnonzero(np.diff(support.indptr) <= 6)
    truth = support[keep]
    truth.data = rng.standard_normal(truth.nnz)
    found = least_squares_on_support(truth @ atoms, atoms, truth)
    np.testing.assert_allclose(found.toarray(), truth.toarray(), atol=1e-10)  # random 6 of d = 16: condition below 100


def test_blocks_scales_and_precision_change_nothing(monkeypatch):
    x, atoms, support = problem(2, 50, 6, 9, True)
    reference = least_squares_on_support(x, atoms, support).toarray()
    monkeypatch.setattr(least_squares, "BATCH_ENTRIES", 1)
    np.testing.assert_allclose(least_squares_on_support(x, atoms, support).toarray(), reference, rtol=1e-12)
    for scale in (1e150, 1e-150):
        np.testing.assert_allclose(
            least_squares_on_support(scale * x, atoms, support).toarray() / scale, reference, rtol=1e-9
        )
    single = least_squares_on_support(x.astype(np.float32), atoms, support)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.toarray(), reference, atol=1e-4 * np.abs(reference).max())  # 6e-8 times condition


def test_explicit_zeros_of_the_support_count_and_empty_supports_have_no_codes():
    x = np.array([[2.0, 3.0], [1.0, 1.0]])
    support = csr_array((np.zeros(1), np.array([1]), np.array([0, 1, 1])), shape=(2, 2))
    assert np.array_equal(least_squares_on_support(x, np.eye(2), support).toarray(), [[0, 3], [0, 0]])
    pair = least_squares_on_support(x, np.eye(2), (np.array([0, 1, 1]), np.array([1])))
    assert np.array_equal(pair.toarray(), [[0, 3], [0, 0]])
    assert least_squares_on_support(x[:0], np.eye(2), csr_array((0, 2))).shape == (0, 2)


def test_the_genie_encodes_only_the_samples_it_knows():
    x, atoms, support = problem(3, 20, 6, 9, False)
    genie = SupportLeastSquares(support)
    codes = genie.encode(x, atoms)
    again = pickle.loads(pickle.dumps(genie)).encode(x, atoms)
    assert np.array_equal(codes.toarray(), again.toarray())
    with pytest.raises(ValueError, match="n=20 samples"):
        genie.encode(x[:-1], atoms)
    with pytest.raises(ValueError, match="p=9 atoms"):
        genie.encode(x, atoms[:-1])


@pytest.mark.parametrize(
    ("support", "message"),
    [
        (csr_array((3, 2)), "shape"),
        ((np.array([0, 2, 1]), np.array([0])), "row limits"),
        ((np.array([0, 1, 2]), np.array([0, 2])), "list atoms"),
        ((np.array([0, 2, 2]), np.array([1, 1])), "twice"),
    ],
)
def test_bad_supports_are_refused(support, message):
    with pytest.raises(ValueError, match=message):
        least_squares_on_support(np.ones((2, 2)), np.eye(2), support)


def test_integer_samples_have_the_codes_of_the_same_numbers_as_floats():
    x, atoms, support = problem(5, 12, 6, 9, False)
    whole = np.round(10 * x)
    codes = least_squares_on_support(whole.astype(int), atoms, support)
    assert codes.dtype == np.float64
    assert np.array_equal(codes.toarray(), least_squares_on_support(whole, atoms, support).toarray())


def test_samples_that_do_not_fit_the_atoms_or_are_not_finite_are_refused():
    support = csr_array(np.eye(2))
    with pytest.raises(ValueError, match="atoms has 2 columns, but d=3"):
        least_squares_on_support(np.ones((2, 3)), np.eye(2), support)
    with pytest.raises(ValueError, match="x holds 4 NaN"):
        least_squares_on_support(np.full((2, 2), np.nan), np.eye(2), support)
