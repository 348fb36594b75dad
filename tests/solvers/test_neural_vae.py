"""The linear Gaussian VAE is probabilistic principal components: the bound, the collapse, the posterior."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from tests.solvers.vae_worlds import gaussian_samples, rng


def exact_bound(fitted, x: np.ndarray) -> tuple[float, np.ndarray]:
    """The evidence bound a sample (normalised scale, z integrated in closed form) and the KL of each latent."""
    module, scale = fitted.encoder.module, fitted.encoder.scale
    inside = torch.from_numpy(((x - x.mean(0)) / scale).astype(np.float32))
    with torch.no_grad():
        mean, log_variance = (t.double().numpy() for t in module.posterior(inside))
        decoder, bias = module.decoder.double().numpy(), module.bias.double().numpy()
        noise = float(module.log_noise.double().exp())
    d = x.shape[1]
    error = np.square(inside.numpy() - mean @ decoder - bias).sum(1).mean()
    error += (np.exp(log_variance) @ np.square(decoder).sum(1)).mean()
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).mean(0)
    return -0.5 * (error / noise + d * math.log(2 * math.pi * noise)) - kl.sum(), kl


def test_the_linear_vae_reaches_the_likelihood_of_probabilistic_pca():
    raw = np.array([6.0, 4.0, 2.5, 0.6, 0.5, 0.4])
    x = gaussian_samples(raw)
    fitted = GaussianVAE(3, training=Training(steps=4000)).fit(x, rng=rng())
    eigen = raw / raw.mean()  # the covariance in the scale E||x||^2 = d
    d, q = 6, 3
    noise = eigen[q:].mean()
    likelihood = -0.5 * (d * math.log(2 * math.pi) + np.log(eigen[:q]).sum() + (d - q) * math.log(noise) + d)
    bound, _ = exact_bound(fitted, x)
    # The bound is below the maximum of the likelihood (up to float32); Adam at B=256 with z drawn ends within 0.02.
    assert likelihood - 0.02 < bound < likelihood + 1e-4
    assert fitted.encoder.module.log_noise.exp().item() == pytest.approx(noise, rel=0.05)
    span = np.linalg.svd(x, full_matrices=False)[2][:q]
    # The atoms are the principal axes themselves, not a rotation of them: squared cosine above 0.99.
    assert np.square(fitted.atoms @ span.T).max(axis=1).min() > 0.99


@pytest.mark.parametrize(("beta", "active"), [(1.0, 4), (2.0, 2)])
def test_a_direction_is_silent_exactly_where_its_variance_is_below_beta_times_the_noise(beta, active):
    eigen = np.array([2.2, 1.7, 0.8, 0.7, 0.35, 0.25])  # mean 1, so this is the normalised scale
    x = gaussian_samples(eigen)
    training = Training(steps=4000)
    fitted = GaussianVAE(6, beta=beta, noise_variance=0.5, training=training).fit(x, rng=rng())
    _, kl = exact_bound(fitted, x)
    # An active latent of variance l has KL 0.5 log(l / (beta s^2)) >= 0.16; a silent one is gradient noise.
    assert np.sum(kl > 0.08) == active, kl
    assert np.sort(kl)[: 6 - active].max() < 0.02
    expected = np.sort(0.5 * np.log(eigen[:active] / (beta * 0.5)))
    if beta == 1.0:  # KL of the posterior with mean of variance 1 - D and D = s^2 / l
        np.testing.assert_allclose(np.sort(kl)[-active:], expected, atol=0.03)


def test_the_losses_are_the_negative_bound_in_nats():
    module = GaussianVAE(3, beta=1.5, noise_variance=0.3).module(4, rng())
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.from_numpy(rng(1).standard_normal(parameter.shape)).float()
    x = torch.from_numpy(rng(2).standard_normal((50, 4))).float()
    draws = [module.losses(x, Step(0, 1, (torch.Generator().manual_seed(s),))) for s in range(400)]
    with torch.no_grad():
        mean, log_variance = (t.double().numpy() for t in module.posterior(x))
    decoder, bias = module.decoder.detach().double().numpy(), module.bias.detach().double().numpy()
    error = (
        np.square(x.numpy() - mean @ decoder - bias).sum(1).mean()
        + (np.exp(log_variance) @ np.square(decoder).sum(1)).mean()
    )
    expected = 0.5 * (error / 0.3 + 4 * math.log(2 * math.pi * 0.3))
    seen = np.array([t["reconstruction"].item() for t in draws])
    # z-test at 4 standard errors, alpha = 6e-5
    assert abs(seen.mean() - expected) < 4 * seen.std(ddof=1) / math.sqrt(len(seen))
    posterior = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(np.exp(0.5 * log_variance)))
    prior = torch.distributions.Normal(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    kl = torch.distributions.kl_divergence(posterior, prior).sum(1).mean().item()
    assert draws[0]["kl"].item() == pytest.approx(1.5 * kl, rel=1e-5)  # float32 against float64


def test_codes_are_posterior_means_in_the_gauge_of_unit_atoms_and_signed():
    x = gaussian_samples([4.0, 2.0, 1.0, 0.2])
    for hidden in (None, 16):
        fitted = GaussianVAE(2, hidden=hidden, training=Training(steps=600)).fit(x + 3.0, rng=rng())
        codes = fitted.encode(x + 3.0).toarray()
        assert (codes < 0).any() and (codes > 0).any() and fitted.encode(x).nnz == codes.size
        module = fitted.encoder.module
        inside = torch.from_numpy((x / fitted.encoder.scale).astype(np.float32))
        with torch.no_grad():
            mean = module.posterior(inside)[0].double().numpy()
        norms = np.linalg.norm(module.decoder.double().numpy(), axis=1)
        # float32 rounding of centred data of size five, scaled back by 1.3
        np.testing.assert_allclose(codes, mean * norms * fitted.encoder.scale, atol=2e-5)
        error = np.square(fitted.decode(fitted.encode(x + 3.0)) - x - 3.0).sum() / np.square(x).sum()
        assert error < 0.35, "two of four directions carry 83 % of the variance, shrunk by the posterior"
