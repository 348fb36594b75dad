"""What every greedy encoder owes: equivariance, the same bits alone and in batches, and sense on degenerate input."""

from __future__ import annotations

import pickle

import numba
import numpy as np
import pytest
from slow_encoders import random_problem, unit

from sparsesim.kernels import pursuit as kernel
from sparsesim.solvers import pursuit
from sparsesim.solvers.beam import BeamPursuit
from sparsesim.solvers.exhaustive import ExhaustiveSearch
from sparsesim.solvers.gradient_pursuit import GradientPursuit
from sparsesim.solvers.stagewise import StagewisePursuit
from sparsesim.solvers.subspace import CoSaMP, SubspacePursuit
from sparsesim.solvers.thresholding import (
    CorrelationThreshold,
    CorrelationTopK,
    HardThresholdingPursuit,
    IterativeHardThresholding,
)

SIGNED = [
    SubspacePursuit(3),
    CoSaMP(3),
    HardThresholdingPursuit(3, step=0.4),
    IterativeHardThresholding(3),
    IterativeHardThresholding(3, step=0.2),
    GradientPursuit(4),
    StagewisePursuit(4, level=0.5),
    BeamPursuit(3, width=4),
    CorrelationTopK(3),
    CorrelationTopK(3, refit=True),
    ExhaustiveSearch(3),
]
POSITIVE = [
    SubspacePursuit(3, non_negative=True),
    CoSaMP(3, non_negative=True),
    HardThresholdingPursuit(3, step=0.4, non_negative=True),
    IterativeHardThresholding(3, non_negative=True),
    StagewisePursuit(4, level=0.5, non_negative=True),
    BeamPursuit(3, width=4, non_negative=True),
    GradientPursuit(4, non_negative=True),
    CorrelationTopK(3, non_negative=True),
    CorrelationTopK(3, refit=True, non_negative=True),
    ExhaustiveSearch(3, non_negative=True),
]
LEVELS = [CorrelationThreshold(0.4), CorrelationThreshold(0.4, refit=True), CorrelationThreshold(0.4, True, True)]
SOLVED = (SubspacePursuit, CoSaMP, HardThresholdingPursuit, StagewisePursuit, BeamPursuit, ExhaustiveSearch)


@pytest.mark.parametrize("encoder", SIGNED + POSITIVE)
def test_codes_are_equivariant(encoder):
    rng = np.random.default_rng(1)
    x, atoms = random_problem(rng, 60, 10, 18, 3)
    codes = encoder.encode(x, atoms).toarray()
    assert np.diff(encoder.encode(x, atoms).indptr).max() <= encoder.k
    order = rng.permutation(18)
    close = {"atol": 1e-7, "rtol": 0}  # iterative hard thresholding ends within 1e-10 of ||z|| a step, slowly at worst
    np.testing.assert_allclose(encoder.encode(x, atoms[order]).toarray(), codes[:, order], **close)
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    np.testing.assert_allclose(encoder.encode(x @ rotation, atoms @ rotation).toarray(), codes, **close)
    for factor in (2.0**40, 2.0**-40):
        assert np.array_equal(encoder.encode(factor * x, atoms).toarray(), factor * codes)
    for factor in (1e150, 1e-150):
        np.testing.assert_allclose(encoder.encode(factor * x, atoms).toarray() / factor, codes, **close)
    if not getattr(encoder, "non_negative", False):
        signs = rng.choice([-1.0, 1.0], 18)
        assert np.array_equal(encoder.encode(x, signs[:, None] * atoms).toarray(), signs * codes)
        assert np.array_equal(encoder.encode(-x, atoms).toarray(), -codes)
    else:
        assert encoder.encode(x, atoms).data.min() > 0


@pytest.mark.parametrize("encoder", SIGNED + POSITIVE + LEVELS)
def test_rows_have_the_same_bits_alone_in_blocks_and_at_any_thread_count(encoder, monkeypatch):
    for dtype in (np.float64, np.float32):
        x, atoms = random_problem(np.random.default_rng(2), 41, 9, 20, 3)
        x, atoms = x.astype(dtype), atoms.astype(dtype)
        whole = encoder.encode(x, atoms)
        assert whole.dtype == dtype and whole.has_sorted_indices and np.all(whole.data != 0)
        alone = [encoder.encode(x[row : row + 1], atoms).toarray() for row in range(5)]
        assert np.array_equal(np.concatenate(alone), whole.toarray()[:5])
        monkeypatch.setattr(pursuit, "BLOCK_ENTRIES", 20 * 7)
        assert np.array_equal(encoder.encode(x, atoms).toarray(), whole.toarray())
        monkeypatch.undo()
        threads = numba.get_num_threads()
        try:
            numba.set_num_threads(1)
            assert np.array_equal(encoder.encode(x, atoms).toarray(), whole.toarray())
        finally:
            numba.set_num_threads(threads)


@pytest.mark.parametrize("encoder", SIGNED + POSITIVE + LEVELS)
def test_a_gram_matrix_too_large_to_store_gives_the_same_codes(encoder, monkeypatch):
    x, atoms = random_problem(np.random.default_rng(3), 40, 9, 20, 3)
    stored = encoder.encode(x, atoms).toarray()
    monkeypatch.setattr(kernel, "STORED_GRAM_BYTES", 0)
    # the same numbers summed in another order; iterative hard thresholding ends within 1e-10 of ||z|| a step
    np.testing.assert_allclose(encoder.encode(x, atoms).toarray(), stored, atol=1e-7)


