"""Exhaustive search against brute force, and its certificate against everything that could break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_encoders import identity_hadamard, random_problem
from slow_greedy import best_of_all

from sparsesim.solvers.beam import BeamPursuit
from sparsesim.solvers.exhaustive import ExhaustiveSearch


def objective(x, atoms, codes, penalty):
    return np.square(x - codes @ atoms).sum(axis=1) + penalty * np.diff(codes.indptr)


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.integers(3, 9),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.booleans(),
)
def test_it_is_brute_force(seed, d, p, k, penalty, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 2, d, p, 3, noise=0.3)
    k = min(k, d, p)
    found = ExhaustiveSearch(k, penalty, non_negative).certified(x, atoms)
    assert np.diff(found.codes.indptr).max() <= k
    assert found.proven.all()
    best = [best_of_all(row, atoms, k, penalty, non_negative) for row in x]
    reached = objective(x, atoms, found.codes, penalty)
    # brute force solves by QR, this by normal equations: supports of condition 1e4 differ by 1e-8 in codes
    np.testing.assert_allclose(reached, best, atol=1e-9 * np.square(x).sum(axis=1).max())
    np.testing.assert_allclose(found.bound, best, atol=1e-9 * np.square(x).sum(axis=1).max())


@pytest.mark.parametrize("non_negative", [False, True])
def test_it_is_brute_force_at_sixteen_atoms_and_five_places(non_negative):
    x, atoms = random_problem(np.random.default_rng(0), 2, 9, 16, 4, noise=0.2)
    found = ExhaustiveSearch(5, 0.01, non_negative).certified(x, atoms)
    best = [best_of_all(row, atoms, 5, 0.01, non_negative) for row in x]
    np.testing.assert_allclose(objective(x, atoms, found.codes, 0.01), best, atol=1e-10)
    assert found.proven.all()


def test_bounds_cut_the_search_where_atoms_are_of_low_coherence():
    atoms, rng = identity_hadamard(64), np.random.default_rng(1)
    truth = np.zeros((10, 128))
    for row in truth:
        row[rng.choice(128, 4, replace=False)] = rng.uniform(1, 2, 4)
    x = truth @ atoms + 0.01 * rng.standard_normal((10, 64))
    found = ExhaustiveSearch(4).certified(x, atoms)
    assert found.proven.all()
    assert np.array_equal(found.codes.toarray() != 0, truth != 0)
    assert found.nodes.max() < 100  # of 1 + 128 + C(128, 2) = 8257 sets of at most two atoms


def test_a_search_cut_short_says_so_and_its_bound_stays_below_the_optimum():
    x, atoms = random_problem(np.random.default_rng(2), 12, 8, 14, 4, noise=0.3)
    whole = ExhaustiveSearch(4).certified(x, atoms)
    best = objective(x, atoms, whole.codes, 0.0)
    assert whole.proven.all()
    for nodes in (1, 3, 10, 30):
        part = ExhaustiveSearch(4, max_nodes=nodes).certified(x, atoms)
        reached = objective(x, atoms, part.codes, 0.0)
        assert np.all(part.nodes <= nodes)
        assert np.all(part.bound <= best + 1e-12)
        assert np.all(reached >= best - 1e-12)
        np.testing.assert_allclose(reached[part.proven], best[part.proven], atol=1e-12)
    assert not ExhaustiveSearch(4, max_nodes=1).certified(x, atoms).proven.any()


def test_nothing_beats_it():
    x, atoms = random_problem(np.random.default_rng(3), 60, 10, 30, 3)
    best = np.square(x - ExhaustiveSearch(3).encode(x, atoms) @ atoms).sum(axis=1)
    for width in (1, 4, 16):
        error = np.square(x - BeamPursuit(3, width).encode(x, atoms) @ atoms).sum(axis=1)
        assert np.all(best <= error + 1e-12)
        assert width > 1 or np.any(best < error - 1e-3)


def test_samples_of_few_atoms_get_no_more_and_a_penalty_trades_atoms_for_error():
    atoms = np.linalg.qr(np.random.default_rng(4).standard_normal((6, 6)))[0]
    truth = np.array([[3.0, 0, 0, 0, 0, 0], [2.0, -1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0.5, 0.2, 1.0, 0, 0, 0]])
    codes = ExhaustiveSearch(5).encode(truth @ atoms, atoms)
    assert np.array_equal(np.diff(codes.indptr), [1, 2, 0, 3])
    priced = ExhaustiveSearch(5, penalty=0.1).encode(truth @ atoms, atoms).toarray()
    np.testing.assert_allclose(priced, np.where(truth**2 > 0.1, truth, 0), atol=1e-13)  # hard thresholding at sqrt(0.1)
    assert ExhaustiveSearch(5, penalty=1e300).encode(truth @ atoms * 1e-200, atoms).nnz == 0


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.integers(3, 8),
    st.integers(1, 11),
    st.integers(1, 5),
    st.sampled_from([0.05, 0.3, 0.6, 1.0]),
    st.booleans(),
)
def test_a_tolerance_takes_the_fewest_atoms_that_reach_it_and_of_these_the_best(seed, d, p, k, tolerance, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 3, d, p, 3, noise=0.2)
    k = min(k, d, p)
    found = ExhaustiveSearch(k, non_negative=non_negative, tolerance=tolerance).certified(x, atoms)
    assert found.proven.all()
    error, size = objective(x, atoms, found.codes, 0.0), np.diff(found.codes.indptr)
    for row, reached, count, bound in zip(x, error, size, found.bound, strict=True):
        target, energy = (tolerance * np.linalg.norm(row)) ** 2, float(row @ row)
        best = [best_of_all(row, atoms, size, 0.0, non_negative) for size in range(k + 1)]
        enough = [size for size in range(k + 1) if best[size] <= target + 1e-12 * energy]
        if enough:
            assert count == enough[0]
        else:  # the best of k, which may have fewer where more atoms gain nothing
            assert count <= k
        # brute force solves by QR, this by normal equations: supports of condition 1e4 differ by 1e-8 in codes
        np.testing.assert_allclose(reached, best[enough[0] if enough else k], atol=1e-9 * energy)
        np.testing.assert_allclose(bound, reached, atol=1e-9 * energy)


def test_a_tolerance_cut_short_is_not_proven_and_is_searched_in_less_than_every_size():
    x, atoms = random_problem(np.random.default_rng(6), 20, 12, 24, 4, noise=0.05)
    whole = ExhaustiveSearch(5, tolerance=0.3).certified(x, atoms)
    assert whole.proven.all() and len(set(np.diff(whole.codes.indptr))) > 1
    brief = ExhaustiveSearch(5, max_nodes=1, tolerance=0.3).certified(x, atoms)
    within = objective(x, atoms, brief.codes, 0.0) <= 0.09 * np.square(x).sum(axis=1)
    assert np.all(np.diff(brief.codes.indptr)[within] >= np.diff(whole.codes.indptr)[within])
    assert not brief.proven[~within].any() and np.any(~within)
    late = np.diff(whole.codes.indptr) > 2  # sizes up to two need no nodes
    assert not brief.proven[late].any() and brief.proven[~late].all()
    every = sum(ExhaustiveSearch(k).certified(x, atoms).nodes.sum() for k in range(1, 6))
    assert whole.nodes.sum() < every / 2  # sizes that cannot reach the tolerance are cut sooner
    with pytest.raises(ValueError, match=r"tolerance=0\.1 and penalty=0\.2"):
        ExhaustiveSearch(2, 0.2, tolerance=0.1)


@pytest.mark.parametrize(("field", "value"), [("penalty", -1.0), ("max_nodes", 0), ("tolerance", 1.5)])
def test_bad_settings_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ExhaustiveSearch(2, **{field: value})


def test_too_wide_a_dictionary_is_refused_with_a_remedy():
    atoms = np.zeros((2049, 3))
    with pytest.raises(ValueError, match="BeamPursuit"):
        ExhaustiveSearch(2).encode(np.ones((1, 3)), atoms)
