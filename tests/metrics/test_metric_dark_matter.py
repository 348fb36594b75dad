"""What is linear in the error: closed forms, chance, and cases in which it is all or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli
from sparsesim.metrics import linear_error_norm_share, linear_error_share
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.least_squares import SupportLeastSquares
from theory.dark_matter import linear_share, shrinkage_moments


def evaluated(m, d, geometry, kept, penalty, n=20_000):
    model = FeatureSpec(d, Bernoulli(EqualRates(m, 0.05)), geometry, HalfNormal(1.0)).build(stream(0, Role.TRUTH))
    batch = model.sample(n, stream(0, Role.TEST))
    encoder = Lasso(penalty, non_negative=True) if penalty else SupportLeastSquares(batch.codes)
    return Evaluation(model, FittedDictionary(model.atoms[:kept], model.bias, encoder, Status.CONVERGED), batch)


@pytest.mark.parametrize("kept", [16, 12])
@pytest.mark.parametrize("penalty", [0.1, 0.5])
def test_shrinkage_on_orthonormal_atoms_is_predictable_as_the_closed_form_says(kept, penalty):
    found = linear_error_share(evaluated(16, 16, Orthonormal(), kept, penalty))
    moments = shrinkage_moments(0.05, 2 * penalty, np.arange(16) >= kept)  # theory: ||x - f A||^2 + penalty sum f
    # 16 000 firings: R^2 has a standard error of about 0.005; four of them
    assert found == pytest.approx(linear_share(np.eye(16), moments), abs=0.02)


def test_what_is_only_missing_is_a_linear_function_of_orthonormal_features():
    model = FeatureSpec(16, Bernoulli(EqualRates(16, 0.05)), Orthonormal(), HalfNormal(1.0)).build(
        stream(1, Role.TRUTH)
    )
    batch = model.sample(2_000, stream(1, Role.TEST))
    encoder = Lasso(1e-9, non_negative=True)  # reads what it has atoms for exactly
    e = Evaluation(model, FittedDictionary(model.atoms[:12], model.bias, encoder, Status.CONVERGED), batch)
    assert linear_error_share(e) == pytest.approx(1.0, abs=1e-6)
    assert linear_error_norm_share(e) < 0.95  # squares of half-normal codes are not linear in them


def test_an_error_that_x_says_nothing_of_scores_chance_and_no_error_nothing():
    rng = np.random.default_rng(0)
    e = evaluated(16, 16, Orthonormal(), 16, 0.0, n=2_000)
    assert np.isnan(linear_error_share(e)) and np.isnan(linear_error_norm_share(e))  # the genie makes none
    x = rng.standard_normal((2_000, 8))
    noise = rng.standard_normal((2_000, 8))

    class Noisy:
        def encode(self, samples, atoms):
            return csr_array(samples - noise[: len(samples)])

    model = FeatureSpec(8, Bernoulli(EqualRates(8, 0.5)), Orthonormal(), HalfNormal(1.0)).build(stream(2, Role.TRUTH))
    batch = model.sample(2_000, stream(2, Role.TEST))
    batch = type(batch)(x, batch.codes)
    e = Evaluation(model, FittedDictionary(np.eye(8), np.zeros(8), Noisy(), Status.CONVERGED), batch)
    # r / (n - 1) = 0.004 with a standard deviation of sqrt(2 r d) / (n d) = 0.0007 over the eight outputs
    assert linear_error_share(e) == pytest.approx(8 / 1_999, abs=0.003)


def test_it_is_the_r_squared_of_a_regression_done_otherwise():
    e = evaluated(24, 12, RandomSphere(), 18, 0.2, n=500)
    error = e.batch.x - e.reconstruction
    design = np.column_stack([np.ones(500), e.batch.x])
    for target, found in (
        (error, linear_error_share(e)),
        (np.square(error).sum(1, keepdims=True), linear_error_norm_share(e)),
    ):
        left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        expected = 1 - np.square(left).sum() / np.square(target - target.mean(0)).sum()
        assert found == pytest.approx(expected, rel=1e-9)  # normal equations of a condition number below 100


def test_too_few_samples_are_undefined():
    assert np.isnan(linear_error_share(evaluated(16, 16, Orthonormal(), 12, 0.3, n=3)))


@pytest.mark.parametrize(("dtype", "close"), [(np.float64, 1e-7), (np.float32, 1e-3)])
def test_directions_are_told_from_the_rounding_of_samples_and_not_by_their_size(dtype, close):
    class Missing:
        def encode(self, samples, atoms):
            return csr_array(np.where([1, 1, 0, 1], samples, 0.0).astype(samples.dtype))

    model = FeatureSpec(4, Bernoulli(EqualRates(4, 0.5)), Orthonormal(), HalfNormal(1.0)).build(stream(2, Role.TRUTH))
    batch = model.sample(400, stream(2, Role.TEST))
    # What is missed is one coordinate: float32 holds 1e-4 beside 1 to a thousandth, and the covariance of condition 1e8
    # is solved to 1e-8 in float64.
    x = np.random.default_rng(0).standard_normal((400, 4)) * [1.0, 1.0, 1e-4, 1.0]
    fitted = FittedDictionary(np.eye(4), np.zeros(4), Missing(), Status.CONVERGED)
    score = linear_error_share(Evaluation(model, fitted, type(batch)(x.astype(dtype), batch.codes)))
    flat = np.full((400, 4), 0.1) * [1e200, 1.0, 1e-4, 1.0] if dtype == np.float64 else np.full((400, 4), 0.1)
    assert score == pytest.approx(1.0, abs=close)
    assert np.isnan(linear_error_share(Evaluation(model, fitted, type(batch)(flat.astype(dtype), batch.codes))))
