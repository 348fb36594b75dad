"""The VAE family where it is pushed: models that diverge, members that differ, decoders without atoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from vae_worlds import gaussian_samples, inside, noise

from sparsesim._source import Rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.neural.ard import relevance
from sparsesim.solvers.neural.conditional_vae import ConditionalVAE
from sparsesim.solvers.neural.inverse_lipschitz import InverseLipschitz, raised
from sparsesim.solvers.neural.iwae import ImportanceWeightedVAE, log_mean_weight
from sparsesim.solvers.neural.mmd import squared_mmd
from sparsesim.solvers.neural.rae import RegularisedAutoencoder
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.sparse_vae import SparseVAE
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.two_level import TwoLevelVAE
from sparsesim.solvers.neural.unscented import UnscentedAutoencoder
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vaease import posterior_variances

BRIEF = Training(steps=120, batch_size=8)
WILD = dataclasses.replace(BRIEF, learning_rate=1e30)  # float32 overflows within two steps


def decomposed(training: Training):
    """Solvers that take singular values of what they train."""
    return (
        InverseLipschitz(GaussianVAE(3, training=training)),
        RegularisedAutoencoder(3, regulariser="spectral", training=training),
        UnscentedAutoencoder(3, full=True, training=training),
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_that_diverges_says_so_and_leaves_the_others_alone(place):
    calm, wild = decomposed(BRIEF)[place], decomposed(WILD)[place]
    x = gaussian_samples([3.0, 2.0, 1.0, 0.5], n=40)
    alone = calm.fit(x, rng=np.random.default_rng(1))
    lost, kept = fit_together([wild, calm], [Rows(x)] * 2, [np.random.default_rng(0), np.random.default_rng(1)])
    assert (lost.status, kept.status) == (Status.DIVERGED, Status.BUDGET_SPENT)
    assert np.isfinite(lost.atoms).all() and np.isfinite(lost.encode(x).data).all()
    np.testing.assert_allclose(kept.atoms, alone.atoms, atol=1e-4)  # float32 sums in another order, 120 steps of 5e-3


def test_matrices_without_singular_values_stay_what_they_are_beside_sound_ones():
    rows = torch.tensor([[[2.0, 0.0], [0.0, 0.1]], [[np.nan, 0.0], [0.0, 1.0]], [[np.inf, 0.0], [0.0, 1.0]]])
    found = raised(rows, torch.full((3,), 0.5))
    torch.testing.assert_close(found[0], torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
    assert found[1:].isnan().all()


@pytest.mark.parametrize(
    ("learned", "fixed"),
    [
        (GaussianVAE(2, training=BRIEF), GaussianVAE(2, noise_variance=0.5, training=BRIEF)),
        (TwoLevelVAE(2, training=BRIEF), TwoLevelVAE(2, upper_variance=1.0, training=BRIEF)),
    ],
)
def test_a_variance_that_is_learned_is_not_stacked_with_one_that_is_fixed(learned, fixed):
    x = gaussian_samples([2.0, 1.0], n=20)
    for pair in ([learned, fixed], [fixed, learned]):
        with pytest.raises(ValueError, match="members of an ensemble must be of one kind"):
            fit_together(pair, [Rows(x)] * 2, [np.random.default_rng(0), np.random.default_rng(1)])


def test_a_nonlinear_decoder_without_atoms_reconstructs_what_its_module_does():
    x = np.abs(np.random.default_rng(0).standard_normal((60, 1))) * np.array([1.0, -2.0, 0.5])
    solver = GaussianVAE(2, hidden=4, decoder_hidden=2, training=dataclasses.replace(BRIEF, batch_size=16))
    silent = 0
    for seed in range(12):
        fitted = solver.fit(x, rng=np.random.default_rng(seed))
        module, scale = fitted.encoder.module, fitted.encoder.scale
        with torch.no_grad():
            seen = module.decode(module.encode(inside(fitted, x))).double().numpy()
        expected = (seen - fitted.encoder.offset) * scale + fitted.bias
        np.testing.assert_allclose(fitted.decode(fitted.encode(x)), expected, atol=1e-5 * scale)
        silent += not fitted.atoms.any()
    assert silent  # both units of the decoder are off at z = 0, with a chance of about one in four


def test_the_importance_weights_of_a_narrow_posterior_are_those_of_double_precision():
    module = ImportanceWeightedVAE(3).module(4, np.random.default_rng(0))
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32))
    for log_variance in (0.0, -30.0, -120.0):  # at -30 a float32 mean of one holds z - mean to a tenth of s
        with torch.no_grad():
            module.heads_bias[3:] = log_variance
        found = log_mean_weight(module, x, 5, noise(0)).detach().numpy()
        many, (mean, spread) = x.repeat(5, 1).double(), module.posterior(x.repeat(5, 1))
        drawn = noise(0).normal(mean).double()
        z = mean.double() + (0.5 * spread.double()).exp() * drawn
        decoded = z @ module.decoder.double() + module.bias.double()
        heard = -0.5 * ((many - decoded).square() + np.log(2 * np.pi)).sum(1)  # sigma^2 begins at 1
        told = -0.5 * (drawn.square() + spread.double() + np.log(2 * np.pi)).sum(1)
        weights = heard - 0.5 * (z.square() + np.log(2 * np.pi)).sum(1) - told
        expected = torch.logsumexp(weights.reshape(5, 6), 0) - np.log(5)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-5)  # float32 sums of few terms


def test_mmd_far_from_the_origin_is_that_of_double_precision():
    draw = np.random.default_rng(0).standard_normal
    a, b = (torch.from_numpy(draw((40, 3)).astype(np.float32) + shift) for shift in (np.float32(4096), np.float32(0)))
    exact = squared_mmd(a.double(), b.double()).item()
    assert squared_mmd(a, b).item() == pytest.approx(exact, rel=1e-4)
    assert squared_mmd(a, a[:20] + 0.5).item() == pytest.approx(
        squared_mmd(a.double(), a[:20].double() + 0.5).item(), rel=1e-4
    )


def test_what_reads_side_information_or_decodes_otherwise_is_refused_by_name():
    x, given = gaussian_samples([2.0, 1.0], n=20), np.ones((20, 1))
    beside = ConditionalVAE(2, given=1, training=BRIEF).fit_with_side(x, given, rng=np.random.default_rng(0))
    for read in (posterior_variances, relevance):
        with pytest.raises(TypeError, match="reads nothing beside"):
            read(beside.with_side(given), x)
    masked = SparseVAE(2, hidden=4, decoder_hidden=4, training=BRIEF).fit(x, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="SparseVAEModule has another"):
        relevance(masked, x)
