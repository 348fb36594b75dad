"""Structure of dictionaries and codes, soft identifiability, the RV coefficient: definitions, extremes, brute force."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.metrics import (
    coherence,
    connectivity,
    effective_rank,
    match_structure,
    negative_interference,
    out_of_distribution,
    rv_coefficient,
    soft_identifiability,
    soft_identifiability_gain,
    stable_rank,
)
from tests.metrics.hand_made import evaluation, unit

seeds = st.integers(0, 2**32 - 1)


def of_atoms(learned, n=4):
    d = learned.shape[1]
    return evaluation(np.eye(d), np.eye(d), learned)


def frame(p):
    """p equally spaced lines in the plane: a tight frame."""
    angles = np.pi * np.arange(p) / p
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_ranks_and_coherence_at_their_extremes():
    # abs=1e-12: rounding
    assert stable_rank(of_atoms(np.eye(5))) == pytest.approx(5.0, abs=1e-12)
    assert effective_rank(of_atoms(np.eye(5))) == pytest.approx(5.0, abs=1e-12)
    assert stable_rank(of_atoms(frame(7))) == pytest.approx(2.0, abs=1e-12)
    assert effective_rank(of_atoms(frame(7))) == pytest.approx(2.0, abs=1e-12)
    copies = np.eye(3)[[0, 0, 0]] * [[1.0], [-1.0], [1.0]]
    assert stable_rank(of_atoms(copies)) == pytest.approx(1.0, abs=1e-12)
    assert effective_rank(of_atoms(copies)) == pytest.approx(1.0, abs=1e-6)  # p log p of a singular value of 1e-17
    assert coherence(of_atoms(copies)) == 1.0
    assert coherence(of_atoms(np.eye(5))) == 0.0
    # three lines at 60 degrees attain the Welch bound sqrt((p - d) / (d (p - 1)))
    assert coherence(of_atoms(frame(3))) == pytest.approx(0.5, abs=1e-12)
    assert coherence(of_atoms(np.eye(2)[:1])) == 0.0


@given(seeds, st.integers(2, 6), st.integers(2, 6))
def test_ranks_and_coherence_equal_their_definitions(seed, p, d):
    atoms = unit(np.random.default_rng(seed), p, d)
    e = of_atoms(atoms)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(atoms @ atoms.T), 0.0))
    values[values < 1e-7] = 0.0  # square roots of rounding
    share = values[values > 0] / values.sum()
    assert stable_rank(e) == pytest.approx(p / values.max() ** 2, rel=1e-9)
    assert effective_rank(e) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
    pairs = [abs(atoms[i] @ atoms[j]) for i in range(p) for j in range(i)]
    assert coherence(e) == pytest.approx(max(pairs), abs=1e-12)


def test_an_atom_along_a_sample_is_inside_the_distribution():
    codes = np.array([[2.0, 0.0], [1.0, 1.0]])
    inside = evaluation(np.eye(2), codes, np.array([[1.0, 0.0], [1.0, 1.0]]) / [[1.0], [np.sqrt(2)]])
    assert out_of_distribution(inside) == pytest.approx(0.0, abs=1e-12)
    truth = evaluation(np.eye(2), codes, np.eye(2))
    assert out_of_distribution(truth) == pytest.approx((1 - np.sqrt(0.5)) / 2, abs=1e-12)  # the second is never alone


@settings(max_examples=30)
@given(seeds, st.integers(1, 5), st.integers(1, 8))
def test_connectivity_and_interference_equal_their_definitions(seed, p, n):
    rng = np.random.default_rng(seed)
    z = (rng.random((n, p)) < 0.5) * rng.integers(-4, 9, (n, p)) / 4
    atoms = unit(rng, p, 3)
    e = evaluation(np.eye(3), np.ones((n, 3)), atoms, z)
    alive = (z != 0).any(axis=0)
    if not alive.any():
        assert np.isnan(connectivity(e)) and np.isnan(negative_interference(e))
        return
    z, atoms = z[:, alive], atoms[alive]
    meets = (z != 0).T.astype(int) @ (z != 0)
    assert connectivity(e) == 1 - np.count_nonzero(meets) / alive.sum() ** 2
    matrix = np.maximum(-(z.T @ z) * (atoms @ atoms.T), 0.0)
    expected = np.linalg.norm(matrix, 2) / np.square(z).sum()
    assert negative_interference(e) == pytest.approx(expected, abs=1e-12)  # rounding


def test_wide_codes_have_the_interference_of_the_full_matrix():
    rng = np.random.default_rng(0)
    z = (rng.random((300, 280)) < 0.05) * rng.random((300, 280))
    z[0] = 1.0  # all alive
    atoms = unit(rng, 280, 10)
    matrix = np.maximum(-(z.T @ z) * (atoms @ atoms.T), 0.0)
    e = evaluation(np.eye(10), np.ones((300, 10)), atoms, z)
    # the eigenvalue iteration stops at rounding
    assert negative_interference(e) == pytest.approx(np.linalg.norm(matrix, 2) / np.square(z).sum(), rel=1e-9)
    orthogonal = evaluation(np.eye(3), np.ones((4, 3)), np.eye(3), np.ones((4, 3)))
    assert negative_interference(orthogonal) == 0.0
    assert connectivity(orthogonal) == 0.0


@settings(max_examples=40)
@given(seeds, st.integers(1, 4), st.integers(1, 4), st.integers(2, 9))
def test_soft_identifiability_is_the_best_of_all_thresholds(seed, m, p, n):
    rng = np.random.default_rng(seed)
    true = (rng.random((n, m)) < 0.4) * 1.0
    z = (rng.random((n, p)) < 0.6) * rng.integers(-3, 4, (n, p)) / 2  # ties
    e = evaluation(unit(rng, m, 4), true, unit(rng, p, 4), z)
    best, gains = [], []
    for column in true.T[true.any(axis=0) & ~true.all(axis=0)]:
        right = [
            np.mean((np.abs(latent) > t) == (column > 0)) for latent in z.T for t in [-1.0, *np.unique(np.abs(latent))]
        ]
        guess = max(column.mean(), 1 - column.mean())
        best.append(max(right)), gains.append((max(right) - guess) / (1 - guess))
    assert soft_identifiability(e) == pytest.approx(np.mean(best) if best else np.nan, abs=1e-12, nan_ok=True)
    assert soft_identifiability_gain(e) == pytest.approx(np.mean(gains) if best else np.nan, abs=1e-12, nan_ok=True)


def test_a_detector_is_identified_whatever_its_atom_and_silence_is_a_guess():
    true = np.array([[1.0, 0], [2, 3], [0, 1], [0, 0], [0, 0]])
    elsewhere = evaluation(np.eye(2), true, np.array([[0.0, -1.0], [-1.0, 0.0]]), true)
    assert soft_identifiability(elsewhere) == soft_identifiability_gain(elsewhere) == 1.0
    silent = evaluation(np.eye(2), true, np.eye(2), np.zeros((5, 2)))
    assert soft_identifiability(silent) == 0.6
    assert soft_identifiability_gain(silent) == 0.0


def test_the_rv_coefficient_is_one_for_proportional_and_zero_for_disjoint_matrices():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 3))
    s = a @ a.T
    assert rv_coefficient(s, 3.0 * s) == pytest.approx(1.0, abs=1e-12)
    assert rv_coefficient(np.diag([1.0, 0.0]), np.diag([0.0, 1.0])) == 0.0
    assert np.isnan(rv_coefficient(np.zeros((2, 2)), np.eye(2)))
    b = rng.standard_normal((5, 3))
    c = b @ b.T
    assert rv_coefficient(s, c) == pytest.approx(
        np.trace(s @ c) / np.sqrt(np.trace(s @ s) * np.trace(c @ c)), abs=1e-12
    )
    with pytest.raises(ValueError, match="first must be a symmetric matrix"):
        rv_coefficient(a, b)
    with pytest.raises(ValueError, match="one size"):
        rv_coefficient(s, np.eye(2))


def test_random_directions_have_the_rv_coefficient_of_the_docstring():
    rng, m, d = np.random.default_rng(0), 200, 50
    a, b = unit(rng, m, d), unit(rng, m, d)
    # tr SC = m (1 + (m-1) / d^2 ... ) against tr S^2 = m + m (m - 1) / d, up to fluctuations of order 1 / d
    assert rv_coefficient(a @ a.T, b @ b.T) == pytest.approx(1 / (1 + m / d), rel=0.1)


def test_matching_by_structure_finds_the_order_of_blocks_and_reaches_the_best_of_all_orders():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((6, 8)) + np.repeat(3 * rng.standard_normal((2, 8)), 3, axis=0)
    s = np.corrcoef(a)
    order = rng.permutation(6)
    c = s[np.ix_(order, order)]
    found = match_structure(s, c)
    assert rv_coefficient(s, c[np.ix_(found, found)]) == pytest.approx(1.0, abs=1e-9)
    best = max(rv_coefficient(s, c[np.ix_(o, o)]) for o in permutations(range(6)))
    assert best == pytest.approx(1.0, abs=1e-9)
