"""What the VAE family shares: layers with exact Jacobians, nonlinear decoders, Gaussians, and both on an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from sparsesim._source import Rows
from sparsesim.solvers.neural.gaussians import gaussian_kl, log_density, standard_kl
from sparsesim.solvers.neural.module import member, stack
from sparsesim.solvers.neural.perceptron import HiddenLayers, Perceptron
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)
ACTIVATIONS = ("relu", "leaky_relu", "swish", "tanh")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal(shape))


def bent(n: int, seed: int = 0) -> np.ndarray:
    """Samples of a parabola in three dimensions with a little noise."""
    t = rng(seed).standard_normal(n)
    return np.stack([t, t**2, 0.5 * t], axis=1) + 0.05 * rng(seed + 1).standard_normal((n, 3))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_jacobian_of_a_perceptron_is_that_of_automatic_differentiation(activation):
    net = Perceptron(3, (5, 4), 6, rng(), activation).double()
    x = normal(7, 3)
    seen = net.jacobian(x)
    for row, jacobian in zip(x, seen, strict=True):
        expected = torch.autograd.functional.jacobian(lambda v: net(v[None])[0], row).T
        torch.testing.assert_close(jacobian, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_rectified_layers_start_at_the_scale_of_their_inputs(activation):
    power = HiddenLayers(50, (200, 200), rng(), activation).double()(normal(400, 50)).square().mean().item()
    # Each layer has power one on average over its weights; 200 units a layer leave a few per cent of luck.
    assert power == pytest.approx(1.0, abs=0.15)


def test_without_a_layer_hidden_layers_are_the_identity():
    net, x = HiddenLayers(4, (), rng(), "relu"), normal(5, 4)
    assert torch.equal(net(x), x) and torch.equal(net.jacobian(x), torch.eye(4, dtype=x.dtype).expand(5, 4, 4))


def test_divergences_and_densities_are_those_of_torch_distributions():
    mean, log_variance, centre, log_spread = (normal(6, 3, seed=s) for s in range(4))
    q, p = Normal(mean, (log_variance / 2).exp()), Normal(centre, (log_spread / 2).exp())
    tight = {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(
        gaussian_kl(mean, log_variance, centre, log_spread), kl_divergence(q, p).sum(1).mean(), **tight
    )
    unit = Normal(torch.zeros(3).double(), torch.ones(3).double())
    torch.testing.assert_close(standard_kl(mean, log_variance), kl_divergence(q, unit).sum(1).mean(), **tight)
    zero = torch.zeros(6, 3).double()
    torch.testing.assert_close(gaussian_kl(mean, log_variance, 0.0, zero[:1]), standard_kl(mean, log_variance), **tight)
    assert standard_kl(zero, zero) == 0 and standard_kl(mean, zero) > 0 and standard_kl(zero, log_variance) > 0
    torch.testing.assert_close(log_density(centre, mean, log_variance), q.log_prob(centre).sum(1), **tight)
    several = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double()).log_prob(mean)
    torch.testing.assert_close(log_density(mean, 0.0, zero), several, **tight)


def test_the_atoms_of_a_nonlinear_decoder_are_its_jacobian_at_zero_and_its_bias_the_value_there():
    solver = GaussianVAE(3, decoder_hidden=(8, 5), activation="tanh")
    members = [solver.module(6, rng(seed)).double() for seed in range(4)]
    batch = stack(members)
    assert not batch.linear and batch.atoms().shape == (4, 3, 6) and batch.decoder_bias().shape == (4, 6)
    for e, alone in enumerate(members):
        expected = torch.autograd.functional.jacobian(lambda z, f=alone: f.decode(z[None])[0], torch.zeros(3).double())
        torch.testing.assert_close(batch.atoms()[e], expected.T, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(member(batch, e).atoms(), alone.atoms(), atol=0, rtol=0)
        torch.testing.assert_close(batch.decoder_bias()[e], alone.decode(torch.zeros(1, 3).double())[0])
    codes = normal(4, 9, 3)
    assert batch.jacobian(codes).shape == (4, 9, 3, 6)
    step = 1e-6 * torch.eye(3).double()[1]
    slope = (batch.decode(codes + step) - batch.decode(codes - step)) / 2e-6
    # Central differences of a smooth function: rounding 1e-16 / 1e-6.
    torch.testing.assert_close(batch.jacobian(codes)[:, :, 1], slope, atol=1e-8, rtol=1e-8)


def test_the_fit_of_a_nonlinear_decoder_decodes_as_its_module_and_beats_a_linear_one_on_a_curve():
    x, training = bent(2000), Training(steps=800, batch_size=128, learning_rate=1e-2)
    curved = GaussianVAE(1, 0.02, hidden=24, decoder_hidden=24, activation="swish", training=training).fit(x, rng=rng())
    straight = GaussianVAE(1, 0.02, hidden=24, training=training).fit(x, rng=rng())
    assert not curved.linear_decoder and straight.linear_decoder
    inside = torch.from_numpy(((x - x.mean(0)) / curved.encoder.scale).astype(np.float32))
    module = curved.encoder.module
    expected = module.decode(module.encode(inside)).numpy() * curved.encoder.scale + x.mean(0)
    np.testing.assert_allclose(curved.decode(curved.encode(x)), expected, atol=1e-4)  # float32 in both gauges
    errors = [np.square(f.decode(f.encode(x)) - x).sum() / np.square(x - x.mean(0)).sum() for f in (curved, straight)]
    # The parabola has variance 2 in x^2, 1.25 along the rest: a line leaves 1.25 / 3.25 = 0.38, noise alone 0.002.
    # Other first weights may fold the curve; swish at this noise did not in two of two.
    assert errors[0] < 0.05 and errors[1] > 0.3


@pytest.mark.parametrize("extra", [{}, {"hidden": (6, 5)}, {"hidden": 6, "decoder_hidden": 7, "activation": "swish"}])
def test_an_ensemble_of_three_is_three_separate_fits(extra):
    solver = GaussianVAE(2, training=SHORT, **extra)
    sources = [Rows(bent(200, seed=e)) for e in range(3)]
    together = fit_together([solver] * 3, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solver.fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"hidden": (4, 0)}, ValueError),
        ({"decoder_hidden": 0}, ValueError),
        ({"decoder_hidden": (3.5,)}, TypeError),
        ({"activation": "sine"}, ValueError),
    ],
)
def test_layers_that_make_no_sense_are_refused(arguments, error):
    with pytest.raises(error, match="must"):
        GaussianVAE(3, **arguments)
