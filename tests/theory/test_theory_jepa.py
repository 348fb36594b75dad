"""Deep linear JEPA and MAE: learning times against quadrature, their equations of motion and full gradient flows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.stats import ortho_group

from theory.jepa import (
    jepa_fixed_point,
    jepa_layer,
    jepa_onset,
    jepa_time,
    mae_fixed_point,
    mae_layer,
    mae_onset,
    mae_time,
)

rhos, lams, depths = st.floats(0.3, 3.0), st.floats(0.1, 10.0), st.integers(1, 5)
fractions = st.tuples(st.floats(0.05, 0.9), st.floats(1e-4, 0.999))


def span(rho, depth, part, mae):
    top = rho ** (1 / (depth + 1)) if mae else rho
    start = part[0] * top
    return start, start + part[1] * (top - start)


# Integrated numerically from a0 = 0.1 to nine tenths of the fixed point of a layer.
@pytest.mark.parametrize(
    ("depth", "lam", "rho", "jepa", "mae"),
    [(1, 1.0, 0.8, 13.79003, 2.90973), (2, 1.0, 0.8, 415.28156, 9.49587), (3, 1.0, 0.8, 23771.68, 49.93363),
     (2, 0.5, 2.0, 722.40567, 19.26132)],
)  # fmt: skip
def test_learning_times_have_their_reference_values(depth, lam, rho, jepa, mae):
    assert jepa_time(0.1, 0.9 * rho, lam, rho, depth) == pytest.approx(jepa, rel=2e-6)  # the digits given
    assert mae_time(0.1, 0.9 * rho ** (1 / (depth + 1)), lam, rho, depth) == pytest.approx(mae, rel=2e-6)


@given(rhos, lams, depths, fractions)
def test_learning_times_are_the_integrals_of_the_equations_of_motion(rho, lam, depth, part):
    start, stop = span(rho, depth, part, mae=False)
    integral = quad(lambda a: 1 / (lam * a ** (2 * depth) * (1 - a / rho)), start, stop, epsabs=0, epsrel=1e-10)[0]
    assert jepa_time(start, stop, lam, rho, depth) == pytest.approx(integral, rel=1e-7)  # differences of close powers
    start, stop = span(rho, depth, part, mae=True)
    integral = quad(lambda a: 1 / (lam * a**depth * (1 - a ** (depth + 1) / rho)), start, stop, epsabs=0, epsrel=1e-10)[
        0
    ]
    assert mae_time(start, stop, lam, rho, depth) == pytest.approx(integral, rel=1e-7)


@given(rhos, lams, depths, fractions)
def test_times_add_and_scale_with_the_covariance(rho, lam, depth, part):
    for time, mae in ((jepa_time, False), (mae_time, True)):
        start, stop = span(rho, depth, part, mae)
        middle = (start + stop) / 2
        whole = time(start, stop, lam, rho, depth)
        assert time(start, middle, lam, rho, depth) + time(middle, stop, lam, rho, depth) == pytest.approx(
            whole, rel=1e-9
        )
        assert time(start, stop, 2 * lam, rho, depth) == pytest.approx(whole / 2, rel=1e-12)
        assert time(start, start, lam, rho, depth) == 0.0


@given(rhos, depths)
def test_near_the_fixed_point_the_approach_is_exponential(rho, depth):
    # Each halving of the distance takes ln 2 / rate, rate = lam rho^{2L-1} (JEPA), lam (L+1) top^{L-1} (MAE).
    top = rho ** (1 / (depth + 1))
    for time, end, rate in (
        (jepa_time, rho, rho ** (2 * depth - 1)), (mae_time, top, (depth + 1) * top ** (depth - 1)),
    ):  # fmt: skip
        took = time(end * (1 - 2e-7), end * (1 - 1e-7), 1.0, rho, depth)
        assert took == pytest.approx(math.log(2) / rate, rel=1e-4)  # curvature 1e-7 and cancellation 1e-6


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("mae", [False, True])
def test_a_full_gradient_flow_follows_the_closed_form(depth, mae):
    # Matrices of two features in rotated axes: Cov(x) = Q diag(var) Q', Cov(x, y) = Q diag(lam) Q'.
    lam, variance, start = np.array([1.0, 0.6]), np.array([1.1, 0.5]), 0.4
    axes = ortho_group.rvs(2, random_state=0)
    cov, cross = axes @ np.diag(variance) @ axes.T, axes @ np.diag(lam) @ axes.T

    def flow(_, flat):
        layers = flat.reshape(depth + 1, 2, 2)
        encoder = np.eye(2)
        for layer in layers[:-1]:
            encoder = layer @ encoder
        target = cross if mae else encoder @ cross
        error = layers[-1] @ encoder @ cov - target
        slopes = [-error @ encoder.T]
        back = layers[-1].T @ error
        for i in range(depth - 1, -1, -1):
            before = np.eye(2)
            for layer in layers[:i]:
                before = layer @ before
            slopes.append(-back @ before.T)
            back = layers[i].T @ back
        return np.array(slopes[:1] + slopes[1:])[::-1].reshape(-1)

    ends = np.array([0.3, 2.0, 8.0])
    begin = np.tile(start * np.eye(2), (depth + 1, 1, 1)).reshape(-1)
    path = solve_ivp(flow, (0, ends[-1]), begin, t_eval=ends, rtol=1e-10, atol=1e-12).y.T
    for time, flat in zip(ends, path, strict=True):
        for layer in flat.reshape(depth + 1, 2, 2):
            values = np.diag(axes.T @ layer @ axes)
            at = mae_layer if mae else jepa_layer
            expected = [at(time, start, one, one / other, depth) for one, other in zip(lam, variance, strict=True)]
            assert values == pytest.approx(expected, rel=1e-7)  # the solver's tolerance along the path


@given(rhos, lams, depths, fractions)
def test_time_and_layer_are_each_other_s_inverse(rho, lam, depth, part):
    for time, layer, mae in ((jepa_time, jepa_layer, False), (mae_time, mae_layer, True)):
        start, stop = span(rho, depth, part, mae)
        assert layer(time(start, stop, lam, rho, depth), start, lam, rho, depth) == pytest.approx(stop, rel=1e-7)


def test_after_long_the_layers_stand_at_their_fixed_points():
    assert jepa_layer(1e9, 0.1, 1.0, 0.8, 3) ** 3 == pytest.approx(jepa_fixed_point(0.8, 3), rel=1e-12)
    assert mae_layer(1e9, 0.1, 1.0, 0.8, 3) ** 3 == pytest.approx(mae_fixed_point(0.8, 3), rel=1e-12)
    assert mae_fixed_point(0.8, 3) ** (4 / 3) == pytest.approx(0.8)  # encoder times decoder is the regression
    assert jepa_layer(0.0, 0.1, 1.0, 0.8, 3) == pytest.approx(0.1)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_onsets_are_approached_from_a_small_start(depth):
    ratios = []
    for start in (1e-2, 1e-3):
        jepa = jepa_time(start, 0.4, 1.0, 0.8, depth) - jepa_onset(start, 1.0, 0.8, depth)
        # The next term is 1/((2L-3) rho^2 a0^{2L-3}), a0/rho of the last one kept.
        ratios.append(jepa * (2 * depth - 3) * 0.64 * start ** (2 * depth - 3))
        rest = mae_time(start, 0.4, 1.0, 0.8, depth) - mae_onset(start, 1.0, depth)
        assert abs(rest) < 10.0  # bounded, while the onset goes to infinity
    assert abs(ratios[1] - 1) < max(abs(ratios[0] - 1), 0.02)


@given(st.floats(0.5, 1.0), st.floats(1.2, 2.0), st.integers(2, 4), lams)
def test_at_equal_covariance_a_jepa_learns_the_more_predictable_feature_first(low, factor, depth, lam):
    high = low * factor
    delays = [
        jepa_time(start, 0.25, lam, low, depth) - jepa_time(start, 0.25, lam, high, depth)
        for start in (1e-1, 1e-2, 1e-3)
    ]
    predicted = (1 / low - 1 / high) / ((2 * depth - 2) * lam * 1e-3 ** (2 * depth - 2))
    assert 0 < delays[0] < delays[1] < delays[2]
    assert delays[2] == pytest.approx(predicted, rel=0.02)  # the next term is a factor a0/rho times 2 to 4
    masked = [
        mae_time(start, 0.25, lam, low, depth) - mae_time(start, 0.25, lam, high, depth) for start in (1e-2, 1e-3)
    ]
    # The control: the delay of the MAE converges, to within the rounding of times of 1/(lam a0^{L-1}).
    assert masked[1] == pytest.approx(masked[0], rel=0.05, abs=1e-5 / lam)


@pytest.mark.parametrize("call", [
    lambda: jepa_time(0.1, 0.8, 1.0, 0.8, 1), lambda: jepa_time(0.0, 0.5, 1.0, 0.8, 1),
    lambda: jepa_time(0.5, 0.4, 1.0, 0.8, 1), lambda: jepa_time(0.1, 0.5, 0.0, 0.8, 1),
    lambda: jepa_time(0.1, 0.5, 1.0, 0.8, 0), lambda: mae_time(0.1, 0.95, 1.0, 0.8, 1),
    lambda: mae_onset(0.1, 1.0, 1), lambda: jepa_onset(0.1, 1.0, 0.8, 1), lambda: jepa_layer(-1.0, 0.1, 1.0, 0.8, 1),
    lambda: jepa_time(1e-300, 0.1, 1.0, 0.8, 2),
    lambda: jepa_fixed_point(0.0, 1), lambda: mae_fixed_point(-1.0, 1), lambda: mae_layer(1.0, 2.0, 1.0, 0.8, 1),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
