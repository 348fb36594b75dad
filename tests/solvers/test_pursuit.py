"""Orthogonal and plain matching pursuit against slow twins, scikit-learn, exhaustive search and recovery theorems."""

from __future__ import annotations

import itertools
import pickle

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp_gram
from slow_encoders import brute_force_l0, identity_hadamard, paley, random_problem, simplex, slow_mp, slow_omp, unit

from sparsesim.kernels import pursuit as kernel
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit, orthogonal_matching_pursuit

# Scores of unit-scale samples carry rounding of some 1e-15 (1e-6 in float32); a choice decided by less may go any way.
MARGIN = {np.float64: 1e-10, np.float32: 1e-4}
# Coefficients: rounding times the conditioning of a few random atoms in d >= 4 (below 1e3 with the margin guard).
CLOSE = {np.float64: 1e-9, np.float32: 5e-3}

problems = st.tuples(
    st.integers(0, 2**32),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(1, 6),
    st.sampled_from([np.float64, np.float32]),
)


def drawn(problem, n=20):
    seed, d, p, k, dtype = problem
    x, atoms = random_problem(np.random.default_rng(seed), n, d, p, k)
    return x.astype(dtype), atoms.astype(dtype), min(k, d, p), dtype


def residuals(x, codes, atoms):
    return x - codes.toarray() @ atoms


@given(problems, st.booleans())
def test_omp_is_the_slow_twin_wherever_its_choices_have_a_margin(problem, non_negative):
    x, atoms, k, dtype = drawn(problem, 8)
    codes = orthogonal_matching_pursuit(x, atoms, k, non_negative=non_negative).toarray()
    wide = atoms.astype(np.float64)
    for row, code in zip(x.astype(np.float64), codes, strict=True):
        expected, margin = slow_omp(row, unit(wide), k, non_negative)
        support = np.flatnonzero(expected)
        singular = np.linalg.svd(wide[support], compute_uv=False) if len(support) else np.ones(1)
        if margin > MARGIN[dtype] and singular[-1] > 0.03 and np.abs(expected[support]).min(initial=1) > MARGIN[dtype]:
            assert set(np.flatnonzero(code)) == set(support)
            np.testing.assert_allclose(code, expected, atol=CLOSE[dtype] * (1 + np.abs(expected).max()))


@pytest.mark.parametrize(("dtype", "close"), [(np.float64, 1e-10), (np.float32, 1e-3)])
def test_omp_agrees_with_scikit_learn_on_thousands_of_samples(dtype, close):
    x, atoms = random_problem(np.random.default_rng(1), 2000, 32, 96, 5)
    x, atoms = x.astype(dtype), atoms.astype(dtype)
    ours = orthogonal_matching_pursuit(x, atoms, 5).toarray()
    theirs = orthogonal_mp_gram((atoms @ atoms.T).astype(float), (atoms @ x.T).astype(float), n_nonzero_coefs=5).T
    margins = np.array([slow_omp(row, atoms.astype(float), 5)[1] for row in x.astype(float)])
    decided = margins > MARGIN[dtype]
    assert decided.mean() > 0.99
    assert np.array_equal((ours != 0)[decided], (theirs != 0)[decided])
    # normal equations of 5 atoms in 32 dimensions: condition below 100
    np.testing.assert_allclose(ours[decided], theirs[decided], atol=close)


@given(problems)
def test_omp_codes_are_least_squares_on_their_support(problem):
    x, atoms, k, dtype = drawn(problem)
    codes = orthogonal_matching_pursuit(x, atoms, k)
    error = residuals(x.astype(np.float64), codes.astype(np.float64), atoms.astype(np.float64))
    slopes = error @ atoms.T.astype(np.float64)
    # a stored float32 coefficient c is off by 6e-8 c; ill-conditioned pairs have large opposite c
    allowed = (1e-9 if dtype == np.float64 else 1e-5) * (1 + np.abs(codes.toarray()).sum(axis=1))
    assert np.all(np.abs(np.where(codes.toarray() != 0, slopes, 0)).max(axis=1) <= allowed)


