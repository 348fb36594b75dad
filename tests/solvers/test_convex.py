"""The lasso encoder against its certificates, scikit-learn, closed forms and itself without acceleration."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import Lasso as PeerLasso
from slow_encoders import random_problem

from sparsesim.solvers import active_set
from sparsesim.solvers.convex import Lasso, duality_gap, kkt_residual

EXACT = (
    1e-12  # a relative gap of 1e-12 leaves slopes within sqrt(2 L 1e-12 ||x||^2) ~ 1e-6 of the optimality conditions
)


def objective(x, codes, atoms, penalty):
    return np.square(x - codes @ atoms).sum(axis=1) / 2 + penalty * np.abs(codes).sum(axis=1)


@settings(max_examples=40)
@given(
    st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 30), st.floats(1e-3, 2.0), st.booleans(), st.booleans()
)
def test_codes_meet_the_optimality_conditions(seed, d, p, penalty, non_negative, duplicates):
    x, atoms = random_problem(np.random.default_rng(seed), 10, d, p, 3)
    if duplicates:
        atoms = np.concatenate([atoms, atoms[: (p + 1) // 2], -atoms[:1]])
    codes = Lasso(penalty, non_negative, tolerance=EXACT, max_iterations=50_000).encode(x, atoms)
    assert duality_gap(x, atoms, codes, penalty, non_negative=non_negative).max() <= 2 * EXACT  # its own rounding
    assert kkt_residual(x, atoms, codes, penalty, non_negative=non_negative).max() <= 1e-5
    assert not non_negative or codes.data.min(initial=0.0) >= 0


def test_kkt_residual_of_generic_problems_is_below_1e_6():
    x, atoms = random_problem(np.random.default_rng(0), 300, 24, 64, 4)
    for non_negative in (False, True):
        codes = Lasso(0.1, non_negative, tolerance=EXACT).encode(x, atoms)
        assert kkt_residual(x, atoms, codes, 0.1, non_negative=non_negative).max() <= 1e-6


@pytest.mark.parametrize("non_negative", [False, True])
def test_codes_are_scikit_learns(non_negative):
    x, atoms = random_problem(np.random.default_rng(1), 40, 16, 30, 3)
    penalty = 0.15
    ours = Lasso(penalty, non_negative, tolerance=EXACT).encode(x, atoms).toarray()
    peer = PeerLasso(penalty / 16, fit_intercept=False, positive=non_negative, tol=1e-14, max_iter=100_000)
    theirs = np.stack([peer.fit(atoms.T, row).coef_.copy() for row in x])
    # both at gaps near 1e-13; codes differ by at most sqrt(gap / smallest active eigenvalue (> 0.01))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.array_equal(np.abs(ours) > 1e-4, np.abs(theirs) > 1e-4)


def test_plain_and_accelerated_steps_reach_the_same_minimum():
    x, atoms = random_problem(np.random.default_rng(2), 50, 12, 20, 3)
    slow = Lasso(0.2, tolerance=EXACT, max_iterations=300_000, accelerated=False).encode(x, atoms).toarray()
    fast = Lasso(0.2, tolerance=EXACT).encode(x, atoms).toarray()
    np.testing.assert_allclose(slow, fast, atol=1e-5)  # sqrt(1e-12 / 0.01), see above
    assert np.abs(objective(x, slow, atoms, 0.2) - objective(x, fast, atoms, 0.2)).max() <= 1e-11


def test_ista_lowers_the_objective_at_every_step_and_is_the_textbook_step():
    x, atoms = random_problem(np.random.default_rng(3), 20, 8, 16, 3)
    lipschitz = np.linalg.norm(atoms, 2) ** 2
    z, before = np.zeros((20, 16)), np.inf
    for steps in range(1, 9):
        z = z + (x - z @ atoms) @ atoms.T / lipschitz
        z = np.sign(z) * np.maximum(np.abs(z) - 0.1 / lipschitz, 0)
        ours = Lasso(0.1, tolerance=0.0, max_iterations=steps, accelerated=False).encode(x, atoms).toarray()
        np.testing.assert_allclose(ours, z, atol=1e-12)  # float64 rounding of 8 steps
        now = objective(x, ours, atoms, 0.1).sum()
        assert now <= before
        before = now


@given(st.integers(0, 2**32), st.floats(0.01, 3.0), st.booleans())
def test_orthonormal_atoms_give_the_soft_threshold(seed, penalty, non_negative):
    rng = np.random.default_rng(seed)
    atoms = np.linalg.qr(rng.standard_normal((9, 9)))[0][:6]
    x = rng.standard_normal((7, 9))
    slope = x @ atoms.T
    expected = np.maximum(slope - penalty, 0) - (0 if non_negative else np.maximum(-slope - penalty, 0))
    codes = Lasso(penalty, non_negative, tolerance=EXACT).encode(x, atoms).toarray()
    np.testing.assert_allclose(codes, expected, atol=1e-6)  # sqrt(2e-12) of unit-scale samples
    assert np.array_equal(codes != 0, expected != 0) or np.abs(np.abs(slope) - penalty).min() < 1e-6


def test_a_zero_signal_and_a_large_penalty_have_no_codes():
    x, atoms = random_problem(np.random.default_rng(4), 6, 8, 12, 3)
    x[2] = 0
    assert Lasso(0.1).encode(x, atoms)[[2]].nnz == 0
    largest = np.abs(x @ atoms.T).max()
    assert Lasso(largest * (1 + 1e-12)).encode(x, atoms).nnz == 0
    assert Lasso(largest * (1 - 1e-4), tolerance=EXACT).encode(x, atoms).nnz == 1
    assert Lasso(0.1).encode(x, np.zeros((3, 8))).nnz == 0
    assert Lasso(0.1).encode(x[:0], atoms).shape == (0, 12)
    assert Lasso(1.0).encode(np.array([[3.0]]), np.array([[1.0]])).toarray() == 2.0


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1.0, 1e30, 1e150])
def test_codes_scale_with_samples_and_penalty(scale):
    x, atoms = random_problem(np.random.default_rng(5), 30, 8, 16, 3)
    reference = Lasso(0.1, tolerance=EXACT).encode(x, atoms).toarray()
    codes = Lasso(0.1 * scale, tolerance=EXACT).encode(x * scale, atoms)
    np.testing.assert_allclose(codes.toarray() / scale, reference, atol=1e-6)  # equal gaps, other rounding
    assert kkt_residual(x * scale, atoms, codes, 0.1 * scale).max() <= 1e-6


def test_codes_are_equivariant():
    rng = np.random.default_rng(6)
    x, atoms = random_problem(rng, 60, 10, 18, 3)
    encoder, close = Lasso(0.2, tolerance=EXACT), {"atol": 1e-6, "rtol": 0}  # equal gaps, other rounding
    codes = encoder.encode(x, atoms).toarray()
    order, signs = rng.permutation(18), rng.choice([-1.0, 1.0], 18)
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    np.testing.assert_allclose(encoder.encode(x, atoms[order]).toarray(), codes[:, order], **close)
    np.testing.assert_allclose(encoder.encode(x, signs[:, None] * atoms).toarray(), signs * codes, **close)
    np.testing.assert_allclose(encoder.encode(x @ rotation, atoms @ rotation).toarray(), codes, **close)


def test_a_dictionary_too_wide_for_its_gram_matrix_gives_the_same_codes(monkeypatch):
    x, atoms = random_problem(np.random.default_rng(7), 30, 10, 40, 3)
    reference = Lasso(0.1, tolerance=EXACT).encode(x, atoms).toarray()
    monkeypatch.setattr(active_set, "STORED_GRAM", 0)
    monkeypatch.setattr(active_set, "BLOCK_ENTRIES", 90)  # two rows a block
    np.testing.assert_allclose(Lasso(0.1, tolerance=EXACT).encode(x, atoms).toarray(), reference, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_have_the_same_bits_alone_in_batches_and_at_any_thread_count(dtype):
    x, atoms = random_problem(np.random.default_rng(8), 40, 9, 21, 3)
    x, atoms = x.astype(dtype), atoms.astype(dtype)
    whole = Lasso(0.1).encode(x, atoms)
    assert whole.dtype == dtype
    alone = np.concatenate([Lasso(0.1).encode(x[i : i + 1], atoms).toarray() for i in range(40)])
    assert np.array_equal(alone, whole.toarray())
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert np.array_equal(Lasso(0.1).encode(x, atoms).toarray(), alone)
    finally:
        numba.set_num_threads(threads)
    wide = Lasso(0.1).encode(x.astype(np.float64), atoms.astype(np.float64)).toarray()
    np.testing.assert_allclose(alone, wide, atol=1e-5 if dtype == np.float32 else 0)  # the float32 input rounds at 6e-8


def test_certificates_tell_wrong_codes_from_right_ones():
    x, atoms = random_problem(np.random.default_rng(9), 20, 8, 12, 3)
    right = Lasso(0.1, tolerance=EXACT).encode(x, atoms)
    wrong = right.copy()
    wrong.data = wrong.data * 1.01
    gap = duality_gap(x, atoms, wrong, 0.1)
    excess = objective(x, wrong.toarray(), atoms, 0.1) - objective(x, right.toarray(), atoms, 0.1)
    assert np.all(gap * np.square(x).sum(axis=1) / 2 >= excess - 1e-12)  # the gap bounds the excess
    assert np.all(excess > 1e-8) and kkt_residual(x, atoms, wrong, 0.1).min() > 1e-6
    negative = csr_array(-np.ones((20, 12)))
    assert np.all(np.isinf(kkt_residual(x, atoms, negative, 0.1, non_negative=True)))
    assert np.isinf(duality_gap(0 * x, atoms, negative, 0.1)).all()


@pytest.mark.parametrize("arguments", [(0.0,), (-1.0,), (np.inf,), (0.1, False, -1.0), (0.1, False, 1e-6, 0)])
def test_bad_configurations_are_refused(arguments):
    with pytest.raises(ValueError, match=r"penalty|tolerance|max_iterations"):
        Lasso(*arguments)


def test_certificates_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="must fit"):
        duality_gap(np.ones((2, 3)), np.eye(3), csr_array(np.ones((3, 3))), 0.1)


@pytest.mark.filterwarnings("error")
def test_certificates_are_numbers_where_the_penalty_over_the_samples_leaves_the_range():
    rng = np.random.default_rng(6)
    x, atoms = rng.standard_normal((4, 3)), np.eye(3)
    x[0], x[1] = 1e-310 * x[0], 0.0
    for penalty in (10.0, 1e-310):
        codes = Lasso(penalty).encode(x, atoms)
        for non_negative in (False, True):
            positive = Lasso(penalty, non_negative).encode(x, atoms)
            gaps = duality_gap(x, atoms, positive if non_negative else codes, penalty, non_negative=non_negative)
            assert gaps.max() < 1e-6 and gaps.min() > -1e-15  # the tolerance of the encoder, and rounding
    assert np.array_equal(kkt_residual(x, atoms, csr_array((4, 3)), 10.0), np.zeros(4))


def test_samples_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="row 2 holds NaN"):
        Lasso(0.1).encode(np.array([[1.0], [2.0], [np.nan]]), np.eye(1))
