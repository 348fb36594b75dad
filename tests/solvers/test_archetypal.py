"""Nearest points of polytopes are certified; archetypes stay in the hull of the samples and their error never rises."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.archetypal import ArchetypalAnalysis, SimplexLeastSquares, archetypes, nearest_in_hull
from sparsesim.solvers.base import Status
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit


def fit(solver, x, seed=0):
    return solver.fit(x, rng=stream(seed, Role.SOLVER))


def brute_force(x, points):
    """Squared distance of x from conv(points): the best affine hull of any subset whose weights are non-negative."""
    best = np.inf
    for size in range(1, len(points) + 1):
        for subset in combinations(range(len(points)), size):
            chosen = points[list(subset)]
            edges = (chosen[1:] - chosen[0]).T
            weights = np.linalg.lstsq(edges, x - chosen[0], rcond=None)[0]
            if weights.min(initial=0) >= -1e-12 and weights.sum() <= 1 + 1e-12:
                best = min(best, np.square(x - chosen[0] - edges @ weights).sum())
    return best


def in_hull(point, samples, slack):
    """Whether HiGHS finds convex weights on the samples that give the point, up to ``slack`` in each coordinate."""
    left = np.concatenate([samples.T, -samples.T])
    right = np.concatenate([point + slack, slack - point])
    ones = np.ones((1, len(samples)))
    return linprog(np.zeros(len(samples)), A_ub=left, b_ub=right, A_eq=ones, b_eq=[1.0], method="highs").status == 0


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 6), st.sampled_from([0.3, 1.0, 3.0]), st.integers(0, 10**6))
def test_the_nearest_point_is_that_of_the_best_subset(d, p, spread, seed):
    rng = np.random.default_rng(seed)
    points, x = rng.standard_normal((p, d)), spread * rng.standard_normal((8, d))
    points[rng.integers(p)] = points[0]  # at times a duplicate
    x[0] = points[-1]
    weights, gaps = nearest_in_hull(x, points)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert weights.data.min() > 0 and np.diff(weights.indptr).max() <= min(p, d + 1)
    distance = np.square(x - weights @ points).sum(axis=1)
    expected = [brute_force(row, points) for row in x]
    np.testing.assert_allclose(distance, expected, atol=1e-10)
    assert gaps.max() < 1e-10


@settings(max_examples=15)
@given(st.integers(2, 30), st.integers(1, 60), st.sampled_from([0.0, 1e4]), st.integers(0, 10**6))
def test_the_gap_is_the_largest_slope_and_vanishes(d, p, offset, seed):
    rng = np.random.default_rng(seed)
    points, x = rng.standard_normal((p, d)) + offset, rng.standard_normal((5, d)) + offset
    weights, gaps = nearest_in_hull(x, points)
    image = weights @ points
    slopes = np.einsum("njd,nd->nj", points[None] - image[:, None], x - image).max(axis=1)
    rounding = 1e-12 * d * (1 + offset)  # of coordinates of that size times residuals of order one
    np.testing.assert_allclose(np.maximum(slopes, 0), gaps, atol=rounding)
    assert gaps.max() < rounding


def test_a_start_changes_the_way_and_not_the_end():
    rng = np.random.default_rng(0)
    points, x = rng.standard_normal((12, 5)), rng.standard_normal((30, 5))
    cold = nearest_in_hull(x, points)[0]
    start = csr_array(rng.dirichlet(np.ones(12), 30) * (rng.random((30, 12)) < 0.5))
    np.testing.assert_allclose(nearest_in_hull(x, points, start=start)[0].toarray(), cold.toarray(), atol=1e-9)
    again = nearest_in_hull(x, points, start=cold, max_iterations=1)[0]  # from the end there is nothing left to do
    np.testing.assert_allclose(again.toarray(), cold.toarray(), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_codes_are_weights_times_norms_at_any_scale(scale):
    rng = np.random.default_rng(1)
    corners, x = rng.standard_normal((6, 4)), rng.standard_normal((20, 4))
    atoms, norms = unit_rows(corners)
    codes = SimplexLeastSquares(tuple(scale * norms)).encode(scale * x, atoms)
    weights = nearest_in_hull(x, corners)[0]
    np.testing.assert_allclose(codes.toarray() / (scale * norms), weights.toarray(), atol=1e-9)


def test_a_corner_at_the_origin_has_no_code_and_the_rest_of_the_weight():
    atoms = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    codes = SimplexLeastSquares((1.0, 1.0, 0.0)).encode(np.array([[0.25, 0.25], [-1.0, -1.0]]), atoms)
    np.testing.assert_allclose(codes.toarray(), [[0.25, 0.25, 0.0], [0.0, 0.0, 0.0]], atol=1e-12)
    assert codes.nnz == 2


@settings(max_examples=15)
@given(st.integers(1, 25), st.integers(1, 4), st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_the_error_never_rises_and_archetypes_stay_in_the_hull(n, d, p, centre, seed):
    x = np.random.default_rng(seed).standard_normal((n, d))
    fitted = fit(ArchetypalAnalysis(p, iterations=8, centre=centre), x, seed)
    errors = fitted.trace["fvu"]
    # rounding of a residual, and the gap that ends a row, relative to the energy: 1e-12
    assert all(after <= before + 1e-11 for before, after in pairwise(errors)) or np.isnan(errors).all()
    corners = archetypes(fitted)
    assert all(in_hull(corner, x, 1e-7) for corner in corners)
    codes = fitted.encode(x)
    norms = np.asarray(fitted.encoder.norms)
    weights = codes.toarray()[:, norms > 0] / norms[norms > 0]
    assert weights.min(initial=0) >= 0 and weights.sum(axis=1).max(initial=0) <= 1 + 1e-9
    variance = np.square(x - x.mean(axis=0)).sum()
    if variance > 1e-9:
        error = np.square(x - fitted.decode(codes)).sum() / variance
        assert error == pytest.approx(errors[-1], rel=1e-6, abs=1e-10)


def test_the_bias_moves_directions_and_not_archetypes():
    x = np.random.default_rng(2).random((60, 3))
    at_origin, at_mean = (fit(ArchetypalAnalysis(4, centre=centre), x) for centre in (False, True))
    np.testing.assert_allclose(archetypes(at_origin), archetypes(at_mean), atol=1e-6)
    assert not at_origin.bias.any() and np.abs(at_origin.atoms - at_mean.atoms).max() > 0.1


def test_one_archetype_is_the_mean_and_all_corners_leave_nothing():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 3))
    np.testing.assert_allclose(archetypes(fit(ArchetypalAnalysis(1), x))[0], x.mean(axis=0), atol=1e-9)
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    square = np.concatenate([corners, 4 * rng.random((50, 2))])
    fitted = fit(ArchetypalAnalysis(4), square)
    assert fitted.status is Status.CONVERGED and fitted.trace["fvu"][-1] < 1e-20
    found = archetypes(fitted)
    np.testing.assert_allclose(found[np.lexsort(found.T[::-1])], corners[np.lexsort(corners.T[::-1])], atol=1e-9)


def test_no_segment_between_points_of_the_hull_is_better():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((7, 2)) * [2.0, 1.0]
    fits = [fit(ArchetypalAnalysis(2, iterations=500, tolerance=1e-10), x, seed) for seed in range(4)]
    ours = min(np.square(x - f.decode(f.encode(x))).sum() for f in fits)
    for _ in range(1500):
        ends = rng.dirichlet(np.full(7, 0.3), 2) @ x
        along = np.clip((x - ends[0]) @ (ends[1] - ends[0]) / np.square(ends[1] - ends[0]).sum(), 0, 1)
        assert np.square(x - ends[0] - along[:, None] * (ends[1] - ends[0])).sum() > ours - 1e-9


def test_planted_archetypes_are_recovered_where_pure_samples_exist():
    rng = np.random.default_rng(5)
    corners = rng.standard_normal((4, 6))
    weights = np.concatenate([np.eye(4), rng.dirichlet(np.full(4, 0.5), 300)])
    found = archetypes(fit(ArchetypalAnalysis(4, iterations=100), weights @ corners))
    distance = np.linalg.norm(corners[:, None] - found[None], axis=2).min(axis=1)
    assert distance.max() < 0.05, distance  # of corners at distance about 3: the alternation ends at tolerance 1e-4


@pytest.mark.parametrize("scale", [0.0, 1e-150, -1.0, 1e150])
def test_degenerate_samples_give_a_dictionary(scale):
    rng = np.random.default_rng(0)
    for x in (rng.random((30, 3)), np.ones((1, 3)), np.full((5, 1), 2.0)):
        fitted = fit(ArchetypalAnalysis(4, iterations=3), scale * x)
        assert np.isfinite(fitted.atoms).all() and np.isfinite(fitted.encode(scale * x).data).all()


def test_bad_arguments_are_refused():
    for arguments in ({"width": 0}, {"iterations": 0}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ArchetypalAnalysis(**({"width": 2} | arguments))
    with pytest.raises(ValueError, match="norms must be finite"):
        SimplexLeastSquares((-1.0,))
    with pytest.raises(ValueError, match="2 norms for p=3"):
        SimplexLeastSquares((1.0, 1.0)).encode(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="start must have shape"):
        nearest_in_hull(np.eye(3), np.eye(3), start=csr_array((2, 3)))
    with pytest.raises(ValueError, match="at least one row"):
        nearest_in_hull(np.eye(3), np.zeros((0, 3)))
    fitted = fit(ArchetypalAnalysis(2), np.random.default_rng(0).random((9, 2)))
    object.__setattr__(fitted, "encoder", OrthogonalMatchingPursuit(1))
    with pytest.raises(TypeError, match="must be SimplexLeastSquares"):
        archetypes(fitted)