@given(problems, st.booleans())
def test_mp_is_the_slow_twin_and_loses_energy_at_each_selection(problem, non_negative):
    x, atoms, k, dtype = drawn(problem)
    k += 2  # selections may exceed the width
    codes = MatchingPursuit(k, non_negative=non_negative).encode(x, atoms).toarray()
    wide = unit(atoms.astype(np.float64))
    for row, code in zip(x.astype(np.float64), codes, strict=True):
        expected, energies, margin = slow_mp(row, wide, k, non_negative)
        assert np.all(np.diff(energies) <= 0)
        if margin > MARGIN[dtype]:
            scale = np.linalg.norm(row)
            np.testing.assert_allclose(code, expected, atol=(1e-10 if dtype == np.float64 else 1e-4) * scale)


@given(problems)
def test_the_mp_residual_shrinks_with_k_and_is_orthogonal_to_the_last_atom(problem):
    x, atoms, k, _ = drawn(problem, 5)
    x, atoms = x.astype(np.float64), unit(atoms.astype(np.float64))
    before = np.zeros((len(x), len(atoms)))
    energy = np.square(x).sum(axis=1)
    for selections in range(1, k + 3):
        codes = MatchingPursuit(selections).encode(x, atoms).toarray()
        error = x - codes @ atoms
        now = np.square(error).sum(axis=1)
        assert np.all(now <= energy * (1 + 1e-12) + 1e-24)  # rounding of one subtraction
        for row in range(len(x)):
            for last in np.flatnonzero(codes[row] != before[row]):
                assert abs(error[row] @ atoms[last]) <= 1e-13 * (1 + np.linalg.norm(x[row]))
        before, energy = codes, now


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_many_steps_are_summed_in_parts_of_eight_as_the_slow_twin_does(dtype, stored, monkeypatch):
    monkeypatch.setattr(kernel, "STORED_GRAM_BYTES", 2**28 if stored else 0)
    x, atoms = random_problem(np.random.default_rng(7), 6, 64, 150, 20, noise=0.01)
    x, atoms = x.astype(dtype), atoms.astype(dtype)
    wide = atoms.astype(np.float64)
    for k in (9, 17, 27):  # one, two and three parts before the last
        decided = 0
        for row, code in zip(x, orthogonal_matching_pursuit(x, atoms, k).toarray(), strict=True):
            expected, margin = slow_omp(row.astype(np.float64), unit(wide), k)
            if margin > MARGIN[dtype]:
                np.testing.assert_allclose(code, expected, atol=CLOSE[dtype])
                decided += 1
        assert decided >= 4


def test_the_lowest_index_wins_ties():
    atoms = np.eye(4)[[0, 0, 1, 2, 3]]
    x = np.array([[1.0, 1.0, 1.0, 1.0], [-2.0, 0.0, 2.0, 0.0]])
    codes = orthogonal_matching_pursuit(x, atoms, 2).toarray()
    assert np.array_equal(codes, [[1, 0, 1, 0, 0], [-2, 0, 0, 2, 0]])
    many = np.tile(np.eye(2), (200, 1))  # ties across blocks of the search
    assert np.array_equal(MatchingPursuit(2).encode(np.array([[1.0, 1.0]]), many).indices, [0, 1])


@pytest.mark.parametrize(
    ("atoms", "k"), [(identity_hadamard(16), 2), (identity_hadamard(64), 4), (paley(29), 3), (simplex(15), 7)]
)
def test_omp_recovers_every_draw_below_the_coherence_bound(atoms, k):
    gram = np.abs(atoms @ atoms.T) - np.eye(len(atoms))
    assert k < (1 + 1 / gram.max()) / 2 + 1e-9  # Tropp (2004): recovery of every k-sparse vector
    k = min(k, int(np.ceil((1 + 1 / gram.max()) / 2 - 1e-9)) - 1)
    rng = np.random.default_rng(0)
    codes = np.zeros((3000, len(atoms)))
    for row in codes:
        row[rng.choice(len(atoms), k, replace=False)] = rng.choice([-1, 1], k) * rng.uniform(0.1, 3, k)
    found = orthogonal_matching_pursuit(codes @ atoms, atoms, k).toarray()
    # magnitudes are at least 0.1; float64 rounding with condition < 10 stays below 1e-12
    np.testing.assert_allclose(found, codes, atol=1e-12)


