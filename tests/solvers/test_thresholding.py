"""Thresholding encoders against slow twins, fixed-point conditions and the one-step certificate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_encoders import identity_hadamard, random_problem
from slow_greedy import cut, error, fit, hard_pursuit, hard_thresholding, largest

from sparsesim.solvers.thresholding import (
    CorrelationThreshold,
    CorrelationTopK,
    HardThresholdingPursuit,
    IterativeHardThresholding,
)

worlds = (st.integers(0, 2**32), st.integers(6, 14), st.integers(6, 30), st.integers(1, 4), st.booleans())


@settings(max_examples=40)
@given(*worlds)
def test_one_step_codes_are_the_largest_correlations_or_least_squares_on_them(seed, d, p, k, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 6, d, p, 3)
    plain = CorrelationTopK(k, non_negative=non_negative).encode(x, atoms).toarray()
    refit = CorrelationTopK(k, refit=True, non_negative=non_negative).encode(x, atoms).toarray()
    for row, code, better in zip(x, plain, refit, strict=True):
        np.testing.assert_allclose(code, cut(atoms @ row, k, non_negative), atol=1e-13 * np.linalg.norm(row))
        expected = fit(row, atoms, largest(atoms @ row, k, non_negative), non_negative)
        # four random atoms in six dimensions: condition below 1e4 but for one draw in thousands
        np.testing.assert_allclose(better, expected, atol=1e-8 * np.linalg.norm(row))


@settings(max_examples=40)
@given(*worlds, st.floats(0.0, 2.0))
def test_the_level_form_keeps_what_exceeds_the_level(seed, d, p, k, non_negative, level):
    x, atoms = random_problem(np.random.default_rng(seed), 6, d, p, k)
    score = x @ atoms.T
    kept = (score if non_negative else np.abs(score)) > level
    codes = CorrelationThreshold(level, non_negative=non_negative).encode(x, atoms).toarray()
    np.testing.assert_allclose(codes, np.where(kept, score, 0), atol=1e-13 * np.abs(x).max())
    refit = CorrelationThreshold(level, refit=True, non_negative=non_negative).encode(x, atoms)
    for row, code, support in zip(x, refit.toarray(), kept, strict=True):
        expected = fit(row, atoms, np.flatnonzero(support), non_negative)
        # of more atoms than dimensions only the error is unique; the dropped ones are within 1e-5 of the span
        np.testing.assert_allclose(error(row, atoms, code), error(row, atoms, expected), atol=1e-6 * (row @ row))


def test_one_step_is_exact_below_the_coherence_bound_and_not_much_above():
    atoms, rng = identity_hadamard(64), np.random.default_rng(0)
    exact = {}
    for k in (4, 40):  # k < (1 + 1/mu) / 2 = 4.5 for equal magnitudes
        truth = np.zeros((500, 128))
        for row in truth:
            row[rng.choice(128, k, replace=False)] = rng.choice([-1.0, 1.0], k)
        codes = CorrelationTopK(k, refit=True).encode(truth @ atoms, atoms).toarray()
        exact[k] = np.mean(np.abs(codes - truth).max(axis=1) < 1e-12)
    assert exact[4] == 1.0
    assert exact[40] < 0.5


@settings(max_examples=40)
@given(*worlds, st.sampled_from([0.1, 0.4, 1.0]))
def test_hard_thresholding_pursuit_is_its_slow_twin(seed, d, p, k, non_negative, step):
    x, atoms = random_problem(np.random.default_rng(seed), 5, d, p, 3)
    codes = HardThresholdingPursuit(k, step, non_negative).encode(x, atoms).toarray()
    for row, code in zip(x, codes, strict=True):
        expected, _ = hard_pursuit(row, atoms, k, step, non_negative)
        np.testing.assert_allclose(code, expected, atol=1e-8 * np.linalg.norm(row))


def test_one_step_of_hard_thresholding_pursuit_is_one_step_with_least_squares():
    x, atoms = random_problem(np.random.default_rng(1), 100, 12, 30, 3)
    ours = HardThresholdingPursuit(3, max_iter=1).encode(x, atoms).toarray()
    assert np.array_equal(ours, CorrelationTopK(3, refit=True).encode(x, atoms).toarray())


def test_hard_thresholding_pursuit_ends_at_fixed_points_where_the_step_is_short():
    x, atoms = random_problem(np.random.default_rng(2), 200, 12, 30, 3)
    step = 0.9 / np.linalg.norm(atoms, 2) ** 2
    codes = HardThresholdingPursuit(3, step).encode(x, atoms).toarray()
    following = codes + step * (x - codes @ atoms) @ atoms.T
    for code, after in zip(codes, following, strict=True):
        assert largest(after, 3) == list(np.flatnonzero(code))
    one = np.square(x - HardThresholdingPursuit(3, step, max_iter=1).encode(x, atoms) @ atoms).sum(axis=1)
    assert np.all(np.square(x - codes @ atoms).sum(axis=1) <= one + 1e-12)


@settings(max_examples=30)
@given(*worlds)
def test_iterative_hard_thresholding_is_its_slow_twin(seed, d, p, k, non_negative):
    x, atoms = random_problem(np.random.default_rng(seed), 3, d, p, 3)
    for step in (None, 0.9 / np.linalg.norm(atoms, 2) ** 2):
        encoder = IterativeHardThresholding(k, step, non_negative, max_iter=40)
        codes = encoder.encode(x, atoms).toarray()
        for row, code in zip(x, codes, strict=True):
            if len(largest(atoms @ row, k, non_negative)) == 0:
                assert not code.any()
                continue
            expected = hard_thresholding(row, atoms, k, step, non_negative, 40)
            # 40 steps of a map that expands differences by at most a few at changes of support
            np.testing.assert_allclose(code, expected, atol=1e-9 * np.linalg.norm(row))


@pytest.mark.parametrize("non_negative", [False, True])
def test_iterative_hard_thresholding_ends_at_fixed_points(non_negative):
    x, atoms = random_problem(np.random.default_rng(3), 100, 12, 30, 3)
    step = 0.9 / np.linalg.norm(atoms, 2) ** 2
    codes = IterativeHardThresholding(3, step, non_negative, max_iter=20_000, precision=1e-13).encode(x, atoms)
    after = codes.toarray() + step * (x - codes @ atoms) @ atoms.T
    for code, moved in zip(codes.toarray(), after, strict=True):
        # a last step below 1e-13 of ||z||
        np.testing.assert_allclose(cut(moved, 3, non_negative), code, atol=1e-11 * np.linalg.norm(code))


def test_both_iterations_reach_the_same_fixed_points_when_atoms_are_nearly_orthogonal():
    atoms, rng = identity_hadamard(64), np.random.default_rng(4)
    truth = np.zeros((200, 128))
    for row in truth:
        row[rng.choice(128, 3, replace=False)] = rng.choice([-1, 1], 3) * rng.uniform(0.8, 1.2, 3)
    x = truth @ atoms
    for encoder in (HardThresholdingPursuit(3), IterativeHardThresholding(3)):
        np.testing.assert_allclose(encoder.encode(x, atoms).toarray(), truth, atol=1e-8)


def test_the_normalised_step_never_raises_the_error_and_a_wild_step_returns_the_best_seen():
    x, atoms = random_problem(np.random.default_rng(5), 100, 10, 40, 3)
    errors = [
        np.square(x - IterativeHardThresholding(4, max_iter=steps).encode(x, atoms) @ atoms).sum(axis=1)
        for steps in (1, 2, 4, 8, 16, 200)
    ]
    assert np.all(np.diff(errors, axis=0) <= 1e-12)
    wild = IterativeHardThresholding(4, step=50.0).encode(x, atoms)
    assert np.isfinite(wild.data).all()
    assert np.all(np.square(x - wild @ atoms).sum(axis=1) <= np.square(x).sum(axis=1))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: CorrelationThreshold(-0.1), "level"),
        (lambda: HardThresholdingPursuit(2, step=0.0), "step"),
        (lambda: IterativeHardThresholding(2, step=-1.0), "step"),
        (lambda: IterativeHardThresholding(2, precision=2.0), "precision"),
        (lambda: IterativeHardThresholding(2, max_iter=0), "max_iter"),
    ],
)
def test_bad_settings_are_refused(action, message):
    with pytest.raises(ValueError, match=message):
        action()
