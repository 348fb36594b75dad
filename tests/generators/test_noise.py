"""Noise laws: unit average variance, the covariance they say, tails, one precision or the other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, laplace, t

from sparsesim import Role, stream
from sparsesim.generators import (
    AutoregressiveNoise,
    ExactlyK,
    FeatureSpec,
    Gaussian,
    HalfNormal,
    Laplace,
    LowRankNoise,
    PowerLawNoise,
    RandomSphere,
    SignalToNoise,
    StudentT,
)
from tests.generators.chance import ALPHA, assert_mean

D = 6
LAWS = [
    Gaussian(0.7),
    StudentT(5.0, 0.7),
    StudentT(30.0),
    Laplace(0.3),
    AutoregressiveNoise(0.8),
    AutoregressiveNoise(-0.5, 2.0),
    AutoregressiveNoise(1.0),
    PowerLawNoise(1.5),
    PowerLawNoise(0.0, seed=3),
    LowRankNoise(1),
    LowRankNoise(4, 0.2, 5),
    LowRankNoise(6),
    SignalToNoise(3.0, Laplace()),
]
laws = pytest.mark.parametrize("law", LAWS, ids=repr)


@laws
def test_the_covariance_has_trace_d_is_symmetric_and_positive(law):
    for dim in (6, 9):
        covariance = law.covariance(dim)
        assert np.trace(covariance) == pytest.approx(dim, rel=1e-12)  # a few roundings
        assert np.array_equal(covariance, covariance.T) or covariance == pytest.approx(covariance.T, abs=1e-14)
        assert np.linalg.eigvalsh(covariance)[0] > -1e-12  # rounding of the singular ones


@laws
def test_draws_have_mean_zero_and_the_covariance_that_is_said(law):
    w, covariance = law.draw((60_000, D), np.random.default_rng(0), np.dtype(np.float64)), law.covariance(D)
    for i in range(D):
        assert_mean(w[:, i], 0.0, tests=27)
        for j in range(i + 1):
            assert_mean(w[:, i] * w[:, j], covariance[i, j], tests=27)


@laws
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_the_shape_and_precision_asked_for_even_without_samples(law, dtype):
    for n in (0, 1, 7):
        w = law.draw((n, D), np.random.default_rng(0), np.dtype(dtype))
        assert w.shape == (n, D) and w.dtype == dtype and np.all(np.isfinite(w))
    again = law.draw((7, D), np.random.default_rng(0), np.dtype(dtype))
    assert np.array_equal(w, again)


def test_tails_are_those_of_the_law():
    rng = np.random.default_rng(0)
    student = StudentT(3.0).draw((20_000, 1), rng, np.dtype(np.float64)).ravel()
    assert kstest(student, t(3.0, scale=1.0 / np.sqrt(3.0)).cdf).pvalue > ALPHA
    double = Laplace().draw((20_000, 1), rng, np.dtype(np.float64)).ravel()
    assert kstest(double, laplace(scale=np.sqrt(0.5)).cdf).pvalue > ALPHA


def test_power_law_noise_has_the_spectrum_asked_for_and_low_rank_noise_lies_in_its_subspace():
    values = np.linalg.eigvalsh(PowerLawNoise(2.0).covariance(8))[::-1]
    assert values == pytest.approx(PowerLawNoise(2.0).eigenvalues(8), rel=1e-12)
    assert values / values[0] == pytest.approx(np.arange(1.0, 9.0) ** -2.0, rel=1e-12)
    w = LowRankNoise(2).draw((50, 8), np.random.default_rng(0), np.dtype(np.float64))
    assert np.linalg.svd(w, compute_uv=False)[2] < 1e-12
    assert np.linalg.matrix_rank(LowRankNoise(2).covariance(8)) == 2


def test_seeds_turn_the_frame_and_nothing_else():
    first, second = PowerLawNoise(1.0, seed=0).covariance(5), PowerLawNoise(1.0, seed=1).covariance(5)
    assert np.abs(first - second).max() > 0.01
    assert np.linalg.eigvalsh(first) == pytest.approx(np.linalg.eigvalsh(second), rel=1e-12)


@pytest.mark.parametrize("shape", [StudentT(5.0), Laplace(), AutoregressiveNoise(0.9), LowRankNoise(3)])
def test_the_signal_to_noise_ratio_holds_for_every_shape(shape):
    spec = FeatureSpec(8, ExactlyK(12, 3), RandomSphere(), HalfNormal(), SignalToNoise(6.0, shape), bias=1.0)
    model = spec.build(stream(0, Role.TRUTH))
    batch = model.sample(20_000, stream(0, Role.TRAIN))
    noise = batch.x - batch.codes @ model.atoms - model.bias
    assert_mean(np.square(noise).sum(axis=1), model.signal_energy() / 10**0.6)
    white = FeatureSpec(8, ExactlyK(12, 3), RandomSphere(), HalfNormal(), SignalToNoise(6.0), bias=1.0)
    assert white.build(stream(0, Role.TRUTH)).noise_std == model.noise_std


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StudentT(2.0), ValueError, r"dof must be finite and lie in \(2"),
        (lambda: StudentT(5.0, -1.0), ValueError, "sigma"),
        (lambda: Laplace(-1.0), ValueError, "sigma"),
        (lambda: AutoregressiveNoise(1.1), ValueError, r"rho must be finite and lie in \[-1, 1\]"),
        (lambda: PowerLawNoise(-1.0), ValueError, "exponent"),
        (lambda: LowRankNoise(0), ValueError, "rank must lie in"),
        (lambda: LowRankNoise(9).covariance(8), ValueError, r"rank must lie in \[1, dim=8\]; got 9"),
        (lambda: PowerLawNoise(1.0, seed=-1), ValueError, "seed"),
        (lambda: SignalToNoise(1.0, StudentT(5.0, 0.5)), ValueError, "shape must have sigma=1"),
        (lambda: SignalToNoise(1.0, StudentT), TypeError, "shape must be a noise law"),
        (lambda: SignalToNoise(1.0, SignalToNoise(2.0)), TypeError, "shape must be a noise law of given sigma"),
    ],
)
def test_noise_that_cannot_be_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
