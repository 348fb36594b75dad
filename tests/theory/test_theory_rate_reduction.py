"""Coding rates: gradients by finite differences, invariances, and the classes that attain the largest reduction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ortho_group

from theory.rate_reduction import (
    coding_rate,
    coding_rate_gradient,
    compression_rate,
    compression_rate_gradient,
    ista_step,
    rate_reduction,
    rate_reduction_bound,
    rate_reduction_gradient,
)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def orthogonal_classes(repeats, ranks, d, rng):
    """Return unit samples of classes on orthogonal subspaces, each direction ``repeats`` times, and labels."""
    axes = ortho_group.rvs(d, random_state=rng)
    rows = np.repeat(axes[: sum(ranks)], repeats, axis=0)
    return rows, np.repeat(np.arange(len(ranks)), np.array(ranks) * repeats)


@given(st.integers(1, 8), st.integers(1, 6), st.floats(0.05, 2.0), st.integers(0, 2**32 - 1))
def test_the_coding_rate_ignores_rotation_and_order_and_is_a_sum_over_singular_values(n, d, eps, seed):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, d))
    values = np.linalg.svd(z, compute_uv=False)
    expected = 0.5 * np.log1p(d / (n * eps**2) * values**2).sum()
    assert coding_rate(z, eps) == pytest.approx(expected, rel=1e-9)
    turn = ortho_group.rvs(d, random_state=rng) if d > 1 else -np.eye(1)
    assert coding_rate(z[rng.permutation(n)] @ turn, eps) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40)
@given(st.integers(2, 8), st.integers(1, 5), st.floats(0.2, 2.0), st.integers(0, 2**32 - 1))
def test_gradients_agree_with_finite_differences(n, d, eps, seed):
    rng = np.random.default_rng(seed)
    z, labels, way, h = rng.standard_normal((n, d)), rng.integers(0, 3, n), rng.standard_normal((n, d)), 1e-5
    for value, gradient in (
        (lambda x: coding_rate(x, eps), coding_rate_gradient(z, eps)),
        (lambda x: rate_reduction(x, labels, eps), rate_reduction_gradient(z, labels, eps)),
    ):
        slope = (value(z + h * way) - value(z - h * way)) / (2 * h)
        # third derivatives of order (d / (n eps^2))^{3/2} times h^2, rounding 1e-15 / h
        assert (gradient * way).sum() == pytest.approx(slope, rel=1e-6, abs=1e-6)


@given(st.integers(2, 12), st.integers(1, 6), st.integers(1, 4), st.floats(0.05, 2.0), st.integers(0, 2**32 - 1))
def test_the_reduction_lies_between_zero_and_its_bound(n, d, classes, eps, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    z = unit(rng.standard_normal((n, d)))
    sizes = np.unique(labels, return_counts=True)[1]
    reduction = rate_reduction(z, labels, eps)
    assert -1e-10 <= reduction <= rate_reduction_bound(sizes, np.minimum(sizes, d), d, eps) + 1e-10
    assert rate_reduction(z, np.zeros(n), eps) == pytest.approx(0.0, abs=1e-12)


ranks_drawn = st.lists(st.integers(1, 3), min_size=2, max_size=3)


@given(ranks_drawn, st.integers(2, 4), st.floats(0.05, 0.5), st.integers(0, 2**32 - 1), st.floats(-4.0, 0.0))
def test_orthogonal_classes_attain_the_bound_and_their_neighbours_do_not_exceed_it(ranks, repeats, eps, seed, size):
    rng = np.random.default_rng(seed)
    d = sum(ranks) + 1
    z, labels = orthogonal_classes(repeats, ranks, d, rng)
    sizes = np.array(ranks) * repeats
    bound = rate_reduction_bound(sizes, ranks, d, eps)
    reached = rate_reduction(z, labels, eps)
    assert reached == pytest.approx(bound, rel=1e-9)
    bases = [z[labels == j][::repeats] for j in range(len(ranks))]
    tilted = [base + 10.0**size * rng.standard_normal(base.shape) for base in bases]
    other = np.concatenate([unit(rng.standard_normal((n, len(b))) @ b) for n, b in zip(sizes, tilted, strict=True)])
    event("within 1 % of the bound" if rate_reduction(other, labels, eps) > 0.99 * bound else "below")
    assert rate_reduction(other, labels, eps) <= bound + 1e-10


def test_at_a_coarse_precision_the_bound_of_equal_values_is_not_reached():
    # The control: with a below the convex part equal singular values are not best, and the envelope lies above them.
    z, labels = orthogonal_classes(2, [3, 3], 6, np.random.default_rng(0))
    assert rate_reduction(z, labels, 5.0) < 0.9 * rate_reduction_bound([6, 6], [3, 3], 6, 5.0)


def test_gradient_ascent_on_the_sphere_makes_classes_orthogonal():
    rng = np.random.default_rng(0)
    labels, eps = np.repeat([0, 1], 6), 0.3

    def loss(flat):
        raw = flat.reshape(12, 4)
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        z = raw / norms
        slope = rate_reduction_gradient(z, labels, eps)
        return -rate_reduction(z, labels, eps), -((slope - (slope * z).sum(1, keepdims=True) * z) / norms).ravel()

    fit = minimize(loss, rng.standard_normal(48), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    z = unit(fit.x.reshape(12, 4))
    assert np.abs(z[labels == 0] @ z[labels == 1].T).max() < 1e-2  # what the optimiser leaves
    assert -fit.fun == pytest.approx(rate_reduction_bound([6, 6], [2, 2], 4, eps), rel=1e-4)


@given(st.integers(1, 3), st.integers(1, 3), st.floats(0.2, 2.0), st.integers(0, 2**32 - 1))
def test_the_gradient_of_the_compression_agrees_with_finite_differences(count, r, eps, seed):
    rng = np.random.default_rng(seed)
    bases = np.linalg.qr(rng.standard_normal((count, 4, r)))[0]
    z, way, h = rng.standard_normal((6, 4)), rng.standard_normal((6, 4)), 1e-5
    slope = (compression_rate(z + h * way, bases, eps) - compression_rate(z - h * way, bases, eps)) / (2 * h)
    assert (compression_rate_gradient(z, bases, eps) * way).sum() == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_against_one_whole_basis_the_compression_is_the_coding_rate():
    z = np.random.default_rng(0).standard_normal((7, 3))
    basis = ortho_group.rvs(3, random_state=0)[None]
    assert compression_rate(z, basis, 0.4) == pytest.approx(coding_rate(z, 0.4), rel=1e-12)


@given(st.integers(1, 6), st.integers(1, 4), st.floats(0.05, 1.0), st.floats(0.0, 2.0), st.integers(0, 2**32 - 1))
def test_a_layer_never_raises_its_objective(n, d, share, penalty, seed):
    rng = np.random.default_rng(seed)
    x, atoms, z = rng.standard_normal((3, d)), rng.standard_normal((n, d)), np.abs(rng.standard_normal((3, n)))
    step = share / np.linalg.norm(atoms, 2) ** 2

    def objective(codes):
        return 0.5 * ((x - codes @ atoms) ** 2).sum() + penalty * codes.sum()

    assert objective(ista_step(x, z, atoms, step, penalty)) <= objective(z) + 1e-10


def test_many_layers_end_at_the_optimality_conditions_of_the_lasso():
    rng = np.random.default_rng(0)
    x, atoms, penalty = rng.standard_normal((4, 5)), unit(rng.standard_normal((7, 5))), 0.2
    z = np.zeros((4, 7))
    for _ in range(5000):
        z = ista_step(x, z, atoms, 1.0 / np.linalg.norm(atoms, 2) ** 2, penalty)
    slope = (x - z @ atoms) @ atoms.T
    assert np.allclose(slope[z > 0], penalty, atol=1e-8)
    assert (slope <= penalty + 1e-8).all()
    assert 0 < (z > 0).sum() < z.size


def test_a_longer_step_may_raise_the_objective_and_is_refused():
    x, z, atoms = np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1))
    with pytest.raises(ValueError, match="inverse"):
        ista_step(x, z, atoms, 2.5, 0.0)


def test_more_precision_costs_half_the_rank_in_nats_per_factor_of_e_squared():
    z = unit(np.random.default_rng(0).standard_normal((20, 3)))
    assert coding_rate(z, 1e-6) - coding_rate(z, 1e-5) == pytest.approx(3 * math.log(10), rel=1e-8)


@pytest.mark.parametrize("call", [
    lambda: coding_rate(np.eye(2), 0.0), lambda: rate_reduction(np.eye(2), [0], 1.0),
    lambda: rate_reduction_bound([2, 2], [1], 2, 1.0), lambda: rate_reduction_bound([2], [3], 2, 1.0),
    lambda: compression_rate(np.eye(2), np.ones((1, 2, 1)), 1.0), lambda: compression_rate(np.eye(2), np.eye(2), 1.0),
    lambda: ista_step(np.eye(2), np.eye(2), np.eye(2), 1.0, -1.0),
    lambda: ista_step(np.eye(2), np.eye(2), np.eye(3), 1, 0),
    lambda: rate_reduction_bound([0], [1], 2, 1.0), lambda: coding_rate(np.ones(3), 1.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
