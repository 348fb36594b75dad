"""The active set: elastic net, reweighted l1 and non-negative least squares against certificates and each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, nnls
from scipy.sparse import csr_array
from sklearn.linear_model import ElasticNet as PeerElasticNet
from slow_encoders import identity_hadamard, random_problem, simplex, unit

from sparsesim.kernels.active_set import active_set_
from sparsesim.solvers import active_set
from sparsesim.solvers.active_set import ActiveSet, ElasticNet, NonNegativeLeastSquares, ReweightedLasso
from sparsesim.solvers.convex import Lasso, duality_gap, kkt_residual

EXACT = 1e-12
ALL = [Lasso(0.1), ElasticNet(0.1, 0.5), ReweightedLasso(0.1), NonNegativeLeastSquares()]


def hard_atoms(rng):
    """Dictionaries with duplicates, opposites, sums of atoms, zero rows, tight frames and near-duplicates."""
    a = unit(rng.standard_normal((12, 6)))
    yield np.concatenate([a, a, -a, np.zeros((2, 6))])
    yield unit(np.concatenate([a, a[:6] + a[6:], a[:6] - a[6:]]))
    yield simplex(6)
    yield identity_hadamard(8)
    yield unit(rng.standard_normal((20, 2)) @ rng.standard_normal((2, 6)))
    yield unit(np.concatenate([a, a + 1e-4 * rng.standard_normal(a.shape)]))


@pytest.mark.parametrize("non_negative", [False, True])
def test_the_active_set_alone_certifies_hard_dictionaries(non_negative):
    rng = np.random.default_rng(0)
    for atoms in hard_atoms(rng):
        x = np.concatenate([rng.standard_normal((30, atoms.shape[1])), 3 * atoms[:6], -atoms[:6]])
        for penalty in (1.0, 0.3, 0.01):
            codes, gaps = ActiveSet(penalty, 0.0, non_negative, 1e-9).solve(x, atoms)
            assert gaps.max() <= 1e-9  # no row left to proximal gradients
            # the certificate sums in another order: rounding of the codes' l1 norm, at most 1e4 here
            assert duality_gap(x, atoms, codes, penalty, non_negative=non_negative).max() <= 1.1e-9
            assert np.diff(codes.indptr).max() <= np.linalg.matrix_rank(atoms)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 10), st.integers(1, 25), st.floats(1e-3, 3.0), st.booleans())
def test_elastic_net_codes_are_certified_whatever_the_atoms(seed, d, p, ridge, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 8, d, p, 3)
    atoms = np.concatenate([atoms, atoms[: (p + 1) // 2]])
    codes = ElasticNet(0.1, ridge, non_negative, EXACT).encode(x, atoms)
    assert duality_gap(x, atoms, codes, 0.1, ridge=ridge, non_negative=non_negative).max() <= 2 * EXACT  # rounding
    assert kkt_residual(x, atoms, codes, 0.1, ridge=ridge, non_negative=non_negative).max() <= 1e-9
    assert not non_negative or codes.data.min(initial=0.0) >= 0
    dense = codes.toarray()  # equal atoms share their code: the squared norm is strictly convex
    np.testing.assert_allclose(dense[:, : (p + 1) // 2], dense[:, p:], atol=1e-10 / ridge)


def test_elastic_net_codes_are_scikit_learns():
    x, atoms = random_problem(np.random.default_rng(1), 20, 12, 24, 3)
    penalty, ridge = 0.15, 0.4
    peer = PeerElasticNet((penalty + ridge) / 12, l1_ratio=penalty / (penalty + ridge), fit_intercept=False, tol=1e-14)
    peer.set_params(max_iter=100_000)
    theirs = np.stack([peer.fit(atoms.T, row).coef_.copy() for row in x])
    ours = ElasticNet(penalty, ridge, tolerance=EXACT).encode(x, atoms).toarray()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)  # their gap of 1e-13, curvature at least 0.4


def test_an_elastic_net_without_ridge_is_the_lasso():
    x, atoms = random_problem(np.random.default_rng(2), 30, 10, 20, 3)
    ridge = ElasticNet(0.1, 0.0).encode(x, atoms)
    assert np.array_equal(ridge.toarray(), Lasso(0.1).encode(x, atoms).toarray())


def test_an_elastic_net_is_the_lasso_of_the_augmented_problem():
    x, atoms = random_problem(np.random.default_rng(3), 30, 8, 12, 3)
    ridge, norm = 0.7, np.sqrt(1.7)
    wide, more = np.hstack([atoms, np.sqrt(ridge) * np.eye(12)]) / norm, np.hstack([x, np.zeros((30, 12))])
    other = Lasso(0.2 / norm, tolerance=EXACT).encode(more, wide).toarray() / norm
    np.testing.assert_allclose(ElasticNet(0.2, ridge, tolerance=EXACT).encode(x, atoms).toarray(), other, atol=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 20))
def test_non_negative_least_squares_meets_its_optimality_conditions(seed, d, p):
    x, atoms = random_problem(np.random.default_rng(seed), 10, d, p, 3)
    atoms = np.concatenate([atoms, atoms[:1]])
    codes = NonNegativeLeastSquares().encode(x, atoms)
    assert codes.data.min(initial=0.0) >= 0
    assert kkt_residual(x, atoms, codes, 0.0, non_negative=True).max() <= 1e-8  # 1e-10 ||x||, with ||x|| < 100 max |x|
    assert np.diff(codes.indptr).max(initial=0) <= min(d, p)


def test_non_negative_least_squares_is_scipys():
    x, atoms = random_problem(np.random.default_rng(4), 40, 16, 12, 4)
    theirs = np.stack([nnls(atoms.T, row)[0] for row in x])
    np.testing.assert_allclose(NonNegativeLeastSquares().encode(x, atoms).toarray(), theirs, atol=1e-9)  # slopes 1e-10


def test_non_negative_least_squares_in_dependent_atoms_fits_as_well_as_bounded_least_squares():
    rng, atoms = np.random.default_rng(5), identity_hadamard(16)
    x = (rng.standard_normal((30, 32)) * (rng.random((30, 32)) < 0.1)) @ atoms
    codes = NonNegativeLeastSquares().encode(x, atoms)
    theirs = [lsq_linear(atoms.T, row, (0, np.inf), method="bvls", tol=1e-14).cost if row.any() else 0.0 for row in x]
    np.testing.assert_allclose(np.square(x - codes @ atoms).sum(axis=1) / 2, theirs, atol=1e-10)  # their tolerance


def test_the_non_negative_lasso_tends_to_non_negative_least_squares():
    x, atoms = random_problem(np.random.default_rng(6), 30, 14, 10, 3)
    limit = NonNegativeLeastSquares().encode(x, atoms).toarray()
    for penalty in (1e-3, 1e-5, 1e-7):
        codes = Lasso(penalty, True, tolerance=1e-14).encode(x, atoms).toarray()
        # d z / d penalty = -G_SS^-1 1, at most sqrt(10) / (smallest eigenvalue, above 0.01)
        assert np.abs(codes - limit).max() <= 400 * penalty


def test_reweighting_is_the_sequence_of_weighted_lassos():
    x, atoms = random_problem(np.random.default_rng(7), 25, 12, 18, 3)
    penalty, epsilon = 0.15, 0.1
    codes = Lasso(penalty, tolerance=EXACT).encode(x, atoms).toarray()
    offset = epsilon * np.abs(codes).max(axis=1, keepdims=True)
    for passes in range(3):
        ours = ReweightedLasso(penalty, passes, epsilon, tolerance=EXACT).encode(x, atoms)
        np.testing.assert_allclose(ours.toarray(), codes, atol=1e-9)  # 1e-12 gaps through three solves
        weights = offset / (np.abs(codes) + offset)
        slope = (x - codes @ atoms) @ atoms.T
        for i, row in enumerate(x):  # one weighted lasso is a lasso in atoms of other lengths
            codes[i] = weighted(row, atoms, penalty * weights[i])
        assert np.isfinite(slope).all()


def weighted(x, atoms, penalties):
    """Coordinate descent for one sample."""
    z, residual = np.zeros(len(atoms)), x.copy()
    for _ in range(5000):
        before = z.copy()
        for i, atom in enumerate(atoms):
            rho = atom @ residual + z[i]
            new = np.sign(rho) * max(abs(rho) - penalties[i], 0)
            residual += (z[i] - new) * atom
            z[i] = new
        if np.abs(z - before).max() < 1e-14:
            break
    return z


def test_reweighting_shrinks_large_codes_less_and_keeps_no_more_of_them():
    x, atoms = random_problem(np.random.default_rng(8), 200, 20, 40, 2, noise=0.02)
    plain, again = Lasso(0.2).encode(x, atoms), ReweightedLasso(0.2).encode(x, atoms)
    assert abs(again).sum() > abs(plain).sum() and again.nnz <= plain.nnz


@pytest.mark.parametrize("encoder", ALL, ids=lambda encoder: type(encoder).__name__)
def test_codes_are_the_same_for_any_batch_layout_and_gram_block(encoder, monkeypatch):
    x, atoms = random_problem(np.random.default_rng(9), 40, 9, 21, 3)
    x[3] = 0
    whole = encoder.encode(x, atoms)
    assert whole.has_sorted_indices and np.diff(whole.indptr)[3] == 0
    alone = np.concatenate([encoder.encode(x[i : i + 1], atoms).toarray() for i in range(40)])
    assert np.array_equal(alone, whole.toarray())
    frozen = np.asfortranarray(x)
    frozen.flags.writeable = False
    assert np.array_equal(encoder.encode(frozen, np.asfortranarray(atoms)).toarray(), alone)
    assert encoder.encode(x[:0], atoms).shape == (0, 21)
    monkeypatch.setattr(active_set, "BLOCK_ENTRIES", 50)
    assert np.array_equal(encoder.encode(x, atoms).toarray(), alone)
    monkeypatch.setattr(active_set, "STORED_PRODUCTS", 0)
    np.testing.assert_allclose(encoder.encode(x, atoms).toarray(), alone, atol=1e-9)  # other sums of the same terms
    monkeypatch.setattr(active_set, "STORED_GRAM", 0)
    np.testing.assert_allclose(encoder.encode(x, atoms).toarray(), alone, atol=1e-9)  # other sums of the same terms
    single = encoder.encode(x.astype(np.float32), atoms.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.toarray(), alone, atol=2e-5)  # rounding 6e-8, condition numbers of about 100


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_codes_scale_with_the_samples(scale):
    x, atoms = random_problem(np.random.default_rng(10), 20, 8, 16, 3)
    for one, other in [
        (ElasticNet(0.1, 0.5), ElasticNet(0.1 * scale, 0.5)),
        (ReweightedLasso(0.1), ReweightedLasso(0.1 * scale)),
        (NonNegativeLeastSquares(), NonNegativeLeastSquares()),
    ]:
        expected = one.encode(x, atoms).toarray()
        np.testing.assert_allclose(other.encode(x * scale, atoms).toarray() / scale, expected, atol=1e-9)  # rounding


def test_float32_codes_are_exact_solutions_of_the_float32_problem():
    x, atoms = random_problem(np.random.default_rng(11), 100, 24, 64, 4)
    x, atoms = x.astype(np.float32), atoms.astype(np.float32)
    codes = ActiveSet(0.1, tolerance=1e-12).solve(x, atoms)[0]
    wide = ActiveSet(0.1, tolerance=1e-12).solve(x.astype(np.float64), atoms.astype(np.float64))[0]
    np.testing.assert_allclose(codes.toarray(), wide.toarray(), rtol=2e-7, atol=1e-9)  # one rounding to float32
    assert duality_gap(x, atoms, codes, 0.1).max() <= 1e-6  # what that rounding leaves


def test_a_slope_that_float32_cannot_tell_from_the_penalty_is_decided_in_float64():
    penalty, excess = 0.7, np.array([1e-8, -1e-8])  # in float32 both slopes round to 0.7, which there is below 0.7
    x = np.column_stack([np.diag(penalty * (1 + excess)), np.ones(2)])
    codes = ActiveSet(penalty, tolerance=0.0).solve(x, np.eye(3))[0].toarray()
    expected = np.column_stack([np.diag([penalty * 1e-8, 0.0]), [0.3, 0.3]])
    np.testing.assert_allclose(codes, expected, atol=1e-15)  # a few eps of 1


def test_both_precisions_run_the_same_compiled_kernel():
    x, atoms = random_problem(np.random.default_rng(12), 5, 6, 9, 2)
    Lasso(0.1).encode(x, atoms)
    before = list(active_set_.signatures)
    Lasso(0.1).encode(x.astype(np.float32), atoms.astype(np.float32))
    assert active_set_.signatures == before


def test_bad_configurations_and_samples_are_refused():
    for bad in (lambda: ElasticNet(0.1, -1.0), lambda: ElasticNet(0.0, 1.0), lambda: ReweightedLasso(0.1, -1)):
        with pytest.raises(ValueError, match=r"ridge|penalty|passes"):
            bad()
    with pytest.raises(ValueError, match="epsilon"):
        ReweightedLasso(0.1, epsilon=0.0)
    with pytest.raises(TypeError, match="float32 or float64"):
        NonNegativeLeastSquares().encode(np.ones((1, 2), np.float16), np.eye(2))
    with pytest.raises(ValueError, match="penalty"):
        kkt_residual(np.ones((1, 2)), np.eye(2), csr_array(np.ones((1, 2))), 0.0)
