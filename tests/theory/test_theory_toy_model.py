"""The toy model of superposition in closed form, against simulation, the named solutions and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from theory.toy_model import (
    antipodal_loss,
    dropped_loss,
    linear_model_loss,
    one_sparse_loss,
    polygon_gram,
    polygon_optimum,
    superposition_interval,
    two_feature_loss,
    two_feature_optimum,
)

weights = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
biases = st.tuples(st.floats(-0.5, 0.8), st.floats(-0.5, 0.8))
densities = st.floats(0.01, 1.0)


def simulated(gram, bias, importance, density, rng, n=200_000):
    x = rng.random((n, len(gram))) * (rng.random((n, len(gram))) < density)
    loss = (importance * np.square(x - np.maximum(x @ gram + bias, 0.0))).sum(1)
    return loss.mean(), loss.std() / math.sqrt(n)


@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_two_features_agrees_with_simulation(seed):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(2, 1 + seed % 2))
    gram, bias, weight = w @ w.T, rng.normal(0, 0.3, 2), rng.random(2)
    mean, error = simulated(gram, bias, weight, 0.1 + 0.15 * seed, rng)
    assert abs(two_feature_loss(gram, bias, weight, 0.1 + 0.15 * seed) - mean) < 5 * error  # one in 10^6 by chance


def test_the_one_sparse_loss_agrees_with_simulation():
    rng = np.random.default_rng(7)
    w = rng.normal(size=(7, 2))
    gram, bias, weight = w @ w.T, rng.normal(0, 0.3, 7), rng.random(7)
    x = np.zeros((200_000, 7))
    x[np.arange(len(x)), rng.integers(0, 7, len(x))] = rng.random(len(x))
    loss = (weight * np.square(x - np.maximum(x @ gram + bias, 0.0))).sum(1)
    assert abs(one_sparse_loss(gram, bias, weight) - loss.mean()) < 5 * loss.std() / math.sqrt(len(x))


@given(weights, biases, st.floats(0.0, 1.0), densities)
def test_the_loss_of_two_features_agrees_with_a_grid(w, bias, importance, density):
    gram = np.outer(w, w)
    side = (np.arange(400) + 0.5) / 400
    x, y = np.meshgrid(side, side)

    def err(a, b):
        r = np.maximum(np.stack([gram[0, 0] * a + gram[0, 1] * b, gram[1, 0] * a + gram[1, 1] * b]).T + bias, 0.0)
        return float((np.square(np.stack([a, b]).T - r) @ np.array([1.0, importance])).mean())

    p, zero = density, np.zeros(400)
    expected = (
        (1 - p) ** 2 * err(np.zeros(1), np.zeros(1))
        + p * (1 - p) * (err(side, zero) + err(zero, side))
        + p * p * err(x.ravel(), y.ravel())
    )
    # The midpoint rule errs by h^2/24 times a curvature below about 100 for these weights.
    assert two_feature_loss(gram, bias, (1.0, importance), density) == pytest.approx(expected, abs=5e-5)


@given(densities, st.floats(0.0, 1.0))
def test_named_solutions_have_the_losses_named_for_them(p, r):
    tight = 1e-14  # rounding of sums of a dozen terms below 1
    assert two_feature_loss([[1, -1], [-1, 1]], [0, 0], [1, r], p) == pytest.approx(antipodal_loss(p, r), abs=tight)
    drop_second = two_feature_loss([[1, 0], [0, 0]], [0, p / 2], [1, r], p)
    assert drop_second == pytest.approx(dropped_loss(p, r), abs=tight)
    assert two_feature_loss(np.eye(2), [0, 0], [1, r], p) == pytest.approx(0.0, abs=tight)  # d = 2 is enough


@given(densities, st.floats(0.0, 3.0))
def test_the_interval_of_superposition_is_where_the_antipodal_pair_wins(p, r):
    low, high = superposition_interval(p)
    wins = antipodal_loss(p, r) < min(dropped_loss(p, r), dropped_loss(p, 1.0))
    near = min(abs(r - low), abs(r - high)) < 1e-9
    event("antipodal" if wins else "dropped")
    assert near or wins == (low < r < high)


def test_superposition_of_equal_features_ends_at_density_four_sevenths():
    assert superposition_interval(4 / 7) == pytest.approx((1.0, 1.0))
    low, high = superposition_interval(0.58)
    assert low > high  # the control: just above, nothing is left


# BFGS optima of 20 random starts, computed independently; 5e-6 covers their last digit and stopping rule.
@pytest.mark.parametrize(
    ("p", "r", "loss"),
    [
        (0.5, 1, 0.076280),
        (0.3, 1, 0.029310),
        (0.1, 1, 0.003320),
        (0.1, 0.5, 0.002485),
        (0.6, 1, 0.098888),
        (0.8, 1, 0.105516),
        (1.0, 1, 0.083254),
    ],
)
def test_the_true_optimum_is_slightly_below_the_named_solutions(p, r, loss):
    found, w, b = two_feature_optimum(p, r)
    assert found == pytest.approx(loss, abs=5e-6)
    assert found < min(antipodal_loss(p, r), dropped_loss(p, r), dropped_loss(p, 1.0))
    assert two_feature_loss(np.outer(w, w), b, (1.0, r), p) == pytest.approx(found, abs=1e-15)


@pytest.mark.parametrize(("p", "r"), [(0.5, 0.5), (0.5, 0.1), (0.3, 0.1), (0.6, 0.5)])
def test_where_dropping_is_optimal_nothing_better_is_found(p, r):
    assert two_feature_optimum(p, r)[0] == pytest.approx(dropped_loss(p, r), abs=1e-12)


# Computed independently; given to six digits.
POLYGONS = {2: 0, 3: 0, 4: 0, 5: 0.015825, 6: 0.04819, 7: 0.083266, 8: 0.115541, 9: 0.143394, 10: 0.16666}


@pytest.mark.parametrize("k", POLYGONS)
def test_the_optimal_polygon_has_the_reference_loss(k):
    loss, scale, bias = polygon_optimum(k)
    # The independent values lie up to 7e-6 low: adaptive quadrature at their own scale and bias gives ours.
    assert loss == pytest.approx(POLYGONS[k], abs=1e-5)
    assert one_sparse_loss(polygon_gram(k, scale), np.full(k, bias), np.ones(k)) == pytest.approx(loss, abs=1e-14)


def test_a_polygon_beats_dropping_all_corners_but_four():
    for k in range(5, 13):
        assert polygon_optimum(k)[0] < (k - 4) / (3 * k)


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_no_linear_model_beats_keeping_the_most_valuable_features(n, d, seed):
    rng = np.random.default_rng(seed)
    importance, variance = rng.random(n), rng.random(n)
    # Any rank-d map A: loss sum_ij I_i Var_j (delta_ij - A_ij)^2.
    a = rng.normal(size=(n, d)) @ rng.normal(size=(d, n))
    a *= (importance[:, None] * variance * a).diagonal().sum() / (importance[:, None] * variance * a**2).sum()
    loss = (importance[:, None] * variance * (np.eye(n) - a) ** 2).sum()
    best = linear_model_loss(importance, variance, d)
    assert loss >= best - 1e-12
    keep = np.zeros(n)
    keep[np.argsort(-importance * variance)[:d]] = 1.0
    attained = (importance[:, None] * variance * (np.eye(n) - np.diag(keep)) ** 2).sum()
    assert attained == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: one_sparse_loss([[1.0, 2.0]], [0.0], [1.0]), "gram"),
        (lambda: one_sparse_loss([[1.0, 0.5], [0.4, 1.0]], [0, 0], [1, 1]), "symmetric"),
        (lambda: one_sparse_loss(np.eye(2), [0.0], [1.0, 1.0]), "vectors of n=2"),
        (lambda: one_sparse_loss(np.eye(2), [0.0, 0.0], [1.0, -1.0]), "negative"),
        (lambda: two_feature_loss(np.eye(3), [0] * 3, [1] * 3, 0.5), "n=2"),
        (lambda: two_feature_loss(np.eye(2), [0, 0], [1, 1], 1.5), "density"),
        (lambda: dropped_loss(-0.1), "density"),
        (lambda: linear_model_loss([1.0, -1.0], [1.0, 1.0], 1), "non-negative"),
        (lambda: linear_model_loss([1.0], [1.0], -1), "d must"),
        (lambda: polygon_gram(1, 1.0), "corners"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
