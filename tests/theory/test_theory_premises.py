"""What all closed forms refuse, whatever their module: counts that are no integers, numbers that are none, overflow."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from theory._premises import moderate, sparsity
from theory.amp import lasso_penalty, lasso_state, soft_mse
from theory.autoencoders import hermite_coefficients, identity_sign_mse
from theory.bayes import Exactly, posterior, sparsest
from theory.capacity import capacity_benefit, dimensions_per_feature, gram_capacities
from theory.certificates import lasso_certificate, one_step_limit, sparsest_certificate
from theory.chance import abs_cosine_cdf, expected_close_pairs, mean_abs_cosine, mean_max_abs_cosine, packing_asymptote
from theory.collapse import conditional_covariance, lipschitz_rate_floor
from theory.counts import (
    bernoulli_coverage,
    counting_samples,
    coverage,
    coverage_samples,
    cyclic_support_samples,
    every_support_samples,
    fixed_design_samples,
)
from theory.denoisers import Gaussian, SpikeSlab
from theory.encoders import crosstalk, sufficient_depth, unrolled_rate
from theory.frames import coherence, coherence_limit, levenshtein_bound, uniqueness_limit, welch_bound
from theory.identifiability import equal_correlation_limit, fourth_moment, oracle_dictionary_scale
from theory.isometry import code_norm_interval, isometry_threshold, support_error_bound
from theory.ivae import linear_mixture_identified
from theory.iwae import elbo_gap, iwae_gap
from theory.jepa import jepa_onset
from theory.masking import masked_floor
from theory.one_step import linear_mse, top_k_capacity, top_k_success
from theory.phase import soft_energy
from theory.rate_reduction import coding_rate, ista_step
from theory.replica import free_energy
from theory.storage import necessary_dimension
from theory.toy_model import antipodal_loss, dropped_loss, linear_model_loss, polygon_gram
from theory.uniqueness import half_space_probability, non_negative_uniqueness

PRIOR = SpikeSlab(0.2, Gaussian())
NAN = math.nan


@pytest.fixture(autouse=True)
def _no_warning_passes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("call", [
    lambda x: welch_bound(x, 4), lambda x: welch_bound(20, x), lambda x: levenshtein_bound(x, 4),
    lambda x: uniqueness_limit(x), lambda x: mean_abs_cosine(x), lambda x: packing_asymptote(x, 4),
    lambda x: expected_close_pairs(6, x, 0.3), lambda x: half_space_probability(x, 3),
    lambda x: non_negative_uniqueness(8, 5, x), lambda x: equal_correlation_limit(x, 0.3),
    lambda x: oracle_dictionary_scale(8, x, 2, 100, 1.0, 0.1), lambda x: isometry_threshold("omp", x),
    lambda x: unrolled_rate(0.1, x), lambda x: counting_samples(8, x, 2), lambda x: bernoulli_coverage(8, 2, x),
    lambda x: masked_floor(x, 0.1), lambda x: necessary_dimension(x, 2, 0.1), lambda x: top_k_success(20, x, 2),
    lambda x: linear_model_loss([1.0, 2.0], [1.0, 1.0], x), lambda x: polygon_gram(x, 1.0),
])  # fmt: skip
@pytest.mark.parametrize("number", [NAN, math.inf, 7.5, 7.0, "seven", None])
def test_a_count_is_an_integer(call, number):
    with pytest.raises(TypeError, match="integer"):
        call(number)


@pytest.mark.parametrize("call", [
    lambda: abs_cosine_cdf(NAN, 4), lambda: abs_cosine_cdf(2.0, 4), lambda: abs_cosine_cdf(-0.1, 4),
    lambda: soft_energy(NAN), lambda: soft_energy([0.5, -0.1]), lambda: fourth_moment([NAN, 1.0], 0.3),
    lambda: fourth_moment([1e150, 1.0], 0.3), lambda: crosstalk(np.eye(2), [[1.0, math.inf], [0.0, 1.0]]),
    lambda: sufficient_depth(0.1, 1, NAN, 0.1), lambda: sufficient_depth(0.1, 1, math.inf, 0.1),
    lambda: sufficient_depth(0.1, 1, 1.0, 0.1, -0.1), lambda: coherence(np.full((2, 2), 1e300)),
    lambda: lasso_penalty(PRIOR, 0.0, 0.1, 1.0), lambda: lasso_penalty(PRIOR, NAN, 0.1, 1.0),
    lambda: soft_mse(PRIOR, 0.1, 1e300), lambda: free_energy(PRIOR, 0.5, 0.1, math.inf),
    lambda: support_error_bound(0.1, 2, 1e300), lambda: elbo_gap(1e300, 1.0), lambda: jepa_onset(1e-120, 1.0, 0.5, 2),
    lambda: lasso_certificate(np.full(2, 1e300), np.eye(2), [0], 1.0), lambda: coding_rate(np.eye(2), 1e-300),
    lambda: lasso_certificate(np.ones(2), np.eye(2), [0], 1e-300), lambda: lipschitz_rate_floor(1, 1e-300, 1.0),
    lambda: ista_step(np.eye(2), np.eye(2), 1e299 * np.eye(2), 1.0, 0.1), lambda: linear_mse(1.0, 1e-300, 0.1),
    lambda: SpikeSlab(0.2, Gaussian(), 1e-170), lambda: identity_sign_mse(1.0, 1e300),
    lambda: hermite_coefficients(np.tanh, 2, nodes=0), lambda: moderate("x", NAN), lambda: sparsity(3, 2),
    lambda: dropped_loss(0.3, NAN), lambda: antipodal_loss(0.3, -1.0), lambda: polygon_gram(3, NAN),
    lambda: capacity_benefit(1.5, 1.0, 5.0), lambda: capacity_benefit(0.5, NAN, 5.0),
    lambda: linear_model_loss([1.0, 2.0, 3.0], [1.0], 1), lambda: dimensions_per_feature([[1e300]]),
    lambda: sparsest(np.full((1, 2), NAN), np.eye(2), 1), lambda: sparsest(np.eye(2), np.eye(2), 1, tolerance=-1.0),
    lambda: posterior([[1e200, 0.0]], np.eye(2), Exactly(2, 1), 1.0),
    lambda: conditional_covariance(np.eye(2), [0.7]), lambda: conditional_covariance(np.eye(2), [NAN]),
])  # fmt: skip
def test_what_is_no_number_or_overflows_is_refused(call):
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize("design", [every_support_samples, fixed_design_samples, cyclic_support_samples])
def test_no_design_identifies_atoms_that_every_sample_uses(design):
    assert design(5, 4) > design(5, 1) >= 5
    assert design(1, 1) >= 1
    with pytest.raises(ValueError, match="every atom"):
        design(5, 5)  # dense codes: any invertible map of them gives as many atoms


@pytest.mark.parametrize(("n", "k"), [(5, 1), (7, 2), (32, 3)])
def test_a_probability_next_to_one_takes_samples_too(n, k):
    certain = math.nextafter(1.0, 0.0)
    samples = coverage_samples(n, k, certain)
    assert samples >= coverage_samples(n, k, 1 - 1e-12) > 0
    assert coverage(n, k, samples)[-1] == pytest.approx(1.0, abs=1e-14)  # the rounding of its chain


def test_the_energy_beyond_a_threshold_vanishes_far_out():
    for one_sided in (False, True):
        assert soft_energy([math.inf, 1e300, 40.0], non_negative=one_sided) == pytest.approx(np.zeros(3), abs=1e-300)


def test_results_without_a_scale_have_none():
    gram = np.array([[2.0, 1.0], [1.0, 3.0]])
    rates = np.array([[1.0, 2.0], [3.0, 4.0]])
    code = np.r_[1.0, 0.0, 0.5]
    atoms = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    whole = sparsest_certificate(atoms[:, :], code).margin
    for scale in (1e-300, 1e-150, 1e150, 1e300):
        assert gram_capacities(scale * gram) == pytest.approx(gram_capacities(gram), rel=1e-12)
        assert linear_mixture_identified(scale * rates)
        assert not linear_mixture_identified(scale * np.array([[1.0, 2.0], [3.0, 6.0]]))
        assert sparsest_certificate(atoms, scale * code).margin == pytest.approx(whole, abs=1e-12)
    assert dimensions_per_feature(1e-140 * gram) == pytest.approx(1e280 * dimensions_per_feature(gram), rel=1e-12)


def test_a_coherence_next_to_zero_or_of_orthonormal_atoms_limits_nothing():
    assert coherence_limit(5e-324) > 10**299
    assert one_step_limit(5e-324) > 10**299
    low, high = code_norm_interval([1.0, 4.0], 0.0, 3)
    assert (low == high).all() and (low == [1.0, 4.0]).all()
    assert support_error_bound(0.0, 5, 0.1) == pytest.approx(0.01)


def test_two_atoms_have_no_top_k_threshold():
    with pytest.raises(ValueError, match="above 2"):
        top_k_capacity(2, 5, 1)
    assert math.isfinite(top_k_capacity(3, 5, 1))


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("penalty", [1e-5, 1e-9, 1e-12])
def test_the_state_of_the_lasso_is_that_of_the_penalty_asked_for_however_small(delta, penalty):
    alpha, tau2 = lasso_state(PRIOR, delta, 0.01, penalty)
    # below delta = 1 the penalty is a difference of two numbers of order 0.1, each good to about 1e-13
    assert lasso_penalty(PRIOR, delta, tau2, alpha) == pytest.approx(penalty, rel=1e-6, abs=2e-11)


def test_rounding_takes_no_result_out_of_its_range():
    assert max(mean_max_abs_cosine(p, 2) for p in (10**6, 10**9, 10**12)) <= 1.0
    assert min(iwae_gap(k, 0.0, 1.0) for k in (1, 10, 1000)) >= 0.0
