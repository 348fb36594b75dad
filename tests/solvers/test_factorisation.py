"""The factorisations never raise the error, find exact factors where these are unique, and are stationary."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers.active_set import NonNegativeLeastSquares
from sparsesim.solvers.base import Status
from sparsesim.solvers.factorisation import (
    NonNegativeFactorisation,
    SemiNonNegativeFactorisation,
    largest_entries,
    non_negative_directions,
)

KINDS = [NonNegativeFactorisation, SemiNonNegativeFactorisation]


def fit(solver, x, seed=0):
    return solver.fit(x, rng=stream(seed, Role.SOLVER))


@settings(max_examples=15)
@given(st.sampled_from(KINDS), st.integers(1, 20), st.integers(1, 5), st.integers(1, 7), st.integers(0, 10**6))
def test_the_error_never_rises_and_the_trace_is_that_of_the_fit(kind, n, d, p, seed):
    x = np.random.default_rng(seed).standard_normal((n, d))
    fitted = fit(kind(p, iterations=10), x, seed)
    errors = fitted.trace["fvu"]
    assert all(after <= before for before, after in pairwise(errors)) or np.isnan(errors).all()
    if kind is NonNegativeFactorisation:
        assert fitted.atoms.min() >= 0
    codes = fitted.encode(x)
    assert codes.data.min(initial=0) >= 0
    variance = np.square(x - x.mean(axis=0)).sum()
    if variance > 1e-9:
        error = np.square(x - fitted.decode(codes)).sum() / variance
        assert error == pytest.approx(errors[-1], rel=1e-6, abs=1e-12)  # the same codes, on rescaled samples


def test_separable_non_negative_factors_are_recovered():
    # Each feature has samples of its own and a coordinate of its own: the factorisation is then unique.
    rng = np.random.default_rng(0)
    atoms = np.concatenate([np.eye(4), 0.5 * rng.random((4, 6))], axis=1)
    codes = np.concatenate([np.eye(4), rng.random((200, 4)) * (rng.random((200, 4)) < 0.5)])
    scores = []
    for seed in range(3):
        fitted = fit(NonNegativeFactorisation(4, iterations=500, tolerance=1e-7), codes @ atoms, seed)
        scores.append(match_rows(cosines(unit_rows(atoms)[0], fitted.atoms)).similarity.min())
    assert max(scores) > 0.999, scores


@pytest.mark.parametrize("kind", KINDS)
def test_a_rank_one_problem_has_the_closed_form(kind):
    rng = np.random.default_rng(1)
    x = rng.random((30, 6)) + 0.1  # the leading singular vectors of a positive matrix are positive
    fitted = fit(kind(1, iterations=300, tolerance=0.0), x)
    vector = np.linalg.svd(x)[2][0]
    np.testing.assert_allclose(fitted.atoms[0], vector * np.sign(vector[0]), atol=1e-8)


def test_the_result_is_stationary_in_atoms_and_codes():
    x = np.random.default_rng(2).random((60, 8))
    fitted = fit(NonNegativeFactorisation(3, iterations=5000, tolerance=1e-12), x)
    codes = fitted.encode(x).toarray()
    slope = codes.T @ (codes @ fitted.atoms - x)  # of half the squared error, per atom entry
    assert fitted.status is Status.CONVERGED
    assert slope.min() > -1e-3 and np.abs(slope[fitted.atoms > 1e-3]).max() < 1e-3  # against 1e1 at the start


def test_sklearn_does_not_find_a_lower_error():
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = np.random.default_rng(3).random((80, 10))
    errors = [fit(NonNegativeFactorisation(4, iterations=300), x, seed) for seed in range(3)]
    ours = min(np.square(x - f.decode(f.encode(x))).sum() for f in errors)
    model = decomposition.NMF(4, init="nndsvda", max_iter=2000, tol=1e-8, random_state=0)
    weights = model.fit_transform(x)
    theirs = np.square(x - weights @ model.components_).sum()
    assert ours < 1.02 * theirs  # local minima differ by percents, a wrong update by much more


def test_the_step_in_the_atoms_never_raises_the_error():
    rng = np.random.default_rng(4)
    for _ in range(20):
        x, atoms = rng.standard_normal((15, 4)), unit_rows(rng.random((6, 4)))[0]
        codes = NonNegativeLeastSquares().encode(x, atoms)
        new = non_negative_directions(x, codes, atoms)
        assert new.min() >= 0
        before, after = (np.square(x - codes @ a).sum() for a in (atoms, new))
        assert after <= before + 1e-12


def test_atoms_cut_to_their_largest_entries_are_sparse_and_the_best_seen():
    x = np.random.default_rng(5).standard_normal((80, 20))
    fitted = fit(SemiNonNegativeFactorisation(6, iterations=40, kept=0.2), x)
    assert (np.count_nonzero(fitted.atoms, axis=1) == 4).all()
    codes = fitted.encode(x)
    assert codes.data.min() >= 0
    error = np.square(x - fitted.decode(codes)).sum() / np.square(x - x.mean(axis=0)).sum()
    assert error == pytest.approx(min(fitted.trace["fvu"]), rel=1e-6)
    for part in (0.01, 1.0):  # at least one entry; all of them is the form that never rises
        atoms = fit(SemiNonNegativeFactorisation(6, iterations=3, kept=part), x).atoms
        assert (np.count_nonzero(atoms, axis=1) == (1 if part < 1 else 20)).all()


def test_features_of_few_coordinates_are_recovered_by_the_cut():
    rng = np.random.default_rng(6)
    atoms = unit_rows(largest_entries(rng.standard_normal((5, 30)), 3))[0]
    codes = rng.exponential(size=(400, 5)) * (rng.random((400, 5)) < 0.3)
    x = codes @ atoms + 0.02 * rng.standard_normal((400, 30))
    scores = []
    for seed in range(4):
        found = fit(SemiNonNegativeFactorisation(5, kept=0.1), x, seed).atoms
        scores.append(match_rows(cosines(atoms, found)).similarity.min())
    assert max(scores) > 0.99, scores


def test_the_largest_entries_are_kept_and_the_lowest_index_wins():
    rows = np.array([[1.0, -3.0, 2.0, 3.0], [1.0, 1.0, -1.0, 1.0]])
    np.testing.assert_array_equal(largest_entries(rows, 2), [[0, -3, 0, 3], [1, 1, 0, 0]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.0, 1e-150, -1.0, 1e150])
def test_degenerate_samples_give_a_dictionary(kind, scale):
    rng = np.random.default_rng(0)
    for x in (rng.random((30, 3)), np.ones((1, 3)), np.full((5, 1), 2.0)):
        fitted = fit(kind(4, iterations=3), scale * x)
        assert np.isfinite(fitted.atoms).all() and np.isfinite(fitted.encode(scale * x).data).all()


@pytest.mark.parametrize("kind", KINDS)
def test_exact_factors_end_the_fit(kind):
    x = np.outer(np.arange(1.0, 9), [1.0, 2.0, 3.0])
    fitted = fit(kind(2), x)
    assert fitted.status is Status.CONVERGED and fitted.trace["fvu"][-1] < 1e-20


@pytest.mark.parametrize("arguments", [{"width": 0}, {"iterations": 0}, {"tolerance": -1.0}])
@pytest.mark.parametrize("kind", KINDS)
def test_bad_configurations_are_refused(kind, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        kind(**({"width": 2} | arguments))
    with pytest.raises(ValueError, match="kept"):
        SemiNonNegativeFactorisation(2, kept=0.0)
