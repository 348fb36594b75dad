"""Rate and distortion: bounds that no quantiser breaks, sources with a closed form, and independent values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from theory.rate_distortion import (
    binary_entropy,
    blahut_arimoto,
    description_length,
    spike_gaussian_bounds,
    spike_gaussian_rate,
)


def entropy(p):
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def quantised(eps, step, dead):
    """Bits and distortion of a uniform quantiser with a dead zone of +-dead on the spike-normal source, by sums.

    Cells are cut so that numbers beyond 12 deviations share the last one; each answers with its centre of mass.
    """
    edges = dead + step * np.arange(int(12 / step) + 2)
    edges = np.concatenate([-edges[::-1], edges])
    cuts = np.concatenate([[-np.inf], edges, [np.inf]])
    phi = np.where(np.isfinite(cuts), np.exp(-0.5 * np.square(np.clip(cuts, -40, 40))) / math.sqrt(2 * math.pi), 0.0)
    # By symmetry the upper tail is as exact as the lower.
    mass = np.where(cuts[1:] <= 0, ndtr(cuts[1:]) - ndtr(cuts[:-1]), ndtr(-cuts[:-1]) - ndtr(-cuts[1:]))
    first = phi[:-1] - phi[1:]
    answer = np.divide(first, mass, out=np.zeros_like(mass), where=mass > 1e-300)
    p = eps * mass
    middle = len(edges) // 2
    p[middle] += 1 - eps
    answer[middle] = 0.0
    return p, middle, eps - eps * float((answer * first).sum())


@given(st.floats(0.0, 1.0))
def test_a_coin_has_its_entropy(p):
    assert float(binary_entropy(p)) == pytest.approx(entropy(np.array([p, 1 - p])), abs=1e-12)
    assert float(binary_entropy(0.5)) == 1.0
    assert float(binary_entropy(0.0)) == float(binary_entropy(1.0)) == 0.0


@given(st.floats(0.01, 0.5), st.floats(0.1, 8.0))
@settings(max_examples=20)
def test_blahut_s_iteration_finds_the_curve_of_a_coin(p, slope):
    point = blahut_arimoto([p, 1 - p], [[0.0, 1.0], [1.0, 0.0]], slope)
    exact = max(float(binary_entropy(p) - binary_entropy(min(point.distortion, p))), 0.0)
    assert point.lower - 1e-9 <= exact <= point.upper + 1e-9
    assert point.upper - point.lower < 2e-3  # near zero rate the iteration is slow
    event("zero rate" if exact == 0 else "positive rate")


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20.0), st.integers(1, 30))
@settings(max_examples=30)
def test_the_bounds_hold_before_the_iteration_has_converged(seed, slope, iterations):
    rng = np.random.default_rng(seed)
    p, cost = rng.dirichlet(np.ones(4)), rng.random((4, 5))
    early = blahut_arimoto(p, cost, slope, iterations=iterations)
    late = blahut_arimoto(p, cost, slope, iterations=20_000)
    assert early.lower <= early.upper + 1e-12
    # The line of slope -s through the true point lies below the curve; both points are above it.
    value = late.lower + slope * late.distortion / math.log(2)
    assert early.upper + slope * early.distortion / math.log(2) >= value - 1e-9
    # Any channel whatever is above the late lower bound's line.
    channel = rng.dirichlet(np.ones(5), 4)
    output = p @ channel
    bits = float((p[:, None] * channel * np.log2(channel / output)).sum())
    assert bits + slope * float((p[:, None] * channel * cost).sum()) / math.log(2) >= value - 1e-9


@pytest.mark.parametrize("slope", [1.0, 4.0, 30.0])
def test_without_a_spike_the_curve_is_the_normal_one(slope):
    point = spike_gaussian_rate(1.0, 2.0, slope)
    exact = 0.5 * math.log2(2.0 / point.distortion)
    assert point.upper == pytest.approx(exact, abs=1e-4)  # the stopping rule
    assert exact - 2e-3 < point.lower <= exact  # the mixture's share
    assert point.distortion == pytest.approx(1 / (2 * slope), rel=1e-3)  # D = 1 / (2 s)


# Blahut iterations on another grid, computed independently: eps, D/eps, bits; within 2 % where D is not on its scale.
@pytest.mark.parametrize(
    ("eps", "relative", "bits"),
    [
        (0.1, 0.2273, 0.2397),
        (0.1, 0.0481, 0.4747),
        (0.1, 0.0138, 0.6358),
        (0.02, 0.3085, 0.0498),
        (0.02, 0.0627, 0.1141),
    ],
)
def test_the_rate_of_a_spike_has_the_reference_values(eps, relative, bits):
    low, high = 0.3, 1e3
    for _ in range(12):
        slope = math.sqrt(low * high)
        point = spike_gaussian_rate(eps, 1.0, slope, iterations=300)
        low, high = (slope, high) if point.distortion > relative * eps else (low, slope)
    # Twelve halvings leave 0.2 % of the distortion.
    assert point.distortion == pytest.approx(relative * eps, rel=0.02)
    assert 0.98 * bits - 0.003 < point.lower <= point.upper < 1.02 * bits + 0.003
    below, above = spike_gaussian_bounds(eps, 1.0, point.distortion)
    assert below <= point.upper
    assert point.lower <= above


@given(st.floats(0.005, 1.0), st.floats(0.1, 10.0), st.floats(0.5, 300.0))
@settings(max_examples=12)
def test_the_curve_is_between_the_closed_form_bounds(eps, variance, slope):
    point = spike_gaussian_rate(eps, variance, slope / variance, iterations=200)
    below, above = spike_gaussian_bounds(eps, variance, point.distortion)
    assert below <= point.upper + 1e-6  # the grid's reach
    assert point.lower <= above + 1e-9
    assert point.upper - point.lower < 0.02
    unit = spike_gaussian_rate(eps, 1.0, slope, iterations=200)
    assert unit.distortion * variance == pytest.approx(point.distortion, rel=1e-6)
    assert unit.upper == pytest.approx(point.upper, abs=1e-6)


@pytest.mark.parametrize("eps", [0.02, 0.1, 0.5])
def test_no_quantiser_with_an_entropy_coder_is_below_the_curve(eps):
    points = [spike_gaussian_rate(eps, 1.0, slope, iterations=300) for slope in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)]
    closest = math.inf
    for step in (0.1, 0.2, 0.4, 0.8, 1.5, 2.5):
        for dead in (0.5 * step, 0.7 * step, step, 1.5 * step):
            p, middle, distortion = quantised(eps, step, dead)
            bits = entropy(p)
            for point, slope in zip(points, (1.0, 3.0, 10.0, 30.0, 100.0, 300.0), strict=True):
                # R(D) is convex: its tangent at the point's distortion is below it everywhere.
                bound = point.lower - slope * (distortion - point.distortion) / math.log(2)
                assert bits >= bound - 1e-9
                closest = min(closest, bits - bound)
            active = 1 - p[middle]
            values = entropy(np.delete(p, middle) / active)
            assert description_length([active], values) == pytest.approx(bits, abs=1e-9)  # the chain rule
    assert closest < 0.3  # 1/4 bit a value lost to a scalar quantiser at most: the bound is near


def test_the_upper_bound_is_the_limit_of_small_distortions():
    excess = []
    for slope in (30.0, 200.0, 1500.0):
        point = spike_gaussian_rate(0.1, 1.0, slope, iterations=100)
        known, _ = spike_gaussian_bounds(0.1, 1.0, point.distortion)
        excess.append(float(binary_entropy(0.1)) - (point.lower - known))
    assert excess[0] > excess[1] > excess[2] > -1e-6
    assert excess[2] < 0.05  # it falls about as the root of D, times ln D


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: binary_entropy(1.1), "p must"),
        (lambda: description_length([0.1, 0.2], [1.0]), "bits"),
        (lambda: spike_gaussian_bounds(0.1, 1.0, 0.0), "distortion"),
        (lambda: spike_gaussian_bounds(0.0, 1.0, 0.1), "eps"),
        (lambda: spike_gaussian_rate(0.1, 1.0, 1e6), "slope"),
        (lambda: blahut_arimoto([0.5, 0.6], np.eye(2), 1.0), "sums to 1"),
        (lambda: blahut_arimoto([0.5, 0.5], -np.eye(2), 1.0), "distortions"),
        (lambda: blahut_arimoto([0.5, 0.5], np.eye(2), 0.0), "slope"),
    ],
)
def test_what_is_outside_the_theory_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
