"""Spike-and-slab latents and spike-and-slab masks: divergences, gates, updates and gauges in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import laplace

from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.neural.gaussians import standard_kl
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.sparse_vae import SparseVAE, mask_support
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vsc import VariationalSparseCoding, spike_and_slab_kl
from studies.moran import support_f1, world

BRIEF = Training(steps=60, batch_size=64)
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(rng(seed).standard_normal(shape))


def step(seed: int = 0, index: int = 0, total: int = 1) -> Step:
    return Step(index, total, (torch.Generator().manual_seed(seed),))


ALPHA = torch.tensor(0.2, dtype=torch.float64)


def test_the_divergence_of_an_open_gate_is_that_of_a_vae_and_the_price_of_the_prior():
    mean, log_variance = normal(6, 3), normal(6, 3, seed=1)
    open_ = torch.full((6, 3), 40.0, dtype=torch.float64)  # gamma = 1 - 4e-18
    expected = standard_kl(mean, log_variance) - 3 * ALPHA.log()
    torch.testing.assert_close(spike_and_slab_kl(mean, log_variance, open_, ALPHA), expected, **TIGHT)


def test_the_divergence_is_zero_at_the_prior_and_only_there():
    zero, prior = torch.zeros(6, 3).double(), torch.full((6, 3), float(torch.logit(ALPHA))).double()
    assert abs(spike_and_slab_kl(zero, zero, prior, ALPHA).item()) < 1e-12
    for moved in ((zero + 0.1, zero, prior), (zero, zero + 0.1, prior), (zero, zero, prior + 0.1)):
        assert spike_and_slab_kl(*moved, ALPHA).item() > 1e-4


def test_the_divergence_is_the_mean_log_ratio_of_the_two_mixtures():
    # With the spike an outcome of its own, KL = sum of p ln(p / q) over the spike and the slab.
    mean, spread, gate = 0.7, -0.4, 0.3
    gamma = 1 / (1 + np.exp(-gate))
    grid = np.linspace(-12, 12, 200_001)
    deviation = np.exp(spread / 2)
    slab = np.exp(-0.5 * ((grid - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    unit = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    ratio = np.log(gamma / 0.2) - ((grid - mean) / deviation) ** 2 / 2 - np.log(deviation) + grid**2 / 2
    exact = np.sum(gamma * slab * ratio) * (grid[1] - grid[0]) + (1 - gamma) * np.log((1 - gamma) / 0.8)
    one = [torch.full((1, 1), value, dtype=torch.float64) for value in (mean, spread, gate)]
    assert spike_and_slab_kl(*one, ALPHA).item() == pytest.approx(exact, abs=1e-8) and unit.max() < 1


def test_a_sharp_gate_is_open_as_often_as_it_says():
    module = VariationalSparseCoding(3, sharpness=(1e6, 1e6)).module(4, rng()).double()
    odds = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64).expand(40_000, 3)
    gates = module.gates(odds, step())
    gamma = torch.sigmoid(odds[0])
    error = (gamma * (1 - gamma) / 40_000).sqrt()
    assert ((gates.mean(0) - gamma).abs() < 4 * error).all()  # z-test, alpha = 6e-5 each
    assert ((gates < 1e-6) | (gates > 1 - 1e-6)).double().mean() > 0.999


def test_codes_are_means_where_the_slab_is_likelier_and_exact_zeros_elsewhere():
    x = rng(3).standard_normal((300, 6))
    fitted = VariationalSparseCoding(5, alpha=0.5, beta=0.05, hidden=8, training=BRIEF).fit(x, rng=rng())
    module = fitted.encoder.module
    inside = torch.from_numpy(((x - x.mean(0)) / fitted.encoder.scale).astype(np.float32))
    with torch.no_grad():
        mean, _, gate = module.slabs(inside)
    codes = fitted.encode(x).toarray()
    gauge = np.linalg.norm(module.decoder.numpy(), axis=1) * fitted.encoder.scale
    np.testing.assert_allclose(codes, np.where(gate > 0, mean, 0) * gauge, atol=1e-5)
    assert 0 < fitted.encode(x).nnz < codes.size, "some latents must be silent in some samples"


def test_the_divergence_warms_up_from_nothing_to_its_weight():
    module = VariationalSparseCoding(3, beta=2.0, warmup=0.5).module(4, rng())
    x = normal(8, 4).float()
    kl = [module.losses(x, step(index=i, total=101))["kl"].item() for i in (0, 25, 50, 100)]
    assert kl[0] == 0.0 and kl[1] == pytest.approx(kl[3] / 2) and kl[2] == pytest.approx(kl[3]) and kl[3] > 0


def sparse(**fields) -> torch.nn.Module:
    """A sparse VAE of four latents for six coordinates, in double precision, with all weights moved."""
    module = SparseVAE(4, hidden=5, decoder_hidden=(7, 3), **fields).module(6, rng()).double()
    values = rng(1)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.from_numpy(values.standard_normal(parameter.shape))
    return module


def test_each_coordinate_is_the_shared_network_of_its_own_masked_latents():
    module, z = sparse(), normal(8, 4, seed=2)
    seen = module.decode(z)
    for j in range(6):
        expected = module.lift(z * module.masks[j]) @ module.decoder[:, j] + module.bias[j]
        torch.testing.assert_close(seen[:, j], expected, **TIGHT)


def test_masks_are_taken_for_slab_as_bayes_says_with_the_densities_in_full():
    module = sparse(rates=(10.0, 0.5))
    module.share.copy_(torch.tensor([0.5, 0.1, 0.9, 0.3]))
    share = module.share.clone().numpy()
    with torch.no_grad():
        module.after_step(None)  # type: ignore[arg-type]  # no moments are touched
    w = module.masks.detach().numpy()
    slab, spike = share * laplace.pdf(w, scale=1 / 0.5), (1 - share) * laplace.pdf(w, scale=1 / 10.0)
    np.testing.assert_allclose(module.slab.numpy(), slab / (slab + spike), rtol=1e-6)
    # The mode of theta given the expected numbers of slabs: Beta(1 + s, d + d - s), mode s / (2 d - 1).
    np.testing.assert_allclose(module.share.numpy(), module.slab.numpy().sum(0) / 11, rtol=1e-6)


def test_the_scale_between_masks_and_network_is_fixed_without_changing_the_function():
    module, z = sparse(), normal(8, 4, seed=2)
    with torch.no_grad():
        before = module.decode(z)
        module.after_step(None)  # type: ignore[arg-type]
        torch.testing.assert_close(module.decode(z), before, **TIGHT)
    norms = module.lift.weights[0].norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, module.norm), **TIGHT)


def test_the_losses_are_the_bound_of_unequal_noise_and_the_priors_over_n():
    module, x = sparse(samples=50, rates=(8.0, 0.5)), normal(9, 6, seed=4)
    module.slab.copy_(torch.from_numpy(rng(6).random((6, 4))))
    terms = module.losses(x, step(2))
    with torch.no_grad():
        mean, log_variance = module.posterior(x)
        noise = torch.randn(9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        rebuilt = module.decode(mean + (log_variance / 2).exp() * noise)
        density = torch.distributions.Normal(rebuilt, (module.log_noise / 2).exp()).log_prob(x)
        slopes = 0.5 * module.slab + 8.0 * (1 - module.slab)
        mask = (slopes * module.masks.abs()).sum() / 50
        variance = module.log_noise.exp()
        inverse_chi = (-2.5 * variance.log() - 3 * module.noise_scale / (2 * variance)).sum()  # of three degrees
    torch.testing.assert_close(terms["reconstruction"], -density.sum(1).mean(), **TIGHT)
    torch.testing.assert_close(terms["mask"], mask, **TIGHT)
    torch.testing.assert_close(terms["noise"], -inverse_chi / 50, **TIGHT)
    torch.testing.assert_close(terms["kl"], standard_kl(mean, log_variance), **TIGHT)


@pytest.mark.parametrize(
    "solver", [SparseVAE(3, 0.4, 5, 4, training=BRIEF), VariationalSparseCoding(3, training=BRIEF)]
)
def test_an_ensemble_is_its_members_trained_apart(solver):
    sources = [Rows(rng(s).standard_normal((200, 3)) @ rng(9).standard_normal((3, 6))) for s in range(2)]
    together = fit_together([solver] * 2, sources, [rng(s) for s in range(2)])
    for seed, (source, batched) in enumerate(zip(sources, together, strict=True)):
        alone = solver.fit(source.x, rng=rng(seed))
        np.testing.assert_allclose(batched.atoms, alone.atoms, atol=1e-3)  # sixty steps of float32 in another order
        assert batched.trace["loss"][-1] == pytest.approx(alone.trace["loss"][-1], rel=1e-3)


@pytest.mark.slow
def test_the_masks_of_two_factors_and_seven_functions_are_found():
    model = world(0.0).build(stream(3, Role.TRUTH))
    training = Training(steps=2000, batch_size=100, learning_rate=1e-2)
    fitted = SparseVAE(5, training=training).fit(model.sample(1000, stream(3, Role.TRAIN)).x, rng=rng())
    evaluation = Evaluation(model, fitted, model.sample(1000, stream(3, Role.TEST)))
    # One mask too many of the eight entries gives 0.94, two that are wrong 0.87.
    assert support_f1(evaluation) > 0.8


def test_wrong_fields_and_other_fits_are_refused():
    with pytest.raises(ValueError, match=r"rates\[0\] >= rates\[1\]"):
        SparseVAE(3, rates=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"samples must lie in \[1, infinity\]"):
        SparseVAE(3, samples=0)
    with pytest.raises(ValueError, match="alpha must be below 1"):
        VariationalSparseCoding(3, alpha=1.0)
    with pytest.raises(TypeError, match="sharpness must be a tuple"):
        VariationalSparseCoding(3, sharpness=50.0)
    fitted = GaussianVAE(2, training=BRIEF).fit(rng().standard_normal((50, 4)), rng=rng())
    with pytest.raises(TypeError, match="fitted must be a fit of SparseVAE"):
        mask_support(fitted)


@pytest.mark.parametrize("layers", [None, 6, (6, 5)])
def test_the_jacobian_goes_through_the_masks(layers):
    module = (
        SparseVAE(3, hidden=8, decoder_hidden=layers, activation="tanh").module(4, np.random.default_rng(0)).double()
    )
    codes = torch.randn((2, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        found = module.jacobian(codes)
    for row, jacobian in zip(codes, found, strict=True):
        expected = torch.autograd.functional.jacobian(lambda z: module.decode(z[None])[0], row)
        torch.testing.assert_close(jacobian, expected.mT, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(module.steepness(codes), found.square().sum((-2, -1)).mean())


def test_one_sample_alone_starts_with_finite_noise():
    module = SparseVAE(2).module(3, np.random.default_rng(0))
    with torch.no_grad():
        module.prime(torch.ones((1, 3)), np.random.default_rng(1))
    assert torch.isfinite(module.log_noise).all() and torch.isfinite(module.noise_scale)
