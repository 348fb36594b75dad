"""VAEase: the gate, its limit, the count of active dimensions, and a union of manifolds that tells it from a VAE."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE, GaussianVAEModule
from sparsesim.solvers.neural.vaease import VAEase, active_dimensions, posterior_variances

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def union(seed: int, n: int, manifolds: int = 3, dimensions: int = 2, dim: int = 8) -> np.ndarray:
    """Samples of one of several linear manifolds in general position each, orthogonal to the others."""
    r = rng(seed)
    basis = np.linalg.qr(r.standard_normal((dim, dim)))[0]
    chosen = r.integers(manifolds, size=n)
    z = np.zeros((n, dim))
    for j in range(dimensions):
        z[np.arange(n), dimensions * chosen + j] = r.standard_normal(n)
    return z @ basis


def moved(module: GaussianVAEModule) -> GaussianVAEModule:
    for number, parameter in enumerate(module.parameters()):
        parameter.data += 0.3 * torch.from_numpy(rng(number).standard_normal(parameter.shape)).float()
    return module


def test_a_latent_of_unit_deviation_is_silent_and_has_no_gradient_to_the_mean():
    module = moved(VAEase(4, hidden=None).module(5, rng()))
    module.heads_bias.data[4 + 2] = 200.0  # the sigmoid of it is exactly one in float32
    module.heads.data[:, 4 + 2] = 0.0
    x = torch.from_numpy(rng(1).standard_normal((7, 5))).float()
    codes = module.encode(x)
    assert (codes[:, 2] == 0).all() and (codes[:, [0, 1, 3]] != 0).all()
    noise = (torch.Generator().manual_seed(0),)
    module.losses(x, Step(0, 1, noise))["reconstruction"].backward()
    assert (module.heads.grad[:, 2] == 0).all() and (module.heads.grad[:, 0] != 0).all()


def test_the_loss_is_that_of_the_equation_and_without_the_gate_that_of_the_vae():
    x = torch.from_numpy(rng(2).standard_normal((50, 4))).float()
    for gated, kind in ((False, GaussianVAE), (True, VAEase)):
        module = moved(kind(3, hidden=6).module(4, rng()))
        terms = module.losses(x, Step(0, 1, (torch.Generator().manual_seed(5),)))
        with torch.no_grad():
            mean, log_variance = (t.double().numpy() for t in module.posterior(x))
            noise = Step(0, 1, (torch.Generator().manual_seed(5),)).normal(torch.zeros(50, 3)).double().numpy()
        variance = np.exp(log_variance)
        assert not gated or (variance < 1).all()
        z = mean + np.sqrt(variance) * noise
        heard = (1 - np.sqrt(variance)) * z if gated else z
        decoder, bias = (p.detach().double().numpy() for p in (module.decoder, module.bias))
        gamma = module.log_noise.detach().double().exp().item()
        error = np.square(x.numpy() - heard @ decoder - bias).sum(axis=1).mean()
        twice = error / gamma + 4 * np.log(gamma) + 4 * np.log(2 * np.pi)
        twice += (variance + mean**2 - log_variance).sum(axis=1).mean() - 3
        # float32 sums of 50 rows of size ten
        assert sum(terms.values()).item() == pytest.approx(twice / 2, rel=1e-5)


def test_the_encoder_without_the_gate_is_that_of_the_vae():
    plain, gated = (kind(3, noise_variance=1.0, hidden=None).module(4, rng()) for kind in (GaussianVAE, VAEase))
    x = torch.from_numpy(rng(2).standard_normal((9, 4))).float()
    assert torch.equal(plain.encode(x), plain.posterior(x)[0])
    deviation = (0.5 * gated.posterior(x)[1]).exp()
    torch.testing.assert_close(gated.encode(x), (1 - deviation) * plain.encode(x))


def test_the_active_dimensions_are_those_of_the_best_of_all_cuts():
    values = rng(3).random((40, 6)) ** 3
    for row, found in zip(values, active_dimensions(values), strict=True):
        costs = {}
        for size in range(1, 6):
            for low in itertools.combinations(range(6), size):
                high = [j for j in range(6) if j not in low]
                costs[low] = sum(((row[list(part)] - row[list(part)].mean()) ** 2).sum() for part in (low, high))
        best = min(costs, key=costs.get)
        best = best if row[list(best)].mean() < row[[j for j in range(6) if j not in best]].mean() else None
        expected = 6 - len(min(costs, key=costs.get)) if best is None else len(best)
        assert found == expected
    assert active_dimensions(np.full((2, 5), 0.3)).tolist() == [5, 5]
    assert active_dimensions(np.full((3, 1), 0.3)).tolist() == [1, 1, 1]


@pytest.mark.slow
def test_on_a_union_of_manifolds_a_sample_has_the_dimensions_of_its_own_manifold():
    x = union(0, 6000)
    training = Training(steps=1500, batch_size=128, learning_rate=2e-2)
    solvers = [kind(10, hidden=64, noise_variance=0.05, training=training) for kind in (VAEase, GaussianVAE)]
    ours, plain = (solver.fit(x, rng=rng()) for solver in solvers)
    held_out = union(0, 6000)[:500]
    counts = [active_dimensions(np.minimum(posterior_variances(fitted, held_out), 1.0)) for fitted in (ours, plain)]
    # Three manifolds of two dimensions: the theory has 2 for the gate and 6 for a plain VAE (arXiv 2506.04859).
    assert np.median(counts[0]) == 2 and np.median(counts[1]) == 6, [np.bincount(c) for c in counts]
    with pytest.raises(TypeError, match="VAEase"):
        posterior_variances(TopK(5, 2, training=SHORT).fit(x, rng=rng()), x)


def test_an_ensemble_of_three_is_three_separate_fits():
    solver = VAEase(5, hidden=7, training=SHORT)
    sources = [Rows(union(e, 200)) for e in range(3)]
    together = fit_together([solver] * 3, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solver.fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 at most.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    "build", [lambda: VAEase(0), lambda: VAEase(5, hidden=0), lambda: VAEase(5, noise_variance=0.0)]
)
def test_configurations_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must"):
        build()


def test_active_dimensions_do_not_depend_on_where_the_variances_lie():
    # Dyadic numbers, so that the shifts are exact: near one as where all latents are silent.
    spread = np.sort(rng(5).integers(0, 2**12, (200, 6)), axis=1) * 2.0**-12
    expected = active_dimensions(spread)
    assert len(np.unique(expected)) > 3
    assert np.array_equal(active_dimensions(1.0 - spread.max() * 2.0**-20 + spread * 2.0**-20), expected)
    assert np.array_equal(active_dimensions(np.zeros((3, 0))), np.zeros(3))
