"""Conditional linear VAEs against the closed form of their collapse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim._source import SideRows
from sparsesim.solvers.neural.conditional_vae import ConditionalVAE
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from theory.collapse import conditional_linear_vae

BRIEF = Training(steps=60, batch_size=64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def step(seed: int = 0) -> Step:
    return Step(0, 1, (torch.Generator().manual_seed(seed),))


def regressed(left: tuple[float, ...], n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples y = x B + e, x and B, where in the sample e is uncorrelated with x and has covariance eigenvalues left.

    x has covariance I and B a singular value of three, so that S_yy has eigenvalues far above those of e.
    """
    d = len(left)
    white = rng(1).standard_normal((n, 2 + d))
    white -= white.mean(0)
    u = np.linalg.svd(white, full_matrices=False)[0] * np.sqrt(n)
    basis = np.linalg.qr(rng(2).standard_normal((d, d)))[0]
    slopes = 3 * np.linalg.qr(rng(3).standard_normal((d, 2)))[0].T
    return u[:, :2] @ slopes + (u[:, 2:] * np.sqrt(left)) @ basis.T, u[:, :2], slopes


def divergences(fitted, rows: np.ndarray) -> np.ndarray:
    """The mean divergence of each latent from its prior, descending, in nats."""
    with torch.no_grad():
        mean, log_variance = fitted.encoder.module.posterior(torch.from_numpy(rows.astype(np.float32)))
    kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean(0)
    return np.sort(kl.numpy())[::-1]


def test_a_direction_collapses_exactly_where_its_variance_given_x_is_below_the_noise():
    left, noise = (4.0, 1.2, 0.35, 0.2), 0.5
    y, x, slopes = regressed(left)
    training = Training(steps=3000, normalise=False)
    solver = ConditionalVAE(4, given=2, noise_variance=noise, training=training)
    fitted = solver.fit_with_side(y, x, rng=rng())
    together = np.cov(np.hstack([x, y]).T, bias=True)
    optimum = conditional_linear_vae(together, (0, 1), 4, noise)
    seen = divergences(fitted, np.hstack([y - y.mean(0), x]))
    assert optimum.active == 2
    # A latent of a variance near the noise is told from silence by 0.44 nats here; training noise is below 0.03.
    np.testing.assert_allclose(seen, np.sort(optimum.kl)[::-1], atol=0.03)
    np.testing.assert_allclose(fitted.encoder.module.slopes.numpy(), slopes, atol=0.06)
    # Unconditionally no direction of x would be below the noise: a VAE of y alone keeps two more latents.
    alone = GaussianVAE(4, noise_variance=noise, training=training).fit(y, rng=rng())
    assert (divergences(alone, y - y.mean(0)) > 0.1).sum() == np.sum(np.linalg.eigvalsh(np.cov(y.T)) > noise) > 2
    error = np.square(fitted.with_side(x).decode(fitted.with_side(x).encode(y)) - y).sum(1).mean()
    # The posterior mean leaves D^2 / l of an active direction of variance l, D the noise, and all of a silent one.
    expected = sum(noise**2 / one if one > noise else one for one in left)
    assert error == pytest.approx(expected, rel=0.05)


def test_without_conditions_it_is_the_gaussian_vae_to_the_last_bit():
    y, _, _ = regressed((2.0, 1.0, 0.5))
    ours = ConditionalVAE(3, hidden=8, decoder_hidden=5, training=BRIEF).fit(y, rng=rng())
    theirs = GaussianVAE(3, hidden=8, decoder_hidden=5, training=BRIEF).fit(y, rng=rng())
    np.testing.assert_array_equal(ours.atoms, theirs.atoms)
    np.testing.assert_array_equal(ours.encode(y).toarray(), theirs.encode(y).toarray())
    assert ours.trace == theirs.trace


def test_the_loss_is_that_of_a_vae_of_the_residual_whose_encoder_sees_y_less_the_regression():
    r, given = rng(4), torch.from_numpy(rng(5).standard_normal((30, 2)))
    module = ConditionalVAE(3, 0.4, 6, 5, given=2, beta=1.3, activation="tanh").module(4, rng()).double()
    plain = GaussianVAE(3, 0.4, 6, 5, beta=1.3, activation="tanh").module(4, rng()).double()
    for one in (module, plain):
        values = rng(6)
        for name in ("heads", "heads_bias", "decoder", "bias"):
            tensor = getattr(one, name)
            tensor.data = torch.from_numpy(values.standard_normal(tensor.shape))
    slopes = torch.from_numpy(r.standard_normal((2, 4)))
    with torch.no_grad():
        module.slopes.copy_(slopes)
        module.trunk.weights[0][4:] = -slopes @ module.trunk.weights[0][:4]
    y = torch.from_numpy(r.standard_normal((30, 4)))
    ours = module.losses(torch.cat([y, given], 1), step(2))
    theirs = plain.losses(y - given @ slopes, step(2))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=0)


def test_an_ensemble_of_conditional_models_is_its_members_trained_apart():
    y, x, _ = regressed((2.0, 1.0, 0.5), 300)
    solver = ConditionalVAE(2, given=2, training=BRIEF)
    sources = [SideRows(y + shift, x) for shift in (0.0, 1.0)]
    together = fit_together([solver, solver], sources, [rng(0), rng(1)])
    for seed, batched in enumerate(together):
        alone = solver.fit_with_side(sources[seed].x, x, rng=rng(seed))
        np.testing.assert_allclose(batched.atoms, alone.atoms, atol=1e-3)  # sixty steps of float32 in another order
    with pytest.raises(ValueError, match="reads 2 columns of side information"):
        together[0].with_side(x[:, :1])
