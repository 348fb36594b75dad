"""Encoders that code a block of rows at once, against the kernels that code one row after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim.solvers.neural.device import pursuit
from sparsesim.solvers.neural.on_device import OnDevice
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationTopK, IterativeHardThresholding

N, D, P = 40, 16, 30
ENCODERS = [
    MatchingPursuit(6),
    MatchingPursuit(6, non_negative=True),
    MatchingPursuit(40, tolerance=0.2),
    OrthogonalMatchingPursuit(5),
    OrthogonalMatchingPursuit(12, tolerance=0.3),
    IterativeHardThresholding(4),
    IterativeHardThresholding(4, non_negative=True),
    IterativeHardThresholding(4, step=0.3, max_iter=200),
    IterativeHardThresholding(6, tolerance=0.3),
    FISTA(0.4, tolerance=1e-14),
    FISTA(0.4, non_negative=True, tolerance=1e-14),
    FISTA(0.4, tolerance=1e-14, accelerated=False),
]


def world(seed: int = 0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((P, D))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = rng.standard_normal((N, P)) * (rng.random((N, P)) < 0.12)
    x = codes @ atoms + 0.05 * rng.standard_normal((N, D))
    x *= 10.0 ** rng.integers(-6, 7, (N, 1)) if seed else 1.0  # rows of any size
    x[3] = 0.0
    return x.astype(dtype), atoms.astype(dtype)


def label(encoder):
    return repr(encoder)[:60]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("encoder", ENCODERS, ids=label)
def test_supports_and_values_are_those_of_the_kernels(encoder, dtype):
    x, atoms = world(dtype=dtype)
    ours, theirs = OnDevice(encoder, "cpu", rows=16).encode(x, atoms), encoder.encode(x, atoms)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert ours.has_canonical_format and ours.nnz == np.count_nonzero(ours.toarray())
    # FISTA: a gap of 1e-14 ||x||^2 / 2 bounds errors by its root over the least eigenvalue of the active atoms;
    # the others do the same sums in another order, and iterates of thresholding stop within 1e-10 of their limit
    atol = {FISTA: 1e-6, IterativeHardThresholding: 1e-8}.get(type(encoder), 1e-12)
    atol = max(atol, 1e-5 if isinstance(encoder, MatchingPursuit) else 1e-6) if dtype == np.float32 else atol
    size = np.abs(x).max(axis=1, keepdims=True)
    assert np.all(np.abs(ours.toarray() - theirs.toarray()) <= atol * size)
    if not isinstance(encoder, FISTA):
        np.testing.assert_array_equal(ours.toarray() != 0, theirs.toarray() != 0)


@pytest.mark.parametrize("encoder", ENCODERS, ids=label)
def test_a_row_alone_has_the_bits_that_it_has_in_company_and_any_size(encoder):
    x, atoms = world(1)
    if isinstance(encoder, FISTA):
        x /= np.abs(x).max(axis=1, keepdims=True) + (x == 0).all(axis=1, keepdims=True)
    whole = OnDevice(encoder, "cpu", rows=16)
    codes = whole.encode(x, atoms)
    for row in (0, 3, 17, 39):
        np.testing.assert_array_equal(whole.encode(x[row : row + 1], atoms).toarray()[0], codes[[row]].toarray()[0])
    if not isinstance(encoder, FISTA):  # whose penalty is in the units of x
        np.testing.assert_array_equal(whole.encode(4.0 * x, atoms).toarray(), 4.0 * codes.toarray())


def test_the_lowest_index_wins_ties_and_dependent_atoms_are_not_chosen():
    atoms = np.eye(6)
    for encoder in (MatchingPursuit(3), OrthogonalMatchingPursuit(3), IterativeHardThresholding(3)):
        codes = OnDevice(encoder, "cpu", rows=4).encode(np.ones((2, 6)), atoms).toarray()
        np.testing.assert_allclose(codes, np.outer(np.ones(2), [1, 1, 1, 0, 0, 0]), atol=1e-15)
    twice = np.vstack([atoms[:2], atoms[:2], -atoms[:2]])
    x = np.array([[2.0, 1.0, 3.0, 0.0, 0.0, 0.0]])
    codes = OnDevice(OrthogonalMatchingPursuit(4), "cpu", rows=2).encode(x, twice).toarray()
    np.testing.assert_allclose(codes, [[2, 1, 0, 0, 0, 0]], atol=1e-15)


def test_pursuits_of_k_steps_need_no_values():
    x, atoms = torch.empty((7, 5), device="meta"), torch.empty((9, 5), device="meta")
    for found in (
        pursuit.matching_pursuit(x, atoms, 3, non_negative=True, tolerance=0.1),
        pursuit.orthogonal_matching_pursuit(x, atoms, 3, tolerance=0.1),
    ):
        assert [part.shape for part in found] == [(7, 3), (7, 3)]


def test_what_has_no_form_for_a_device_is_refused():
    with pytest.raises(TypeError, match="Use it as it is, on the CPU"):
        OnDevice(CorrelationTopK(3))
    with pytest.raises(ValueError, match="non_negative=True has no form"):
        OnDevice(OrthogonalMatchingPursuit(3, non_negative=True))
    with pytest.raises(ValueError, match="device must be"):
        OnDevice(MatchingPursuit(3), "tpu")
    with pytest.raises(ValueError, match="rows must"):
        OnDevice(MatchingPursuit(3), rows=0)
    with pytest.raises(ValueError, match="k must"):
        OnDevice(OrthogonalMatchingPursuit(17), "cpu").encode(*world())
    with pytest.raises(ValueError, match="cuda:9'"):
        OnDevice(MatchingPursuit(3), "cuda:9").encode(*world())
