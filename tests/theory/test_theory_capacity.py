"""Feature dimensionality and capacity: conserved quantities, arrangements that attain them, optimal allocation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from theory.capacity import (
    STICKY_FRACTIONS,
    allocate_capacity,
    capacity_benefit,
    capacity_loss,
    compressed_computation_loss,
    dimensions_per_feature,
    feature_dimensionality,
    gram_capacities,
    strong_superposition_overlap,
    weak_superposition_loss,
)

seeds = st.integers(0, 2**32 - 1)


def polygon(k):
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angle), np.sin(angle)], 1)


TETRAHEDRON = np.array(list(itertools.product((1, -1), repeat=3)))[[0, 3, 5, 6]] / math.sqrt(3)


def square_antiprism():
    """Height 1/sqrt(3) makes the frame tight: 8 z^2 = 8/3 = 4 (1 - z^2)."""
    z, radius = 1 / math.sqrt(3), math.sqrt(2 / 3)
    angle = np.pi / 2 * np.arange(4)
    top = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(4, z)], 1)
    turned = angle + np.pi / 4
    bottom = np.stack([radius * np.cos(turned), radius * np.sin(turned), np.full(4, -z)], 1)
    return np.concatenate([top, bottom])


ARRANGEMENTS = {
    "orthogonal": np.eye(3),
    "tetrahedron": TETRAHEDRON,
    "triangle": polygon(3),
    "digon": np.array([[1.0], [-1.0]]),
    "pentagon": polygon(5),
    "square antiprism": square_antiprism(),
}


@pytest.mark.parametrize("name", STICKY_FRACTIONS)
def test_each_regular_arrangement_has_its_sticky_fraction(name):
    rows = ARRANGEMENTS[name]
    np.testing.assert_allclose(feature_dimensionality(rows), STICKY_FRACTIONS[name], rtol=1e-14)
    assert dimensions_per_feature(rows) == pytest.approx(STICKY_FRACTIONS[name], rel=1e-14)


def test_a_product_of_arrangements_keeps_the_fractions_of_its_factors():
    rows = np.zeros((5, 3))
    rows[:3, :2], rows[3:, 2] = polygon(3), (1.0, -1.0)
    np.testing.assert_allclose(feature_dimensionality(rows), [2 / 3] * 3 + [1 / 2] * 2, rtol=1e-14)


@given(st.integers(1, 12), st.integers(1, 6), seeds, st.floats(-200.0, 200.0))
def test_dimensionalities_sum_to_at_most_the_rank_at_any_scale(n, d, seed, exponent):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    rows[np.random.default_rng(seed).random(n) < 0.2] = 0.0
    found = feature_dimensionality(rows)
    assert found.sum() <= np.linalg.matrix_rank(rows) + 1e-9  # rounding
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    np.testing.assert_allclose(feature_dimensionality(rows * 10.0**exponent), found, rtol=1e-9)
    rotation = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((d, d)))[0]
    np.testing.assert_allclose(feature_dimensionality(rows @ rotation), found, rtol=1e-8, atol=1e-12)


def test_an_uneven_frame_falls_strictly_short_of_its_rank():
    assert feature_dimensionality([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]).sum() < 1.9  # the control for equality


@given(st.integers(2, 10), st.integers(1, 5), seeds)
def test_capacities_of_a_gram_matrix_sum_to_at_most_its_rank(n, d, seed):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((n, d))
    gram = (w * rng.choice([-1.0, 1.0], d)) @ w.T  # symmetric, not positive: the bound does not need it
    assert gram_capacities(gram).sum() <= min(n, d) + 1e-9


def test_capacities_attain_the_rank_for_a_projection():
    q = np.linalg.qr(np.random.default_rng(3).standard_normal((7, 3)))[0]
    assert gram_capacities(q @ q.T).sum() == pytest.approx(3.0, abs=1e-12)


def test_the_loss_of_a_quadratic_model_is_the_variance_of_its_error():
    rng = np.random.default_rng(4)
    n, p = 4, 0.2
    v, w = rng.random(n), rng.standard_normal((n, 2)) / 2
    error = np.diag(v) - w @ w.T
    x = rng.choice([-1.0, 1.0], (400_000, n)) * (rng.random((400_000, n)) < p) / math.sqrt(p)  # E x^4 = 1/p
    form = np.einsum("ni,ij,nj->n", x, error, x)
    a = 1 / p - 1
    predicted = a * np.square(np.diag(error)).sum() + 2 * np.square(error - np.diag(np.diag(error))).sum()
    spread = np.square(form - form.mean())
    assert abs(spread.mean() - predicted) < 5 * spread.std() / math.sqrt(len(x))


@given(st.floats(0.02, 1.0), st.floats(0.1, 3.0), st.floats(1.2, 40.0))
def test_the_capacity_loss_is_the_least_over_the_diagonal(share, value, fourth):
    a = fourth - 1
    grid = np.linspace(0, 1.2 * value, 4001)
    loss = a * (value - grid) ** 2 + 2 * grid**2 * (1 - share) / share
    best = float(capacity_loss(share, value, fourth))
    assert loss.min() >= best - 1e-12
    curvature = a + 2 * (1 - share) / share
    assert loss.min() <= best + curvature * (0.6 * value / 4000) ** 2 + 1e-12  # half a step from the minimum


@given(st.floats(0.01, 0.98), st.floats(0.1, 3.0), st.floats(1.2, 40.0))
def test_the_benefit_is_the_slope_of_the_loss(share, value, fourth):
    step = 1e-6
    slope = (capacity_loss(share - step, value, fourth) - capacity_loss(share + step, value, fourth)) / (2 * step)
    assert capacity_benefit(share, value, fourth) == pytest.approx(slope, rel=1e-4)  # 1e-12 / step rounding, a margin


@given(st.lists(st.floats(0.01, 5.0), min_size=2, max_size=6), st.floats(0.05, 0.95), st.floats(1.2, 30.0))
def test_no_allocation_beats_the_optimal_one(values, fraction, fourth):
    total = fraction * len(values)
    shares = allocate_capacity(values, total, fourth)
    assert shares.sum() == pytest.approx(total, abs=1e-9)
    assert ((shares >= 0) & (shares <= 1)).all()
    best = float(capacity_loss(shares, values, fourth).sum())
    event("fractional" if ((shares > 1e-9) & (shares < 1 - 1e-9)).sum() > 1 else "whole")
    rng = np.random.default_rng(0)
    for _ in range(8):  # other points of the simplex cut by the box, corners among them
        costs = rng.standard_normal(len(values))
        corner = linprog(costs, A_eq=np.ones((1, len(values))), b_eq=[total], bounds=(0, 1)).x
        for step in (1.0, 0.3, 0.01):
            other = np.clip(shares + step * (corner - shares), 0.0, 1.0)
            assert capacity_loss(other, values, fourth).sum() >= best - 1e-7 * (1 + best)  # linprog's feasibility


def test_capacity_is_shared_only_by_features_of_high_kurtosis():
    values = [3.0, 2.0, 1.0, 0.5, 0.1]
    shared, whole = allocate_capacity(values, 2.3, 9.0), allocate_capacity(values, 2.3, 3.0)
    assert ((shared > 0) & (shared < 1)).sum() >= 2
    np.testing.assert_allclose(whole, [1.0, 1.0, 0.3, 0.0, 0.0], atol=1e-12)
    assert (np.diff(shared) <= 0).all()
    np.testing.assert_allclose(allocate_capacity(np.multiply(values, 7.0), 2.3, 9.0), shared, atol=1e-9)  # scale


def test_the_level_at_which_water_stands_is_the_same_for_every_shared_feature():
    values = np.array([3.0, 2.0, 1.5, 1.0, 0.2])
    shares = allocate_capacity(values, 2.6, 12.0)
    inside = (shares > 1e-9) & (shares < 1 - 1e-9)
    slopes = capacity_benefit(shares, values, 12.0)
    assert inside.sum() >= 2
    assert np.ptp(slopes[inside]) < 1e-9 * slopes[inside].max()
    assert (slopes[shares >= 1 - 1e-9] >= slopes[inside].max() - 1e-9).all()
    assert (slopes[shares <= 1e-9] <= slopes[inside].min() + 1e-9).all()


def test_compressed_computation_agrees_with_simulation():
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (100_000, 6)) * (rng.random((100_000, 6)) < 0.3)
    missed = np.square(np.maximum(x[:, 2:], 0)).sum(1) / 6  # two of six features have a neuron
    expected = compressed_computation_loss(2, 6, 0.3)
    assert abs(missed.mean() - expected) < 5 * missed.std() / math.sqrt(len(missed))


def test_weak_superposition_of_zipf_features_falls_as_a_power():
    # The tail sum of i^-s is d^(1-s) / (s-1) up to a relative O(1/d); the truncation at n adds (d/n)^(s-1).
    s, n = 2.0, 1_000_000
    rates = 0.5 * np.arange(1, n + 1) ** -s
    for d in (100, 1000):
        ratio = weak_superposition_loss(rates, 1.0, d) / weak_superposition_loss(rates, 1.0, 2 * d)
        assert ratio == pytest.approx(2.0 ** (s - 1), rel=1 / d + 2 * d / n)


@given(st.integers(2, 12), st.integers(1, 6), seeds)
def test_no_directions_overlap_less_than_the_floor_of_strong_superposition(n, d, seed):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T
    overlap = (np.square(gram).sum() - n) / (n * (n - 1))
    assert overlap >= strong_superposition_overlap(n, d) - 1e-12


def test_a_tight_frame_attains_the_floor_of_strong_superposition():
    gram = polygon(7) @ polygon(7).T
    assert (np.square(gram).sum() - 7) / 42 == pytest.approx(strong_superposition_overlap(7, 2), abs=1e-14)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: feature_dimensionality([1.0, 2.0]), "weights"),
        (lambda: dimensions_per_feature([[0.0, 0.0]]), "zero"),
        (lambda: gram_capacities([[1.0, 0.2], [0.3, 1.0]]), "symmetric"),
        (lambda: capacity_loss(1.5, 1.0, 5.0), "capacity"),
        (lambda: capacity_loss(0.5, 1.0, 1.0), "fourth_moment"),
        (lambda: allocate_capacity([1.0, 2.0], 3.0, 5.0), "total"),
        (lambda: allocate_capacity([[1.0]], 0.5, 5.0), "values"),
        (lambda: compressed_computation_loss(5, 4, 0.1), "neurons"),
        (lambda: compressed_computation_loss(1, 4, 1.1), "density"),
        (lambda: weak_superposition_loss([1.2], 1.0, 0), "rates"),
        (lambda: strong_superposition_overlap(1, 1), "n must"),
    ],
)
def test_what_is_outside_the_result_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