def test_at_the_coherence_bound_recovery_fails():
    # simplex of d + 1 atoms, d odd: with k = (d + 1)/2 = (1 + 1/mu)/2 the ones on half of the atoms and the minus ones
    # on the other half give one sample, so that a perturbation of 1e-9 decides; one atom fewer and it never matters
    d, rng = 15, np.random.default_rng(0)
    atoms = simplex(d)
    recovered = {}
    for k in ((d + 1) // 2 - 1, (d + 1) // 2):
        truth = np.zeros((200, d + 1))
        for row in truth:
            row[rng.choice(d + 1, k, replace=False)] = 1.0
        x = truth @ atoms + 1e-9 * rng.standard_normal((200, d))
        found = orthogonal_matching_pursuit(x, atoms, k).toarray()
        recovered[k] = float(np.mean((np.abs(found - truth) < 1e-6).all(axis=1)))
    assert recovered[7] == 1.0
    assert 0.2 < recovered[8] < 0.8  # a fair coin, 200 times: 0.5 +- 8 standard errors


def test_exhaustive_search_is_never_worse_and_sometimes_better_than_omp():
    x, atoms = random_problem(np.random.default_rng(3), 60, 5, 12, 3, noise=0.3)
    error = np.square(residuals(x, orthogonal_matching_pursuit(x, atoms, 3), atoms)).sum(axis=1)
    best = np.array([brute_force_l0(row, atoms, 3) for row in x])
    assert np.all(best <= error + 1e-12)
    assert np.any(best < error - 1e-3)
    one = np.square(residuals(x, orthogonal_matching_pursuit(x, atoms, 1), atoms)).sum(axis=1)
    np.testing.assert_allclose(one, [brute_force_l0(row, atoms, 1) for row in x], atol=1e-12)  # k=1 is exact


@pytest.mark.parametrize(
    "encoder", [OrthogonalMatchingPursuit(3), OrthogonalMatchingPursuit(3, non_negative=True), MatchingPursuit(5)]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_have_the_same_bits_alone_in_batches_and_at_any_thread_count(encoder, dtype):
    x, atoms = random_problem(np.random.default_rng(4), 301, 19, 323, 3)
    x, atoms = x.astype(dtype), atoms.astype(dtype)
    whole = encoder.encode(x, atoms).toarray()
    for size in (1, 2, 65):
        rows = [encoder.encode(x[low : low + size], atoms).toarray() for low in range(0, 130, size)]
        assert np.array_equal(np.concatenate(rows)[:130], whole[:130])
    threads = numba.get_num_threads()
    try:
        for count in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(count)
            assert np.array_equal(encoder.encode(x, atoms).toarray(), whole)
    finally:
        numba.set_num_threads(threads)


def test_a_gram_matrix_too_large_to_store_gives_the_same_bits(monkeypatch):
    x, atoms = random_problem(np.random.default_rng(5), 50, 16, 70, 4)
    stored = orthogonal_matching_pursuit(x, atoms, 4).toarray()
    monkeypatch.setattr(kernel, "STORED_GRAM_BYTES", 0)
    assert np.array_equal(orthogonal_matching_pursuit(x, atoms, 4).toarray(), stored)


@pytest.mark.parametrize(
    "encoder",
    [
        OrthogonalMatchingPursuit(3),
        OrthogonalMatchingPursuit(3, non_negative=True),
        MatchingPursuit(4),
        MatchingPursuit(4, True),
    ],
)
def test_codes_are_equivariant(encoder):
    rng = np.random.default_rng(6)
    x, atoms = random_problem(rng, 200, 10, 25, 3)
    codes = encoder.encode(x, atoms).toarray()
    order = rng.permutation(25)
    close = {"atol": 1e-11, "rtol": 0}  # float64 rounding at condition below 1e3
    np.testing.assert_allclose(encoder.encode(x, atoms[order]).toarray(), codes[:, order], **close)
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    np.testing.assert_allclose(encoder.encode(x @ rotation, atoms @ rotation).toarray(), codes, **close)
    for factor in (2.0**40, 2.0**-40):
        assert np.array_equal(encoder.encode(factor * x, atoms).toarray(), factor * codes)
    for factor in (1e150, 1e-150):
        np.testing.assert_allclose(encoder.encode(factor * x, atoms).toarray() / factor, codes, **close)
    if not encoder.non_negative:
        signs = rng.choice([-1.0, 1.0], 25)
        assert np.array_equal(encoder.encode(x, signs[:, None] * atoms).toarray(), signs * codes)
        assert np.array_equal(encoder.encode(-x, atoms).toarray(), -codes)


def test_each_row_may_have_its_own_k():
    x, atoms = random_problem(np.random.default_rng(7), 30, 8, 20, 4)
    k = np.random.default_rng(8).integers(0, 9, 30)
    codes = orthogonal_matching_pursuit(x, atoms, k)
    assert np.array_equal(np.diff(codes.indptr), k)  # generic data: every step finds an atom
    for row, steps in enumerate(k):
        alone = orthogonal_matching_pursuit(x[row : row + 1], atoms, int(steps))
        assert np.array_equal(alone.toarray()[0], codes.toarray()[row])


def test_tolerance_ends_a_row_early_and_zero_or_exact_rows_stay_sparse():
    x, _ = random_problem(np.random.default_rng(9), 100, 12, 12, 3, noise=0.0)
    x[5] = 0
    for dtype in (np.float64, np.float32):
        codes = orthogonal_matching_pursuit(x.astype(dtype), np.eye(12, dtype=dtype), 12, tolerance=0.5)
        error = np.linalg.norm(residuals(x, codes, np.eye(12)), axis=1)
        assert np.all(error <= 0.5 * np.linalg.norm(x, axis=1) + 1e-12)
        fewer = np.diff(codes.indptr) - 1
        fewer[5] = 0
        shorter = orthogonal_matching_pursuit(x.astype(dtype), np.eye(12, dtype=dtype), np.maximum(fewer, 0))
        short_error = np.linalg.norm(residuals(x, shorter, np.eye(12)), axis=1)
        assert np.all(np.delete(short_error > 0.5 * np.linalg.norm(x, axis=1), 5))  # no step was wasted
        assert codes.indptr[6] == codes.indptr[5]
    sparse = np.eye(12)[:3] * 2.0
    assert orthogonal_matching_pursuit(sparse, np.eye(12), 5).nnz == 3  # nothing left to explain after one step
    assert MatchingPursuit(5).encode(sparse.astype(np.float32), np.eye(12, dtype=np.float32)).nnz == 3


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dependent_and_dead_atoms_are_never_chosen(dtype):
    rng = np.random.default_rng(10)
    base = unit(rng.standard_normal((3, 6)))
    atoms = np.concatenate([base, base, -base, np.zeros((2, 6)), unit(base[:1] + 1e-7 * base[1:2])]).astype(dtype)
    x = rng.standard_normal((200, 6)).astype(dtype)
    for non_negative in (False, True):
        codes = orthogonal_matching_pursuit(x, atoms, 6, non_negative=non_negative)
        assert np.isfinite(codes.data).all()
        assert np.diff(codes.indptr).max() <= 3
        assert np.abs(codes.data).max() < 1e3  # a dependent pair would get huge opposite coefficients


def test_non_negative_codes_are_the_nnls_optimum_on_what_was_selected():
    x, atoms = random_problem(np.random.default_rng(11), 300, 12, 30, 4)
    codes = orthogonal_matching_pursuit(x, atoms, 5, non_negative=True)
    assert codes.data.min() > 0
    slopes = residuals(x, codes, atoms) @ atoms.T
    assert np.abs(slopes[codes.toarray() > 0]).max() < 1e-10  # stationarity, float64
    free = orthogonal_matching_pursuit(x, atoms, 5)
    assert free.data.min() < 0  # the restriction bites here


def test_codes_are_well_formed_for_single_atoms_single_samples_and_none():
    for encoder in (OrthogonalMatchingPursuit(1), MatchingPursuit(1), OrthogonalMatchingPursuit(1, non_negative=True)):
        one = encoder.encode(np.array([[3.0]]), np.array([[1.0]]))
        assert one.toarray() == 3.0
        assert encoder.encode(np.empty((0, 2)), np.eye(2)).shape == (0, 2)
        assert pickle.loads(pickle.dumps(encoder)) == encoder
        x = np.random.default_rng(0).standard_normal((9, 4))[:, ::-1]
        x.flags.writeable = False
        codes = encoder.encode(x, np.asfortranarray(np.eye(4)))
        assert codes.has_sorted_indices and codes.dtype == x.dtype


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: OrthogonalMatchingPursuit(0), ValueError, "k must lie"),
        (lambda: OrthogonalMatchingPursuit(2.0), TypeError, "k must be an integer"),
        (lambda: MatchingPursuit(1, tolerance=-1.0), ValueError, "tolerance"),
        (
            lambda: OrthogonalMatchingPursuit(4).encode(np.ones((2, 3)), np.eye(3)),
            ValueError,
            r"k must lie in \[0, min\(p, d\)=3\]",
        ),
        (lambda: orthogonal_matching_pursuit(np.ones((2, 3)), np.eye(3), np.array([1, 4])), ValueError, "k must lie"),
        (
            lambda: orthogonal_matching_pursuit(np.ones((2, 3)), np.eye(3), np.array([1])),
            ValueError,
            "one integer a row",
        ),
        (lambda: orthogonal_matching_pursuit(np.ones((2, 3)), 2 * np.eye(3), 1), ValueError, "unit rows"),
        (lambda: MatchingPursuit(1).encode(np.ones((2, 3)), np.eye(2)), ValueError, "share d"),
        (lambda: MatchingPursuit(1).encode(np.ones((2, 2), dtype=int), np.eye(2)), TypeError, "float32 or float64"),
        (lambda: MatchingPursuit(1).encode(np.array([[0, 1], [np.nan, 1]]), np.eye(2)), ValueError, "row 1 holds NaN"),
        (lambda: OrthogonalMatchingPursuit(1).encode(np.full((1, 2), np.inf), np.eye(2)), ValueError, "finite; row 0"),
    ],
)
def test_bad_requests_are_refused_with_a_remedy(action, error, message):
    with pytest.raises(error, match=message):
        action()


@settings(max_examples=50)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 70), st.sampled_from([np.float64, np.float32]))
def test_correlations_are_the_matrix_product(p, d, n, dtype):
    rng = np.random.default_rng(p * d + n)
    x, atoms = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((p, d)).astype(dtype)
    exact = x.astype(np.float64) @ atoms.T.astype(np.float64)
    # summing d products of size about 1 loses at most d^2 eps in the worst case
    np.testing.assert_allclose(kernel.correlate(x, atoms), exact, atol=d * 10 * np.finfo(dtype).eps * 4)


def test_small_supports_are_found_by_exhaustive_search_too():
    atoms = identity_hadamard(4)  # coherence 1/2: only k = 1 is guaranteed
    for i, j in itertools.combinations(range(8), 2):
        x = (atoms[i] + 0.4 * atoms[j])[None]
        assert brute_force_l0(x[0], atoms, 2) < 1e-24
        first = orthogonal_matching_pursuit(x, atoms, 1).indices[0]
        assert first == i
