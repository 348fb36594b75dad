"""Objectives of the VAE family against what is known of them: capacity, MMD, importance weights, RAE, ARD."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vae_worlds import gaussian_samples, inside, linear_parts, noise, rng, shaken, z_score

from sparsesim._source import Rows
from sparsesim.solvers.neural.ard import ARDVAE, relevance, relevant
from sparsesim.solvers.neural.gaussians import standard_kl
from sparsesim.solvers.neural.iwae import ImportanceWeightedVAE, importance_bound, log_mean_weight
from sparsesim.solvers.neural.mmd import SCALES, squared_mmd
from sparsesim.solvers.neural.rae import RegularisedAutoencoder
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vae_capacity import CapacityVAE
from sparsesim.solvers.neural.vae_info import InfoVAE
from sparsesim.solvers.neural.vaease import VAEase
from sparsesim.solvers.neural.wasserstein import WassersteinAutoencoder
from theory.iwae import iwae_gap
from theory.vae import learned_noise, linear_vae, linear_vae_loss, log_evidence
from theory.water_filling import gaussian_distortion, gaussian_rate

EIGEN = np.array([2.6, 1.2, 0.15, 0.05])  # of mean one, so this is the normalised scale
FAST = Training(steps=1500, batch_size=128, learning_rate=1e-2)
BRIEF = Training(steps=60, batch_size=64)


# The linear VAE against theory.vae


def test_the_linear_vae_ends_at_the_loss_of_the_theory():
    x, beta = gaussian_samples(EIGEN), 2.0
    fitted = GaussianVAE(3, 0.4, beta=beta, training=FAST).fit(x, rng=rng())
    covariance, atoms, encoder, variances = linear_parts(fitted, x)
    best = linear_vae(EIGEN, 3, 0.4, beta)
    reached = linear_vae_loss(covariance, atoms, encoder, variances, 0.4, beta)
    # No linear model is below the optimum; float32 data and Adam on drawn z end within 0.01 nats of it.
    assert best.loss - 1e-4 < reached < best.loss + 0.01
    np.testing.assert_allclose(np.sort(np.square(atoms).sum(1))[::-1], best.gain, atol=0.15)


def test_at_the_optimum_with_learned_noise_the_bound_is_the_evidence():
    x = gaussian_samples(EIGEN)
    fitted = GaussianVAE(2, training=FAST).fit(x, rng=rng())
    covariance, atoms, encoder, variances = linear_parts(fitted, x)
    sigma = float(fitted.encoder.module.log_noise.double().exp())
    assert sigma == pytest.approx(learned_noise(EIGEN, 2), rel=0.05)  # 0.1, learned by Adam
    bound = -linear_vae_loss(covariance, atoms, encoder, variances, sigma)
    assert bound == pytest.approx(log_evidence(covariance, atoms, sigma), abs=0.02)
    assert bound <= log_evidence(covariance, atoms, sigma) + 1e-9


# The capacity schedule


def test_late_in_training_the_divergence_is_the_capacity_and_the_distortion_that_of_reverse_water_filling():
    x = gaussian_samples(EIGEN)
    fitted = CapacityVAE(4, 0.1, capacity=1.5, weight=10.0, ramp=0.3, training=FAST).fit(x, rng=rng())
    module, seen = fitted.encoder.module, inside(fitted, x)
    kl = standard_kl(*module.posterior(seen)).item()
    assert kl == pytest.approx(1.5, abs=0.05)  # batches of 128 do not agree on the mean to better than that
    covariance, atoms, encoder, variances = linear_parts(fitted, x)
    left = np.eye(4) - encoder @ atoms
    distortion = np.einsum("ij,ik,kj->", left, covariance, left) + (variances * np.square(atoms).sum(1)).sum()
    # The data are Gaussian up to their third moments: no code of this rate has a lower error (converse), and the linear
    # model of enough latents attains it.
    assert distortion > gaussian_distortion(EIGEN, kl) - 1e-3
    assert distortion < 1.03 * gaussian_distortion(EIGEN, kl)
    assert gaussian_rate(EIGEN, distortion) == pytest.approx(1.5, abs=0.07)


def test_the_capacity_rises_over_the_ramp_and_zero_capacity_prices_the_divergence():
    x = torch.from_numpy(rng(3).standard_normal((40, 4)))
    module = shaken(CapacityVAE(3, 0.3, capacity=2.0, weight=5.0, ramp=0.5).module(4, rng()))
    kl = standard_kl(*module.posterior(x)).item()
    for index, target in ((0, 0.0), (25, 1.0), (50, 2.0), (100, 2.0)):
        term = module.losses(x, noise(0, index, 101))["capacity"].item()
        assert term == pytest.approx(5.0 * abs(kl - target), rel=1e-12)


# MMD


def test_the_squared_mmd_is_the_double_sum():
    a, b = rng(0).standard_normal((7, 3)), rng(1).standard_normal((5, 3)) + 0.3

    def k(u, v):
        return sum(6.0 * s / (6.0 * s + np.square(u - v).sum()) for s in SCALES)

    within = [np.mean([k(c[i], c[j]) for i in range(len(c)) for j in range(len(c)) if i != j]) for c in (a, b)]
    expected = sum(within) - 2 * np.mean([k(u, v) for u in a for v in b])
    assert squared_mmd(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(expected, abs=1e-12)
    stacked = squared_mmd(torch.from_numpy(np.stack([a, 2 * a])), torch.from_numpy(np.stack([b, b])))
    assert stacked.shape == (2,) and stacked[0].item() == pytest.approx(expected, abs=1e-12)


def test_the_squared_mmd_has_mean_zero_under_the_null_and_one_mean_for_all_sizes_otherwise():
    r = rng(5)
    null = squared_mmd(*(torch.from_numpy(r.standard_normal((600, 12, 3))) for _ in range(2))).numpy()
    assert abs(z_score(null, 0.0)) < 4 and (null < 0).any()
    # With the diagonals left in, each within-term would be too large by (7 - E k) / n > 0.1: eight standard errors.
    assert 8 * null.std() / math.sqrt(len(null)) < 0.1
    few, many = (
        squared_mmd(*(torch.from_numpy(r.standard_normal((600, n, 3)) * s) for s in (1.0, 2.0))).numpy()
        for n in (6, 24)
    )
    apart = (few.mean() - many.mean()) / math.hypot(few.std() / math.sqrt(600), many.std() / math.sqrt(600))
    assert abs(apart) < 4 and many.mean() > 10 * many.std() / math.sqrt(600)


def test_infovae_without_information_price_is_the_vae():
    x = torch.from_numpy(rng(2).standard_normal((30, 4))).float()
    ours, plain = InfoVAE(3, 0.3, alpha=0.0, penalty=1.0).module(4, rng()), GaussianVAE(3, 0.3).module(4, rng())
    terms, expected = ours.losses(x, noise(4)), plain.losses(x, noise(4))
    assert terms["mmd"].item() == 0.0
    assert torch.equal(terms["reconstruction"], expected["reconstruction"]) and torch.equal(terms["kl"], expected["kl"])
    free = InfoVAE(3, 0.3, alpha=1.0, penalty=20.0).module(4, rng()).losses(x, noise(4))
    assert free["kl"].item() == 0.0 and free["mmd"].item() != 0.0


@pytest.mark.parametrize(
    ("solver", "excess"),
    [
        (WassersteinAutoencoder(2, training=Training(steps=500, batch_size=128, learning_rate=1e-2)), 0.02),
        # Nothing but the likelihood shrinks these posteriors, and decoders of noisy codes shrink with them meanwhile.
        (InfoVAE(2, 0.1, training=Training(steps=500, batch_size=128, learning_rate=1e-2)), 0.1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_on_gaussian_data_codes_are_whitened_principal_components(solver, excess):
    x = gaussian_samples(EIGEN)
    fitted = solver.fit(x, rng=rng())
    mean, spread = fitted.encoder.module.posterior(inside(fitted, x))
    second = np.cov(mean.double().numpy().T)
    if spread.numel():
        second += np.diag(spread.double().exp().mean(0).numpy())
    # Both terms are least together: what is left is the discarded variance 0.2, and codes have the prior's covariance.
    np.testing.assert_allclose(second, np.eye(2), atol=0.1)  # MMD on batches of 128 tells variances to about that
    error = np.square(fitted.decode(fitted.encode(x)) - x).sum(1).mean()
    assert EIGEN[2:].sum() - 1e-4 < error < EIGEN[2:].sum() + excess


# Importance weights


def one_dimensional(mean: float, log_variance: float):
    """A model p(x|z) = N(1.5 z, 0.5) in double precision whose posterior of x = 1 is N(mean, e^log_variance)."""
    module = ImportanceWeightedVAE(1, 0.5).module(1, rng()).double()
    with torch.no_grad():
        module.decoder.fill_(1.5)
        module.log_noise.fill_(math.log(0.5))
        module.heads.copy_(torch.tensor([[mean, 0.0]]))
        module.heads_bias.copy_(torch.tensor([0.0, log_variance]))
    return module


def test_the_bound_of_k_samples_has_the_gap_of_the_theory():
    precision = 1 + 1.5**2 / 0.5
    exact = (1.5 / 0.5 / precision, 1 / precision)  # posterior mean and variance at x = 1
    evidence = -0.5 * (math.log(2 * math.pi * (1.5**2 + 0.5)) + 1 / (1.5**2 + 0.5))
    module = one_dimensional(exact[0] + 0.7 * math.sqrt(exact[1]), math.log(1.6 * exact[1]))
    x, means = torch.ones(20_000, 1).double(), []
    for k in (1, 3, 10):
        draws = log_mean_weight(module, x, k, noise(k)).detach().numpy()
        assert abs(z_score(draws, evidence - iwae_gap(k, 0.7, 1.6))) < 4  # alpha = 6e-5 each
        means.append(draws.mean())
    assert means[0] < means[1] < means[2] < evidence


def test_the_bound_rises_with_k_to_the_exact_likelihood():
    module = shaken(ImportanceWeightedVAE(2, 0.4).module(3, rng()))
    x = torch.from_numpy(rng(1).standard_normal((4, 3)))
    decoder, bias = module.decoder.detach(), module.bias.detach()
    sigma = module.log_noise.exp().item()
    law = torch.distributions.MultivariateNormal(bias, decoder.T @ decoder + sigma * torch.eye(3).double())
    exact = law.log_prob(x).numpy()
    many, means = x.repeat(900, 1), []
    for k in (1, 5, 200):
        draws = log_mean_weight(module, many, k, noise(k)).detach().numpy().reshape(900, 4)
        means.append(draws.mean(0))
        assert (means[-1] < exact + 4 * draws.std(0) / 30).all()
    assert (means[0] < means[1]).all() and (means[1] < means[2]).all()
    assert np.abs(means[2] - exact).max() < 0.05 < np.abs(means[0] - exact).min()


def test_with_a_nonlinear_decoder_the_bound_tends_to_the_likelihood_by_quadrature():
    solver = ImportanceWeightedVAE(1, 0.2, hidden=6, decoder_hidden=6, activation="tanh")
    module = shaken(solver.module(2, rng()))
    x = torch.from_numpy(0.7 * rng(1).standard_normal((3, 2)))
    z = torch.linspace(-9, 9, 4001).double().unsqueeze(1)  # the trapezoidal rule is exact to rounding: f is analytic
    joint = torch.distributions.Normal(module.decode(z), module.log_noise.exp().sqrt()).log_prob(x.unsqueeze(1)).sum(-1)
    joint = joint + torch.distributions.Normal(0.0, 1.0).log_prob(z.squeeze(1))
    exact = (joint.logsumexp(1) + math.log(18 / 4000)).detach().numpy()
    means = []
    for k in (1, 10, 400):
        draws = log_mean_weight(module, x.repeat(600, 1), k, noise(k)).detach().numpy().reshape(600, 3)
        means.append(draws.mean(0))
        assert (means[-1] < exact + 4 * draws.std(0) / math.sqrt(600)).all()
    assert (means[0] < means[1]).all() and (means[1] < means[2]).all()
    assert np.abs(means[2] - exact).max() < 0.05 < np.abs(means[0] - exact).min()


def test_one_sample_is_the_evidence_bound_on_average():
    x = torch.from_numpy(rng(2).standard_normal((20, 4)))
    module = shaken(ImportanceWeightedVAE(3, 0.3, samples=1).module(4, rng()))
    mean, log_variance = (t.detach() for t in module.posterior(x))
    error = (x - module.decode(mean)).square().sum(1).mean()
    error = error + (log_variance.exp() @ module.decoder.square().sum(1)).mean()
    sigma = module.log_noise.exp()
    expected = 0.5 * (error / sigma + 4 * torch.log(2 * math.pi * sigma)) + standard_kl(mean, log_variance)
    draws = np.array([module.losses(x, noise(seed))["bound"].item() for seed in range(300)])
    assert abs(z_score(draws, expected.item())) < 4


def test_gradients_weight_each_sample_by_its_share_of_the_weights():
    x = torch.from_numpy(rng(2).standard_normal((1, 4)))
    module = shaken(ImportanceWeightedVAE(3, 0.3, samples=4).module(4, rng()))
    module.losses(x, noise(0))["bound"].backward()
    seen = module.decoder.grad.clone()
    mean, log_variance = (t.detach() for t in module.posterior(x.repeat(4, 1)))
    eps = noise(0).normal(mean)
    logs, slopes = [], []
    for k in range(4):  # each weight alone, its latent held fixed: the decoder does not move z
        z = mean[k : k + 1] + (0.5 * log_variance[k : k + 1]).exp() * eps[k : k + 1]
        log_joint = -0.5 * (x - module.decode(z)).square().sum() / module.log_noise.exp()
        log_ratio = -0.5 * z.square().sum() + 0.5 * (eps[k].square() + log_variance[k]).sum()
        slopes.append(torch.autograd.grad(log_joint, module.decoder)[0])
        logs.append((log_joint + log_ratio).detach())
    share = torch.stack(logs).softmax(0)
    expected = -sum(w * g for w, g in zip(share, slopes, strict=True))
    torch.testing.assert_close(seen, expected, atol=1e-12, rtol=1e-10)


def test_the_bound_of_a_fit_is_in_the_scale_of_the_data():
    x = 3.0 * gaussian_samples(EIGEN, n=1000) + 1.0
    for solver in (GaussianVAE(2, training=BRIEF), ImportanceWeightedVAE(2, samples=3, training=BRIEF)):
        fitted = solver.fit(x, rng=rng())
        module, scale = fitted.encoder.module, fitted.encoder.scale
        atoms = module.decoder.double().numpy() * scale
        sigma = float(module.log_noise.double().exp()) * scale**2
        law = torch.distributions.MultivariateNormal(
            torch.from_numpy(np.array(fitted.bias)), torch.from_numpy(atoms.T @ atoms + sigma * np.eye(4))
        )
        exact = law.log_prob(torch.from_numpy(x)).numpy()
        loose, tight = (importance_bound(fitted, x, k, rng=rng(k)).mean() for k in (1, 200))
        assert loose < tight < exact.mean() + 0.01  # 1000 rows of 200 samples: standard error about 1e-3
        assert tight == pytest.approx(exact.mean(), abs=0.05)
    assert importance_bound(fitted, x[:0], 5, rng=rng()).shape == (0,)
    with pytest.raises(TypeError, match="GaussianVAE"):
        importance_bound(TopK(3, 2, training=BRIEF).fit(x, rng=rng()), x, 5, rng=rng())


# Regularised autoencoders


@pytest.mark.parametrize(("beta", "penalty"), [(0.2, 0.2), (1.0, 0.05), (0.0, 0.0)])
def test_a_linear_rae_shrinks_the_singular_values_of_the_data(beta, penalty):
    eigen = np.array([2.2, 1.2, 0.4, 0.2])
    x = gaussian_samples(eigen)
    training = Training(steps=800, batch_size=64, learning_rate=1e-2)
    fitted = RegularisedAutoencoder(4, beta=beta, penalty=penalty, training=training).fit(x, rng=rng())
    out = fitted.decode(fitted.encode(x))
    seen = np.linalg.svd(out - out.mean(0), compute_uv=False) / math.sqrt(len(x))
    expected = np.maximum(np.sqrt(eigen) - math.sqrt(beta * penalty / 2), 0.0)
    np.testing.assert_allclose(seen, expected, atol=3e-3)  # no noise but that of batches, at a decaying rate


def test_of_a_linear_decoder_the_gradient_penalty_is_that_of_the_weights():
    x = gaussian_samples(EIGEN, n=300)
    fits = [
        RegularisedAutoencoder(3, beta=0.1, penalty=0.3, regulariser=r, training=BRIEF).fit(x, rng=rng())
        for r in ("weights", "gradient")
    ]
    np.testing.assert_allclose(fits[0].trace["decoder"], fits[1].trace["decoder"], rtol=1e-4)
    np.testing.assert_allclose(fits[0].atoms, fits[1].atoms, atol=1e-5)
    nothing = [
        RegularisedAutoencoder(3, beta=0.0, penalty=0.0, regulariser=r, training=BRIEF).fit(x, rng=rng())
        for r in ("weights", "gradient")
    ]
    np.testing.assert_array_equal(nothing[0].atoms, nothing[1].atoms)
    assert set(nothing[0].trace["codes"]) == set(nothing[0].trace["decoder"]) == {0.0}


def test_the_gradient_penalty_is_the_squared_norm_of_the_jacobian_at_the_codes():
    solver = RegularisedAutoencoder(
        2, beta=0.0, penalty=1.0, regulariser="gradient", hidden=5, decoder_hidden=(6, 4), activation="swish"
    )
    module, x = shaken(solver.module(3, rng())), torch.from_numpy(rng(1).standard_normal((5, 3)))
    jacobians = [torch.autograd.functional.jacobian(lambda z: module.decode(z[None])[0], z) for z in module.encode(x)]
    expected = np.mean([j.square().sum().item() for j in jacobians])
    assert module.losses(x, noise(0))["decoder"].item() == pytest.approx(expected, rel=1e-12)


def test_spectral_layers_have_norm_at_most_one_each_member_for_itself():
    x = gaussian_samples(EIGEN, n=300)
    training = Training(steps=200, batch_size=64, learning_rate=2e-2)
    solver = RegularisedAutoencoder(3, beta=0.5, regulariser="spectral", hidden=6, decoder_hidden=6, training=training)
    fits = [*fit_together([solver] * 2, [Rows(x), Rows(np.ascontiguousarray(3 * x[:, ::-1]))], [rng(0), rng(1)])]
    free = RegularisedAutoencoder(3, beta=0.5, hidden=6, decoder_hidden=6, training=training).fit(x, rng=rng(0))
    norms = [[np.linalg.norm(w.numpy(), 2) for w in f.encoder.module.decoder_weights()] for f in (*fits, free)]
    assert max(max(norms[0]), max(norms[1])) < 1 + 1e-6 and max(norms[2]) > 1.05, norms
    assert max(norms[0]) > 1 - 1e-6, "small codes want a steep decoder"


# ARD-VAE


def test_before_the_first_refresh_the_ard_vae_is_the_vae():
    x = gaussian_samples(EIGEN, n=300)
    ours = ARDVAE(3, 0.3, beta=0.5, refresh=60, training=BRIEF).fit(x, rng=rng())
    plain = GaussianVAE(3, 0.3, beta=0.5, training=BRIEF).fit(x, rng=rng())
    np.testing.assert_allclose(ours.trace["loss"], plain.trace["loss"], rtol=1e-6)
    np.testing.assert_allclose(ours.atoms, plain.atoms, atol=1e-5)
    early = ARDVAE(3, 0.3, beta=0.5, refresh=5, training=BRIEF).fit(x, rng=rng())
    assert np.abs(early.atoms - plain.atoms).max() > 1e-3


def test_the_prior_variance_is_the_mean_square_of_the_codes_since_the_last_refresh():
    module = shaken(ARDVAE(3, 0.3, refresh=2).module(4, rng()))
    batches = [torch.from_numpy(rng(s).standard_normal((10, 4))) for s in range(3)]
    powers = []
    for index, x in enumerate(batches):
        mean, log_variance = module.posterior(x)
        powers.append((mean.square() + log_variance.exp()).mean(0).detach())
        terms = module.losses(x, noise(0, index, 3))
    torch.testing.assert_close(module.prior, (powers[0] + powers[1]) / 2)
    torch.testing.assert_close(module.power, powers[2])
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    p = torch.distributions.Normal(torch.zeros(3).double(), module.prior.sqrt())
    expected = 0.5 * torch.distributions.kl_divergence(q, p).sum(1).mean()
    torch.testing.assert_close(terms["kl"], expected)
    terms["kl"].backward()
    assert module.prior.grad is None


def test_as_many_latents_are_relevant_as_the_data_have_dimensions():
    r = rng(4)
    basis = np.linalg.qr(r.standard_normal((10, 10)))[0][:3]
    x = (r.standard_normal((4000, 3)) * [2.0, 1.2, 0.8]) @ basis + 0.05 * r.standard_normal((4000, 10))
    fitted = ARDVAE(10, 0.5, training=FAST).fit(x, rng=rng())
    found = relevance(fitted, x)
    assert len(relevant(found)) == 3
    inside_span = np.linalg.norm(fitted.atoms[relevant(found)] @ basis.T, axis=1)
    np.testing.assert_allclose(inside_span, 1.0, atol=1e-3)  # noise of variance 0.0025 beside 0.64 and more
    # In other units the model is the linear VAE: relevances are its squared gains, lambda - beta sigma^2.
    eigen = np.linalg.eigvalsh(np.cov(x.T))[::-1] / fitted.encoder.scale**2
    np.testing.assert_allclose(np.sort(found)[::-1][:3], linear_vae(eigen, 3, 0.5, 0.5).gain, rtol=0.05)
    assert np.sort(found)[:7].max() < 1e-2
    with pytest.raises(TypeError, match="VAEase"):
        relevance(VAEase(3, hidden=4, training=BRIEF).fit(x[:200], rng=rng()), x)
    with pytest.raises(ValueError, match="row"):
        relevance(fitted, x[:0])


def test_the_relevant_are_the_fewest_that_make_up_the_share():
    values = np.array([0.1, 5.0, 0.0, 4.0, 0.9])
    assert relevant(values, 0.9).tolist() == [1, 3] and relevant(values, 0.91).tolist() == [1, 3, 4]
    assert relevant(values, 1.0).tolist() == [1, 3, 4, 0]
    for bad in (np.zeros(3), np.array([-1.0, 2.0]), np.array([[1.0]]), np.array([np.nan, 1.0])):
        with pytest.raises(ValueError, match="relevances"):
            relevant(bad)
    with pytest.raises(ValueError, match="share"):
        relevant(values, 0.0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: CapacityVAE(3, capacity=-1.0),
        lambda: CapacityVAE(3, ramp=1.5),
        lambda: InfoVAE(3, alpha=1.2),
        lambda: InfoVAE(3, alpha=0.0, penalty=0.5),
        lambda: InfoVAE(3, training=Training(batch_size=1)),
        lambda: WassersteinAutoencoder(3, penalty=-1.0),
        lambda: ImportanceWeightedVAE(3, samples=0),
        lambda: RegularisedAutoencoder(3, regulariser="l2"),
        lambda: RegularisedAutoencoder(3, noise_variance=None),
        lambda: ARDVAE(3, refresh=0),
        lambda: ARDVAE(3, beta=-1.0),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must"):
        build()
