"""FISTA, the active set and the path: three roads to one minimum."""

from __future__ import annotations

import numpy as np
import pytest
from slow_encoders import random_problem

from sparsesim._arrays import unit_rows
from sparsesim.solvers.active_set import ActiveSet
from sparsesim.solvers.convex import Lasso, duality_gap
from sparsesim.solvers.homotopy import Homotopy
from sparsesim.solvers.proximal_gradient import FISTA, proximal_codes


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


def test_the_gap_that_is_reported_is_the_gap_of_the_codes():
    x, atoms = random_problem(np.random.default_rng(7), 6, 6, 12, 3)
    for accelerated in (True, False):
        codes, gaps = proximal_codes(x, atoms, 0.1, False, (1e-9, 20), accelerated)
        assert gaps.max() > 1e-4  # 20 steps are not enough: a gap of zero would be a claim of success
        np.testing.assert_allclose(gaps, duality_gap(x, atoms, codes, 0.1), rtol=1e-9, atol=1e-13)


def test_a_second_attempt_never_takes_the_place_of_a_better_code():
    rng = np.random.default_rng(1)  # twelve atoms in clusters 1e-12 or so wide: proximal gradients creep
    d, p = int(rng.integers(1, 12)), int(rng.integers(1, 24))
    centres = unit_rows(rng.standard_normal((p, d)))[0][rng.integers(0, p // 2, p)]
    atoms = unit_rows(centres + rng.choice([1e-6, 1e-9, 1e-12]) * rng.standard_normal((p, d)))[0]
    x = rng.standard_normal((6, d))
    x[0] = 0
    penalty = 1e-6 * float(np.abs(x @ atoms.T).max())
    first = duality_gap(x, atoms, ActiveSet(penalty).solve(x, atoms)[0], penalty)
    final = duality_gap(x, atoms, Lasso(penalty).encode(x, atoms), penalty)
    assert first.max() > 1e-6  # rounding keeps a row from its tolerance, so that there is a second attempt
    assert np.all(final <= first + 1e-5), (first.max(), final.max())  # codes of 1e5: gaps are resolved to 1e-5
