"""Masked sparse coding descends along the true gradient and keeps spare atoms from fitting noise."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import Status
from sparsesim.solvers.masked import MaskedSparseCoding, _Adam


def world(seed, n, d, m, k, noise):
    rng = np.random.default_rng(seed)
    atoms = unit_rows(rng.standard_normal((m, d)))[0]
    codes = np.zeros((n, m))
    for row in codes:
        row[rng.choice(m, k, replace=False)] = rng.standard_normal(k)
    return atoms, unit_rows(codes)[0] @ atoms + noise * rng.standard_normal((n, d))


def distance(atoms, fitted):
    return (1 - np.abs(atoms @ fitted.atoms.T).max(axis=1)).mean()


@pytest.mark.parametrize("hidden", [0.0, 0.3])
def test_the_gradient_is_that_of_the_error_on_the_coordinates_that_count(hidden):
    rng = np.random.default_rng(0)
    x, atoms = rng.standard_normal((7, 10)), unit_rows(rng.standard_normal((12, 10)))[0]
    solver = MaskedSparseCoding(12, 2, hidden)
    order, visible = rng.permutation(10), solver._visible(10)
    gradient, (error, energy) = solver._gradient(x, atoms, order, visible)
    seen, counted = order[:visible], order[visible:] if hidden else order
    codes = np.zeros((7, 12))
    for row in range(7):  # selection by correlations with the pieces of the atoms, as long as they are
        residual, chosen = x[row, seen], []
        for _ in range(2):
            chosen.append(int(np.argmax(np.abs(atoms[:, seen] @ residual))))
            weights = np.linalg.lstsq(atoms[np.ix_(chosen, seen)].T, x[row, seen], rcond=None)[0]
            residual = x[row, seen] - weights @ atoms[np.ix_(chosen, seen)]
        codes[row, chosen] = weights

    def loss(dictionary):
        return np.square(x[:, counted] - codes @ dictionary[:, counted]).sum()

    assert error == pytest.approx(loss(atoms), rel=1e-9)
    assert energy == pytest.approx(np.square(x[:, counted]).sum(), rel=1e-12)
    step = 1e-5
    for place in [(0, 0), (int(np.flatnonzero(codes.any(axis=0))[0]), int(counted[0])), (3, 5)]:
        up, down = atoms.copy(), atoms.copy()
        up[place] += step
        down[place] -= step
        slope = (loss(up) - loss(down)) / (2 * step) / len(x)
        assert gradient[place] == pytest.approx(slope, abs=1e-8)  # quadratic: the difference quotient is exact
    if hidden:
        assert not gradient[:, seen].any()


def test_adam_is_the_textbook_recursion():
    rng = np.random.default_rng(1)
    adam, first, second = _Adam((3,), 0.1), np.zeros(3), np.zeros(3)
    for t in range(1, 6):
        gradient = rng.standard_normal(3)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        expected = 0.1 * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(adam.step(gradient), expected, rtol=1e-12)


def test_hiding_data_keeps_spare_atoms_from_fitting_the_noise():
    scores = {}
    atoms, x = world(0, 300, 30, 40, 3, 0.12)
    _, more = world(0, 500, 30, 40, 3, 0.12)
    start = np.concatenate([atoms, more[-80:]])
    for hidden in (0.0, 0.1):
        solver = MaskedSparseCoding(120, 3, hidden, epochs=150, batch_size=100)
        fitted = solver.fit_from(x, start, rng=stream(0, Role.SOLVER))
        scores[hidden] = distance(atoms, fitted)
        assert fitted.status is Status.BUDGET_SPENT and len(fitted.trace["loss"]) == 150
    assert scores[0.0] > 1.2 * scores[0.1], scores


@pytest.mark.slow
def test_the_published_ratio_is_met_at_a_thousand_atoms():
    # figure "A-init": 0.335 without and 0.158 with masks at d=100, m=200, p=1000, sigma=0.1, read off to 0.01
    atoms, x = world(0, 1000, 100, 200, 5, 0.1)
    _, more = world(0, 1800, 100, 200, 5, 0.1)
    start = np.concatenate([atoms, more[-800:]])
    plain, masked = (
        distance(atoms, MaskedSparseCoding(1000, 5, hidden).fit_from(x, start, rng=stream(0, Role.SOLVER)))
        for hidden in (0.0, 0.1)
    )
    assert plain == pytest.approx(0.335, abs=0.03) and masked == pytest.approx(0.158, abs=0.03)
    assert plain > 1.5 * masked


def test_the_loss_falls_and_the_scale_of_the_samples_does_not_matter():
    _, x = world(2, 300, 12, 12, 2, 0.02)
    solver = MaskedSparseCoding(16, 2, 0.2, epochs=60, batch_size=50, learning_rate=0.01, centre=True)
    fits = [solver.fit(c * x, rng=stream(0, Role.SOLVER)) for c in (1.0, 2.0**300)]
    assert np.array_equal(fits[0].atoms, fits[1].atoms)
    loss = fits[0].trace["loss"]
    assert np.mean(loss[-10:]) < 0.8 * np.mean(loss[:10])
    np.testing.assert_allclose(fits[0].bias, x.mean(axis=0), atol=1e-12)


def test_no_samples_worth_coding_leave_the_atoms_where_they_were():
    fitted = MaskedSparseCoding(3, 1, epochs=2).fit(np.zeros((5, 4)), rng=stream(0, Role.SOLVER))
    assert np.isnan(fitted.trace["loss"]).all() and np.isfinite(fitted.atoms).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 1.0}, "hidden"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"k": 0}, "k must"),
        ({"epochs": 0}, "e"),
    ],
)
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskedSparseCoding(**({"width": 4, "k": 1} | arguments))


def test_impossible_fits_are_refused_with_a_remedy():
    x, rng = np.ones((5, 3)), stream(0, Role.SOLVER)
    with pytest.raises(ValueError, match="Lower k or hidden"):
        MaskedSparseCoding(4, 3).fit(x, rng=rng)
    with pytest.raises(ValueError, match="width=4 rows"):
        MaskedSparseCoding(4, 1).fit_from(x, np.eye(3), rng=rng)
    with pytest.raises(ValueError, match="columns"):
        MaskedSparseCoding(4, 1).fit_from(x, np.eye(4), rng=rng)
