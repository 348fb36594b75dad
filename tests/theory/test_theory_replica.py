"""The replica formula is stationary at state evolution, respects the bounds of information, and has its hard phase."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.amp import bayes_threshold, fixed_points
from theory.bayes import Independent, oracle
from theory.denoisers import Exponential, Gaussian, HalfNormal, One, Rademacher, SpikeSlab, Uniform
from theory.phase import all_or_nothing_threshold
from theory.replica import bayes_mse, fixed_errors, free_energy, information_threshold, is_hard, spinodals

SLABS = [Gaussian(), HalfNormal(), Exponential(), Uniform(), One(), Rademacher()]
SLOW = [pytest.param(s, marks=pytest.mark.slow) for s in (HalfNormal(), Exponential(), Uniform(), Rademacher())]
TRANSITIONS = [Gaussian(), One(), *SLOW]
quick = st.sampled_from([s for s in SLABS if s != Uniform()])
priors = st.builds(SpikeSlab, st.floats(0.02, 0.6), quick, st.floats(0.2, 5.0))
deltas = st.floats(0.05, 1.5)
noises = st.floats(-4, 0).map(lambda exponent: 10.0**exponent)


@settings(max_examples=30)
@given(priors, deltas, noises, st.floats(0.01, 1.0))
def test_the_free_energy_has_the_slope_that_makes_state_evolution_stationary(prior, delta, noise, share):
    error = share * prior.variance
    tau2, h = noise + error / delta, 1e-4 * error
    below, above = free_energy(prior, delta, noise, [error - h, error + h])
    slope = (error - float(prior.mmse(tau2))) / (2 * delta * tau2**2)
    scale = error / (
        2 * delta * tau2**2
    )  # of both terms; h^2 / 6 of third derivatives, which discrete slabs make large
    # and of an information exact to 1e-13
    assert (above - below) / (2 * h) == pytest.approx(slope, abs=1e-4 * scale + 1e-13 / h)


@settings(max_examples=15)
@given(priors, deltas, noises)
def test_fixed_errors_solve_their_equation_and_alternate(prior, delta, noise):
    errors = fixed_errors(prior, delta, noise)
    assert len(errors) in (1, 3)
    np.testing.assert_allclose(prior.mmse(noise + errors / delta), errors, rtol=1e-6, atol=1e-9 * delta * noise)
    energy = free_energy(prior, delta, noise, errors)
    if len(errors) == 3:  # the middle one is a maximum
        assert energy[1] >= max(energy[0], energy[2]) - 1e-12
    top = delta * (float(fixed_points(prior.mmse, delta, noise, prior.variance)) - noise)
    assert top == pytest.approx(errors[-1], rel=1e-4, abs=1e-9 * delta * noise)
    assert bayes_mse(prior, delta, noise) <= top * (1 + 1e-4) + 1e-9 * delta * noise


@settings(max_examples=10)
@given(priors, deltas, noises)
def test_the_information_is_within_what_the_code_holds_and_the_channel_carries(prior, delta, noise):
    information = float(free_energy(prior, delta, noise, bayes_mse(prior, delta, noise)))
    carried = 0.5 * delta * math.log1p(prior.variance / (delta * noise))
    assert 0 < information < carried
    if isinstance(prior.slab, One | Rademacher):
        held = -prior.eps * math.log(prior.eps) - (1 - prior.eps) * math.log1p(-prior.eps)
        held += prior.eps * math.log(2) * isinstance(prior.slab, Rademacher)
        assert information <= held + 1e-9
    # More noise, fewer measurements: less.
    worse = float(free_energy(prior, delta, 1.1 * noise, bayes_mse(prior, delta, 1.1 * noise)))
    fewer = float(free_energy(prior, 0.9 * delta, noise, bayes_mse(prior, 0.9 * delta, noise)))
    assert max(worse, fewer) <= information + 1e-12


@pytest.mark.parametrize("slab", SLABS)
def test_information_grows_with_precision_at_half_the_error_of_the_measurements(slab):
    # I-MMSE of the whole system: dI/dsnr = sum_j Var(clean measurement j | y) / 2, where the variance is that of the
    # scalar channel of power E / delta and noise sigma2.
    prior, delta, noise, h = SpikeSlab(0.2, slab), 0.6, 0.05, 1e-3
    values = [
        float(free_energy(prior, delta, level, bayes_mse(prior, delta, level))) for level in noise * np.exp([-h, h])
    ]
    error = bayes_mse(prior, delta, noise) / delta
    slope = (values[0] - values[1]) / (2 * h / noise)
    assert slope == pytest.approx(0.5 * delta * error * noise / (error + noise), rel=1e-5)  # h^2


@pytest.mark.parametrize("slab", TRANSITIONS)
def test_between_the_information_threshold_and_the_upper_spinodal_it_is_hard_and_nowhere_else(slab):
    prior, noise = SpikeSlab(0.05, slab), 1e-5
    low, high = spinodals(prior, noise)
    jump = information_threshold(prior, noise)
    assert low < jump < high
    # What remains is the small noise.
    assert high == pytest.approx(bayes_threshold(prior), rel=2e-3)
    for delta, hard, count in (
        (0.99 * low, False, 1), (0.99 * jump, False, 3), (1.01 * jump, True, 3), (0.999 * high, True, 3),
        (1.001 * high, False, 1),
    ):  # fmt: skip
        if delta < 1e-4 * prior.eps:
            continue  # a discrete slab's lower spinodal is exp(-1/sigma2)
        assert is_hard(prior, delta, noise) == hard
        assert len(fixed_errors(prior, delta, noise)) == count
    before, after = bayes_mse(prior, 0.999 * jump, noise), bayes_mse(prior, 1.001 * jump, noise)
    assert before > 20 * after
    energies = free_energy(prior, jump, noise, fixed_errors(prior, jump, noise)[[0, 2]])
    assert energies[0] == pytest.approx(energies[1], rel=1e-8)


def test_much_noise_leaves_no_transition():
    prior = SpikeSlab(0.1, Gaussian())
    assert spinodals(prior, 0.1) is None
    assert information_threshold(prior, 0.1) is None
    assert not is_hard(prior, 0.2, 0.1)


def test_sparse_binary_codes_approach_all_or_nothing():
    # k of n in m Gaussian measurements of unit variance: here eps = k/n, delta = m/n, noise s2 / m, and k / s2 = 20.
    excess = []
    for eps in (1e-2, 1e-4, 1e-8):
        prior, snr, n = SpikeSlab(eps, One()), 20.0, 10**12
        predicted = all_or_nothing_threshold(n, round(eps * n), eps * n / snr) / n
        low, high = math.log(predicted), math.log(4 * predicted)
        for _ in range(18):
            middle = 0.5 * (low + high)
            noise = eps / (math.exp(middle) * snr)
            found = bayes_mse(prior, math.exp(middle), noise) < 0.3 * prior.variance
            low, high = (low, middle) if found else (middle, high)
        excess.append(math.exp(high) / predicted - 1)
    # The entropy of a support is n eps (ln(1/eps) + 1 + ...), of which the formula is the first term.
    assert excess[0] > excess[1] > excess[2] > 0
    assert excess[2] == pytest.approx(1 / math.log(1e8), rel=0.05)


@pytest.mark.parametrize(("slab", "mean", "variance"), [(Gaussian(), 0.0, 1.0), (One(), 1.0, 0.0)])
def test_small_systems_are_already_near(slab, mean, variance):
    rng, n, d, eps, noise = np.random.default_rng(0), 10, 10, 0.3, 0.3
    prior = SpikeSlab(eps, slab)
    found = [
        oracle(rng.standard_normal((n, d)) / math.sqrt(d), Independent(n, eps), noise, 20, mean=mean,
               variance=variance, rng=rng)
        for _ in range(20)
    ]  # fmt: skip
    information = float(free_energy(prior, d / n, noise, bayes_mse(prior, d / n, noise)))
    assert np.mean([o.mmse for o in found]) / n == pytest.approx(bayes_mse(prior, d / n, noise), rel=0.1)  # order 1/n
    assert np.mean([o.information for o in found]) / n == pytest.approx(information, rel=0.1)


@pytest.mark.parametrize("call", [
    lambda p: bayes_mse(p, 0.0, 0.1), lambda p: bayes_mse(p, 0.5, 0.0), lambda p: spinodals(p, 0.0),
    lambda p: information_threshold(p, -1.0), lambda p: free_energy(p, 0.5, 0.1, [-0.1]),
    lambda p: free_energy(p, math.inf, 0.1, 0.1), lambda p: fixed_errors(p, 0.5, math.nan),
    lambda p: bayes_mse(SpikeSlab(1.0, One()), 0.5, 0.1),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call(SpikeSlab(0.1, Gaussian()))
