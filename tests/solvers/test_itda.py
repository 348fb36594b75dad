"""ITDA takes in samples as atoms where the atoms so far fail, and says which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.solvers.base import Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.itda import ITDA, shared_atoms
from sparsesim.solvers.pursuit import MatchingPursuit


def fit(solver, x):
    return solver.fit(x, rng=stream(0, Role.SOLVER))


def slow_rows(x, width, k, threshold, relative):
    """Return the samples taken in one at a time, by a matching pursuit written out."""
    rows = []
    for i, sample in enumerate(x):
        residual = sample.copy()
        atoms = unit_rows(x[rows])[0] if rows else np.zeros((0, x.shape[1]))
        for _ in range(k if rows else 0):
            j = np.argmax(np.abs(atoms @ residual))
            residual -= (atoms[j] @ residual) * atoms[j]
        limit = threshold * (sample @ sample if relative else 1.0)
        if residual @ residual > limit and len(rows) < width:
            rows.append(i)
    return rows


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 10**6))
def test_one_by_one_it_is_the_written_out_algorithm(n, d, k, relative, seed):
    x = np.random.default_rng(seed).standard_normal((n, d))
    fitted = fit(ITDA(8, k, 0.3, relative=relative, batch_size=1), x)
    assert fitted.trace["rows"] == tuple(slow_rows(x, 8, k, 0.3, relative))


def test_every_atom_is_a_sample_and_codes_itself_exactly():
    x = np.random.default_rng(1).standard_normal((200, 6))
    fitted = fit(ITDA(40, 2, 0.2, batch_size=16), x)
    rows = np.array(fitted.trace["rows"], dtype=int)
    assert np.array_equal(fitted.atoms[: len(rows)], unit_rows(x[rows])[0]) and not fitted.atoms[len(rows) :].any()
    assert sum(fitted.trace["accepted"]) == len(rows)
    taken = x[rows]
    np.testing.assert_allclose(fitted.decode(fitted.encode(taken)), taken, atol=1e-9)  # its own atom is the best


def test_room_left_is_converged_and_a_full_dictionary_is_not():
    x = np.random.default_rng(2).standard_normal((300, 3))
    assert fit(ITDA(200, 2, 0.1), x).status is Status.CONVERGED
    full = fit(ITDA(5, 1, 0.01), x)
    assert full.status is Status.BUDGET_SPENT and full.atoms.any(axis=1).all()


def test_duplicates_within_a_batch_are_taken_once_unless_asked_for():
    x = np.repeat(np.random.default_rng(3).standard_normal((4, 8)), 5, axis=0)
    assert len(fit(ITDA(20, 1, 0.01, batch_size=20), x).trace["rows"]) == 4
    assert len(fit(ITDA(20, 1, 0.01, batch_size=20, max_coherence=1.0), x).trace["rows"]) == 20
    assert len(fit(ITDA(20, 1, 0.01, batch_size=1), x).trace["rows"]) == 4


def test_a_lower_threshold_takes_more_atoms_here_and_features_alone_are_found():
    rng = np.random.default_rng(4)
    atoms = unit_rows(rng.standard_normal((10, 8)))[0]
    x = rng.choice([-2.0, 1.0], 300)[:, None] * atoms[rng.integers(10, size=300)]
    fitted = fit(ITDA(30, 1, 0.001, batch_size=7), x)
    assert len(fitted.trace["rows"]) == 10  # one feature a sample: each is taken once
    np.testing.assert_allclose(np.abs(atoms @ fitted.atoms.T).max(axis=1), 1, atol=1e-12)
    noise = rng.standard_normal((400, 5))
    counts = [len(fit(ITDA(400, 2, threshold), noise).trace["rows"]) for threshold in (0.02, 0.1, 0.4)]
    assert counts[0] > counts[1] > counts[2]  # a factor of several apart: greedy codes are not monotone in theory


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e150, 1e300])
def test_the_relative_threshold_does_not_see_the_scale(scale):
    x = np.random.default_rng(5).standard_normal((100, 4))
    reference = fit(ITDA(30, 2, 0.1), x)
    fitted = fit(ITDA(30, 2, 0.1), scale * x)
    assert fitted.trace == reference.trace
    np.testing.assert_allclose(fitted.atoms, reference.atoms, atol=1e-12)


def test_zero_samples_are_never_atoms():
    fitted = fit(ITDA(3, 1, 0.0), np.zeros((5, 2)))
    assert not fitted.atoms.any() and fitted.trace["rows"] == () and fitted.encode(np.ones((2, 2))).nnz == 0


def test_shared_atoms_are_a_jaccard_index():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((100, 4))
    a, b = fit(ITDA(30, 2, 0.1), x), fit(ITDA(30, 2, 0.1), x + 0.3 * rng.standard_normal(x.shape))
    first, second = set(a.trace["rows"]), set(b.trace["rows"])
    assert shared_atoms(a, a) == 1 and shared_atoms(a, b) == shared_atoms(b, a)
    assert shared_atoms(a, b) == pytest.approx(
        len(first & second) / (len(first) + len(second) - len(first & second)), abs=1e-15
    )
    empty = fit(ITDA(3, 1), np.zeros((5, 4)))
    assert np.isnan(shared_atoms(empty, empty)) and shared_atoms(a, empty) == 0
    with pytest.raises(ValueError, match="Fit by ITDA"):
        shared_atoms(a, fit(RandomDictionary(3, MatchingPursuit(1)), x))


@pytest.mark.parametrize(
    "arguments", [{"width": 0}, {"k": 0}, {"threshold": 1.5}, {"batch_size": 0}, {"max_coherence": 0.0}]
)
def test_bad_configurations_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ITDA(**({"width": 4, "k": 1} | arguments))
