"""Different roads to one code: what methods have in common by theorem, on the same samples and atoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import linprog, nnls
from sklearn.linear_model import ElasticNet as PeerElasticNet
from sklearn.linear_model import Lasso as PeerLasso
from slow_encoders import brute_force_l0, random_problem, unit

from sparsesim._arrays import unit_rows
from sparsesim.solvers.active_set import ElasticNet, NonNegativeLeastSquares, ReweightedLasso
from sparsesim.solvers.baselines import LinearProjection
from sparsesim.solvers.beam import BeamPursuit
from sparsesim.solvers.convex import Lasso, duality_gap
from sparsesim.solvers.exhaustive import ExhaustiveSearch
from sparsesim.solvers.group_lasso import GroupLasso, TreeLasso
from sparsesim.solvers.homotopy import BasisPursuit, Homotopy
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.solvers.stagewise import StagewisePursuit
from sparsesim.solvers.subspace import CoSaMP, SubspacePursuit
from sparsesim.solvers.thresholding import CorrelationTopK, HardThresholdingPursuit, IterativeHardThresholding

D, P, K = 12, 24, 3
PURSUITS = [
    OrthogonalMatchingPursuit(K),
    BeamPursuit(K, 4),
    SubspacePursuit(K),
    CoSaMP(K),
    HardThresholdingPursuit(K, 0.5),
    IterativeHardThresholding(K, max_iter=5000, precision=1e-14),
    ExhaustiveSearch(K),
]


def world(seed=0, n=40, d=D, p=P, noise=0.1):
    return random_problem(np.random.default_rng(seed), n, d, p, K, noise)


def objective(x, atoms, codes, penalty):
    return np.square(x - codes @ atoms).sum(axis=1) / 2 + penalty * np.abs(codes).sum(axis=1)


def left_over(x, atoms, codes):
    return np.square(x - codes @ atoms).sum(axis=1)


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("penalty", [0.5, 0.05])
def test_seven_roads_end_at_the_minimum_of_the_lasso(penalty, non_negative):
    x, atoms = world()
    energy = np.square(x).sum(axis=1) / 2
    roads = (
        Homotopy(penalty, non_negative),
        Lasso(penalty, non_negative, tolerance=1e-12),
        FISTA(penalty, non_negative, tolerance=1e-12),
        ElasticNet(penalty, 0.0, non_negative, tolerance=1e-12),
        ReweightedLasso(penalty, 0, non_negative=non_negative, tolerance=1e-12),
        GroupLasso(penalty, tuple(range(P)), non_negative, tolerance=1e-12),
        TreeLasso(penalty, tuple((i,) for i in range(P)), (), non_negative, tolerance=1e-12),
    )
    exact = roads[0].encode(x, atoms).toarray()
    slope = (x - exact @ atoms) @ atoms.T
    near = ((slope if non_negative else np.abs(slope)) > penalty * (1 - 1e-4)) & (exact == 0)
    clear = ~near.any(axis=1) & (np.where(exact == 0, 1.0, np.abs(exact)).min(axis=1) > 1e-4)
    assert clear.sum() >= 35  # no atom at the edge of the support: there the support is the same on every road
    for road in roads:
        codes = road.encode(x, atoms)
        gap = duality_gap(x, atoms, codes, penalty, non_negative=non_negative)
        assert gap.max() <= 2e-12, road
        dense = codes.toarray()
        difference = objective(x, atoms, dense, penalty) - objective(x, atoms, exact, penalty)
        assert np.all(np.abs(difference) <= (gap + 2e-12) * energy + 1e-14), road
        # a gap of 1e-12 moves codes by sqrt(1e-12 ||x||^2 / 1e-3), below 1e-4
        assert np.array_equal(np.abs(dense[clear]) > 5e-5, exact[clear] != 0), road


def test_non_negative_lasso_and_elastic_net_are_scikit_learns():
    x, atoms = world(1, n=15)
    for penalty, ridge in ((0.15, 0.0), (0.15, 0.4)):
        share = {} if ridge == 0 else {"l1_ratio": penalty / (penalty + ridge)}
        kind = PeerLasso if ridge == 0 else PeerElasticNet
        peer = kind((penalty + ridge) / D, positive=True, fit_intercept=False, tol=1e-14, max_iter=100_000, **share)
        theirs = np.stack([peer.fit(atoms.T, row).coef_.copy() for row in x])
        ours = ElasticNet(penalty, ridge, True, tolerance=1e-14).encode(x, atoms).toarray()
        assert np.count_nonzero(theirs) > 30
        np.testing.assert_allclose(ours, theirs, atol=1e-5)  # their gap of 1e-14, curvature of a few atoms above 1e-3


def test_codes_without_a_penalty_are_scipys():
    x, atoms = world(2, n=20, d=16, p=10)
    theirs = np.stack([nnls(atoms.T, row)[0] for row in x])
    # slopes of 1e-10 over the least eigenvalue of ten atoms in 16 dimensions, above 0.01
    np.testing.assert_allclose(NonNegativeLeastSquares().encode(x, atoms).toarray(), theirs, atol=1e-7)
    rng = np.random.default_rng(3)
    atoms = unit(rng.standard_normal((P, D)))
    for sign in (False, True):
        truth = np.where(rng.random((10, P)) < 0.3, rng.standard_normal((10, P)), 0)
        x = (np.abs(truth) if sign else truth) @ atoms
        wide = atoms if sign else np.concatenate([atoms, -atoms])
        ours = BasisPursuit(sign).encode(x, atoms).toarray()
        np.testing.assert_allclose(ours @ atoms, x, atol=1e-9)
        for row, code in zip(x, ours, strict=True):
            best = linprog(np.ones(len(wide)), A_eq=wide.T, b_eq=row, method="highs")
            assert best.status == 0
            assert np.abs(code).sum() == pytest.approx(best.fun, rel=1e-7, abs=1e-12)  # feasible to 1e-7 over there


def test_what_ends_in_least_squares_is_least_squares_on_its_support():
    x, atoms = world(4)
    for encoder in (*PURSUITS, StagewisePursuit(K, level=1.0), CorrelationTopK(K, refit=True)):
        codes = encoder.encode(x, atoms).toarray()
        for row, code in zip(x, codes, strict=True):
            support = np.flatnonzero(code)
            best = np.linalg.lstsq(atoms[support].T, row, rcond=None)[0]
            # iterative thresholding creeps: a last step of 1e-14 at a rate of at least 0.1, in three atoms
            loose = isinstance(encoder, IterativeHardThresholding)
            np.testing.assert_allclose(code[support], best, atol=1e-6 if loose else 1e-10)


def test_sparse_samples_in_well_conditioned_atoms_are_recovered_by_every_pursuit():
    rng = np.random.default_rng(5)
    atoms, truth = unit(np.eye(40) + 0.02 * rng.standard_normal((40, 40))), np.zeros((30, 40))
    for row in truth:  # coherence below 0.1: any three of these are recovered by theorem, k < (1 + 1 / mu) / 2
        row[rng.choice(40, K, replace=False)] = rng.choice([-1, 1], K) * rng.uniform(0.5, 1, K)
    assert np.abs(atoms @ atoms.T - np.eye(40)).max() < 1 / (2 * K - 1)
    for encoder in (*PURSUITS, BasisPursuit()):
        found = encoder.encode(truth @ atoms, atoms).toarray()
        np.testing.assert_allclose(found, truth, atol=1e-9, err_msg=repr(encoder))


@pytest.mark.parametrize("p", [5, 9, 12])
def test_exhaustive_search_is_brute_force_and_no_pursuit_beats_it(p):
    x, atoms = world(6, n=8, d=7, p=p)
    best = left_over(x, atoms, ExhaustiveSearch(K).encode(x, atoms).toarray())
    np.testing.assert_allclose(best, [brute_force_l0(row, atoms, K) for row in x], atol=1e-12)
    gaps = [left_over(x, atoms, encoder.encode(x, atoms).toarray()) - best for encoder in PURSUITS]
    assert np.min(gaps) > -1e-12


def test_one_atom_is_the_same_for_every_greedy_method():
    x, atoms = world(7)
    rest = left_over(x, atoms, CorrelationTopK(1).encode(x, atoms).toarray())
    for encoder in (MatchingPursuit(1), *(dataclasses.replace(one, k=1) for one in PURSUITS)):
        assert np.all(left_over(x, atoms, encoder.encode(x, atoms).toarray()) <= rest + 1e-12), encoder
        if not isinstance(encoder, HardThresholdingPursuit | IterativeHardThresholding):
            same = np.argmax(np.abs(x @ atoms.T), axis=1)
            assert np.array_equal(encoder.encode(x, atoms).indices, same), encoder


def test_matching_pursuit_loses_what_its_last_atom_takes():
    x, atoms = world(8)
    before, energy = np.zeros((len(x), P)), np.square(x).sum(axis=1)
    for selections in range(1, 12):
        codes = MatchingPursuit(selections).encode(x, atoms).toarray()
        residual, moved = x - codes @ atoms, codes - before
        last = np.argmax(np.abs(moved), axis=1)
        step = np.take_along_axis(moved, last[:, None], 1)[:, 0]
        assert np.count_nonzero(moved) == len(x)
        assert np.abs((residual * atoms[last]).sum(axis=1)).max() < 1e-13  # orthogonal, but for rounding
        # Pythagoras: the energy falls by the square of the step
        np.testing.assert_allclose(energy - np.square(residual).sum(axis=1), step**2, atol=1e-12)
        before, energy = codes, np.square(residual).sum(axis=1)


@pytest.mark.parametrize(("seed", "width", "non_negative"), [(99, 4, False), (87, 2, False), (151, 4, True)])
def test_a_beam_takes_the_first_of_equal_atoms(seed, width, non_negative):
    rng = np.random.default_rng(seed)  # worlds in which the path of the later twin is better by rounding
    atoms = unit_rows(rng.standard_normal((12, 8)))[0]
    atoms[7] = atoms[2]
    x = np.where(rng.random((10, 12)) < 0.25, rng.standard_normal((10, 12)), 0) @ atoms
    x += 0.05 * rng.standard_normal((10, 8))
    assert not BeamPursuit(3, width, non_negative=non_negative).encode(x, atoms).toarray()[:, 7].any()


def test_at_the_largest_correlation_a_penalty_leaves_no_code():
    for seed in range(40):
        x, atoms = world(seed, n=1, d=6, p=9)
        correlations = x @ atoms.T
        largest = float(np.abs(correlations).max())
        for encoder in (Homotopy, Lasso, FISTA):
            assert encoder(largest).encode(x, atoms).nnz == 0, (seed, encoder)
            assert encoder(0.99 * largest).encode(x, atoms).nnz >= 1, (seed, encoder)  # a gap of 1e-4 is above 1e-6


def test_a_projection_leaves_dead_atoms_out_and_codes_each_row_alone():
    x, atoms = world(9, n=30)
    atoms[4] = 0
    codes = LinearProjection().encode(x, atoms).toarray()
    assert not codes[:, 4].any() and np.count_nonzero(codes) == 30 * (P - 1)
    np.testing.assert_allclose(codes @ atoms, x, atol=1e-12)  # 23 atoms span the 12 dimensions
    assert np.array_equal(np.concatenate([LinearProjection().encode(row[None], atoms).toarray() for row in x]), codes)
