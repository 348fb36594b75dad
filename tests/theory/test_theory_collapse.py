"""Collapse of conditional and two-level linear VAEs against general optimisers; floors on the divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ortho_group

from theory.collapse import (
    conditional_covariance,
    conditional_linear_vae,
    lipschitz_kl_floor,
    lipschitz_rate_floor,
    two_level_vae,
)
from theory.vae import linear_posterior, linear_vae, linear_vae_loss


def wishart(d, rng):
    factor = rng.standard_normal((d, d + 2))
    return factor @ factor.T / d


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_knowing_x_never_raises_an_eigenvalue_nor_wakes_a_unit(d, places, seed):
    rng = np.random.default_rng(seed)
    data, places = wishart(d, rng), min(places, d - 1)
    left = conditional_covariance(data, range(places))
    whole = data[places:, places:]
    assert (np.linalg.eigvalsh(left) <= np.linalg.eigvalsh(whole) + 1e-10).all()
    conditional = conditional_linear_vae(data, range(places), 3, 0.5)
    assert conditional.active <= linear_vae(np.linalg.eigvalsh(whole), 3, 0.5).active


def test_the_conditional_covariance_is_that_of_the_residuals_of_a_regression():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 5)) @ rng.standard_normal((5, 5))
    data = x.T @ x / 500
    y, given_x = x[:, [0, 2]], x[:, [4, 1, 3]]
    residual = y - given_x @ np.linalg.lstsq(given_x, y, rcond=None)[0]
    assert np.allclose(conditional_covariance(data, [4, 1, 3]), residual.T @ residual / 500, atol=1e-10)


def test_a_repeated_condition_does_not_disturb_the_regression():
    rng = np.random.default_rng(1)
    data = wishart(3, rng)
    twice = data[np.ix_([0, 1, 2, 2], [0, 1, 2, 2])]
    assert np.allclose(conditional_covariance(twice, [2, 3]), conditional_covariance(data, [2]), atol=1e-10)


def test_perfect_prediction_collapses_every_unit():
    mix = np.array([[1.0, 0.5, 2.0], [0.0, 1.0, -1.0]])
    data = np.block([[np.eye(2), mix], [mix.T, mix.T @ mix]])
    assert conditional_linear_vae(data, [0, 1], 2, 1e-6).active == 0
    assert linear_vae(np.linalg.eigvalsh(mix.T @ mix), 2, 1e-6).active == 2


@pytest.mark.parametrize("seed", range(2))
def test_a_general_optimiser_of_the_conditional_model_ends_at_the_optimum(seed):
    rng = np.random.default_rng(seed)
    data, noise, beta, q = wishart(4, rng), 0.3, 1.4, 2
    y, x = slice(0, 2), slice(2, 4)

    def loss(flat):
        atoms, skip, encoder = flat[:4].reshape(q, 2), flat[4:8].reshape(2, 2), flat[8:16].reshape(4, q)
        log_variance = flat[16:]
        left = np.zeros((4, 2))
        left[y] = np.eye(2)
        left[x] = -skip
        left -= encoder @ atoms
        error = np.trace(left.T @ data @ left) + (np.exp(log_variance) * (atoms**2).sum(1)).sum()
        kl = 0.5 * (np.diag(encoder.T @ data @ encoder) + np.exp(log_variance) - log_variance - 1).sum()
        return error / (2 * noise) + math.log(2 * math.pi * noise) + beta * kl

    found = min(minimize(loss, rng.standard_normal(18)).fun for _ in range(2))
    expected = conditional_linear_vae(data, [2, 3], q, noise, beta).loss
    assert found == pytest.approx(expected, abs=1e-5)  # BFGS with numerical gradients


def mode_loss(w1, v1, s1, w2, v2, s2, value, noise, beta, tau2):
    """Return the loss of one mode from its definition, parameter by parameter."""
    scale = v1**2 * value + s1
    error = value * (1 - w1 * v1) ** 2 + w1**2 * s1
    lower = 0.5 * (-math.log(s1 / tau2) - 1 + (scale * (1 - w2 * v2) ** 2 + w2**2 * s2) / tau2)
    upper = 0.5 * (v2**2 * scale + s2 - math.log(s2) - 1)
    return error / (2 * noise) + beta[0] * lower + beta[1] * upper


CASES = [
    (4.0, 0.3, (1.0, 1.5), 1.0, None, None), (4.0, 0.3, (1.0, 1.0), 1.0, 0.2, None),
    (4.0, 0.3, (1.0, 1.0), 1.0, 0.02, None), (4.0, 0.3, (1.0, 1.0), 0.5, None, 0.4),
    (4.0, 0.3, (1.0, 2.0), 0.5, None, 0.9), (4.0, 0.3, (1.3, 0.7), 1.0, 0.3, 0.5),
    (0.2, 0.3, (1.0, 1.5), 1.0, None, None), (0.2, 0.3, (1.0, 1.0), 1.0, 0.5, None),
    (0.2, 0.3, (1.0, 0.5), 1.0, 0.9, 0.3), (2.0, 1.0, (2.0, 1.0), 2.0, 1.5, None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "noise", "beta", "tau2", "lower", "upper"), CASES)
def test_a_general_optimiser_of_two_levels_ends_at_the_closed_form(value, noise, beta, tau2, lower, upper):
    rng = np.random.default_rng(0)

    def loss(flat):
        s1 = math.exp(flat[2]) if lower is None else lower
        s2 = math.exp(flat[5]) if upper is None else upper
        return mode_loss(flat[0], flat[1], s1, flat[3], flat[4], s2, value, noise, beta, tau2)

    best = min((minimize(loss, rng.standard_normal(6), tol=1e-10) for _ in range(6)), key=lambda fit: fit.fun)
    found = two_level_vae(value, noise, beta=beta, prior_variance=tau2, lower_variance=lower, upper_variance=upper)
    assert best.fun == pytest.approx(found.loss, abs=1e-7)  # the square of the optimiser's gradient tolerance
    assert (abs(best.x[4]) > 1e-2) == found.upper_active
    assert (abs(best.x[1]) > 1e-2) == found.lower_active
    s1 = math.exp(best.x[2]) if lower is None else lower
    assert best.x[1] ** 2 * value + s1 == pytest.approx(found.scale, rel=1e-3)
    assert value * (1 - best.x[0] * best.x[1]) ** 2 + best.x[0] ** 2 * s1 == pytest.approx(found.distortion, abs=1e-3)


positive = st.floats(0.05, 20.0)


@given(positive, positive, positive, positive, positive, st.none() | positive, st.none() | positive, st.data())
def test_no_parameters_of_two_levels_have_a_lower_loss(value, noise, first, second, tau2, lower, upper, data):
    if lower is None and upper is None and second <= first:
        second = first * 1.5
    found = two_level_vae(
        value, noise, beta=(first, second), prior_variance=tau2, lower_variance=lower, upper_variance=upper
    )
    event(f"upper active: {found.upper_active}")
    coordinate = st.floats(-5.0, 5.0)
    w1, v1, w2, v2, u1, u2 = (data.draw(coordinate) for _ in range(6))
    s1 = math.exp(u1) if lower is None else lower
    s2 = math.exp(u2) if upper is None else upper
    other = mode_loss(w1, v1, s1, w2, v2, s2, value, noise, (first, second), tau2)
    assert other >= found.loss - 1e-9 * (1 + abs(found.loss))  # rounding


@given(positive, positive, positive, positive, st.floats(0.05, 0.95))
def test_learning_the_upper_variance_makes_its_collapse_easier(value, noise, weight, lower, upper):
    held = two_level_vae(value, noise, beta=(1.0, weight), lower_variance=lower, upper_variance=upper)
    learned = two_level_vae(value, noise, beta=(1.0, weight), lower_variance=lower)
    assert held.upper_active or not learned.upper_active


def test_a_variance_held_fixed_keeps_a_unit_awake_that_collapses_when_learned():
    arguments = {"beta": (1.0, 1.0), "lower_variance": 0.1}
    assert not two_level_vae(2.0, 0.5, **arguments).upper_active  # P tau^2 = 0.4 < a_c^2 = 1
    assert two_level_vae(2.0, 0.5, **arguments, upper_variance=0.3).upper_active  # a_c^2 = 0.09


@given(positive, positive, positive)
def test_when_all_is_learned_the_upper_level_collapses_and_the_lower_is_an_ordinary_vae(value, noise, first):
    found = two_level_vae(value, noise, beta=(first, 1.01 * first))
    one = linear_vae([value], 1, noise, first)
    assert not found.upper_active
    assert found.distortion == pytest.approx(one.distortion, rel=1e-12)
    assert found.loss + 0.5 * math.log(2 * math.pi * noise) == pytest.approx(one.loss, abs=1e-9 * (1 + abs(one.loss)))


def test_several_directions_separate_into_modes():
    rng = np.random.default_rng(0)
    values, noise, beta, lower = np.array([4.0, 0.8]), 0.3, (1.0, 0.9), 0.25

    def loss(flat):
        w1, v1, w2, v2 = flat[:16].reshape(4, 2, 2)
        s2 = np.exp(flat[16:])
        scale = v1 @ np.diag(values) @ v1.T + lower * np.eye(2)
        left, above = np.eye(2) - w1 @ v1, np.eye(2) - w2 @ v2
        error = np.trace(left @ np.diag(values) @ left.T) + lower * (w1**2).sum()
        first = 0.5 * (np.trace(above @ scale @ above.T) + (w2**2 * s2).sum() - 2 * math.log(lower) - 2)
        second = 0.5 * (np.trace(v2 @ scale @ v2.T) + (s2 - np.log(s2) - 1).sum())
        return error / (2 * noise) + beta[0] * first + beta[1] * second

    found = min(minimize(loss, rng.standard_normal(18), tol=1e-9).fun for _ in range(4))
    modes = [two_level_vae(value, noise, beta=beta, lower_variance=lower) for value in values]
    assert [mode.upper_active for mode in modes] == [True, False]
    assert found == pytest.approx(sum(mode.loss for mode in modes), abs=1e-6)  # the optimiser's tolerance


@given(st.integers(1, 4), st.floats(0.1, 5.0), positive, positive, st.integers(0, 2**32 - 1))
def test_no_linear_decoder_of_that_slope_pays_less_divergence(p, slope, noise, beta, seed):
    rng = np.random.default_rng(seed)
    d = p + 2
    atoms = rng.standard_normal((p, d))
    atoms *= slope / np.linalg.svd(atoms, compute_uv=False)[-1]
    encoder, variances = linear_posterior(atoms, noise, beta)
    data = wishart(d, rng)
    kl = 0.5 * (np.diag(encoder.T @ data @ encoder) + variances - np.log(variances) - 1).sum()
    assert kl >= lipschitz_kl_floor(p, slope, noise, beta) * (1 - 1e-12)


def test_orthogonal_atoms_on_constant_data_attain_the_floor():
    atoms = 1.7 * ortho_group.rvs(5, random_state=0)[:3]
    _, variances = linear_posterior(atoms, 0.4, 2.0)
    kl = 0.5 * (variances - np.log(variances) - 1).sum()
    assert kl == pytest.approx(lipschitz_kl_floor(3, 1.7, 0.4, 2.0), rel=1e-12)
    loss = linear_vae_loss(np.zeros((5, 5)), atoms, np.zeros((5, 3)), variances, 0.4, 2.0)
    floor = 1.7**2 * variances.sum() / 0.8 + 2.5 * math.log(0.8 * math.pi) + 2.0 * kl
    assert loss == pytest.approx(floor, rel=1e-12)


def test_without_the_premise_of_a_slope_the_divergence_may_vanish():
    assert linear_vae([0.5], 1, 1.0).rate == 0.0  # the control: the free decoder shrinks to zero
    assert lipschitz_kl_floor(1, 0.5, 1.0) > 0.0


@given(st.floats(0.05, 2.0), st.floats(0.0, 0.9), st.floats(-3.0, 3.0), st.floats(0.1, 3.0))
def test_a_curved_decoder_obeys_the_floor_on_its_rate(deviation, bend, mean, target):
    # g(z) = z + bend sin z has slope >= 1 - bend; the expectation by Gauss-Hermite quadrature is exact to 1e-10.
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = mean + deviation * nodes
    error = float(weights @ (target - z - bend * np.sin(z)) ** 2 / weights.sum())
    kl = 0.5 * (mean**2 + deviation**2 - math.log(deviation**2) - 1)
    assert kl >= lipschitz_rate_floor(1, 1.0 - bend, error) - 1e-9


def test_a_straight_decoder_attains_the_floor_on_the_rate_and_a_flat_one_breaks_it():
    s, slope, p = 0.2, 1.3, 4
    kl = 0.5 * p * (s - math.log(s) - 1)
    assert lipschitz_rate_floor(p, slope, p * slope**2 * s) == pytest.approx(kl, rel=1e-12)
    assert lipschitz_rate_floor(1, 1.0, 0.01) > 0.0 == linear_vae([0.01], 1, 1.0).rate  # a decoder of slope 0


@pytest.mark.parametrize("call", [
    lambda: conditional_covariance(np.eye(2), []), lambda: conditional_covariance(np.eye(2), [0, 1]),
    lambda: conditional_covariance(np.eye(2), [2]), lambda: conditional_covariance(np.eye(3), [0, 0]),
    lambda: conditional_covariance(np.eye(2), [-1]),
    lambda: two_level_vae(1.0, 1.0), lambda: two_level_vae(1.0, 1.0, beta=(1.0, 0.9)),
    lambda: two_level_vae(0.0, 1.0, beta=(1.0, 2.0)), lambda: two_level_vae(1.0, 1.0, beta=(1.0,)),
    lambda: two_level_vae(1.0, 1.0, lower_variance=0.0), lambda: lipschitz_kl_floor(0, 1.0, 1.0),
    lambda: lipschitz_kl_floor(1, 0.0, 1.0), lambda: lipschitz_rate_floor(1, 1.0, 0.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
