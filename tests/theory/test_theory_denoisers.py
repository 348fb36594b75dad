"""Bayes denoisers are held to brute-force integration, to simulation and to identities of error and information."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import expon, halfnorm, norm, uniform

from theory.denoisers import (
    Exponential,
    Gaussian,
    HalfNormal,
    One,
    Rademacher,
    SpikeSlab,
    Uniform,
    normal_density,
    truncated_moments,
)

FAMILIES = {
    "gauss": Gaussian(), "half": HalfNormal(), "exp": Exponential(), "unif": Uniform(), "one": One(),
    "rad": Rademacher(),
}  # fmt: skip
DENSITIES = {"gauss": norm.pdf, "half": halfnorm.pdf, "exp": expon.pdf, "unif": uniform.pdf}
ATOMS = {"one": [1.0], "rad": [-1.0, 1.0]}
families = st.sampled_from(sorted(FAMILIES))
levels = st.floats(-8, 4).map(lambda exponent: 10.0**exponent)
densities = st.floats(1e-4, 1.0)


def draw(rng, name, count):
    magnitude = {
        "gauss": rng.standard_normal, "half": lambda c: np.abs(rng.standard_normal(c)),
        "exp": rng.standard_exponential, "unif": rng.random, "one": np.ones,
        "rad": lambda c: rng.choice([-1.0, 1.0], c),
    }  # fmt: skip
    return magnitude[name](count)


def brute_posterior(name, eps, r, tau2):
    """Sum over a fine grid of the slab, or over its atoms, against the likelihood relative to that of zero."""
    if name in ATOMS:
        s, mass = np.array(ATOMS[name]), np.full(len(ATOMS[name]), 1 / len(ATOMS[name]))
    else:
        tau = math.sqrt(tau2)
        low = max({"gauss": -12.0}.get(name, 0.0), min(r, 12.0) - 14 * tau)
        high = min({"unif": 1.0, "exp": 60.0}.get(name, 12.0), max(r, -12.0 if name == "gauss" else 0.0) + 14 * tau)
        nodes, weights = np.polynomial.legendre.leggauss(600)
        s = (low + high) / 2 + (high - low) / 2 * nodes
        mass = (high - low) / 2 * weights * DENSITIES[name](s)
    exponent = (2 * r * s - s * s) / (2 * tau2)
    likelihood = np.exp(exponent - exponent.max()) * mass
    total = likelihood.sum()
    weight = 1 / (1 + (1 - eps) / (eps * total) * math.exp(-exponent.max()))
    mean = (likelihood * s).sum() / total
    variance = (likelihood * (s - mean) ** 2).sum() / total
    return weight, weight * mean, weight * variance + weight * (1 - weight) * mean**2


@pytest.mark.parametrize(("tau2", "values"), [
    (.25, {"gauss": .045121, "half": .039084, "exp": .037941, "one": .052984, "rad": .063318, "unif": .025131}),
    (.01, {"gauss": .001723, "half": .001575, "exp": .001555, "one": 0, "rad": 0, "unif": .001611}),
])  # fmt: skip
def test_the_mmse_has_its_reference_values(tau2, values):
    for name, value in values.items():
        found = float(SpikeSlab(0.1, FAMILIES[name]).mmse(tau2))
        assert found == pytest.approx(value, abs=1e-6 if value == 0 else 5e-7)  # rounded to six digits


@settings(max_examples=40)
@given(families, st.floats(-4, 5), st.floats(-2.5, 1.5), st.floats(0.001, 0.999))
def test_the_posterior_is_the_one_of_brute_force(name, r, exponent, eps):
    tau2 = 10.0**exponent
    if name not in ("gauss", "rad") and r < 0:
        r = max(r, -20 * math.sqrt(tau2))  # further out the grid of brute force does not resolve the edge
    expected = brute_posterior(name, eps, r, tau2)
    for found, value in zip(SpikeSlab(eps, FAMILIES[name]).posterior(r, tau2), expected, strict=True):
        assert found == pytest.approx(value, rel=1e-8, abs=1e-14)  # 600 nodes over at least 14 deviations


@pytest.mark.parametrize("a", [-1e8, -500.0, -60.0, -40.01, -39.99, -38.0, -10.0, -1.0, 0.0, 3.0, 30.0, 300.0])
def test_truncated_moments_are_their_integrals_however_far_the_truncation(a):
    # u = s max(1, |a|) for a < 0, where the density falls like exp(-|a| s)
    rate = max(1.0, -a)

    def integral(power, centre=0.0):
        def weight(u):
            return (u / rate - centre) ** power * math.exp(-0.5 * (u / rate) ** 2 + a * u / rate - 0.5 * max(a, 0) ** 2)

        pieces = [0.0, 1.0, 10.0, 60.0] if a < 1 else sorted({max(0.0, a + shift) for shift in (-12, -3, 0, 3, 12)})
        return sum(quad(weight, *ends, epsabs=0, epsrel=1e-12)[0] for ends in pairwise(pieces))

    total = integral(0)
    mean = integral(1) / total
    found = truncated_moments(a)
    assert found[0] == pytest.approx(mean, rel=1e-11)
    assert found[1] == pytest.approx(
        integral(2, mean) / total, rel=2e-9
    )  # a^4 times rounding, and the series' remainder


@given(families, densities, levels, levels)
def test_the_mmse_grows_with_noise_from_nothing_to_the_variance(name, eps, one, other):
    prior = SpikeSlab(eps, FAMILIES[name])
    low, high = prior.mmse(np.sort([one, other]))
    assert 0 <= low <= high * (1 + 1e-8)  # the accuracy of the quadrature
    assert high <= prior.variance * (1 + 1e-8)
    linear = prior.variance * max(one, other) / (prior.variance + max(one, other))
    assert high <= linear * (1 + 1e-8)  # the best linear estimate
    assert float(prior.mmse(1e9)) == pytest.approx(prior.variance, rel=1e-6, abs=1e-12)


@given(densities.filter(lambda eps: eps < 1), levels)
def test_of_a_dense_gaussian_the_mmse_and_information_are_elementary(eps, tau2):
    dense = SpikeSlab(1.0, Gaussian())
    assert dense.mmse(tau2) == pytest.approx(tau2 / (1 + tau2), rel=1e-9)
    assert dense.mutual_information(tau2) == pytest.approx(0.5 * math.log1p(1 / tau2), rel=1e-7, abs=1e-13)
    # knowing the support can only help
    assert SpikeSlab(eps, Gaussian()).mmse(tau2) >= eps * tau2 / (1 + tau2) * (1 - 1e-9)


@settings(max_examples=60)
@given(families, st.floats(0.01, 1.0), st.floats(-3, 4))
def test_information_grows_with_precision_at_half_the_mmse(name, eps, exponent):
    prior, tau2, h = SpikeSlab(eps, FAMILIES[name]), 10.0**exponent, 1e-3
    high, low = prior.mutual_information(tau2 * np.exp([-h, h]))
    slope = (high - low) / (2 * h * (1 / tau2))
    # the difference quotient errs by h^2 / 6 of the third derivative in ln snr, at most (1/tau2)^2 of the mmse where
    # the slab is discrete; the information itself to 1e-14 of at most 1/tau2
    tolerance = 2e-6 * (1 + min(1 / tau2, 10.0) ** 2) + 1e-9 * tau2
    assert 2 * slope == pytest.approx(float(prior.mmse(tau2)), rel=tolerance, abs=1e-9)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_information_has_its_limits(name):
    prior = SpikeSlab(0.1, FAMILIES[name])
    assert prior.mutual_information(1e5) == pytest.approx(prior.variance / 2e5, rel=1e-4)
    if name in ATOMS:
        entropy = -0.1 * math.log(0.1) - 0.9 * math.log(0.9) + 0.1 * math.log(len(ATOMS[name]))
        assert prior.mutual_information(1e-6) == pytest.approx(entropy, abs=1e-9)  # entropies near 7, to rounding
    else:  # each factor of ten in precision tells eps/2 ln 10
        rise = prior.mutual_information(1e-10) - prior.mutual_information(1e-9)
        assert rise == pytest.approx(0.05 * math.log(10), rel=1e-3)


@pytest.mark.parametrize("name", sorted(DENSITIES))
def test_small_noise_leaves_its_share_of_the_active_entries_and_all_its_digits(name):
    tau2 = np.array([1e-8, 1e-12, 1e-16])
    prior = SpikeSlab(0.1, FAMILIES[name])
    ratio = prior.mmse(tau2) / tau2
    # the excess is the spike mistaken for small entries, of order tau ln(1/tau)
    assert np.all(np.abs(ratio / 0.1 - 1) < 20 * np.sqrt(tau2) * np.log(1 / tau2) + 1e-9)
    # The control: E s^2 - E shat^2, the form the integral replaces, has no digits left.
    r, weights = prior.rule(tau2)
    density = 0.9 * norm.pdf(r, scale=np.sqrt(tau2)[:, None])
    density = density + 0.1 * np.exp(prior.slab.log_density(r, tau2[:, None]))
    _, mean, _ = prior.posterior(r, tau2[:, None])
    subtracted = prior.power - (weights * density * mean**2).sum(axis=1)
    assert abs(subtracted[2] / tau2[2] - 0.1) > 0.01


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("tau2", [0.02, 0.3, 4.0])
def test_simulation_attains_the_mmse_and_other_estimates_do_not(name, tau2):
    rng, count, eps = np.random.default_rng(0), 200_000, 0.2
    prior = SpikeSlab(eps, FAMILIES[name])
    s = (rng.random(count) < eps) * draw(rng, name, count)
    r = s + math.sqrt(tau2) * rng.standard_normal(count)
    weight, mean, variance = prior.posterior(r, tau2)
    for average, exact in (((s - mean) ** 2, prior.mmse(tau2)), (variance, prior.mmse(tau2)), (weight, eps)):
        error = average.std(ddof=1) / math.sqrt(count)
        assert abs(average.mean() - float(exact)) < 5 * error  # alpha = 6e-7
    others = (0.9 * mean, np.where(weight > 0.5, mean / weight, 0.0), s.var() / (s.var() + tau2) * (r - s.mean()))
    for other in others:
        worse = (s - other) ** 2 - (s - mean) ** 2
        assert worse.mean() > -5 * worse.std(ddof=1) / math.sqrt(count)
    moments = (s.mean() - prior.mean, s.var() - prior.variance)
    assert np.all(np.abs(moments) < 5 * np.array([s.std(), (s**2).std()]) / math.sqrt(count))


@given(families, st.floats(0.01, 1.0), st.floats(-2, 2), st.floats(-2, 1), st.floats(0.01, 100))
def test_the_slope_of_the_estimate_is_the_variance_over_the_noise_and_scale_is_a_unit(name, eps, r, exponent, scale):
    prior, tau2 = SpikeSlab(eps, FAMILIES[name]), 10.0**exponent
    h = 1e-4 * math.sqrt(tau2)
    _, (below, above), _ = prior.posterior([r - h, r + h], tau2)
    weight, mean, variance = prior.posterior(r, tau2)
    # of h^2 (r / tau2)^2-sized third derivatives, and rounding over h
    assert (above - below) / (2 * h) == pytest.approx(float(variance) / tau2, rel=1e-5, abs=1e-7)
    scaled = SpikeSlab(eps, FAMILIES[name], scale)
    other = scaled.posterior(scale * r, scale**2 * tau2)
    np.testing.assert_allclose(other, (weight, scale * mean, scale**2 * variance), rtol=1e-8)
    assert scaled.mmse(scale**2 * tau2) == pytest.approx(scale**2 * float(prior.mmse(tau2)), rel=1e-10)
    assert scaled.mutual_information(scale**2 * tau2) == pytest.approx(float(prior.mutual_information(tau2)), abs=1e-12)
    assert scaled.variance == pytest.approx(scale**2 * prior.variance, rel=1e-12)


def test_shapes_are_those_of_the_arguments():
    prior = SpikeSlab(0.3, Uniform())
    assert prior.mmse(np.ones((3, 0))).shape == (3, 0)
    assert prior.mmse(np.full((7, 41), 0.3)).shape == (7, 41)
    assert [a.shape for a in prior.posterior(np.zeros((5, 1)), np.ones(4))] == [(5, 4)] * 3
    levels = np.geomspace(1e-3, 10, 300)  # more than one block
    np.testing.assert_array_equal(prior.mmse(levels)[::50], prior.mmse(levels[::50]))


@pytest.mark.parametrize("call", [
    lambda: SpikeSlab(0.0, One()), lambda: SpikeSlab(1.1, One()), lambda: SpikeSlab(math.nan, One()),
    lambda: SpikeSlab(0.1, One(), 0.0), lambda: SpikeSlab(0.1, One()).mmse(0.0),
    lambda: SpikeSlab(0.1, One()).mmse([1.0, np.nan]), lambda: SpikeSlab(0.1, One()).mutual_information(np.inf),
    lambda: SpikeSlab(0.1, One()).posterior(0.0, -1.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


def test_the_normal_density_is_the_one_of_scipy():
    x = np.linspace(-38, 38, 77)
    assert normal_density(x) == pytest.approx(norm.pdf(x), rel=1e-14)
