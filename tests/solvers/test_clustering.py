"""k-means ends in a fixed point of Lloyd's alternation, and its encoder is the nearest centroid."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import Status
from sparsesim.solvers.clustering import KMeans, NearestCentroid


def fit(solver, x, seed=0):
    return solver.fit(x, rng=stream(seed, Role.SOLVER))


def centroids_of(fitted):
    return np.array(fitted.encoder.norms)[:, None] * fitted.atoms + fitted.bias


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_a_converged_fit_is_a_fixed_point_and_the_error_never_rises(n, d, p, centre, seed):
    x = np.random.default_rng(seed).standard_normal((n, d))
    fitted = fit(KMeans(p, centre=centre), x, seed)
    errors = fitted.trace["fvu"]
    assert all(b <= a * (1 + 1e-12) + 1e-15 for a, b in pairwise(errors)) or np.isnan(errors).all()
    assert fitted.status is Status.CONVERGED
    centroids = centroids_of(fitted)
    distances = np.linalg.norm(x[:, None] - centroids[None], axis=2)
    decoded = fitted.decode(fitted.encode(x))
    np.testing.assert_allclose(np.linalg.norm(x - decoded, axis=1), distances.min(axis=1), atol=1e-9)
    nearest = distances.argmin(axis=1)
    gap = np.sort(distances, axis=1)[:, :2]
    if p > 1 and (gap[:, 1] - gap[:, 0]).min() < 1e-9:
        return  # a tie: the cluster of a sample is not determined
    for j in np.unique(nearest):
        np.testing.assert_allclose(centroids[j], x[nearest == j].mean(axis=0), atol=1e-9)


def test_separated_clusters_are_found():
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(5)
    x = centres[rng.integers(5, size=400)] + 0.1 * rng.standard_normal((400, 5))
    best = min((fit(KMeans(5), x, seed) for seed in range(5)), key=lambda f: f.trace["fvu"][-1])
    found = centroids_of(best)
    # a mean of about 80 samples: standard error 0.011 an entry, 0.06 is five of them
    assert np.abs(found[np.argmax(centres @ found.T, axis=1)] - centres).max() < 0.06


def test_one_cluster_is_the_mean_and_as_many_as_samples_leave_no_error():
    x = np.random.default_rng(1).standard_normal((12, 3))
    np.testing.assert_allclose(centroids_of(fit(KMeans(1), x))[0], x.mean(axis=0), atol=1e-12)
    exact = fit(KMeans(12), x)
    assert exact.trace["fvu"][-1] < 1e-25
    repeated = fit(KMeans(9), np.repeat(x[:3], 4, axis=0))  # fewer distinct samples than centroids
    assert repeated.trace["fvu"][-1] < 1e-25 and repeated.status is Status.CONVERGED


def test_the_lowest_index_wins_ties_and_zero_centroids_code_nothing():
    atoms = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    encoder = NearestCentroid((0.0, 2.0, 2.0, 2.0))
    codes = encoder.encode(np.array([[3.0, 0.0], [-3.0, 1.0], [1.0, 5.0], [0.1, 0.0]]), atoms).toarray()
    assert np.array_equal(codes, [[0, 2, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("exponent", [-1000, -500, 500, 1000])
def test_the_scale_changes_norms_only(exponent):
    x = np.random.default_rng(2).standard_normal((60, 3))
    scale = 2.0**exponent
    plain, scaled = fit(KMeans(4), x), fit(KMeans(4), scale * x)
    assert np.array_equal(plain.atoms, scaled.atoms)
    assert np.array_equal(plain.encode(x).indices, scaled.encode(scale * x).indices)


def test_a_wrong_number_of_norms_and_bad_settings_are_refused():
    with pytest.raises(ValueError, match="one norm for each"):
        NearestCentroid((1.0,)).encode(np.ones((2, 2)), unit_rows(np.ones((2, 2)))[0])
    with pytest.raises(ValueError, match="norms"):
        NearestCentroid((-1.0,))
    for arguments in ({"width": 0}, {"width": 2, "iterations": 0}):
        with pytest.raises(ValueError, match="must lie in"):
            KMeans(**arguments)
