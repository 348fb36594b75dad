"""Sigma points, two levels and decoders that keep codes apart, against closed forms; ensembles of the whole family."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from vae_worlds import gaussian_samples, inside, linear_parts, noise, rng, shaken, z_score

from sparsesim._source import Rows
from sparsesim.solvers.neural.ard import ARDVAE
from sparsesim.solvers.neural.inverse_lipschitz import InverseLipschitz, raised
from sparsesim.solvers.neural.iwae import ImportanceWeightedVAE
from sparsesim.solvers.neural.rae import RegularisedAutoencoder
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.two_level import TwoLevelVAE, upper_posterior
from sparsesim.solvers.neural.unscented import (
    CENTRE,
    UnscentedAutoencoder,
    picked,
    sigma_points,
    sigma_weights,
    squared_wasserstein,
)
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vae_capacity import CapacityVAE
from sparsesim.solvers.neural.vae_info import InfoVAE
from sparsesim.solvers.neural.wasserstein import WassersteinAutoencoder
from theory.collapse import lipschitz_kl_floor, lipschitz_rate_floor, two_level_vae
from theory.vae import linear_vae, linear_vae_loss

EIGEN = np.array([2.6, 1.2, 0.15, 0.05])  # of mean one, so this is the normalised scale
FAST = Training(steps=1500, batch_size=128, learning_rate=1e-2)
BRIEF = Training(steps=40, batch_size=32, learning_rate=3e-3)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal(shape))


# Sigma points


@pytest.mark.parametrize("p", [1, 3, 6])
def test_sigma_points_have_the_mean_and_the_covariance_exactly(p):
    mean, root = normal(2, p), normal(2, p, p, seed=1).tril()
    points, weights = sigma_points(mean, root), sigma_weights(p)
    assert points.shape == (2, 2 * p + 1, p) and weights.sum().item() == pytest.approx(1.0, abs=1e-15)
    torch.testing.assert_close(weights @ points, mean, atol=1e-12, rtol=0)
    left = points - mean.unsqueeze(1)
    covariance = root @ root.mT
    torch.testing.assert_close(left.mT @ (weights.unsqueeze(-1) * left), covariance, atol=1e-12, rtol=1e-12)
    # An equal pick is short of the covariance by 2 (p + c) / (2 p + 1).
    share = 2 * (p + CENTRE) / (2 * p + 1)
    torch.testing.assert_close((left.mT @ left) / (2 * p + 1), share * covariance, atol=1e-12, rtol=1e-12)
    assert share < 1


def test_points_are_picked_by_their_weights():
    p, n = 2, 200_000
    points = torch.arange(5).double().unsqueeze(-1).expand(5, p)  # a point says which it is
    index = picked(points, normal(n)).numpy()[:, 0].astype(int)
    seen, expected = np.bincount(index, minlength=5), n * sigma_weights(p).numpy()
    assert (np.abs(seen - expected) < 4.5 * np.sqrt(expected)).all(), (seen, expected)  # five Poisson counts
    extreme = picked(points, torch.tensor([-40.0, 40.0]).double())[:, 0]
    assert extreme.tolist() == [0, 4]
    batch = picked(sigma_points(normal(3, 7, p), normal(3, 7, p, p)), normal(3, 7, 4))
    assert batch.shape == (3, 7, 4, p)


def test_the_squared_wasserstein_distance_is_that_of_gaussians_whatever_the_root():
    mean, root = normal(5, 3), normal(5, 3, 3, seed=1).tril()
    expected = []
    for m, r in zip(mean.numpy(), root.numpy(), strict=True):
        s = np.real(sqrtm(r @ r.T))
        expected.append(np.square(m).sum() + np.square(s - np.eye(3)).sum())
    assert squared_wasserstein(mean, root).item() == pytest.approx(np.mean(expected), rel=1e-6)  # sqrtm of 1e-8
    turned = root @ torch.linalg.qr(normal(3, 3, seed=2))[0]
    assert squared_wasserstein(mean, turned).item() == pytest.approx(np.mean(expected), rel=1e-6)
    published = (mean.square().sum(1) + (root - torch.eye(3)).square().sum((1, 2))).mean()
    assert published > squared_wasserstein(mean, root) + 0.1, "||L - I||_F is an upper bound only"
    diagonal = normal(5, 3, seed=3).exp()
    full = squared_wasserstein(mean, torch.diag_embed(diagonal))
    assert squared_wasserstein(mean, diagonal).item() == pytest.approx(full.item(), rel=1e-12)
    zero = squared_wasserstein(torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3))
    assert zero.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("full", [False, True])
def test_one_point_is_the_noisy_autoencoder_on_average_and_all_points_of_a_linear_decoder_are_the_mean(full):
    x = normal(6, 4, seed=2)
    module = shaken(UnscentedAutoencoder(3, full=full, penalty=0.0, gradient_penalty=0.0).module(4, rng()))
    mean, spread = (t.detach() for t in module.outputs(x))
    root = module.root(spread)
    root = root if full else torch.diag_embed(root)
    assert full == bool(root.tril(-1).abs().max() > 0)
    constant = 4 * 0.5 * math.log(2 * math.pi * 0.5)
    straight = (x - module.decode(mean)).square().sum(1).mean()
    noisy = straight + (root.mT @ module.decoder).square().sum((1, 2)).mean()
    draws = np.array([module.losses(x, noise(s))["reconstruction"].item() for s in range(400)])
    assert abs(z_score(draws, noisy.item() + constant)) < 4
    everything = UnscentedAutoencoder(3, full=full, points=None).module(4, rng()).double()
    everything.load_state_dict(module.state_dict())
    assert everything.losses(x, noise(0))["reconstruction"].item() == pytest.approx(
        straight.item() + constant, rel=1e-9
    )


def one_direction(value: float, penalty: float, slope_penalty: float) -> float:
    """The least loss of a direction of variance ``value``: encoder e, atom a, deviation s."""

    def loss(v):
        e, a, s = v
        kept = value * (1 - e * a) ** 2 + (a * s) ** 2 + penalty * (e * e * value + (s - 1) ** 2)
        return kept + slope_penalty * a * a

    return min(minimize(loss, start, tol=1e-12).fun for start in ([0.5, 1.5, 0.3], [0.3, 1.0, 0.8], [0.0, 0.0, 1.0]))


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_linear_unscented_autoencoder_reaches_its_numerical_optimum(full):
    x, w, g = gaussian_samples(EIGEN), 0.2, 0.1
    training = Training(steps=1500, batch_size=64, learning_rate=3e-2)
    fitted = UnscentedAutoencoder(2, penalty=w, gradient_penalty=g, full=full, training=training).fit(x, rng=rng())
    best = sum(one_direction(value, w, g) for value in EIGEN[:2]) + EIGEN[2:].sum()
    module, seen = fitted.encoder.module, inside(fitted, x)
    mean, spread = module.outputs(seen)
    root = module.root(spread)
    root = root if full else torch.diag_embed(root)
    error = (seen - module.decode(mean)).square().sum(1).mean()
    reached = error + (root.mT @ module.decoder).square().sum((1, 2)).mean()
    reached = (reached + w * squared_wasserstein(mean, root) + g * module.steepness(mean)).item()
    assert best - 1e-3 < reached < best + 0.01, (best, reached)  # one point a sample is noisy


def test_without_a_price_on_slopes_the_unscented_autoencoder_has_no_optimum():
    # s -> 0, e -> 0 and a = 1 / e -> infinity: each direction costs the distance of a point from N(0, 1), whatever its
    # variance, and no finite decoder costs as little.
    assert one_direction(2.6, 0.2, 0.0) == pytest.approx(0.2, abs=1e-4)
    assert one_direction(2.6, 0.2, 0.0) < one_direction(2.6, 0.2, 1e-3) < one_direction(2.6, 0.2, 0.1)


# Two levels


def test_the_two_level_loss_is_its_monte_carlo_average_with_both_levels_drawn():
    x = normal(30, 4, seed=2)
    solver = TwoLevelVAE(3, upper_width=2, noise_variance=0.4, beta=(0.7, 1.3), prior_variance=0.6)
    module = shaken(solver.module(4, rng()))
    draws = {"lower": [], "upper": []}
    seen = {"lower": [], "upper": []}
    for seed in range(400):
        with torch.no_grad():
            terms = module.losses(x, noise(seed))
            mean, log_variance = module.lower(x)
            q1 = torch.distributions.Normal(mean, (log_variance / 2).exp())
            z1 = mean + q1.scale * noise(seed).normal(mean)
            up, up_log_variance = module.upper(z1)
            q2 = torch.distributions.Normal(up, (up_log_variance / 2).exp())
            z2 = up + q2.scale * torch.from_numpy(rng(seed).standard_normal(up.shape))
            p1 = torch.distributions.Normal(z2 @ module.top + module.top_bias, math.sqrt(0.6))
            p2 = torch.distributions.Normal(0.0, 1.0)
            draws["lower"].append(0.7 * (q1.log_prob(z1) - p1.log_prob(z1)).sum(1).mean().item())
            draws["upper"].append(1.3 * (q2.log_prob(z2) - p2.log_prob(z2)).sum(1).mean().item())
        for name in seen:
            seen[name].append(terms[name].item())
    for name in seen:
        assert abs(z_score(np.array(draws[name]) - np.array(seen[name]), 0.0)) < 4, name
        assert np.std(seen[name]) <= np.std(draws[name]) + 1e-12, "what is integrated out must not add noise"


@pytest.mark.parametrize(
    "fixed",
    [
        {"lower_variance": 0.3, "upper_variance": 0.5},
        {"beta": (1.0, 2.0)},
        {"beta": (1.0, 1.5), "upper_variance": 0.4},
    ],
    ids=["both fixed", "both learned", "upper fixed"],
)
def test_the_linear_two_level_vae_is_the_one_of_the_theory(fixed):
    x = gaussian_samples(EIGEN)
    fitted = TwoLevelVAE(2, noise_variance=0.3, training=FAST, **fixed).fit(x, rng=rng())
    module, seen = fitted.encoder.module, inside(fitted, x)
    up, spread = upper_posterior(fitted, x)
    modes = [two_level_vae(value, 0.3, **fixed) for value in EIGEN[:2]]
    best = sum(mode.loss for mode in modes) + EIGEN[2:].sum() / 0.6 + 2 * math.log(2 * math.pi * 0.3)
    with torch.no_grad():
        draws = np.array([sum(module.losses(seen, noise(s)).values()).item() for s in range(40)])
    # Adam ends within 0.01 nats above the optimum; below it only by the luck of the draws.
    error = draws.std(ddof=1) / math.sqrt(len(draws))
    assert best - 4 * error < draws.mean() < best + 0.01 + 4 * error
    # "Learning the variance of z2 lets it collapse": both learned silence it at these weights, fixing it does not.
    assert (up.var(0) > 0.01).tolist() == [mode.upper_active for mode in modes]
    np.testing.assert_allclose(spread[0], [mode.upper_variance for mode in modes], atol=0.02)  # equal within each case
    with pytest.raises(TypeError, match="TwoLevelVAE"):
        upper_posterior(GaussianVAE(2, training=BRIEF).fit(x[:100], rng=rng()), x)


# Inverse Lipschitz


def test_raising_singular_values_moves_the_matrix_the_least():
    rows = normal(2, 3, 5)
    floor = torch.tensor([1.5, 0.1]).double()
    out = raised(rows, floor)
    s = torch.linalg.svdvals(out)
    assert (s.min(-1).values >= floor - 1e-12).all()
    torch.testing.assert_close(out[1], rows[1], atol=1e-12, rtol=0)  # already above its floor
    moved = (out[0] - rows[0]).norm()
    expected = (1.5 - torch.linalg.svdvals(rows[0])).clamp_min(0).norm()  # Weyl: nothing nearer has these values
    assert moved.item() == pytest.approx(expected.item(), rel=1e-12)


def test_no_latent_collapses_below_the_floor_and_gains_are_those_of_the_constrained_optimum():
    x, slope, sigma = gaussian_samples(EIGEN), 0.7, 0.3
    fitted = InverseLipschitz(GaussianVAE(3, sigma, training=FAST), slope).fit(x, rng=rng())
    covariance, atoms, encoder, variances = linear_parts(fitted, x)
    rates = 0.5 * (np.einsum("iq,ij,jq->q", encoder, covariance, encoder) + variances - np.log(variances) - 1)
    reached = linear_vae_loss(covariance, atoms, encoder, variances, sigma)
    # The third direction has variance 0.15 < 0.3: a free model drops it, this one may not.
    free = linear_vae(EIGEN, 3, sigma)
    floor = lipschitz_kl_floor(1, slope, sigma)
    assert (
        free.kl.min() == 0.0 and rates.min() > floor - 0.02 and floor > 0.15
    )  # the encoder is learned to that accuracy
    assert np.linalg.svd(atoms)[1].min() > slope - 1e-5
    gains = np.maximum(EIGEN[:3] - sigma, slope**2)
    best = 0.5 * (np.log(gains + sigma) + EIGEN[:3] / (gains + sigma)).sum()
    best += 0.5 * (math.log(sigma) + EIGEN[3] / sigma) + 2 * math.log(2 * math.pi)
    assert free.loss + 0.02 < best - 1e-4 < reached < best + 0.02
    distortion = 2 * sigma * (reached - rates.sum() - 2 * math.log(2 * math.pi * sigma))
    assert rates.sum() >= lipschitz_rate_floor(3, slope, distortion)


# The whole family


LAYERS = {"hidden": 6, "decoder_hidden": (7, 5), "activation": "swish"}
FAMILY = [
    CapacityVAE(3, training=BRIEF, **LAYERS),
    InfoVAE(3, alpha=0.5, training=BRIEF, **LAYERS),
    WassersteinAutoencoder(3, training=BRIEF),
    WassersteinAutoencoder(3, deterministic=False, training=BRIEF, **LAYERS),
    ImportanceWeightedVAE(3, samples=4, training=BRIEF, **LAYERS),
    RegularisedAutoencoder(3, training=BRIEF, **LAYERS),
    RegularisedAutoencoder(3, regulariser="gradient", training=BRIEF, **LAYERS),
    RegularisedAutoencoder(3, regulariser="spectral", training=BRIEF, **LAYERS),
    ARDVAE(3, refresh=7, training=BRIEF, **LAYERS),
    UnscentedAutoencoder(3, points=2, training=BRIEF, **LAYERS),
    UnscentedAutoencoder(3, full=True, penalty=0.1, training=BRIEF, **LAYERS),
    UnscentedAutoencoder(3, points=None, training=BRIEF, **LAYERS),
    TwoLevelVAE(3, upper_width=2, training=BRIEF),
    TwoLevelVAE(3, lower_variance=0.3, upper_variance=0.5, beta=(1.0, 2.0), training=BRIEF, **LAYERS),
    InverseLipschitz(GaussianVAE(3, training=BRIEF), 0.9),
]


@pytest.mark.parametrize("solver", FAMILY, ids=lambda solver: type(solver).__name__)
def test_an_ensemble_of_three_is_three_separate_fits(solver):
    mixing = rng(5).standard_normal((6, 6))
    sources = [Rows(rng(e).standard_normal((200, 6)) @ mixing) for e in range(3)]
    together = fit_together([solver] * 3, sources, [rng(10 + e) for e in range(3)])
    assert np.abs(together[0].atoms - together[1].atoms).max() > 0.1
    for e, fitted in enumerate(together):
        alone = solver.fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: UnscentedAutoencoder(3, points=0), ValueError),
        (lambda: UnscentedAutoencoder(3, penalty=-1.0), ValueError),
        (lambda: UnscentedAutoencoder(3, full=1), TypeError),
        (lambda: TwoLevelVAE(3, beta=(1.0,)), TypeError),
        (lambda: TwoLevelVAE(3, beta=(1.0, -1.0)), ValueError),
        (lambda: TwoLevelVAE(3, upper_width=0), ValueError),
        (lambda: TwoLevelVAE(3, lower_variance=0.0), ValueError),
        (lambda: TwoLevelVAE(3, prior_variance=0.0), ValueError),
        (lambda: InverseLipschitz(GaussianVAE(3), -0.5), ValueError),
        (lambda: InverseLipschitz(GaussianVAE(9)).module(8, rng()), ValueError),
        (lambda: InverseLipschitz(GaussianVAE(3, decoder_hidden=4)).module(8, rng()), TypeError),
        (lambda: InverseLipschitz(TopK(3, 2)).module(8, rng()), TypeError),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build, error):
    with pytest.raises(error, match="must"):
        build()
