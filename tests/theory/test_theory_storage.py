"""Dimensions needed for linear readout: no draw beats the necessary one, and the sufficient one suffices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from theory.frames import identity_hadamard, paley_etf
from theory.storage import bits_to_compute, necessary_dimension, sufficient_dimension, worst_crosstalk


@st.composite
def readouts(draw):
    """Random atoms, low-coherence frames and small perturbations of them, read by themselves or by another map."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["random", "paley", "hadamard"]))
    atoms = {
        "random": lambda: rng.standard_normal((draw(st.integers(4, 14)), draw(st.integers(2, 6)))),
        "paley": lambda: np.asarray(paley_etf(draw(st.sampled_from([6, 14, 18])))),
        "hadamard": lambda: np.asarray(identity_hadamard(draw(st.sampled_from([4, 16])))),
    }[kind]()
    atoms = atoms + draw(st.sampled_from([0.0, 0.02])) * rng.standard_normal(atoms.shape)
    atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    readout = atoms + draw(st.sampled_from([0.0, 0.1])) * rng.standard_normal(atoms.shape)
    own = (readout * atoms).sum(1, keepdims=True)
    readout = np.where(np.abs(own) > 0.1, readout / np.where(np.abs(own) > 0.1, own, 1.0), atoms)
    return readout, atoms


@given(readouts(), st.integers(1, 4))
def test_no_atoms_and_readout_do_with_fewer_dimensions_than_necessary(pair, k):
    readout, atoms = pair
    n, d = atoms.shape
    k = min(k, n - 1)
    error = worst_crosstalk(readout, atoms, k)
    event("premise holds" if 0 < error < 1 else "crosstalk above the signal")
    if 0 < error < 1:
        assert d >= necessary_dimension(n, k, error) - 1e-9  # rounding


def test_the_premise_of_the_necessary_dimension_holds_for_low_coherence_frames():
    for frame in (paley_etf(14), paley_etf(18), identity_hadamard(16)):
        assert worst_crosstalk(frame, frame, 2) < 1


def test_an_equiangular_tight_frame_attains_the_necessary_dimension():
    for size in (6, 14, 18):
        frame = paley_etf(size)
        n, d = frame.shape
        assert necessary_dimension(n, 1, worst_crosstalk(frame, frame, 1)) == pytest.approx(d, rel=1e-9)


def test_uneven_frames_fall_short_of_the_necessary_dimension():
    frame = identity_hadamard(16)  # the control: half of its pairs are orthogonal
    assert necessary_dimension(32, 1, worst_crosstalk(frame, frame, 1)) < 12


def test_the_worst_crosstalk_is_attained_by_an_input():
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((9, 5))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    found = 0.0
    for i in range(9):
        others = np.delete(atoms, i, 0) @ atoms[i]
        top = np.argsort(-np.abs(others))[:3]
        codes = np.zeros(8)
        codes[top] = np.sign(others[top])
        found = max(found, abs(float(codes @ np.delete(atoms, i, 0) @ atoms[i])))
    assert worst_crosstalk(atoms, atoms, 3) == pytest.approx(found, rel=1e-12)


def test_random_directions_of_sufficient_dimension_have_the_crosstalk_promised():
    # The expected number of close pairs is just below one, so that about a third of the draws have none.
    n, k, error = 40, 1, 0.75
    d = sufficient_dimension(n, k, error)
    assert d < n
    rng, good = np.random.default_rng(1), 0
    for _ in range(200):
        rows = rng.standard_normal((n, d))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        good += worst_crosstalk(rows, rows, k) <= error
    assert good > 0


@given(st.integers(3, 2000), st.integers(1, 20), st.floats(0.05, 0.95))
def test_necessary_is_never_above_sufficient(n, k, error):
    k = min(k, n - 1)
    assert necessary_dimension(n, k, error) <= sufficient_dimension(n, k, error) + 1e-9


def test_necessary_grows_as_the_square_of_k_and_sufficient_within_a_logarithm_of_it():
    n, error = 10**8, 0.5
    ratio = necessary_dimension(n, 40, error) / necessary_dimension(n, 20, error)
    assert ratio == pytest.approx(4.0, rel=0.01)  # 1 + O(k^2 / n) + O(error^2 k^2 / n)
    for k in (5, 20):
        overhead = sufficient_dimension(n, k, error) / necessary_dimension(n, k, error)
        assert overhead < 4 * math.log(n) + 8  # the Gaussian tail gives 4 ln n at leading order


def test_the_smallest_errors_need_a_dimension_a_feature():
    for error in (1e-12, 1e-150):  # at which Welch leaves nothing but a basis, and n random directions never fit
        assert sufficient_dimension(6, 2, error) == 6
        assert necessary_dimension(6, 2, error) == pytest.approx(6.0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bits_to_compute(3, 4), "distinct ANDs"),
        (lambda: bits_to_compute(2, 1, 3), "arity"),
        (lambda: bits_to_compute(5000, 1, 2500), "range"),
        (lambda: necessary_dimension(5, 5, 0.5), "1 <= k < n"),
        (lambda: sufficient_dimension(5, 2, 1.0), "error"),
        (lambda: worst_crosstalk(np.full((3, 3), np.nan), np.eye(3), 1), "finite"),
        (lambda: worst_crosstalk(2 * np.eye(3), np.eye(3), 1), "own feature"),
        (lambda: worst_crosstalk(np.eye(3), np.eye(2), 1), "one shape"),
    ],
)
def test_what_is_outside_the_result_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(("features", "outputs", "arity"), [(4, 2, 2), (4, 3, 2), (5, 2, 3), (3, 3, 1)])
def test_the_bits_to_compute_count_lists_that_are_different_functions(features, outputs, arity):
    inputs = np.array(list(itertools.product((0, 1), repeat=features)))
    ands = [inputs[:, chosen].all(1).tobytes() for chosen in map(list, itertools.combinations(range(features), arity))]
    tables = set(itertools.permutations(ands, outputs))
    assert len(set(ands)) == len(ands)
    assert bits_to_compute(features, outputs, arity) == pytest.approx(math.log2(len(tables)), abs=1e-10)


def test_the_bits_to_compute_grow_by_the_logarithm_of_what_each_output_may_be():
    # log2 C(m, 2) bits an output while few of the possible ones are asked for: relative error outputs / C(m, 2).
    assert bits_to_compute(1000, 100) == pytest.approx(100 * math.log2(math.comb(1000, 2)), rel=1e-4)
    assert bits_to_compute(20, math.comb(20, 2)) == pytest.approx(math.log2(math.factorial(190)), rel=1e-12)
