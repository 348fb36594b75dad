"""Convex encoders against an interior point solver, which shares no method with them; skipped without cvxpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from slow_encoders import random_problem

from sparsesim.solvers.active_set import ElasticNet, NonNegativeLeastSquares
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.group_lasso import GroupLasso, TreeLasso
from sparsesim.solvers.homotopy import BasisPursuit, Homotopy
from sparsesim.solvers.proximal_gradient import FISTA

cvxpy: Any = pytest.importorskip("cvxpy")
pytest.importorskip("clarabel")

D, P, PENALTY, RIDGE = 10, 16, 0.2, 0.3
LABELS = tuple(i // 3 for i in range(P))
TREE = (tuple(range(P)), tuple(range(6)), (0, 1), (2, 3), (7, 8, 9), *((i,) for i in range(P)))
WEIGHTS = tuple(np.linspace(0.3, 1.2, len(TREE)))
EXACT = 1e-12  # relative gap: below what is compared, 1e-7


def square(z, x, atoms):
    return cvxpy.sum_squares(x - atoms.T @ z) / 2


def groups(z, members, weights):
    return sum(w * cvxpy.norm(z[list(g)], 2) for g, w in zip(members, weights, strict=True))


def disjoint(z):
    members = [np.flatnonzero(np.array(LABELS) == label) for label in set(LABELS)]
    return groups(z, members, [np.sqrt(len(g)) for g in members])


PROGRAMMES = {
    "lasso": (
        (Lasso(PENALTY, tolerance=EXACT), Homotopy(PENALTY), FISTA(PENALTY, tolerance=EXACT)),
        lambda z, x, atoms: square(z, x, atoms) + PENALTY * cvxpy.norm1(z),
    ),
    "elastic net": (
        (ElasticNet(PENALTY, RIDGE, tolerance=EXACT),),
        lambda z, x, atoms: square(z, x, atoms) + PENALTY * cvxpy.norm1(z) + RIDGE * cvxpy.sum_squares(z) / 2,
    ),
    "group lasso": (
        (GroupLasso(PENALTY, LABELS, tolerance=EXACT),),
        lambda z, x, atoms: square(z, x, atoms) + PENALTY * disjoint(z),
    ),
    "tree lasso": (
        (TreeLasso(PENALTY, TREE, WEIGHTS, tolerance=EXACT),),
        lambda z, x, atoms: square(z, x, atoms) + PENALTY * groups(z, TREE, WEIGHTS),
    ),
}
POSITIVE = {
    "lasso": (Lasso(PENALTY, True, tolerance=EXACT), Homotopy(PENALTY, True), FISTA(PENALTY, True, tolerance=EXACT)),
    "elastic net": (ElasticNet(PENALTY, RIDGE, True, tolerance=EXACT),),
    "group lasso": (GroupLasso(PENALTY, LABELS, True, tolerance=EXACT),),
    "tree lasso": (TreeLasso(PENALTY, TREE, WEIGHTS, True, tolerance=EXACT),),
}


def solved(objective, z, constraints=()):
    problem = cvxpy.Problem(cvxpy.Minimize(objective), list(constraints))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert problem.status == "optimal"
    return float(problem.value)


def valued(objective, z, code):
    z.value = code
    return float(objective.value)


def world(seed=0, n=5):
    return random_problem(np.random.default_rng(seed), n, D, P, 3, 0.2)


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("name", PROGRAMMES)
def test_the_objective_is_that_of_an_interior_point(name, non_negative):
    x, atoms = world()
    encoders, programme = PROGRAMMES[name]
    codes = [one.encode(x, atoms).toarray() for one in (POSITIVE[name] if non_negative else encoders)]
    for row in range(len(x)):
        z = cvxpy.Variable(P, nonneg=non_negative)
        objective = programme(z, x[row], atoms)
        best = solved(objective, z)
        for code in codes:
            assert not non_negative or code.min() >= 0
            assert valued(objective, z, code[row]) == pytest.approx(best, rel=1e-7)  # its gap is 1e-10


@pytest.mark.parametrize("non_negative", [False, True])
def test_basis_pursuit_is_the_least_l1_norm(non_negative):
    rng = np.random.default_rng(1)
    _, atoms = world()
    x = np.abs(rng.standard_normal((5, P))) @ atoms if non_negative else rng.standard_normal((5, D))
    codes = BasisPursuit(non_negative).encode(x, atoms).toarray()
    np.testing.assert_allclose(codes @ atoms, x, atol=1e-9)
    for row, code in zip(x, codes, strict=True):
        z = cvxpy.Variable(P, nonneg=non_negative)
        best = solved(cvxpy.norm1(z), z, [atoms.T @ z == row])
        assert np.abs(code).sum() == pytest.approx(best, rel=1e-7)


def test_non_negative_least_squares_has_the_least_error():
    x, atoms = world(2)
    for atoms_used in (atoms, atoms[:7]):
        codes = NonNegativeLeastSquares().encode(x, atoms_used).toarray()
        for row, code in zip(x, codes, strict=True):
            z = cvxpy.Variable(len(atoms_used), nonneg=True)
            objective = square(z, row, atoms_used)
            best = solved(objective, z)
            # relative to the sample where the fit is exact
            assert valued(objective, z, code) == pytest.approx(best, rel=1e-7, abs=1e-10 * float(row @ row))
