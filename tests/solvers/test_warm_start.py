"""Codes from a start: the same minimum from anywhere, in fewer steps from nearby."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import nnls
from slow_encoders import random_problem

from sparsesim._arrays import Codes
from sparsesim.solvers.active_set import ElasticNet, NonNegativeLeastSquares, ReweightedLasso
from sparsesim.solvers.beam import BeamPursuit
from sparsesim.solvers.convex import Lasso, duality_gap, kkt_residual
from sparsesim.solvers.exhaustive import ExhaustiveSearch
from sparsesim.solvers.gradient_pursuit import GradientPursuit
from sparsesim.solvers.group_lasso import GroupLasso, TreeLasso
from sparsesim.solvers.least_squares import least_squares_on_support
from sparsesim.solvers.message_passing import ApproximateMessagePassing, MessagePassingSparseBayes, VectorAMP
from sparsesim.solvers.priors import BernoulliGaussian
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.solvers.sparse_bayes import KroneckerSparseBayes, SparseBayesianLearning
from sparsesim.solvers.stagewise import StagewisePursuit
from sparsesim.solvers.subspace import CoSaMP, SubspacePursuit
from sparsesim.solvers.thresholding import HardThresholdingPursuit, IterativeHardThresholding

PENALTY = 0.1
CONVEX = [FISTA, Lasso]


def world(seed=0, n=30, d=12, p=24):
    return random_problem(np.random.default_rng(seed), n, d, p, 3)


def starts(x, atoms):
    """Return codes to start from: none, all, wrong, large, and those of another penalty."""
    rng, shape = np.random.default_rng(1), (len(x), len(atoms))
    everywhere = rng.standard_normal(shape)
    few = np.where(rng.random(shape) < 0.2, everywhere, 0)
    return [*map(Codes, (np.zeros(shape), everywhere, few, 1e6 * few)), Lasso(0.2).encode(x, atoms)]


def error(x, atoms, codes):
    return np.square(x - codes @ atoms).sum(axis=1)


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("kind", CONVEX)
def test_every_start_ends_at_the_certified_minimum(kind, non_negative):
    x, atoms = world()
    atoms[5], atoms[9] = 0, atoms[2]  # a dead atom and a twin
    encoder = kind(PENALTY, non_negative, tolerance=1e-10)
    cold = encoder.encode(x, atoms)
    values = [np.abs(cold).sum(axis=1) * PENALTY + error(x, atoms, cold) / 2]
    for start in starts(x, atoms):
        codes = encoder.encode_from(x, atoms, start)
        assert duality_gap(x, atoms, codes, PENALTY, non_negative=non_negative).max() <= 1.1e-10  # its own rounding
        assert codes[:, [5]].nnz == 0 and (not non_negative or codes.data.min() > 0)
        values.append(np.abs(codes).sum(axis=1) * PENALTY + error(x, atoms, codes) / 2)
    np.testing.assert_allclose(values, np.tile(values[0], (6, 1)), atol=1e-10 * float(np.square(x).sum(axis=1).max()))


@pytest.mark.parametrize("size", [1e9, 1e50, 1e150])
@pytest.mark.parametrize("kind", CONVEX)
def test_a_start_whose_large_codes_cancel_is_worse_than_zero(kind, size):
    x, atoms = world(1, n=12)
    atoms[1::2] = -atoms[::2]
    start = size * np.repeat(np.eye(12), 2, axis=1)  # of each sample an atom and its opposite: nothing, at a price
    for accelerated in (True, False):
        encoder = kind(PENALTY, True, tolerance=1e-6, accelerated=accelerated)
        codes = encoder.encode_from(x, atoms, Codes(start))
        assert duality_gap(x, atoms, codes, PENALTY, non_negative=True).max() <= 1.1e-6


@pytest.mark.parametrize("kind", CONVEX)
def test_a_start_at_zero_or_without_codes_changes_no_bit(kind):
    x, atoms = world(2)
    encoder, nothing = kind(PENALTY), Codes((30, 24))
    for one in (x, x.astype(np.float32)):
        codes = encoder.encode_from(one, atoms, nothing)
        assert codes.dtype == one.dtype
        assert np.array_equal(codes.toarray(), encoder.encode(one, atoms).toarray())


@pytest.mark.parametrize(("kind", "steps"), [(FISTA, 1), (Lasso, 1)])
def test_a_near_start_needs_fewer_steps(kind, steps):
    x, atoms = world(3)
    near = kind(PENALTY * 1.01, tolerance=1e-12).encode(x, atoms)  # nearly always of the same support
    brief = kind(PENALTY, tolerance=1e-9, max_iterations=steps)
    # what `Lasso` has not finished it hands to proximal steps, of which it allows as few
    warm = duality_gap(x, atoms, brief.encode_from(x, atoms, near), PENALTY)
    cold = duality_gap(x, atoms, brief.encode(x, atoms), PENALTY)
    assert np.mean(warm <= 1e-9) > 0.8
    assert np.mean(cold <= 1e-9) < 0.2


def test_plain_proximal_steps_go_on_from_where_they_stopped():
    x, atoms = world(4, n=10)
    plain = FISTA(PENALTY, tolerance=0.0, max_iterations=8, accelerated=False)
    codes = plain.encode(x, atoms)
    for _ in range(3):
        codes = plain.encode_from(x, atoms, codes)
    through = dataclasses.replace(plain, max_iterations=32).encode(x, atoms)
    np.testing.assert_allclose(codes.toarray(), through.toarray(), atol=1e-13)
    other = dataclasses.replace(Lasso(PENALTY, tolerance=0.0, max_iterations=8, accelerated=False))
    assert np.array_equal(other.encode_from(x, atoms, codes).toarray(), plain.encode_from(x, atoms, codes).toarray())


def test_hard_thresholding_goes_on_from_where_it_stopped():
    x, atoms = world(5)
    step = 0.9 / np.linalg.norm(atoms, 2) ** 2
    brief = IterativeHardThresholding(3, step, max_iter=10)
    codes = brief.encode(x, atoms)
    for _ in range(3):
        codes = brief.encode_from(x, atoms, codes)
    through = dataclasses.replace(brief, max_iter=40).encode(x, atoms)
    np.testing.assert_allclose(codes.toarray(), through.toarray(), atol=1e-12)


@pytest.mark.parametrize("non_negative", [False, True])
def test_hard_thresholding_never_ends_above_its_start_and_stays_at_its_end(non_negative):
    x, atoms = world(6)
    encoder = IterativeHardThresholding(3, non_negative=non_negative, max_iter=20_000, precision=1e-12)
    cold = encoder.encode(x, atoms)
    again = dataclasses.replace(encoder, max_iter=1).encode_from(x, atoms, cold)
    np.testing.assert_allclose(again.toarray(), cold.toarray(), atol=1e-9)
    assert not np.allclose(
        dataclasses.replace(encoder, max_iter=1).encode(x, atoms).toarray(), again.toarray(), atol=1e-3
    )
    for start in starts(x, atoms):
        codes = encoder.encode_from(x, atoms, start)
        kept = start.toarray()
        kept = np.maximum(kept, 0) if non_negative else kept
        cut = np.argsort(-np.abs(kept), axis=1, kind="stable")[:, 3:]
        np.put_along_axis(kept, cut, 0, axis=1)
        before = np.minimum(error(x, atoms, kept), np.square(x).sum(axis=1))
        assert np.all(error(x, atoms, codes) <= before + 1e-12)
        assert np.diff(codes.indptr).max() <= 3 and (not non_negative or codes.data.min() > 0)
        # a fixed point: one step more changes nothing
        more = dataclasses.replace(encoder, max_iter=1).encode_from(x, atoms, codes)
        np.testing.assert_allclose(more.toarray(), codes.toarray(), atol=1e-9)


SUPPORTS = [SubspacePursuit(3), CoSaMP(3), HardThresholdingPursuit(3, 0.3)]
PAIRS = GroupLasso(PENALTY, tuple(i // 2 for i in range(24)), tolerance=1e-8)


def cut(start, non_negative):
    """Return the three largest codes of each row of ``start``."""
    kept = np.maximum(start.toarray(), 0) if non_negative else start.toarray()
    np.put_along_axis(kept, np.argsort(-np.abs(kept), axis=1, kind="stable")[:, 3:], 0, axis=1)
    return Codes(kept)


@pytest.mark.parametrize("encoder", SUPPORTS)
def test_a_search_for_a_support_goes_on_from_a_given_one(encoder):
    x, atoms = world(8)
    cold = encoder.encode(x, atoms)
    assert np.array_equal(encoder.encode_from(x, atoms, Codes((30, 24))).toarray(), cold.toarray())
    brief = dataclasses.replace(encoder, max_iter=1)
    again = brief.encode_from(x, atoms, cold)
    assert np.all(error(x, atoms, again) <= error(x, atoms, cold) + 1e-12)
    if not isinstance(encoder, CoSaMP):  # which ended by the residual of a cut, and goes on by that of least squares
        np.testing.assert_allclose(again.toarray(), cold.toarray(), atol=1e-12)
    assert not np.allclose(brief.encode(x, atoms).toarray(), cold.toarray(), atol=1e-3)  # one step is not enough
    for start in starts(x, atoms):
        codes = encoder.encode_from(x, atoms, start)
        assert np.diff(codes.indptr).max() <= 3
        again = least_squares_on_support(x, atoms, codes)
        np.testing.assert_allclose(again.toarray(), codes.toarray(), atol=1e-10)
        if not isinstance(encoder, HardThresholdingPursuit):  # which may leave a better support for its successor
            begun = least_squares_on_support(x, atoms, cut(start, False))
            assert np.all(error(x, atoms, codes) <= error(x, atoms, begun) + 1e-12)


def test_a_search_from_the_planted_support_stays_there():
    rng = np.random.default_rng(3)
    _, atoms = world(9)
    rows = np.repeat(np.arange(30), 3)
    columns = np.concatenate([rng.choice(24, 3, replace=False) for _ in range(30)])
    truth = Codes((rng.uniform(0.5, 1.5, 90), (rows, columns)), shape=(30, 24))
    for encoder in SUPPORTS:
        one = dataclasses.replace(encoder, non_negative=True, max_iter=1)
        np.testing.assert_allclose(one.encode_from(truth @ atoms, atoms, truth).toarray(), truth.toarray(), atol=1e-9)


@pytest.mark.parametrize("non_negative", [False, True])
def test_group_lassos_end_at_the_certified_minimum_from_every_start(non_negative):
    x, atoms = world(10)
    nested = (tuple(range(24)), *(tuple(range(i, i + 4)) for i in range(0, 24, 4)))
    trees = (dataclasses.replace(PAIRS, non_negative=non_negative).tree, TreeLasso(PENALTY, nested, (), non_negative))
    for tree in trees:
        encoder = dataclasses.replace(tree, tolerance=1e-9)
        cold = encoder.encode(x, atoms)
        for start in starts(x, atoms):
            codes = encoder.encode_from(x, atoms, start)
            assert encoder.duality_gap(x, atoms, codes).max() <= 1.1e-9  # its own rounding
            np.testing.assert_allclose(codes.toarray(), cold.toarray(), atol=1e-3)  # a gap of 1e-9 of the energy
        brief = dataclasses.replace(encoder, max_iterations=1)
        assert brief.duality_gap(x, atoms, brief.encode_from(x, atoms, cold)).max() <= 1.1e-9
        assert brief.duality_gap(x, atoms, brief.encode(x, atoms)).max() > 1e-3


@pytest.mark.parametrize("non_negative", [False, True])
def test_every_start_ends_at_the_certified_elastic_net(non_negative):
    x, atoms = world(11)
    atoms[5], atoms[9] = 0, atoms[2]  # a dead atom and a twin, which the ridge has share one code
    encoder = ElasticNet(PENALTY, 0.2, non_negative, tolerance=1e-10)
    cold = encoder.encode(x, atoms)
    for start in [*starts(x, atoms), cold]:
        codes = encoder.encode_from(x, atoms, start)
        assert duality_gap(x, atoms, codes, PENALTY, ridge=0.2, non_negative=non_negative).max() <= 1.1e-10
        # a gap of 1e-10 ||x||^2 / 2 and a ridge of 0.2 leave codes 3e-5 ||x||; active sets end exactly
        np.testing.assert_allclose(codes.toarray(), cold.toarray(), atol=1e-9)
    brief = dataclasses.replace(encoder, max_iterations=1)
    law = {"ridge": 0.2, "non_negative": non_negative}
    assert duality_gap(x, atoms, brief.encode_from(x, atoms, cold), PENALTY, **law).max() <= 1.1e-10
    assert np.median(duality_gap(x, atoms, brief.encode(x, atoms), PENALTY, **law)) > 1e-4


@pytest.mark.parametrize("width", [8, 24])
def test_every_start_ends_at_the_certified_non_negative_fit(width):
    x, atoms = world(12, p=width)  # fewer atoms than dimensions, where codes are unique, and more
    encoder = NonNegativeLeastSquares()
    cold = encoder.encode(x, atoms)
    for start in [*starts(x, atoms), cold]:
        codes = encoder.encode_from(x, atoms, start)
        assert kkt_residual(x, atoms, codes, 0.0, non_negative=True).max() < 1e-9
        np.testing.assert_allclose(codes @ atoms, cold @ atoms, atol=1e-8)  # the fit is unique whatever the atoms
        if width < 12:
            np.testing.assert_allclose(codes.toarray(), cold.toarray(), atol=1e-8)
    brief = NonNegativeLeastSquares(max_iterations=1)
    assert kkt_residual(x, atoms, brief.encode_from(x, atoms, cold), 0.0, non_negative=True).max() < 1e-9
    assert np.median(kkt_residual(x, atoms, brief.encode(x, atoms), 0.0, non_negative=True)) > 1e-3


def assert_fits_no_worse(x, atoms, start, codes, k, non_negative):
    """Hold codes of at most ``k`` atoms to the least error on the ``k`` largest of the start, signs as they must be."""
    assert np.diff(codes.indptr).max() <= k and (not non_negative or codes.data.min() > 0)
    kept = np.maximum(start.toarray(), 0) if non_negative else start.toarray()
    np.put_along_axis(kept, np.argsort(-np.abs(kept), axis=1, kind="stable")[:, k:], 0, axis=1)
    if non_negative:
        begun = [nnls(np.where(row > 0, atoms.T, 0), one)[1] ** 2 for row, one in zip(kept, x, strict=True)]
    else:
        begun = error(x, atoms, least_squares_on_support(x, atoms, Codes(kept)))
    assert np.all(error(x, atoms, codes) <= np.array(begun) + 1e-12)


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("kind", [OrthogonalMatchingPursuit, BeamPursuit])
def test_pursuits_go_on_from_their_atoms_and_fit_no_worse_than_these(kind, non_negative):
    x, atoms = world(13)
    encoder, shorter = kind(6, non_negative=non_negative), OrthogonalMatchingPursuit(3, non_negative)
    for start in starts(x, atoms):
        assert_fits_no_worse(x, atoms, start, encoder.encode_from(x, atoms, start), 6, non_negative)
    if kind is OrthogonalMatchingPursuit:
        for one, close in ((x, 1e-10), (x.astype(np.float32), 1e-4)):
            cold = encoder.encode(one, atoms).toarray()
            warm = encoder.encode_from(one, atoms, shorter.encode(one, atoms))  # three steps more
            assert warm.dtype == one.dtype
            np.testing.assert_allclose(warm.toarray(), cold, atol=close)
            assert np.array_equal(encoder.encode_from(one, atoms, Codes((30, 24))).toarray(), cold)
        twins = Codes(np.eye(24)[[2]] + np.eye(24)[[9]])
        atoms[9] = atoms[2]
        assert not encoder.encode_from(x[:1], atoms, twins).toarray()[0, 9]  # dependent: left out, and a place is free


def test_a_tolerance_is_looked_at_once_the_given_atoms_are_in():
    atoms = np.eye(6)
    x = np.array([[3.0, 2.0, 1.0, 0.5, 0.2, 0.1]])
    for encoder in (OrthogonalMatchingPursuit(5, tolerance=0.6), BeamPursuit(5, tolerance=0.6)):
        assert np.array_equal(encoder.encode(x, atoms).indices, [0, 1])
        begun = encoder.encode_from(x, atoms, Codes(np.array([[0, 0, 1.0, 1, 1, 0]])))
        assert np.array_equal(begun.indices, [0, 2, 3, 4])
        assert np.array_equal(encoder.encode_from(x, atoms, Codes(x * [1, 1, 1, 0, 0, 0])).indices, [0, 1, 2])


def test_sparse_bayes_never_costs_more_than_its_start_and_hardly_moves_from_its_end():
    x, atoms = world(14)
    encoder = SparseBayesianLearning(0.01)
    cold = encoder.learned(x, atoms)
    again = encoder.learned(x, atoms, cold.codes)
    assert np.all(again.cost <= cold.cost + 1e-3) and again.iterations.mean() < 0.5 * cold.iterations.mean()
    for start in starts(x, atoms):
        found = encoder.learned(x, atoms, start)
        assert np.array_equal(found.codes.toarray(), encoder.encode_from(x, atoms, start).toarray())
        # one step's cost is that of the start's variances or, where these are the likelier, of equal ones
        before = dataclasses.replace(encoder, max_iter=1, prune=0.0)
        worse = np.maximum(before.learned(x, atoms).cost, before.learned(x, atoms, start).cost)
        assert np.all(found.cost <= worse + 1e-9 * np.abs(worse))
    nothing = encoder.encode_from(x, atoms, Codes((30, 24)))
    assert np.array_equal(nothing.toarray(), cold.codes.toarray())
    missing = cold.codes.copy()
    missing.data[np.diff(missing.indptr, prepend=0).cumsum()[:-1] % missing.nnz] = 0
    late = encoder.learned(x, atoms, missing)  # atoms left out of the start come back
    assert np.mean(np.isin(np.flatnonzero(abs(cold.codes.toarray()) > 0.3), np.flatnonzero(late.codes.toarray()))) > 0.9


@pytest.mark.parametrize("noise", [None, 0.03**2])
def test_message_passing_ends_at_one_fixed_point_from_every_start_and_soonest_from_its_own(noise):
    rng = np.random.default_rng(15)
    atoms = rng.standard_normal((200, 120)) / np.sqrt(120)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    truth = (rng.random((12, 200)) < 0.1) * rng.standard_normal((12, 200))  # far inside what is recovered
    x = truth @ atoms + 0.03 * rng.standard_normal((12, 120))
    encoder = VectorAMP(BernoulliGaussian(0.1), noise) if noise else ApproximateMessagePassing(BernoulliGaussian(0.1))
    cold = encoder.passed(x, atoms)
    fits = OrthogonalMatchingPursuit(120).encode(x, atoms)  # exact fits, which say nothing of what is true
    for start in (*starts(x, atoms), fits, Codes(truth), Codes((12, 200))):
        warm = encoder.passed(x, atoms, start)
        assert warm.converged.all() and not warm.diverged.any()
        # both end where a step changes codes by 1e-6 of their norm, about 4; convergence is by halves
        np.testing.assert_allclose(warm.codes.toarray(), cold.codes.toarray(), atol=1e-4)
        assert np.array_equal(warm.codes.toarray(), encoder.encode_from(x, atoms, start).toarray())
    again = encoder.passed(x, atoms, cold.codes)
    assert again.iterations.mean() < 0.2 * cold.iterations.mean()


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("kind", [MatchingPursuit, GradientPursuit])
def test_selections_go_on_from_where_they_stopped_and_from_no_start_fit_worse(kind, non_negative):
    x, atoms = world(16)
    short, long = kind(3, non_negative=non_negative), kind(8, non_negative=non_negative)
    five = dataclasses.replace(long, k=5)
    for one, close in ((x, 1e-12), (x.astype(np.float32), 1e-5)):
        warm = five.encode_from(one, atoms, short.encode(one, atoms))
        assert warm.dtype == one.dtype
        np.testing.assert_allclose(warm.toarray(), long.encode(one, atoms).toarray(), atol=close)
        nothing = five.encode_from(one, atoms, Codes((30, 24)))
        assert np.array_equal(nothing.toarray(), five.encode(one, atoms).toarray())
    for start in [*starts(x, atoms), Codes(np.full((30, 24), 1e200))]:
        codes = five.encode_from(x, atoms, start)
        kept = np.maximum(start.toarray(), 0) if non_negative else start.toarray()
        with np.errstate(over="ignore"):
            before = np.minimum(error(x, atoms, kept), np.square(x).sum(axis=1))
        assert np.all(error(x, atoms, codes) <= before + 1e-12)
        assert not non_negative or codes.data.min() > 0
    near = dataclasses.replace(long, tolerance=0.5)  # of ||x||, not of what the start leaves: nothing is left to do
    ended = near.encode(x, atoms)
    done = error(x, atoms, ended) <= 0.25 * np.square(x).sum(axis=1)
    assert done.mean() > 0.5
    np.testing.assert_array_equal(near.encode_from(x, atoms, ended).toarray()[done], ended.toarray()[done])


@pytest.mark.parametrize("non_negative", [False, True])
def test_stages_add_to_the_atoms_of_a_start_and_fit_no_worse_than_these(non_negative):
    x, atoms = world(17)
    encoder = StagewisePursuit(6, 1.5, non_negative=non_negative)
    cold = encoder.encode(x, atoms)
    assert np.array_equal(encoder.encode_from(x, atoms, Codes((30, 24))).toarray(), cold.toarray())
    one, rest = dataclasses.replace(encoder, stages=1), dataclasses.replace(encoder, stages=9)
    if not non_negative:  # where a chosen atom without a positive code is forgotten between the two
        np.testing.assert_allclose(
            rest.encode_from(x, atoms, one.encode(x, atoms)).toarray(), cold.toarray(), atol=1e-12
        )
    for start in starts(x, atoms):
        assert_fits_no_worse(x, atoms, start, encoder.encode_from(x, atoms, start), 6, non_negative)


@pytest.mark.parametrize("rule", [{}, {"penalty": 0.05}, {"tolerance": 0.3}, {"non_negative": True}])
def test_a_search_of_all_supports_proves_the_same_minimum_in_no_more_nodes_with_one_to_beat(rule):
    x, atoms = world(18, n=12, d=8, p=16)
    encoder = ExhaustiveSearch(4, **rule)
    cold = encoder.certified(x, atoms)
    assert cold.proven.all()
    for start in [*starts(x, atoms), cold.codes]:
        warm = encoder.certified(x, atoms, start)
        assert warm.proven.all() and np.all(warm.nodes <= cold.nodes)
        np.testing.assert_allclose(warm.codes.toarray(), cold.codes.toarray(), atol=1e-10)  # unique but for accidents
        np.testing.assert_allclose(warm.bound, cold.bound, atol=1e-12 * np.square(x).sum(axis=1).max())
    brief = dataclasses.replace(encoder, max_nodes=1)
    kept = brief.encode_from(x, atoms, cold.codes)  # what cannot be proven is kept
    np.testing.assert_allclose(kept.toarray(), cold.codes.toarray(), atol=1e-10)
    lost = np.abs(brief.encode(x, atoms).toarray() - cold.codes.toarray()).max()
    assert lost > 1.0 or "tolerance" in rule  # with which few atoms do, and these are found at once


@pytest.mark.parametrize("non_negative", [False, True])
def test_reweighted_lassos_end_where_they_do_from_no_start(non_negative):
    x, atoms = world(19)
    encoder = ReweightedLasso(PENALTY, non_negative=non_negative, tolerance=1e-12)
    cold = encoder.encode(x, atoms)
    for start in [*starts(x, atoms), cold]:
        np.testing.assert_allclose(encoder.encode_from(x, atoms, start).toarray(), cold.toarray(), atol=1e-7)


@pytest.mark.parametrize("update", ["alternating", "singular"])
def test_kronecker_variances_begin_at_the_product_nearest_a_start(update):
    x, atoms = world(20)
    encoder = KroneckerSparseBayes(6, 4, 0.01, update)
    cold = encoder.learned(x, atoms)
    brief = dataclasses.replace(encoder, max_iter=10)
    ahead = brief.learned(x, atoms, cold.codes).cost < brief.learned(x, atoms).cost
    assert ahead.mean() > (0.9 if update == "alternating" else 0.5)
    if update == "alternating":  # whose cost never rises, but for pruning
        for start in starts(x, atoms):
            before = dataclasses.replace(encoder, max_iter=1, prune=0.0)
            worse = np.maximum(before.learned(x, atoms).cost, before.learned(x, atoms, start).cost)
            found = dataclasses.replace(encoder, prune=0.0).learned(x, atoms, start)
            assert np.all(found.cost <= worse + 1e-9 * np.abs(worse))
    assert np.array_equal(encoder.encode_from(x, atoms, Codes((30, 24))).toarray(), cold.codes.toarray())


def test_sparse_bayes_by_messages_goes_on_from_its_end_and_leaves_a_start_that_fits_worse_than_zero():
    rng = np.random.default_rng(21)
    atoms = rng.standard_normal((80, 60))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    truth = (rng.random((10, 80)) < 0.08) * rng.standard_normal((10, 80))
    x = truth @ atoms + 0.01 * rng.standard_normal((10, 60))
    encoder = MessagePassingSparseBayes(1e-4)
    cold = encoder.passed(x, atoms)
    for start in (Codes((10, 80)), Codes(np.full((10, 80), 1e3))):
        assert np.array_equal(encoder.encode_from(x, atoms, start).toarray(), cold.codes.toarray())
    again = encoder.passed(x, atoms, cold.codes)
    # variances know nothing of the start's posterior spread, and small ones creep: a sixth of the steps is saved here
    assert not again.diverged.any() and again.iterations.mean() < cold.iterations.mean()
    spread = np.sqrt(np.square(cold.codes.toarray() - truth).mean())
    for start in (cold.codes, Codes(truth)):  # other fixed points, as near to the truth: posterior deviations are 0.01
        found = encoder.encode_from(x, atoms, start).toarray()
        assert np.sqrt(np.square(found - truth).mean()) < 1.05 * spread < 0.01


WARM = [
    MatchingPursuit(4),
    GradientPursuit(4),
    StagewisePursuit(4),
    ExhaustiveSearch(2),
    ReweightedLasso(PENALTY),
    FISTA(PENALTY),
    Lasso(PENALTY),
    ElasticNet(PENALTY, 0.1),
    NonNegativeLeastSquares(),
    OrthogonalMatchingPursuit(4),
    BeamPursuit(4),
    IterativeHardThresholding(3),
    PAIRS,
    *SUPPORTS,
]


@pytest.mark.parametrize("encoder", WARM)
def test_rows_are_alone_and_bad_starts_are_refused(encoder):
    x, atoms = world(7, n=9)
    start = starts(x, atoms)[2]
    codes = encoder.encode_from(x, atoms, start).toarray()
    alone = [encoder.encode_from(x[[i]], atoms, start[[i]]).toarray()[0] for i in range(9)]
    assert np.array_equal(np.stack(alone), codes)
    far = dataclasses.replace(encoder, penalty=1e99) if hasattr(encoder, "penalty") else encoder
    scaled = far.encode_from(x * (1e100), atoms, start * 1e100).toarray() / 1e100
    np.testing.assert_allclose(scaled, codes, atol=1e-3 if far is not encoder else 1e-9)  # gaps of 1e-6
    with pytest.raises(ValueError, match="start must be codes"):
        encoder.encode_from(x, atoms, start[:3])
    with pytest.raises(ValueError, match="start must be finite"):
        encoder.encode_from(x, atoms, Codes(np.full((9, 24), np.nan)))
    for wrong in ([[0.0] * 24] * 9, Codes(np.ones((9, 24)) * 1j)):
        with pytest.raises(TypeError, match="start must"):
            encoder.encode_from(x, atoms, wrong)
    assert encoder.encode_from(x[:0], atoms, start[:0]).shape == (0, 24)


@pytest.mark.parametrize("size", [1e30, 1e50, 1e150])
@pytest.mark.parametrize("kind", [GradientPursuit, IterativeHardThresholding])
def test_a_start_out_of_sight_is_left_for_zero(kind, size):
    x, atoms = world(1, n=12)
    atoms[1::2] = -atoms[::2]
    start = Codes(size * np.repeat(np.eye(12), 2, axis=1))  # of each sample an atom and its opposite: nothing at all
    for non_negative in (True, False):
        encoder = kind(4, non_negative=non_negative)
        warm, cold = (found.toarray() for found in (encoder.encode_from(x, atoms, start), encoder.encode(x, atoms)))
        np.testing.assert_array_equal(warm, cold)