@pytest.mark.parametrize("encoder", SIGNED + POSITIVE + LEVELS)
def test_degenerate_atoms_and_samples_give_finite_codes_of_bounded_size(encoder):
    rng = np.random.default_rng(4)
    base = unit(rng.standard_normal((3, 6)))
    near = unit(base[:1] + 1e-7 * base[1:2])
    atoms = np.concatenate([base, base, -base, np.zeros((2, 6)), near, base[:1]])
    x = rng.standard_normal((80, 6))
    x[7] = 0.0
    codes = encoder.encode(x, atoms)
    assert np.isfinite(codes.data).all()
    assert np.abs(codes.data).max() < 1e4  # a dependent pair would get huge opposite coefficients
    assert codes.indptr[8] == codes.indptr[7]
    assert np.all(codes.toarray()[:, 9:11] == 0)
    if isinstance(encoder, SOLVED):
        assert np.all(np.square(x - codes @ atoms).sum(axis=1) <= np.square(x).sum(axis=1) * (1 + 1e-12))


@pytest.mark.parametrize("encoder", [e for e in SIGNED + POSITIVE if isinstance(e, SOLVED)])
def test_codes_are_least_squares_on_their_support(encoder):
    x, atoms = random_problem(np.random.default_rng(5), 80, 10, 18, 3)
    codes = encoder.encode(x, atoms)
    slopes = np.where(codes.toarray() != 0, (x - codes @ atoms) @ atoms.T, 0)
    assert np.abs(slopes).max() < 1e-11 * np.abs(codes.data).max() * 10  # float64, a few atoms in ten dimensions


@pytest.mark.parametrize("encoder", SIGNED + POSITIVE)
def test_the_lowest_index_wins_among_equal_atoms(encoder):
    atoms = np.repeat(np.eye(4), 3, axis=0)
    codes = encoder.encode(np.array([[4.0, 3.0, 2.0, 0.0]]), atoms)
    expected = [0, 1, 2] if isinstance(encoder, CorrelationTopK) and not encoder.refit else [0, 3, 6]
    if isinstance(encoder, CorrelationTopK) and encoder.refit:
        expected = [0]  # the three largest correlations are one atom three times
    if isinstance(encoder, (HardThresholdingPursuit, IterativeHardThresholding, StagewisePursuit)):
        assert codes.indices[0] == 0  # these take copies together before least squares can tell them apart
    else:
        assert np.array_equal(codes.indices, expected)


@pytest.mark.parametrize("encoder", SIGNED + POSITIVE + LEVELS)
def test_empty_tiny_readonly_and_strided_inputs_are_coded(encoder):
    small = type(encoder)(**{**vars(encoder), "k": 1}) if hasattr(encoder, "k") else encoder
    assert small.encode(np.array([[3.0]]), np.array([[1.0]])).toarray() == pytest.approx(3.0)
    assert encoder.encode(np.empty((0, 4)), np.eye(4)).shape == (0, 4)
    assert pickle.loads(pickle.dumps(encoder)) == encoder
    x = np.random.default_rng(0).standard_normal((9, 4))[:, ::-1]
    x.flags.writeable = False
    before = x.copy()
    assert np.array_equal(
        encoder.encode(x, np.asfortranarray(np.eye(4))).toarray(), encoder.encode(before, np.eye(4)).toarray()
    )
    assert np.array_equal(x, before)


@pytest.mark.parametrize("encoder", SIGNED + LEVELS)
def test_bad_samples_and_atoms_are_refused(encoder):
    for x, atoms, error, message in [
        (np.ones((2, 3)), 2 * np.eye(3), ValueError, "unit rows"),
        (np.ones((2, 3)), np.eye(2), ValueError, "share d"),
        (np.ones((2, 3), dtype=np.float16), np.eye(3), TypeError, "float32 or float64"),
        (np.array([[0, 1, np.nan]]), np.eye(3), ValueError, "finite"),
    ]:
        with pytest.raises(error, match=message):
            encoder.encode(x, atoms)
    if hasattr(encoder, "k") and not isinstance(encoder, GradientPursuit):
        with pytest.raises(ValueError, match="k must lie"):
            type(encoder)(**{**vars(encoder), "k": 5}).encode(np.ones((2, 4)), np.eye(4))
    if hasattr(encoder, "k"):
        with pytest.raises(ValueError, match="k must lie"):
            type(encoder)(0)


@pytest.mark.parametrize(
    "encoder",
    [
        kind(8, tolerance=0.3, **more)
        for kind, more in [
            (StagewisePursuit, {"level": 1.0}),
            (BeamPursuit, {}),
            (GradientPursuit, {}),
            (ExhaustiveSearch, {}),
            (IterativeHardThresholding, {}),
            (HardThresholdingPursuit, {"step": 0.3}),
            (SubspacePursuit, {}),
            (CoSaMP, {}),
        ]
    ],
)
def test_a_tolerance_ends_a_row_with_a_residual_below_it(encoder):
    rng = np.random.default_rng(6)
    x = 0.05 * rng.standard_normal((60, 12))
    x[:, :6] += rng.choice([-1.0, 1.0], (60, 6)) * rng.uniform(0.5, 2, (60, 6))
    codes = encoder.encode(x, np.eye(12))
    error = np.linalg.norm(x - codes.toarray(), axis=1)
    assert np.all(error <= 0.3 * np.linalg.norm(x, axis=1) * (1 + 1e-9))
    tighter = type(encoder)(**{**vars(encoder), "tolerance": 0.0}).encode(x, np.eye(12))
    assert tighter.nnz >= codes.nnz
