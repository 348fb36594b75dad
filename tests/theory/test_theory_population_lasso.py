"""Dictionary learning on a population: codes against independent solvers, gradients by differences, fixed points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from sparsesim.solvers import Lasso
from theory.absorption import pair_loss, pair_tilt, stationary_atoms
from theory.population_lasso import best_atoms, lasso_codes, population_loss

PAIR = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
STARTS = np.array([[[1.0, 0.01], [tilt, 1.0]] for tilt in (0.01, 0.3, 0.7, 1.0)])


def unit(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_codes_are_those_of_two_independent_solvers(seed):
    rng = np.random.default_rng(seed)
    atoms, x, penalty = unit(rng, 4, 5), rng.standard_normal((20, 5)), rng.uniform(0.05, 0.8)
    found = lasso_codes(x, atoms, penalty)
    shift = penalty / 2 * np.linalg.solve(atoms @ atoms.T, np.ones(4)) @ atoms  # ||x - f A||^2 + penalty 1 f, squared
    assert found == pytest.approx(np.array([nnls(atoms.T, row - shift)[0] for row in x]), abs=1e-10)
    ours = Lasso(penalty / 2, non_negative=True, tolerance=1e-12).encode(x, atoms).toarray()  # its loss has a half
    assert found == pytest.approx(ours, abs=1e-6)  # the square root of the tolerance of its duality gap


def test_more_atoms_than_dimensions_and_copies_have_codes_of_the_same_loss():
    rng = np.random.default_rng(0)
    atoms = np.concatenate([unit(rng, 3, 2), [[1.0, 0.0], [1.0, 0.0]]])
    x = rng.standard_normal((30, 2))
    codes = lasso_codes(x, atoms, 0.3)
    ours = Lasso(0.15, non_negative=True, tolerance=1e-12).encode(x, atoms).toarray()

    def value(f):
        return np.square(x - f @ atoms).sum(axis=1) + 0.3 * f.sum(axis=1)

    assert value(codes) == pytest.approx(value(ours), abs=1e-9)
    assert codes.min() >= 0.0


def test_the_gradient_is_that_of_differences():
    rng = np.random.default_rng(1)
    x, weights = np.abs(rng.standard_normal((12, 3))), rng.dirichlet(np.ones(12))
    atoms, step = unit(rng, 3, 3), 1e-5
    _, slope = population_loss(x, weights, atoms, 0.2)
    for place in np.ndindex(3, 3):
        moved = []
        for sign in (1.0, -1.0):
            other = atoms.copy()
            other[place] += sign * step  # scaled back to the sphere within
            moved.append(population_loss(x, weights, other, 0.2)[0])
        # central differences are off by step^2 times a third derivative of order 1, and by rounding over the step
        assert slope[place] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("penalty", [0.05, 0.2])
@pytest.mark.parametrize("ratio", [0.0, 0.6, 1.0, 4.0])
def test_the_best_pair_is_a_fixed_point_and_at_least_as_good_as_tilting_the_child_alone(penalty, ratio):
    law = (0.2, 0.1, ratio * penalty * 0.1)
    found = best_atoms(PAIR, law, STARTS, penalty)
    alone = pair_tilt(penalty, *law)
    assert found.loss <= float(pair_loss(alone, penalty, *law)) + 1e-12
    assert found.loss <= population_loss(PAIR, law, np.eye(2), penalty)[0]
    assert found.slope < 1e-7  # where descent stops
    codes = lasso_codes(PAIR, found.atoms, penalty)
    assert stationary_atoms(PAIR, codes, penalty, law) == pytest.approx(found.atoms, abs=1e-5)  # slope over curvature


def test_the_reference_pair_has_its_reference_loss_with_both_atoms_free():
    found = best_atoms(PAIR, (0.2, 0.1, 0.02), STARTS, 0.1)
    assert found.loss == pytest.approx(0.039907, abs=6e-7)  # the digits given
    assert found.atoms[1, 0] / found.atoms[1, 1] == pytest.approx(0.213, abs=6e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lasso_codes([[np.nan]], [[1.0]], 0.1), "x must be a finite array"),
        (lambda: lasso_codes(PAIR, np.ones((9, 2)), 0.1), "1 <= n <= 8"),
        (lambda: lasso_codes(PAIR, [[0.0, 0.0]], 0.1), "not zero"),
        (lambda: lasso_codes(PAIR, np.eye(2), -0.1), "penalty"),
        (lambda: population_loss(PAIR, [1.0], np.eye(2), 0.1), "weights must be 3 numbers"),
        (lambda: best_atoms(PAIR, None, np.eye(2), 0.1), "starts must be"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
