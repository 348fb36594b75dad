"""Group and tree lassos against their certificates, the lasso, closed forms and a direct minimisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from slow_encoders import random_problem

from sparsesim.kernels.group_lasso import _shrink_
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.group_lasso import GroupLasso, TreeLasso, _compressed

TREE = ((0, 1, 2, 3, 4, 5), (1, 2, 3), (4, 5), (2,), (3,), (5,), (6, 7), (7,))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 10), st.floats(0.01, 1.0), st.booleans())
def test_codes_are_certified(seed, d, penalty, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 6, d, 8, 3)
    for encoder in (
        TreeLasso(penalty, TREE, (), non_negative, 1e-8, 50_000),
        GroupLasso(penalty, (0, 0, 1, 1, 1, 2, 3, 3), non_negative, 1e-8, 50_000).tree,
    ):
        codes = encoder.encode(x, atoms)
        assert encoder.duality_gap(x, atoms, codes).max() <= 1.1e-8  # the certificate's own rounding
        assert not non_negative or codes.data.min(initial=0.0) >= 0


@pytest.mark.parametrize("non_negative", [False, True])
def test_groups_of_one_atom_are_the_lasso(non_negative):
    x, atoms = random_problem(np.random.default_rng(0), 30, 10, 8, 3)
    lasso = Lasso(0.1, non_negative, tolerance=1e-13).encode(x, atoms).toarray()
    group = GroupLasso(0.1, tuple(range(8)), non_negative, tolerance=1e-13).encode(x, atoms).toarray()
    tree = TreeLasso(0.1, tuple((i,) for i in range(8)), (), non_negative, tolerance=1e-13).encode(x, atoms).toarray()
    np.testing.assert_allclose(group, lasso, atol=1e-5)  # sqrt(1e-13 / smallest eigenvalue, above 0.01)
    assert np.array_equal(group, tree)


def test_orthonormal_atoms_shrink_whole_groups():
    rng = np.random.default_rng(1)
    atoms = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    x, labels, penalty = rng.standard_normal((20, 6)), np.array([0, 0, 0, 1, 1, 7]), 0.8
    codes = GroupLasso(penalty, tuple(labels.tolist()), tolerance=1e-13).encode(x, atoms).toarray()
    slope, expected = x @ atoms.T, np.zeros((20, 6))
    for label in (0, 1, 7):
        own = labels == label
        norm = np.linalg.norm(slope[:, own], axis=1, keepdims=True)
        expected[:, own] = slope[:, own] * np.maximum(1 - penalty * np.sqrt(own.sum()) / norm, 0)
    np.testing.assert_allclose(codes, expected, atol=1e-6)  # sqrt(1e-13)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.01, 2.0), st.booleans())
def test_the_proximal_map_of_a_tree_is_a_minimum(seed, amount, non_negative):
    rng = np.random.default_rng(seed)
    v, groups = rng.standard_normal(8), _compressed(TREE, (), 8)
    z = v.copy()
    _shrink_(z, groups, amount, non_negative)
    limits, members, weights = groups

    def value(u):
        parts = zip(limits[:-1], limits[1:], weights, strict=True)
        return np.square(u - v).sum() / 2 + amount * sum(w * np.linalg.norm(u[members[a:b]]) for a, b, w in parts)

    # the function is 1-strongly convex: no point at distance r is lower than the minimum plus r^2 / 2
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(20):
            u = z + scale * rng.standard_normal(8)
            u = np.maximum(u, 0) if non_negative else u
            assert value(u) >= value(z) + np.square(u - z).sum() / 2 - 1e-12  # rounding
    assert value(z) <= value(np.zeros(8))


def test_a_tree_code_is_a_direct_minimisation():
    x, atoms = random_problem(np.random.default_rng(2), 3, 6, 8, 3)
    encoder = TreeLasso(0.1, TREE, tolerance=1e-12, max_iterations=100_000)
    limits, members, weights = _compressed(TREE, (), 8)

    def value(z, row):
        norms = sum(w * np.sqrt(np.square(z[members[a:b]]).sum()) for a, b, w in zip(limits, limits[1:], weights))  # noqa: B905
        return np.square(row - z @ atoms).sum() / 2 + 0.1 * norms

    for row, code in zip(x, encoder.encode(x, atoms).toarray(), strict=True):
        found = minimize(value, code + 0.01, args=(row,), method="Powell", options={"xtol": 1e-8, "maxiter": 20_000})
        assert value(code, row) <= found.fun + 1e-10


def test_a_tree_uses_an_atom_only_with_the_groups_around_it():
    x, atoms = random_problem(np.random.default_rng(3), 200, 10, 8, 2)
    chain = ((0, 1, 2), (1, 2), (2,), (3, 4, 5, 6, 7))
    used = TreeLasso(0.3, chain, tolerance=1e-10).encode(x, atoms).toarray() != 0
    assert used[:, 2].any() and not used[:, 2].all()
    assert np.all(used[:, 2] <= used[:, 1]) and np.all(used[:, 1] <= used[:, 0])  # an atom's slope is never exactly 0


def test_rows_do_not_depend_on_each_other_and_scale():
    x, atoms = random_problem(np.random.default_rng(4), 20, 9, 8, 3)
    x[4] = 0
    encoder = TreeLasso(0.1, TREE)
    whole = encoder.encode(x, atoms).toarray()
    assert np.array_equal(whole, np.concatenate([encoder.encode(x[i : i + 1], atoms).toarray() for i in range(20)]))
    assert not whole[4].any() and encoder.encode(x[:0], atoms).shape == (0, 8)
    large = TreeLasso(0.1e150, TREE).encode(1e150 * x, atoms).toarray() / 1e150
    np.testing.assert_allclose(large, whole, atol=1e-6)  # the same steps with other rounding
    assert encoder.encode(x.astype(np.float32), atoms).dtype == np.float32


def test_bad_groups_are_refused():
    for groups in ((), ((0, 0),), ((0, 1), (1, 2)), ((-1,),)):
        with pytest.raises(ValueError, match="groups must"):
            TreeLasso(0.1, groups)
    with pytest.raises(ValueError, match="cover"):
        TreeLasso(0.1, ((0, 1),)).encode(np.ones((1, 3)), np.eye(3))
    with pytest.raises(ValueError, match="weights must"):
        TreeLasso(0.1, ((0,),), (1.0, 2.0))
    with pytest.raises(TypeError, match="labels"):
        GroupLasso(0.1, (0.5,))
