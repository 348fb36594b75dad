"""The linear VAE: its optimum against perturbations, a general optimiser, sampling and the rate-distortion function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import multivariate_normal, ortho_group

from theory.vae import (
    collapse_beta,
    learned_noise,
    linear_posterior,
    linear_vae,
    linear_vae_loss,
    log_evidence,
    mean_field_gap,
)
from theory.water_filling import gaussian_rate, water_level

SPECTRUM = (4.0, 1.5, 0.6, 0.2)
spectra = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=6)
noises = st.floats(0.01, 30.0)
betas = st.floats(0.1, 10.0)


def optimum(values, q, noise, beta, rng):
    """Return data covariance, atoms, encoder and variances of the optimum, in random axes."""
    axes = ortho_group.rvs(len(values), random_state=rng) if len(values) > 1 else np.eye(1)
    values = np.sort(values)[::-1]
    found = linear_vae(values, q, noise, beta)
    atoms = np.zeros((q, len(values)))
    some = min(q, len(values))
    atoms[:some] = np.sqrt(found.gain[:some, None]) * axes[:some]
    encoder, variances = linear_posterior(atoms, noise, beta)
    return axes.T @ np.diag(values) @ axes, atoms, encoder, variances


# Minima of the loss over six random restarts of a general optimiser.
@pytest.mark.parametrize(
    ("noise", "beta", "distortion", "rate"),
    [(0.3, 1.0, 1.1, 2.44643), (0.3, 2.0, 2.0, 1.40671), (1.0, 1.0, 2.8, 0.89588), (0.3, 6.0, 4.1, 0.39925)],
)
def test_the_optimum_has_its_reference_values(noise, beta, distortion, rate):
    found = linear_vae(SPECTRUM, 3, noise, beta)
    assert found.distortion == pytest.approx(distortion, abs=1e-12)
    assert found.rate == pytest.approx(rate, abs=5e-6)  # five decimals are given


@given(spectra, st.integers(1, 8), noises, betas, st.integers(0, 2**32 - 1), st.floats(-6.0, 0.5))
def test_no_parameters_have_a_lower_loss_than_the_optimum(values, q, noise, beta, seed, log_size):
    rng = np.random.default_rng(seed)
    data, atoms, encoder, variances = optimum(values, q, noise, beta, rng)
    least = linear_vae(values, q, noise, beta).loss
    scale = abs(least) + 1.0
    assert linear_vae_loss(data, atoms, encoder, variances, noise, beta) == pytest.approx(least, abs=1e-9 * scale)
    size = 10.0**log_size
    moved = [part + size * rng.standard_normal(part.shape) for part in (atoms, encoder)]
    other = variances * np.exp(size * rng.standard_normal(q))
    assert linear_vae_loss(data, *moved, other, noise, beta) >= least - 1e-9 * scale  # rounding of the sums


@pytest.mark.parametrize("seed", range(3))
def test_a_general_optimiser_ends_at_the_optimum(seed):
    rng = np.random.default_rng(seed)
    d, q, noise, beta = 4, 3, 0.4, 1.7
    data = np.diag(SPECTRUM)

    def loss(flat):
        atoms, encoder, log_variance = np.split(flat, [q * d, 2 * q * d])
        return linear_vae_loss(data, atoms.reshape(q, d), encoder.reshape(d, q), np.exp(log_variance), noise, beta)

    found = min(minimize(loss, rng.standard_normal(2 * q * d + q)).fun for _ in range(2))
    assert found == pytest.approx(linear_vae(SPECTRUM, q, noise, beta).loss, abs=1e-5)  # BFGS with numerical gradients


@given(spectra, noises, betas)
def test_the_optimum_lies_on_the_rate_distortion_function(values, noise, beta):
    found = linear_vae(values, len(values) + 1, noise, beta)
    if not found.active:
        assert found.distortion == pytest.approx(sum(values), rel=1e-12)
        return
    assert found.rate == pytest.approx(gaussian_rate(values, found.distortion), abs=1e-7 * (1 + found.rate))
    if found.distortion < sum(values) * (1 - 1e-9):
        assert water_level(values, found.distortion) == pytest.approx(beta * noise, rel=1e-6)


@given(spectra, st.integers(1, 6), noises, betas)
def test_a_heavier_divergence_silences_units_and_raises_the_distortion(values, q, noise, beta):
    one, two = linear_vae(values, q, noise, beta), linear_vae(values, q, noise, 1.3 * beta)
    assert two.active <= one.active
    assert two.rate <= one.rate
    assert two.distortion >= one.distortion * (1 - 1e-12)


@given(spectra, noises)
def test_each_unit_falls_silent_at_its_own_beta_and_its_divergence_is_continuous_there(values, noise):
    for place, beta in enumerate(collapse_beta(values, noise)):
        before, after = (linear_vae(values, len(values), noise, beta * (1 + sign * 1e-9)) for sign in (-1, 1))
        assert before.gain[place] > 0.0
        assert after.gain[place] == 0.0
        assert before.kl[place] == pytest.approx(0.0, abs=1e-8)  # ln(1 + 1e-9) / 2


def test_at_the_collapse_the_slope_of_the_divergence_jumps():
    # dKL/dbeta = -1/(2 beta) below beta_c = 4 and 0 above.
    below = (linear_vae([4.0], 1, 1.0, 4.0).rate - linear_vae([4.0], 1, 1.0, 3.999).rate) / 0.001
    above = (linear_vae([4.0], 1, 1.0, 4.001).rate - linear_vae([4.0], 1, 1.0, 4.0).rate) / 0.001
    assert below == pytest.approx(-0.125, abs=1e-4)  # the second derivative 1/32 times half the step
    assert above == 0.0


@given(st.lists(st.floats(0.05, 20.0), min_size=2, max_size=6), st.integers(1, 5), betas)
def test_the_learned_noise_minimises_the_loss_and_is_a_fixed_point_of_the_distortion(values, q, beta):
    q = min(q, len(values) - 1)
    noise = learned_noise(values, q, beta)
    assert linear_vae(values, q, noise, beta).distortion == pytest.approx(len(values) * noise, rel=1e-9)
    least = linear_vae(values, q, noise, beta).loss
    for factor in (1e-3, 0.1, 0.9, 1.1, 10.0, 1e3):
        assert linear_vae(values, q, noise * factor, beta).loss >= least - 1e-9 * (1 + abs(least))


def test_at_unit_weight_the_learned_noise_is_the_mean_of_the_discarded_eigenvalues():
    assert learned_noise(SPECTRUM, 2) == pytest.approx(0.4, rel=1e-12)
    found = linear_vae(SPECTRUM, 2, 0.4)
    bound = 0.5 * (4 * math.log(2 * math.pi) + math.log(4.0 * 1.5) + 2 * math.log(0.4) + 4)  # the pPCA likelihood
    assert found.loss == pytest.approx(bound, rel=1e-12)
    searched = minimize_scalar(
        lambda u: linear_vae(SPECTRUM, 2, math.exp(u), 1.6).loss, bounds=(-6, 4), method="bounded"
    )
    assert learned_noise(SPECTRUM, 2, 1.6) == pytest.approx(math.exp(searched.x), rel=1e-4)  # the search's own


def test_with_learned_noise_all_units_collapse_at_the_ratio_of_largest_and_mean():
    edge = 4.0 / np.mean(SPECTRUM)
    for beta, active in ((edge * 0.999, 1), (edge * 1.001, 0)):
        assert linear_vae(SPECTRUM, 3, learned_noise(SPECTRUM, 3, beta), beta).active == active


def test_the_loss_agrees_with_sampling():
    rng = np.random.default_rng(0)
    d, q, noise, beta, n = 4, 3, 0.4, 1.7, 200_000
    data, atoms, encoder, variances = optimum(SPECTRUM, q, noise, beta, rng)
    atoms = atoms + 0.3 * rng.standard_normal(atoms.shape)
    x = rng.multivariate_normal(np.zeros(d), data, n)
    mean = x @ encoder
    z = mean + np.sqrt(variances) * rng.standard_normal((n, q))
    kl = 0.5 * (mean**2 + variances - np.log(variances) - 1).sum(1)
    each = ((x - z @ atoms) ** 2).sum(1) / (2 * noise) + d / 2 * math.log(2 * math.pi * noise) + beta * kl
    expected = linear_vae_loss(data, atoms, encoder, variances, noise, beta)
    assert abs(each.mean() - expected) < 4.9 * each.std() / math.sqrt(n)  # alpha = 1e-6


@given(st.integers(1, 4), st.integers(1, 5), noises, st.integers(0, 2**32 - 1))
def test_evidence_is_bound_plus_gap_at_the_best_diagonal_posterior(q, d, noise, seed):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((q, d))
    factor = rng.standard_normal((d, d))
    data = factor @ factor.T / d
    encoder, variances = linear_posterior(atoms, noise)
    loss = linear_vae_loss(data, atoms, encoder, variances, noise)
    gap = mean_field_gap(atoms, noise)
    assert gap >= 0.0
    assert -log_evidence(data, atoms, noise) + gap == pytest.approx(loss, rel=1e-8)  # condition numbers up to 1e4


def test_the_evidence_is_that_of_the_normal_density():
    rng = np.random.default_rng(1)
    atoms, x = rng.standard_normal((2, 3)), rng.standard_normal((50, 3))
    density = multivariate_normal(np.zeros(3), atoms.T @ atoms + 0.5 * np.eye(3))
    assert log_evidence(x.T @ x / 50, atoms, 0.5) == pytest.approx(density.logpdf(x).mean(), rel=1e-10)


@settings(max_examples=40)
@given(st.integers(2, 5), noises, st.floats(0.2, 1.3), st.integers(0, 2**32 - 1))
def test_a_rotation_of_the_latents_leaves_the_evidence_but_not_the_diagonal_bound(q, noise, angle, seed):
    rng = np.random.default_rng(seed)
    d = q + 1
    gains = np.arange(1, q + 1) * 2.0
    atoms = np.sqrt(gains)[:, None] * ortho_group.rvs(d, random_state=rng)[:q]
    turn = np.eye(q)
    turn[:2, :2] = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    data = np.diag(np.arange(1.0, d + 1))
    assert log_evidence(data, turn @ atoms, noise) == pytest.approx(log_evidence(data, atoms, noise), rel=1e-8)
    assert mean_field_gap(atoms, noise) == pytest.approx(0.0, abs=1e-9)
    assert mean_field_gap(turn @ atoms, noise) > 1e-6
    equal = atoms / np.sqrt(gains)[:, None]  # the control: equal gains leave even the diagonal bound free to rotate
    assert mean_field_gap(turn @ equal, noise) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("call", [
    lambda: linear_vae([1.0], 0, 1.0), lambda: linear_vae([1.0], 1, 0.0), lambda: linear_vae([1.0], 1, 1.0, -1.0),
    lambda: linear_vae([-1.0], 1, 1.0), lambda: linear_vae([[1.0]], 1, 1.0), lambda: learned_noise([1.0, 2.0], 2),
    lambda: learned_noise([1.0, 0.0], 1), lambda: linear_vae([math.inf], 1, 1.0),
    lambda: linear_vae_loss(np.eye(2), np.ones((1, 3)), np.ones((2, 1)), [1.0], 1.0),
    lambda: linear_vae_loss(np.eye(2), np.ones((1, 2)), np.ones((2, 1)), [0.0], 1.0),
    lambda: linear_vae_loss(-np.eye(2), np.ones((1, 2)), np.ones((2, 1)), [1.0], 1.0),
    lambda: linear_vae_loss([[1, 1], [0, 1]], np.ones((1, 2)), np.ones((2, 1)), [1.0], 1.0),
    lambda: log_evidence(np.eye(2), np.ones((1, 3)), 1.0), lambda: mean_field_gap(np.ones(3), 1.0),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


def test_a_number_of_units_must_be_an_integer():
    with pytest.raises(TypeError, match="q must be an integer"):
        linear_vae([1.0], 1.5, 1.0)
