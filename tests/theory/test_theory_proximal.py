"""Nonlinearities as proximal maps: each beats every competitor at its own objective, and only there."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from theory.proximal import (
    abs_top_k,
    batch_top_k,
    distance_sparsemax,
    hard_threshold,
    jump_relu,
    objective,
    relu,
    soft_threshold,
    sparsemax,
    top_k,
)

# Small integers over four make ties frequent; reals make them rare.
entries = st.one_of(st.integers(-8, 8).map(lambda i: i / 4), st.floats(-100, 100, width=32))
vectors = hnp.arrays(np.float64, st.integers(1, 6), elements=entries)
levels = st.one_of(st.integers(0, 8).map(lambda i: i / 4), st.floats(0, 50))
SLACK = 1e-9  # rounding of objectives up to 1e5, relative to 1e-14 of them


def grid_best(z, low, **weights):
    """The least objective of one entry over a fine grid that holds 0 and z, and so all kinks."""
    grid = np.concatenate([np.linspace(low, 100, 4001), [0.0, z] if z >= low else [0.0]])
    return objective(grid[:, None], np.full((len(grid), 1), z), **weights).min()


@given(vectors, levels)
def test_entrywise_maps_minimise_their_objective(z, t):
    cases = [
        (relu(z, t), 0.0, {"l1": t}),
        (soft_threshold(z, t), -100.0, {"l1": t}),
        (jump_relu(z, t), 0.0, {"l0": t * t / 2}),
        (hard_threshold(z, t), -100.0, {"l0": t * t / 2}),
    ]
    for answer, low, weights in cases:
        assert answer.min(initial=0.0) >= low
        for own, value in zip(answer, z, strict=True):
            assert objective([own], [value], **weights) <= grid_best(value, low, **weights) + SLACK


@given(vectors, levels)
def test_the_convex_maps_satisfy_the_optimality_conditions(z, t):
    f = soft_threshold(z, t)
    slack = 1e-12 * (1 + np.abs(z).max() + t)
    assert np.abs(z - f).max() <= t + slack  # z - f is a subgradient of t |f|
    assert np.all(np.abs((z - f) - t * np.sign(f))[f != 0] <= slack)
    g = relu(z, t)
    assert np.all(np.abs(z - g - t)[g > 0] <= slack)
    assert np.all((z - g - t)[g == 0] <= slack)
    p = sparsemax(z)
    gap = z - p  # constant on the support, not above it elsewhere
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert p.min() >= 0.0
    assert np.ptp(gap[p > 0]) <= slack
    assert np.all(gap[p == 0] <= gap[p > 0].min() + slack)


@given(vectors, st.data())
def test_keeping_k_is_the_best_of_all_supports(z, data):
    k = data.draw(st.integers(0, len(z)))
    positive, signed = top_k(z, k), abs_top_k(z, k)
    assert np.count_nonzero(positive) <= k >= np.count_nonzero(signed)
    assert positive.min(initial=0.0) >= 0.0
    for support in combinations(range(len(z)), k):
        other = np.zeros_like(z)
        other[list(support)] = z[list(support)]
        assert objective(signed, z) <= objective(other, z) + SLACK
        assert objective(positive, z) <= objective(np.maximum(other, 0.0), z) + SLACK


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 4)), elements=entries), st.data())
def test_a_batch_shares_its_budget_optimally(z, data):
    k = data.draw(st.integers(0, z.shape[1]))
    together = batch_top_k(z, k)
    assert np.count_nonzero(together) <= k * len(z)
    assert objective(together.ravel(), z.ravel()) <= objective(top_k(z, k).ravel(), z.ravel()) + SLACK
    kept, dropped = together[together > 0], z[together == 0]
    assert not len(kept) or dropped.max(initial=0.0) <= kept.min()  # one threshold
    assert np.array_equal(together.ravel(), top_k(z.ravel(), k * len(z)))


@given(vectors, vectors, levels)
def test_projections_on_convex_sets_are_nonexpansive(a, b, t):
    size = min(len(a), len(b))
    a, b = a[:size], b[:size]
    for map_ in (lambda z: relu(z, t), lambda z: soft_threshold(z, t), sparsemax):
        assert np.linalg.norm(map_(a) - map_(b)) <= np.linalg.norm(a - b) * (1 + 1e-12) + 1e-12


def test_projections_on_sets_that_are_not_convex_are_not():
    assert abs(jump_relu([1.01], 1.0) - jump_relu([0.99], 1.0)) > 1.0  # the control
    assert np.linalg.norm(top_k([1.01, 1.0], 1) - top_k([1.0, 1.01], 1)) > 1.4


@given(vectors, levels)
def test_limits_and_symmetries(z, t):
    n = len(z)
    assert np.array_equal(top_k(z, n), relu(z))
    assert np.array_equal(abs_top_k(z, n), z)
    assert np.array_equal(jump_relu(z, 0.0), relu(z))
    assert np.array_equal(soft_threshold(-z, t), -soft_threshold(z, t))
    assert np.array_equal(soft_threshold(np.abs(z), t), relu(np.abs(z), t))
    # A shift of all pre-activations: one rounding of numbers up to 100 + 50.
    assert np.abs(sparsemax(z + t) - sparsemax(z)).max() <= 1e-12
    assert np.allclose(sparsemax(np.zeros(n)), 1 / n)
    assert np.array_equal(sparsemax([1e308, -1e308, 0.0]), [1.0, 0.0, 0.0])
    assert np.array_equal(sparsemax(z * 0.0 + 1e300 * np.eye(1, n)[0]), np.eye(1, n)[0])


def test_keeping_the_largest_entries_with_their_signs_is_no_projection():
    z = np.array([-1.0, -2.0, -3.0])
    kept = np.array([-1.0, -2.0, 0.0])  # the two largest
    assert objective(kept, z) > objective(abs_top_k(z, 2), z)
    assert not top_k(z, 2).any()


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 20.0))
def test_distances_through_sparsemax_minimise_the_stated_objective(seed, scale):
    rng = np.random.default_rng(seed)
    x, centres = rng.normal(size=(3, 2)), rng.normal(size=(5, 2))
    f = distance_sparsemax(x, centres, scale)
    cost = scale * np.square(x[:, None] - centres).sum(-1)
    own = np.square(f).sum(1) / 2 + (f * cost).sum(1)
    others = rng.dirichlet(np.full(5, 0.3), size=200)
    value = np.square(others).sum(1)[:, None] / 2 + others @ cost.T
    assert np.all(own <= value.min(axis=0) + 1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: relu([np.nan]), "finite"),
        (lambda: relu([1.0], -1.0), "threshold"),
        (lambda: soft_threshold([1.0], np.inf), "threshold"),
        (lambda: top_k([1.0], 2), "k must"),
        (lambda: abs_top_k([1.0], -1), "k must"),
        (lambda: batch_top_k([1.0], 1), "batch"),
        (lambda: sparsemax([]), "n >= 1"),
        (lambda: objective([1.0], [1.0], l1=-1.0), "l1"),
        (lambda: distance_sparsemax([[1.0]], [[1.0, 2.0]], 1.0), "agree"),
        (lambda: distance_sparsemax([[1.0]], [[1.0]], -1.0), "scale"),
    ],
)
def test_what_is_outside_a_map_s_domain_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
