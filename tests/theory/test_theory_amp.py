"""State evolution has its reference values, and message passing and the lasso follow it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from sparsesim.solvers.convex import Lasso
from theory.amp import (
    bayes_threshold,
    best_alpha,
    best_soft_mse,
    evolve,
    fixed_points,
    lasso_fixed_point,
    lasso_penalty,
    lasso_state,
    soft_active,
    soft_mse,
)
from theory.denoisers import Exponential, Gaussian, HalfNormal, One, Rademacher, SpikeSlab, Uniform
from theory.phase import minimax_threshold, statistical_dimension

FAMILIES = {
    "gauss": Gaussian(), "half": HalfNormal(), "exp": Exponential(), "unif": Uniform(), "one": One(),
    "rad": Rademacher(),
}  # fmt: skip
signs = st.booleans()
families = st.sampled_from(sorted(FAMILIES))

# eps, then delta_alg of gauss, half, exp, unif, one, rad
THRESHOLDS = [
    (.001, .00409, .00379, .00326, .00449, .00712, .00792), (.005, .01691, .01539, .01349, .01771, .02664, .03041),
    (.01, .03077, .02776, .02457, .03142, .04599, .05324), (.02, .05546, .04955, .04438, .05498, .07794, .09177),
    (.05, .11873, .10456, .09547, .11223, .15081, .18265), (.1, .20756, .18083, .16819, .18771, .23847, .29687),
    (.2, .35541, .30751, .29253, .30526, .35526, .45839), (.3, .48021, .41609, .40179, .4003, .42691, .56616),
    (.4, .58925, .51391, .50173, .48657, .4667, .63443), (.5, .6857, .60444, .59502, .57214, .47952, .6681),
]  # fmt: skip

# family, delta, eps, sigma2, MMSE, best lasso
NOISY = [
    ("gauss", .5, .1, .01, .00287, .00673), ("gauss", .5, .1, .001, .0001888, .0008512),
    ("gauss", .5, .1, .0001, 1.496e-05, 9.234e-05), ("gauss", .5, .2, .001, .0005826, .007054),
    ("gauss", .25, .05, .001, .0001019, .0008198), ("gauss", .25, .1, .001, .0003458, .02105),
    ("gauss", .125, .02, .001, 4.077e-05, .000429), ("half", .5, .1, .01, .002437, .004543),
    ("half", .5, .1, .001, .0001765, .0005271), ("half", .5, .1, .0001, 1.459e-05, 5.528e-05),
    ("half", .5, .2, .001, .0005149, .00182), ("half", .25, .05, .001, 9.492e-05, .000443),
    ("half", .25, .1, .001, .0002978, .004723), ("half", .125, .02, .001, 3.815e-05, .0002453),
]  # fmt: skip


def soft(r, level, non_negative):
    return np.maximum(r - level, 0) if non_negative else np.sign(r) * np.maximum(np.abs(r) - level, 0)


def draw_system(rng, n, d, eps, noise_variance, non_negative):
    atoms = rng.standard_normal((n, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)  # as in `sparsesim`; a relative 1/d of N(0, 1/d) entries
    code = (rng.random(n) < eps) * rng.standard_normal(n)
    code = np.abs(code) if non_negative else code
    return atoms, code, code @ atoms + math.sqrt(noise_variance) * rng.standard_normal(d)


def message_passing(y, atoms, denoise, steps):
    """Approximate message passing; ``denoise(r, tau2)`` gives estimates and their slopes."""
    n, d = atoms.shape
    code, residual, levels = np.zeros(n), y, []
    for _ in range(steps):
        levels.append(residual @ residual / d)
        code, slope = denoise(code + atoms @ residual, levels[-1])
        residual = y - code @ atoms + residual * slope.sum() / d
    return code, np.array(levels)


@pytest.mark.parametrize("row", THRESHOLDS)
def test_the_algorithmic_thresholds_have_their_reference_values(row):
    eps = row[0]
    found = [bayes_threshold(SpikeSlab(eps, FAMILIES[f])) for f in ("gauss", "half", "exp", "unif", "one", "rad")]
    assert found == pytest.approx(row[1:], abs=6e-6)  # rounded to five digits, from a grid of noise levels
    assert found[0] < statistical_dimension(eps)
    assert max(found[1:5]) < statistical_dimension(eps, non_negative=True)
    assert eps < min(found[:4])


@pytest.mark.parametrize(("name", "delta", "eps", "noise", "mmse", "lasso"), NOISY)
def test_errors_with_noise_have_their_reference_values(name, delta, eps, noise, mmse, lasso):
    prior, non_negative = SpikeSlab(eps, FAMILIES[name]), name != "gauss"

    def risk(tau2):
        return best_soft_mse(prior, tau2, non_negative=non_negative)

    found = float(fixed_points(prior.mmse, delta, noise, prior.variance))
    assert delta * (found - noise) == pytest.approx(mmse, rel=5.1e-4)  # rounded to four digits, one to three
    best = float(fixed_points(risk, delta, noise, prior.power))
    assert delta * (best - noise) == pytest.approx(lasso, rel=5.1e-4)
    assert found < best


@given(st.floats(0.001, 0.9), st.floats(1e-3, 1e3), signs)
def test_far_entries_make_soft_thresholding_as_bad_as_the_minimax_risk_and_no_worse(eps, tau2, non_negative):
    z = float(minimax_threshold(eps, non_negative=non_negative))
    worst = tau2 * float(statistical_dimension(eps, non_negative=non_negative))
    far = SpikeSlab(eps, One() if non_negative else Rademacher(), 60 * math.sqrt(tau2))
    assert soft_mse(far, tau2, z, non_negative=non_negative) == pytest.approx(worst, rel=1e-9)
    assert best_alpha(far, tau2, non_negative=non_negative) == pytest.approx(z, abs=1e-4)
    near = SpikeSlab(eps, One() if non_negative else Rademacher(), 2 * math.sqrt(tau2))
    assert soft_mse(near, tau2, z, non_negative=non_negative) < worst


@settings(max_examples=40)
@given(families, st.floats(0.01, 1.0), st.floats(-3, 2), st.floats(0, 4), signs)
def test_soft_thresholding_is_never_better_than_bayes_and_its_best_threshold_is_best(name, eps, power, alpha, positive):
    prior, tau2 = SpikeSlab(eps, FAMILIES[name]), 10.0**power
    error = soft_mse(prior, tau2, [alpha, 0.0], non_negative=positive)
    best = best_soft_mse(prior, tau2, non_negative=positive)
    assert float(prior.mmse(tau2)) <= best * (1 + 1e-8) and best <= error[0] * (1 + 1e-8)
    nothing_left = soft_mse(prior, tau2, 12.0 + 60.0 / math.sqrt(tau2), non_negative=positive)
    assert nothing_left == pytest.approx(prior.power, rel=1e-8)
    if not positive:
        assert error[1] == pytest.approx(tau2, rel=1e-9)  # no threshold: the noise stays
        assert soft_active(prior, tau2, 0.0) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_best_threshold_agrees_with_a_search(name):
    prior = SpikeSlab(0.1, FAMILIES[name])
    for tau2 in (1e-4, 0.01, 0.3):
        search = minimize_scalar(
            lambda a, tau2=tau2: float(soft_mse(prior, tau2, a)),
            bounds=(0, 8),
            method="bounded",
            options={"xatol": 1e-6},
        )
        assert best_soft_mse(prior, tau2) == pytest.approx(search.fun, rel=1e-7)  # as stated


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("name", ["gauss", "half", "unif"])
def test_soft_thresholding_has_its_error_and_activity_in_simulation(name, non_negative):
    rng, count, tau2, alpha = np.random.default_rng(0), 200_000, 0.1, 1.2
    values = {"gauss": rng.standard_normal(count), "unif": rng.random(count)}
    values["half"] = np.abs(values["gauss"])
    s = (rng.random(count) < 0.3) * values[name]
    shrunk = soft(s + math.sqrt(tau2) * rng.standard_normal(count), alpha * math.sqrt(tau2), non_negative)
    prior = SpikeSlab(0.3, FAMILIES[name])
    for sample, function in (((shrunk - s) ** 2, soft_mse), (shrunk != 0, soft_active)):
        error = sample.std(ddof=1) / math.sqrt(count)
        assert abs(sample.mean() - float(function(prior, tau2, alpha, non_negative=non_negative))) < 5 * error


@settings(max_examples=25)
@given(families, st.floats(0.01, 0.6), st.floats(-6, 0), st.lists(st.floats(0.02, 2.0), min_size=1, max_size=4))
def test_fixed_points_are_reached_by_iteration_from_above(name, eps, power, deltas):
    prior, noise = SpikeSlab(eps, FAMILIES[name]), 10.0**power
    levels = fixed_points(prior.mmse, deltas, noise, prior.variance)
    residual = noise + prior.mmse(levels) / deltas - levels
    np.testing.assert_allclose(residual, 0, atol=1e-7 * levels.max())
    assert np.all(np.diff(levels[np.argsort(deltas)]) <= 1e-7 * levels.max())  # more measurements, less noise
    path = evolve(prior.mmse, deltas[0], noise, prior.variance, 60)
    assert np.all(np.diff(path) <= 1e-7 * path[0])
    assert path[-1] >= levels[0] * (1 - 1e-6)  # never past the largest fixed point
    if path[-2] - path[-1] < 1e-10 * path[-1]:
        assert path[-1] == pytest.approx(levels[0], rel=1e-4)  # what is left of a geometric series, ratio < 0.999


@pytest.mark.parametrize("name", ["gauss", "half", "one"])
def test_without_noise_recovery_begins_at_the_threshold(name):
    prior = SpikeSlab(0.1, FAMILIES[name])
    threshold = bayes_threshold(prior)
    below, above = fixed_points(prior.mmse, [0.995 * threshold, 1.005 * threshold], 0.0, prior.variance)
    assert above == 0 < 0.01 < below

    def risk(tau2):
        return best_soft_mse(prior, tau2)

    edge = float(statistical_dimension(0.1))  # of l1, whatever the magnitudes
    below, above = fixed_points(risk, [0.98 * edge, 1.001 * edge], 0.0, prior.power)
    assert above == 0 < below


def test_a_phase_diagram_is_a_column_a_call():
    delta = np.linspace(0.02, 0.98, 100)
    columns = []
    for eps in np.linspace(0.01, 0.6, 100):
        prior = SpikeSlab(eps, Gaussian())
        columns.append(fixed_points(prior.mmse, delta, 1e-4, prior.variance))
    levels = np.array(columns)
    assert np.all(np.diff(levels, axis=1) < 0) and np.all(np.diff(levels, axis=0) > 0)
    assert fixed_points(prior.mmse, np.ones((2, 0)), 1e-4, 1.0).shape == (2, 0)


@pytest.mark.parametrize(("name", "delta", "eps", "noise"), [("gauss", 0.5, 0.1, 0.01), ("half", 0.4, 0.1, 0.001)])
def test_bayes_message_passing_follows_state_evolution(name, delta, eps, noise):
    rng, n = np.random.default_rng(0), 2000
    d, prior = round(delta * n), SpikeSlab(eps, FAMILIES[name])

    def denoise(r, tau2):
        _, mean, variance = prior.posterior(r, tau2)
        return mean, variance / tau2

    runs = [draw_system(rng, n, d, eps, noise, name == "half") for _ in range(4)]
    results = [(code, *message_passing(y, atoms, denoise, 20)) for atoms, code, y in runs]
    levels = np.array([result[2] for result in results])
    predicted = evolve(prior.mmse, delta, noise, prior.power, 19)
    # Fluctuations of |y|^2 of sqrt(2/(n eps) + 2/d) = 0.1 a run, and corrections of order 1/n that the steep middle
    # of the descent amplifies.
    np.testing.assert_allclose(levels.mean(axis=0), predicted, rtol=0.25)
    np.testing.assert_allclose(levels.mean(axis=0)[[0, 1, -1]], predicted[[0, 1, -1]], rtol=0.12)
    errors = [np.mean((estimate - code) ** 2) for code, estimate, _ in results]
    mmse = delta * (float(fixed_points(prior.mmse, delta, noise, prior.variance)) - noise)
    assert np.mean(errors) == pytest.approx(mmse, rel=0.15)


@pytest.mark.parametrize("non_negative", [False, True])
def test_the_lasso_has_its_predicted_error_and_activity(non_negative):
    rng, n, d, eps, noise, penalty = np.random.default_rng(1), 600, 300, 0.1, 0.01, 0.1
    prior = SpikeSlab(eps, HalfNormal() if non_negative else Gaussian())
    alpha, tau2 = lasso_state(prior, d / n, noise, penalty, non_negative=non_negative)
    solver, errors, active = Lasso(penalty, non_negative=non_negative, tolerance=1e-10), [], []
    for _ in range(10):
        atoms, code, y = draw_system(rng, n, d, eps, noise, non_negative)
        found = solver.encode(y[None], atoms).toarray()[0]
        errors.append(np.mean((found - code) ** 2))
        active.append(np.mean(found != 0))
    for sample, exact in (
        (errors, d / n * (tau2 - noise)),
        (active, float(soft_active(prior, tau2, alpha, non_negative=non_negative))),
    ):
        error = np.std(sample, ddof=1) / math.sqrt(10)
        # Student's t of 9 degrees of freedom at alpha = 1e-4, and the order 1/n^(1/2) of the finite system
        assert abs(np.mean(sample) - exact) < 6.6 * error + 0.03 * exact


@settings(max_examples=15)
@given(families, st.floats(0.02, 0.5), st.floats(0.1, 1.5), st.floats(-4, 0), st.floats(-3, 1), signs)
def test_the_penalty_of_the_state_is_the_one_asked_for(name, eps, delta, power, strength, non_negative):
    prior, noise, penalty = SpikeSlab(eps, FAMILIES[name]), 10.0**power, 10.0**strength
    alpha, tau2 = lasso_state(prior, delta, noise, penalty, non_negative=non_negative)
    assert lasso_penalty(prior, delta, tau2, alpha, non_negative=non_negative) == pytest.approx(penalty, rel=1e-5)
    error = float(soft_mse(prior, tau2, alpha, non_negative=non_negative))
    assert noise + error / delta == pytest.approx(tau2, rel=1e-9)


def test_the_best_penalty_has_the_best_fixed_point():
    prior, delta, noise = SpikeSlab(0.1, Gaussian()), 0.5, 0.01
    best = float(fixed_points(lambda tau2: best_soft_mse(prior, tau2), delta, noise, prior.power))
    alpha = float(best_alpha(prior, best))
    assert lasso_fixed_point(prior, delta, noise, alpha) == pytest.approx(best, rel=1e-7)
    for other in (0.95 * alpha, 1.05 * alpha):
        assert lasso_fixed_point(prior, delta, noise, other) > best * (1 + 1e-5)


@pytest.mark.parametrize("call", [
    lambda p: soft_mse(p, 0.0, 1.0), lambda p: soft_mse(p, 1.0, -1.0), lambda p: soft_active(p, 1.0, np.nan),
    lambda p: best_alpha(p, [1.0, -1.0]), lambda p: evolve(p.mmse, 0.0, 1.0, 1.0, 3),
    lambda p: evolve(p.mmse, 0.5, 1.0, 0.0, 3), lambda p: evolve(p.mmse, 0.5, 1.0, 1.0, -1),
    lambda p: fixed_points(p.mmse, [0.5, -1.0], 1.0, 1.0), lambda p: fixed_points(p.mmse, 0.5, -1.0, 1.0),
    lambda p: fixed_points(p.mmse, 0.5, 1.0, np.inf), lambda p: lasso_fixed_point(p, 0.5, 0.0, 1.0),
    lambda p: lasso_fixed_point(p, 0.1, 1.0, 0.5), lambda p: lasso_state(p, 0.5, 0.1, 0.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call(SpikeSlab(0.1, Gaussian()))
