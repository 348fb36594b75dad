"""FISTA, the active set and the path: three roads to one minimum."""

from __future__ import annotations

import numpy as np
import pytest
from slow_encoders import random_problem

from sparsesim.solvers.convex import Lasso, duality_gap
from sparsesim.solvers.homotopy import Homotopy
from sparsesim.solvers.proximal_gradient import FISTA


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("penalty", [0.5, 0.1, 0.02])
def test_fista_the_active_set_and_the_path_agree(penalty, non_negative):
    x, atoms = random_problem(np.random.default_rng(0), 40, 12, 24, 3)
    fista = FISTA(penalty, non_negative, tolerance=1e-13).encode(x, atoms)
    exact = Lasso(penalty, non_negative, tolerance=1e-13).encode(x, atoms).toarray()
    path = Homotopy(penalty, non_negative).encode(x, atoms).toarray()
    assert duality_gap(x, atoms, fista, penalty, non_negative=non_negative).max() <= 2e-13
    # sqrt(2 gap ||x||^2 / 2 / smallest active eigenvalue), 1e-13 and 1e-3
    np.testing.assert_allclose(fista.toarray(), exact, atol=5e-5)
    np.testing.assert_allclose(path, exact, atol=1e-10)  # both exact to rounding


def test_fewer_steps_leave_a_larger_gap():
    x, atoms = random_problem(np.random.default_rng(1), 40, 12, 24, 3)
    gaps = [
        duality_gap(x, atoms, FISTA(0.1, tolerance=0.0, max_iterations=steps).encode(x, atoms), 0.1).max()
        for steps in (1, 8, 64)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > 0


def test_a_loose_tolerance_is_met_and_not_exceeded_by_much():
    x, atoms = random_problem(np.random.default_rng(2), 40, 16, 32, 3)
    for encoder in (FISTA(0.05, tolerance=1e-2), Lasso(0.05, tolerance=1e-2)):
        assert duality_gap(x, atoms, encoder.encode(x, atoms), 0.05).max() <= 1e-2


@pytest.mark.parametrize("arguments", [(0.0,), (0.1, False, -1.0), (0.1, False, 1e-6, 0)])
def test_bad_configurations_are_refused(arguments):
    with pytest.raises(ValueError, match=r"penalty|tolerance|max_iterations"):
        FISTA(*arguments)
