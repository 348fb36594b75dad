"""Gated autoencoders of unions of manifolds: the slope of the loss in the noise counts dimensions sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.vae import linear_vae
from theory.vaease import gated_loss, gated_slope, plain_slope


def slope(loss, gamma):
    """Return d loss / d ln gamma over a factor of ten."""
    return (loss(gamma) - loss(gamma / 10)) / math.log(10)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 1.0)), min_size=1, max_size=4), st.floats(0.3, 3.0))
def test_the_construction_attains_the_slope(manifolds, variance):
    ranks = [rank for rank, _ in manifolds]
    shares = np.array([share for _, share in manifolds])
    shares = shares / shares.sum()
    d = sum(ranks) + 1
    # The next term is of relative order sqrt(gamma / variance) per coordinate.
    measured = slope(lambda gamma: gated_loss(d, ranks, shares, variance, gamma), 1e-9)
    assert measured == pytest.approx(gated_slope(d, ranks, shares), abs=1e-3 * d)


def test_three_manifolds_of_dimension_four_count_four_dimensions_and_a_plain_vae_twelve():
    d, ranks, shares = 40, [4, 4, 4], [1 / 3] * 3
    assert gated_slope(d, ranks, shares) == pytest.approx(18.0)
    pooled = np.concatenate([np.full(12, 1 / 3), np.zeros(28)])  # each coordinate is there a third of the time
    plain = slope(lambda gamma: linear_vae(pooled, 20, gamma).loss, 1e-6)
    assert plain == pytest.approx(plain_slope(d, 12), abs=1e-9)  # exact once gamma is below every eigenvalue
    assert linear_vae(pooled, 20, 1e-6).active == 12
    assert gated_loss(d, ranks, shares, 1.0, 1e-6) < linear_vae(pooled, 20, 1e-6).loss - 20


def test_one_manifold_gives_the_gate_nothing_to_do():
    assert gated_slope(7, [3], [1.0]) == plain_slope(7, 3)
    assert gated_loss(7, [3], [1.0], 1.0, 1e-4) > linear_vae([1.0] * 3 + [0.0] * 4, 3, 1e-4).loss


def test_the_loss_of_the_construction_agrees_with_sampling():
    rng = np.random.default_rng(0)
    d, ranks, shares, variance, gamma, n = 4, (1, 2), (0.3, 0.7), 1.3, 0.01, 200_000
    second = rng.random(n) < shares[1]
    on = np.column_stack([~second, second, second])
    x = np.where(on, math.sqrt(variance) * rng.standard_normal((n, 3)), 0.0)
    grid = np.geomspace(0.01, 0.5, 2000)
    kept = 1 - grid
    cost = variance * kept**2 * grid**2 / (2 * gamma) + 0.5 * (grid**2 + 1 / kept**2 - 2 * np.log(grid) - 1)
    s = np.where(on, grid[cost.argmin()], 1.0)
    mean = np.where(on, x / (math.sqrt(variance) * np.where(on, 1 - s, 1.0)), 0.0)
    gated = (1 - s) * (mean + s * rng.standard_normal((n, 3)))
    error = ((x - math.sqrt(variance) * gated) ** 2).sum(1) / (2 * gamma)
    kl = 0.5 * (mean**2 + s**2 - 2 * np.log(s) - 1).sum(1)
    each = error + kl + d / 2 * math.log(2 * math.pi * gamma)
    expected = gated_loss(d, ranks, shares, variance, gamma)
    assert (
        abs(each.mean() - expected) < 4.9 * each.std() / math.sqrt(n) + 1e-4
    )  # the grid is within 0.1 % of the best s


def test_encoders_optimised_sample_by_sample_have_the_slope_of_the_construction():
    # Two crossed lines in the plane, atoms w on the axes: the best mean given s is a ridge regression, s on a grid.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def loss(gamma):
        s = np.geomspace(1e-5, 1.0, 3000)[:, None]
        best = math.inf
        for w in np.geomspace(0.25, 4.0, 25):
            a = w * (1 - s)
            cost = nodes**2 / (2 * (a**2 + gamma)) + (a * s) ** 2 / (2 * gamma) + 0.5 * (s**2 - 2 * np.log(s) - 1)
            best = min(best, float(weights @ cost.min(axis=0)))
        return math.log(2 * math.pi * gamma) + best

    for gamma in (1e-4, 1e-5):
        assert loss(gamma) <= gated_loss(2, [1, 1], [0.5, 0.5], 1.0, gamma) + 1e-5  # the grid of s
    assert slope(loss, 1e-6) == pytest.approx(gated_slope(2, [1, 1], [0.5, 0.5]), abs=0.01)
    assert plain_slope(2, 2) == 0.0  # what a plain VAE has there


@pytest.mark.parametrize("call", [
    lambda: gated_slope(3, [4], [1.0]), lambda: gated_slope(3, [1, 1], [0.5, 0.6]),
    lambda: gated_slope(3, [1.5], [1.0]), lambda: gated_slope(3, [1], [0.5, 0.5]),
    lambda: gated_loss(3, [2, 2], [0.5, 0.5], 1.0, 0.1),
    lambda: gated_loss(3, [2], [1.0], 1.0, 0.0), lambda: plain_slope(3, 4), lambda: gated_slope(3, [-1], [1.0]),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
