"""Absorption under an l1 penalty: closed forms against exact population optima, and the correction that undoes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from sparsesim.solvers import Lasso
from theory.absorption import (
    FULL_ABSORPTION,
    absorbed_solution,
    child_l1,
    deabsorb,
    limit_tilt,
    pair_loss,
    pair_tilt,
    stationary_atoms,
    tilt_matrix,
)

PAIR = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # parent alone, both, child alone


def lasso(atoms, x, penalty):
    """Non-negative lasso codes for independent atoms, as non-negative least squares with a shifted target."""
    shift = penalty / 2 * np.linalg.solve(atoms @ atoms.T, np.ones(len(atoms))) @ atoms
    return np.array([nnls(atoms.T, row - shift)[0] for row in x])


def loss(atoms, x, weights, penalty):
    codes = lasso(atoms, x, penalty)
    return float(weights @ (np.square(x - codes @ atoms).sum(1) + penalty * codes.sum(1)))


def optimum(x, weights, penalty, truth):
    """The best unit atoms near the truth, by BFGS with the gradient at fixed codes (the envelope theorem)."""

    def value(flat):
        raw = flat.reshape(truth.shape)
        size = np.linalg.norm(raw, axis=1, keepdims=True)
        atoms = raw / size
        codes = lasso(atoms, x, penalty)
        residual = x - codes @ atoms
        slope = -2 * (weights[:, None] * codes).T @ residual
        slope = (slope - (slope * atoms).sum(1, keepdims=True) * atoms) / size
        return weights @ (np.square(residual).sum(1) + penalty * codes.sum(1)), slope.ravel()

    found = minimize(value, (truth + 0.01).ravel(), jac=True, method="BFGS", options={"gtol": 1e-9})
    raw = found.x.reshape(truth.shape)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def population(seed, n=3, magnitudes=4):
    """Codes of all non-empty supports, none of them rare, with a few magnitudes each."""
    rng = np.random.default_rng(seed)
    supports = np.array([[row >> bit & 1 for bit in range(n)] for row in range(1, 2**n)], dtype=float)
    codes = np.repeat(supports, magnitudes, axis=0)
    weights = np.repeat(rng.dirichlet(np.full(len(supports), 6.0)), magnitudes) / magnitudes
    return codes * rng.uniform(0.5, 1.5, codes.shape), weights


def tilt_of(atoms):
    return atoms / np.diag(atoms)[:, None] - np.eye(len(atoms))


@given(st.floats(0.0, 1.5), st.floats(0.001, 0.9), st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3))
def test_the_loss_of_a_tilted_pair_is_that_of_its_exact_lasso_codes(tilt, penalty, raw):
    p = np.array(raw) / max(sum(raw), 1.0)
    atoms = np.array([[1.0, 0.0], [tilt, 1.0]]) / np.array([[1.0], [np.hypot(1.0, tilt)]])
    # One dozen operations on numbers of order 1.
    assert pair_loss(tilt, penalty, *p) == pytest.approx(loss(atoms, PAIR, p, penalty), abs=1e-12)


def test_the_pair_of_the_reference_has_the_reference_losses():
    assert float(pair_loss(0.0, 0.1, 0.2, 0.1, 0.02)) == pytest.approx(0.040950, abs=1e-12)
    atoms = optimum(PAIR, np.array([0.2, 0.1, 0.02]), 0.1, np.eye(2))
    # Computed independently, to the digits given; both atoms are free there.
    assert loss(atoms, PAIR, np.array([0.2, 0.1, 0.02]), 0.1) == pytest.approx(0.039907, abs=6e-7)
    assert tilt_of(atoms)[1, 0] == pytest.approx(0.213, abs=6e-4)
    alone = pair_tilt(0.1, 0.2, 0.1, 0.02)
    assert 0.039907 < float(pair_loss(alone, 0.1, 0.2, 0.1, 0.02)) < 0.040950
    assert alone == pytest.approx(0.21835, abs=1e-5)  # with the parent's atom held, by a grid of that spacing


@given(st.floats(0.001, 1.0), st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3))
def test_no_tilt_beats_the_optimal_one_and_it_is_never_zero(penalty, raw):
    p = np.array(raw) / max(sum(raw), 1.0)
    best = pair_tilt(penalty, *p)
    grid = np.linspace(0.0, 2.0, 2001)
    event("above one half" if best > 0.5 else "below one half")
    # Differences of losses of order 1 are flat to rounding.
    assert float(pair_loss(best, penalty, *p)) <= pair_loss(grid, penalty, *p).min() + 1e-14
    assert 0.0 < best <= 1.0


def test_without_penalty_or_company_there_is_no_tilt_and_without_solitude_it_is_full():
    assert pair_tilt(0.0, 0.2, 0.1, 0.02) == pair_tilt(0.1, 0.2, 0.0, 0.02) == 0.0
    for penalty in (1e-3, 1e-2, 1e-1):
        # The parent's code 1 - t ends at 0 before t reaches 1, by the shrinkage of order penalty.
        assert 1.0 - penalty < pair_tilt(penalty, 0.2, 0.1, 0.0) <= 1.0


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.6, 0.7, 1.0, 3.0, 10.0])
def test_the_limit_of_small_penalties_is_approached(ratio):
    limit = limit_tilt(ratio)
    errors = [abs(pair_tilt(penalty, 0.2, 0.1, ratio * penalty * 0.1) - limit) for penalty in (1e-2, 1e-3, 1e-4)]
    assert errors[0] > errors[1] > errors[2]
    # Corrections of relative order penalty; at the end of full absorption the curve is steep (ratio 0.6).
    assert errors[2] < (3e-2 if ratio == 0.6 else 1e-3)


def test_full_absorption_ends_at_two_minus_the_root_of_two():
    assert limit_tilt(FULL_ABSORPTION) == 1.0 > limit_tilt(FULL_ABSORPTION + 1e-6) > 0.999
    assert limit_tilt(1e4) == pytest.approx(1 / (1 + 2e4), rel=1e-4)
    values = [limit_tilt(ratio) for ratio in np.linspace(0.0, 5.0, 101)]
    assert np.all(np.diff(values) <= 0.0)


@given(st.floats(-1.0, 0.999), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_absorbing_a_strict_hierarchy_lowers_the_l1_norm_of_an_exact_code(cosine, first, second):
    low, high = sorted((first, second))
    parent = np.array([1.0, 0.0])
    child = np.array([cosine, np.sqrt(1 - cosine**2)])
    tilted = child + low * parent
    size = np.linalg.norm(tilted)
    assert float(child_l1(low, cosine)) == pytest.approx(size + 1 - low, abs=1e-12)
    assert np.allclose(tilted / size * size + (1 - low) * parent, child + parent)
    if high - low > 1e-6:
        assert child_l1(high, cosine) < child_l1(low, cosine)


def test_a_parallel_child_has_nothing_to_gain():
    assert np.ptp(child_l1(np.linspace(0, 1, 11), 1.0)) < 1e-14  # the control


@pytest.mark.parametrize("seed", range(4))
def test_the_tilt_matrix_predicts_the_exact_population_optimum(seed):
    codes, weights = population(seed)
    errors = []
    for penalty in (0.02, 0.005):
        atoms = optimum(codes, weights, penalty, np.eye(3))
        found, predicted = tilt_of(atoms), tilt_matrix(codes, penalty, weights)
        errors.append(np.abs(found - predicted).max() / np.abs(found).max())
        assert found.max() > 0.2 * penalty  # there is something to predict
        assert loss(atoms, codes, weights, penalty) < loss(np.eye(3), codes, weights, penalty)
    assert errors[1] < 0.05
    assert errors[1] < 0.4 * errors[0]  # the relative error is of first order: a quarter, here


@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.05))
@settings(max_examples=15)
def test_every_optimum_is_a_fixed_point_of_the_stationarity_equation(seed, penalty):
    rng = np.random.default_rng(seed)
    codes, weights = population(seed, magnitudes=2)
    truth = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag([1.0, 0.8, 1.2])  # it need not be orthonormal
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    x = codes @ truth
    atoms = optimum(x, weights, penalty, truth)
    used = lasso(atoms, x, penalty)
    assert used.max(0).min() > 0.1  # every atom is used
    # BFGS stops at gradients of 1e-9, or where the loss is flat to rounding; moments are at least 1e-3.
    assert np.abs(stationary_atoms(x, used, penalty, weights) - atoms).max() < 1e-4
    # The control: the truth is no fixed point, it has a gradient.
    true = lasso(np.eye(3), codes, penalty)
    if penalty > 0.01:
        assert np.abs(stationary_atoms(codes, true, penalty, weights) - np.eye(3)).max() > 1e-4


def test_independent_features_tilt_by_half_the_penalty_times_the_odds():
    p, penalty = 0.2, 1e-4
    codes = np.array([[row >> bit & 1 for bit in range(4)] for row in range(16)], dtype=float)
    weights = np.prod(np.where(codes > 0, p, 1 - p), axis=1)
    tilt = tilt_matrix(codes, penalty, weights)
    off = tilt[~np.eye(4, dtype=bool)]
    assert np.ptp(off) < 1e-12  # features are exchangeable
    # E s_J s_J' = p (1-p) I + p^2 11', E s_J = p 1: the solution is constant.
    assert off[0] == pytest.approx(penalty * p * p / (2 * (1 - p) * (p + 2 * p * p) + penalty * p), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_deabsorption_removes_the_first_order_of_the_error(seed):
    codes, weights = population(seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 3)))[0].T
    rest = []
    for penalty in (0.02, 0.005):
        atoms = optimum(codes, weights, penalty, np.eye(3))
        repaired, tilt = deabsorb(atoms @ rotation, lasso(atoms, codes, penalty), penalty, weights)
        before = np.abs(atoms - np.eye(3)).max()
        rest.append(np.abs(repaired - rotation).max())
        assert rest[-1] < 0.2 * before
        assert np.abs(tilt - tilt_of(atoms)).max() < 0.2 * before
    assert rest[1] < rest[0] / 8  # a quarter of the penalty: a sixteenth of a second-order error


def test_the_library_s_lasso_sees_the_optimum_below_the_truth_and_the_repair_close_to_it():
    codes, weights = population(11)
    penalty = 0.01
    atoms = optimum(codes, weights, penalty, np.eye(3))
    solver = Lasso(penalty / 2, non_negative=True, tolerance=1e-12)  # its loss has 1/2 ||x - z A||^2

    def value(rows):
        z = solver.encode(codes, rows).toarray()
        return weights @ (np.square(codes - z @ rows).sum(1) + penalty * z.sum(1)), z

    best, f = value(atoms)
    assert best < value(np.eye(3))[0]
    repaired, _ = deabsorb(atoms, f, penalty, weights)
    assert np.abs(repaired - np.eye(3)).max() < 0.1 * np.abs(atoms - np.eye(3)).max()


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_an_absorbed_solution_is_exact_and_cheaper_in_a_strict_hierarchy(seed, tilt):
    rng = np.random.default_rng(seed)
    parent = rng.uniform(1.0, 2.0, 40)
    child = rng.uniform(0.1, 1.0, 40) * (rng.random(40) < 0.5)
    other = rng.uniform(0.1, 1.0, 40) * (rng.random(40) < 0.5)
    codes = np.stack([parent, child, other], axis=1)
    matrix = np.zeros((3, 3))
    matrix[1, 0] = tilt
    atoms, absorbed = absorbed_solution(codes, matrix)
    assert np.abs(absorbed @ atoms - codes).max() < 1e-12  # zero residual: both gradients vanish
    assert absorbed.min() >= 0.0
    if tilt > 1e-6 and child.any():
        assert absorbed.sum() < codes.sum()


def test_an_absorption_that_a_lone_child_contradicts_is_refused():
    with pytest.raises(ValueError, match="realisable"):
        absorbed_solution(PAIR, [[0.0, 0.0], [0.5, 0.0]])


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_the_loss_is_convex_in_atoms_and_in_codes_but_not_in_both(seed, t):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, 4))
    first, second = (rng.random((6, 3)), rng.normal(size=(3, 4))), (rng.random((6, 3)), rng.normal(size=(3, 4)))

    def error(codes, atoms):
        return np.square(x - codes @ atoms).sum()

    def mix(a, b):
        return (1 - t) * a + t * b

    slack = 1e-10 * (1 + error(*first) + error(*second))
    for codes in (first[0], second[0]):
        ends = mix(error(codes, first[1]), error(codes, second[1]))
        assert error(codes, mix(first[1], second[1])) <= ends + slack
    for atoms in (first[1], second[1]):
        ends = mix(error(first[0], atoms), error(second[0], atoms))
        assert error(mix(first[0], second[0]), atoms) <= ends + slack
    # The control: the truth and its mirror image are both exact, their middle is not.
    codes = np.abs(x)
    assert np.square(codes @ np.eye(4) - codes).sum() == 0.0
    swap = np.eye(4)[[1, 0, 2, 3]]
    middle = (codes + codes @ swap) / 2 @ ((np.eye(4) + swap) / 2)
    assert np.square(middle - codes).sum() > 1e-3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: child_l1(1.2, 0.0), "tilt"),
        (lambda: pair_loss(0.1, 2.0, 0.1, 0.1, 0.1), "penalty"),
        (lambda: pair_loss(0.1, 0.1, 0.6, 0.6, 0.1), "sub-distribution"),
        (lambda: pair_loss(-0.1, 0.1, 0.1, 0.1, 0.1), "tilt"),
        (lambda: limit_tilt(-1.0), "ratio"),
        (lambda: tilt_matrix([[-1.0]], 0.1), "negative"),
        (lambda: tilt_matrix(PAIR, -0.1), "penalty"),
        (lambda: tilt_matrix(PAIR, 0.1, [1.0]), "weights"),
        (lambda: absorbed_solution(PAIR, np.eye(2)), "diagonal"),
        (lambda: stationary_atoms(PAIR, [[1.0, 0.0]] * 3, 0.1), "atom 1"),
        (lambda: stationary_atoms(PAIR[:2], PAIR, 0.1), "x must"),
        (lambda: deabsorb(2 * np.eye(2), PAIR, 0.1), "unit rows"),
        (lambda: deabsorb(np.ones((2, 2)) / np.sqrt(2), PAIR, 0.1), "independent"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
