"""Shrinkage, vanishing features and the residual of matching pursuit, held against the solvers of the library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sparsesim.solvers import Lasso, OrthogonalMatchingPursuit
from theory.frames import identity_hadamard, paley_etf, simplex
from theory.sae import level_coherence, pursuit_share, shrinkage, vanishing_penalty

frames = st.sampled_from([simplex(4), identity_hadamard(8), identity_hadamard(16), paley_etf(14), paley_etf(18)])


def lasso(x, atoms, penalty):
    """Codes of ``||x - f A||^2 + penalty sum f``, twice the objective of the library."""
    return Lasso(penalty / 2, non_negative=True, tolerance=1e-13).encode(x, atoms).toarray()


def pursue(x, atoms, steps):
    """Plain matching pursuit: codes and squared norms of all residuals."""
    codes, residual, norms = np.zeros(len(atoms)), x.copy(), [x @ x]
    for _ in range(steps):
        scores = atoms @ residual
        best = np.abs(scores).argmax()
        codes[best] += scores[best]
        residual = residual - scores[best] * atoms[best]
        norms.append(residual @ residual)
    return codes, np.array(norms)


@given(frames, st.integers(0, 2**32 - 1), st.floats(0.01, 0.5))
@settings(max_examples=12)
def test_lasso_codes_are_below_the_truth_by_the_shrinkage(frame, seed, penalty):
    rng = np.random.default_rng(seed)
    support = rng.choice(len(frame), 2, replace=False)
    truth = rng.uniform(1.0, 3.0, 2)
    found = lasso((truth @ frame[support])[None], frame, penalty)[0]
    exact = np.array_equal(np.flatnonzero(found > 1e-7), np.sort(support))
    event("support exact" if exact else "support wrong")
    assert exact  # pairs of these frames obey the certificate of support recovery
    # The duality gap of 1e-13 of the energy leaves its root in the codes.
    assert np.abs(truth - found[support] - shrinkage(frame[support], penalty)).max() < 1e-5


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.0))
@settings(max_examples=12)
def test_regression_on_the_truth_finds_slope_one_and_half_the_penalty(seed, penalty):
    rng = np.random.default_rng(seed)
    atoms = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    truth = rng.uniform(1.0, 3.0, (20, 6)) * (rng.random((20, 6)) < 0.5)
    found = lasso(truth @ atoms, atoms, penalty)
    on = truth > 0
    slope, intercept = np.polyfit(truth[on], found[on], 1)
    assert slope == pytest.approx(1.0, abs=1e-5)
    assert intercept == pytest.approx(-penalty / 2, abs=1e-5)
    assert np.allclose(shrinkage(atoms, penalty), penalty / 2)


def test_a_coherent_neighbour_reads_too_large():
    atoms = np.array([[1.0, 0.0, 0.1], [0.9, 0.45, 0.0], [0.9, -0.45, 0.0]])  # the first is between the others
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    bias = shrinkage(atoms, 0.1)
    assert bias[0] < 0.0 < bias[1]
    assert np.allclose(atoms @ atoms.T @ bias, 0.05)


@given(st.integers(0, 2**32 - 1), frames)
@settings(max_examples=12)
def test_codes_vanish_exactly_from_the_vanishing_penalty_on(seed, frame):
    x = np.random.default_rng(seed).normal(size=(5, frame.shape[1]))
    limit = vanishing_penalty(x, frame)
    assert not lasso(x, frame, limit * 1.0001).any()
    assert lasso(x, frame, limit * 0.99).any()
    assert vanishing_penalty(-np.abs(x), np.eye(x.shape[1])) == 0.0


@given(st.integers(0, 2**32 - 1), frames)
def test_matching_pursuit_removes_at_least_its_share_and_leaves_the_rest_orthogonal(seed, frame):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=frame.shape[1])
    codes, norms = pursue(x, frame, 12)
    share = pursuit_share(frame)
    assert share > 0.0
    assert np.all(norms[1:] <= (1 - share) * norms[:-1] + 1e-14)
    assert np.square(x - codes @ frame).sum() == pytest.approx(norms[-1], abs=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_diagonal_of_a_basis_attains_the_share(d):
    _, norms = pursue(np.ones(d), np.eye(d), 1)
    assert 1 - norms[1] / norms[0] == pytest.approx(pursuit_share(np.eye(d)), abs=1e-12)
    assert pursuit_share(np.eye(d + 1)[:d]) == 0.0  # not spanning: the control


def tree(rng, depth=3, width=5, plane=2):
    """Levels in orthogonal planes, each with more atoms than dimensions."""
    atoms = np.zeros((depth * width, depth * plane))
    for level in range(depth):
        directions = rng.normal(size=(width, plane))
        rows = slice(level * width, (level + 1) * width)
        atoms[rows, level * plane : (level + 1) * plane] = directions / np.linalg.norm(directions, axis=1)[:, None]
    return atoms, np.repeat(np.arange(depth), width)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_pursuit_is_exact_on_orthogonal_levels_with_one_active_atom_each(seed):
    rng = np.random.default_rng(seed)
    atoms, levels = tree(rng)
    rotated = atoms @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert level_coherence(rotated, levels) < 1e-12
    truth = np.zeros(15)
    truth[[rng.integers(5), 5 + rng.integers(5), 10 + rng.integers(5)]] = rng.uniform(0.5, 2.0, 3)
    x = truth @ rotated
    gram = np.abs(atoms @ atoms.T)[levels[:, None] == levels].reshape(15, 5)
    apart = np.sort(gram, axis=1)[:, -2].max() < 1 - 1e-9  # no two atoms of a level are parallel
    event("apart" if apart else "parallel")
    assert apart
    codes, norms = pursue(x, rotated, 3)
    assert np.abs(codes - truth).max() < 1e-9
    assert norms[-1] < 1e-18
    assert np.abs(OrthogonalMatchingPursuit(3).encode(x[None], rotated).toarray()[0] - truth).max() < 1e-9


def test_one_shot_top_k_and_two_atoms_of_a_level_break_what_the_levels_promise():
    angle = 0.3
    level = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)], [np.cos(angle), -np.sin(angle)]])
    atoms = np.zeros((4, 3))
    atoms[:3, :2], atoms[3, 2] = level, 1.0
    truth = np.array([1.0, 0.0, 0.0, 0.5])
    x = truth @ atoms
    assert level_coherence(atoms, [0, 0, 0, 1]) == 0.0
    assert set(np.argsort(-(atoms @ x))[:2]) != {0, 3}  # one shot takes two of the large level
    assert np.allclose(pursue(x, atoms, 2)[0], truth)
    crowded = np.array([0.0, 1.0, 1.0, 0.0])
    assert not np.allclose(pursue(crowded @ atoms, atoms, 2)[0], crowded)  # the atom between them wins


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shrinkage([[2.0]], 0.1), "unit rows"),
        (lambda: shrinkage([[1.0], [1.0]], 0.1), "independent"),
        (lambda: shrinkage([[1.0]], -0.1), "penalty"),
        (lambda: vanishing_penalty([[1.0, 2.0]], [[1.0]]), "x must"),
        (lambda: pursuit_share([[0.5]]), "unit rows"),
        (lambda: level_coherence(np.eye(2), [0]), "levels"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
