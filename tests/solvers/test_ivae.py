"""Priors that depend on a label: the bound, its symmetries, sources that labels tell apart, labels that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.distributions import Categorical, Normal, kl_divergence

from sparsesim._identity import Role, stream
from sparsesim._source import Rows, SideRows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.segments import Segments
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import reconstruction
from sparsesim.solvers.neural.idvae import DoubleVAE
from sparsesim.solvers.neural.ivae import IdentifiableVAE
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.study.cell import FitCell

M, SEGMENTS = 3, 8
WORLD = FeatureSpec(M, ExactlyK(M, M), Orthonormal(), SignedGaussian(), segments=Segments(SEGMENTS, (0.3, 3.0)))
BRIEF = Training(steps=60, batch_size=64)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def step(seed: int = 0, members: int = 1) -> Step:
    return Step(0, 1, tuple(torch.Generator().manual_seed(seed + e) for e in range(members)))


def shaken(module, seed: int = 1):
    """The module in double precision with all weights moved, so that no term vanishes."""
    r = rng(seed)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.from_numpy(r.standard_normal(parameter.shape)).float()
    return module.double()


def rows(n: int = 40, dim: int = 4, segments: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples ``(n, dim)`` and labels ``(n,)``."""
    return torch.from_numpy(rng(7).standard_normal((n, dim))), torch.from_numpy(rng(8).integers(0, segments, n))


def matched_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """The mean over columns of a of |Pearson| with the column of b that the best one-to-one matching gives."""
    table = np.abs(np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :])
    return float(table[linear_sum_assignment(-table)].mean())


@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("hidden", [None, 6])
def test_the_losses_are_the_bound_written_out_with_one_label_at_a_time(hidden, means):
    solver = IdentifiableVAE(3, 0.3, hidden, None, segments=5, beta=1.5, prior_means=means)
    module, (x, labels) = shaken(solver.module(4, rng())), rows()
    terms = module.losses(torch.cat([x, labels[:, None].double()], 1), step(3))
    noise = torch.randn(40, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    error, divergence = 0.0, 0.0
    with torch.no_grad():
        for i in range(40):
            weight, bias = (module.heads, 0) if hidden is None else (module.trunk.weights[0], module.trunk.biases[0])
            first = x[i] @ weight[:4] + weight[4 + labels[i]] + bias
            heads = (first if hidden is None else first.relu() @ module.heads) + module.heads_bias
            posterior = Normal(heads[:3], (heads[3:] / 2).exp())
            prior = Normal(module.prior_mean[labels[i]], (module.prior_spread[labels[i]] / 2).exp())
            divergence += kl_divergence(posterior, prior).sum() / 40
            z = posterior.mean + posterior.stddev * noise[i]
            error -= Normal(z @ module.decoder + module.bias, 0.3**0.5).log_prob(x[i]).sum() / 40
    # rtol: the noise variance and beta are kept in float32
    torch.testing.assert_close(terms["reconstruction"], error, rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["kl"], 1.5 * divergence, rtol=1e-6, atol=0)
    assert means == bool((module.prior_mean != 0).any())


def test_a_label_that_never_changes_makes_it_a_vae_with_learned_variances_of_its_prior():
    # z = sqrt(v) z': the model of prior variances v is a VAE under N(0, I) whose encoder and decoder are rescaled.
    solver = IdentifiableVAE(3, 0.2, 6, 7, activation="tanh")
    module, (x, _) = shaken(solver.module(4, rng())), rows()
    plain = GaussianVAE(3, 0.2, 6, 7, activation="tanh").module(4, rng()).double()
    log_v = module.prior_spread.detach()[0]
    with torch.no_grad():
        plain.trunk.weights[0].copy_(module.trunk.weights[0][:4])
        plain.trunk.biases[0].copy_(module.trunk.biases[0] + module.trunk.weights[0][4])  # the one label is always on
        plain.heads.copy_(module.heads)
        plain.heads[:, :3] *= (-log_v / 2).exp()
        plain.heads_bias.copy_(module.heads_bias)
        plain.heads_bias[:3] *= (-log_v / 2).exp()
        plain.heads_bias[3:] -= log_v
        plain.lift.weights[0].copy_((log_v / 2).exp()[:, None] * module.lift.weights[0])
        plain.lift.biases[0].copy_(module.lift.biases[0])
        plain.decoder.copy_(module.decoder)
        plain.bias.copy_(module.bias)
    ours, theirs = module.losses(x, step(2)), plain.losses(x, step(2))
    assert log_v.abs().min() > 0.01 and module.side == 0
    for name in ("reconstruction", "kl"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-12)


def test_labels_have_no_effect_before_training_so_that_every_fit_starts_as_a_vae():
    x, labels = rows()
    module = IdentifiableVAE(3, 0.2, 6, segments=5).module(4, rng()).double()
    plain = GaussianVAE(3, 0.2, 6).module(4, rng()).double()
    ours = module.losses(torch.cat([x, labels[:, None].double()], 1), step(2))
    theirs = plain.losses(x, step(2))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_rotation_of_the_latents_leaves_the_bound_of_a_vae_as_it_is_and_changes_that_with_labels():
    x, labels = rows(400)
    turn = torch.from_numpy(np.linalg.qr(rng(5).standard_normal((3, 3)))[0])

    def bound(module, given: torch.Tensor) -> tuple[float, float]:
        """The error, with z integrated out in closed form, and the divergence; s^2 is one number for all latents."""
        error = (module.decode(module.encode(given)) - x).square().sum(1).mean()
        return (error + np.exp(-1.0) * module.decoder.square().sum()).item(), module.losses(given, step())["kl"].item()

    def before_and_after(module, given: torch.Tensor) -> tuple[tuple[float, float], tuple[float, float]]:
        with torch.no_grad():
            module.heads[:, 3:], module.heads_bias[3:] = 0.0, -1.0
            first = bound(module, given)
            module.heads[:, :3] = module.heads[:, :3] @ turn
            module.heads_bias[:3] = module.heads_bias[:3] @ turn
            module.decoder.copy_(turn.T @ module.decoder)
            return first, bound(module, given)

    before, after = before_and_after(shaken(GaussianVAE(3, 0.3).module(4, rng())), x)
    assert after == pytest.approx(before, rel=1e-10)
    labelled = shaken(IdentifiableVAE(3, 0.3, segments=5).module(4, rng()), 2)
    before, after = before_and_after(labelled, torch.cat([x, labels[:, None].double()], 1))
    assert after[0] == pytest.approx(before[0], rel=1e-10)
    assert abs(after[1] / before[1] - 1) > 0.01


def test_sources_of_a_linear_mixture_are_found_with_labels_and_not_without():
    training = Training(steps=1500, batch_size=128, learning_rate=1e-2)
    with_labels = FitCell(WORLD, 0, 2000, IdentifiableVAE(M, segments=SEGMENTS, training=training), 8000).evaluate()
    without = FitCell(WORLD, 0, 2000, GaussianVAE(M, training=training), 8000).evaluate()
    truth = with_labels.batch.codes.toarray()
    ours, plain = (matched_correlation(truth, e.fitted.encode(e.batch.x).toarray()) for e in (with_labels, without))
    # Variances that are not proportional identify the mixture (theory.ivae.linear_mixture_identified); the posterior
    # means shrink a little, and 8000 samples leave about a percent.
    assert ours > 0.97
    assert plain < 0.93, "whatever rotation it stops at is luck"
    assert reconstruction.fvu(with_labels) < 0.02


@pytest.mark.parametrize("solver", [IdentifiableVAE, DoubleVAE])
def test_an_ensemble_is_its_members_trained_apart(solver):
    batches = [WORLD.build(stream(s, Role.TRUTH)).sample(300, rng(s)) for s in range(3)]
    sources = [SideRows(b.x, b.labels[:, None].astype(float)) for b in batches]
    kind = solver(2, hidden=5, decoder_hidden=4, segments=SEGMENTS, training=BRIEF)
    together = fit_together([kind] * 3, sources, [rng(s) for s in range(3)])
    for seed, (source, batched) in enumerate(zip(sources, together, strict=True)):
        alone = kind.fit_with_side(source.x, source.side, rng=rng(seed))
        np.testing.assert_allclose(batched.atoms, alone.atoms, atol=1e-3)  # sixty steps of float32 in another order
        a, b = (one.with_side(source.side).encode(source.x).toarray() for one in (batched, alone))
        np.testing.assert_allclose(a, b, atol=5e-3)


def test_the_prior_of_a_double_vae_is_told_apart_by_its_draws():
    module, (x, labels) = shaken(DoubleVAE(3, 0.3, segments=5, gamma=0.7).module(4, rng())), rows()
    given = torch.cat([x, labels[:, None].double()], 1)
    draws = [module.losses(given, step(s)) for s in range(300)]
    with torch.no_grad():
        prior = Normal(module.prior_mean, (module.prior_spread / 2).exp())
        expected = 0.7 * kl_divergence(prior, Normal(torch.zeros(5, 3), torch.ones(5, 3)))[labels].sum(1).mean()
        torch.testing.assert_close(draws[0]["label_kl"], expected, rtol=1e-6, atol=0)
        noise = torch.randn(20000, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        z = prior.mean + prior.stddev * noise
        surprise = -Categorical(logits=module.teller(z.reshape(-1, 3)).reshape(-1, 5, 5)).log_prob(torch.arange(5))
        exact = surprise.mean(0)[labels].mean().item()
    seen = np.array([one["label"].item() for one in draws])
    # z-test at 4 standard errors, to which 20,000 draws a label add a tenth
    assert abs(seen.mean() - exact) < 4.4 * seen.std(ddof=1) / np.sqrt(len(seen))
    assert set(draws[0]) == {"reconstruction", "kl", "label", "label_kl"}


def test_labels_belong_to_rows_and_are_asked_for_by_name():
    batch = WORLD.build(rng()).sample(200, rng(1))
    side = batch.labels[:, None].astype(float)
    solver = IdentifiableVAE(2, segments=SEGMENTS, training=BRIEF)
    fitted = solver.fit_with_side(batch.x, side, rng=rng())
    codes = fitted.with_side(side).encode(batch.x).toarray()
    order = rng(3).permutation(200)
    np.testing.assert_array_equal(fitted.with_side(side[order]).encode(batch.x[order]).toarray(), codes[order])
    other = (side + 1) % SEGMENTS
    assert np.abs(fitted.with_side(other).encode(batch.x).toarray() - codes).max() > 1e-3, "the label must be read"
    with pytest.raises(ValueError, match=r"reads 1 columns .* beside each of 200 samples; got none.*with_side"):
        fitted.encode(batch.x)
    with pytest.raises(ValueError, match="got those of 199"):
        fitted.with_side(side[1:]).encode(batch.x)
    with pytest.raises(ValueError, match=r"integers in \[0, segments=8\); got 8\.0 in row 2"):
        fitted.with_side(np.array([[0], [1], [8]]))
    with pytest.raises(ValueError, match=r"got 0\.5 in row 0"):
        solver.fit_with_side(batch.x, np.full_like(side, 0.5), rng=rng())
    with pytest.raises(ValueError, match="a row for each of the 200 samples; got 199"):
        solver.fit_with_side(batch.x, side[1:], rng=rng())
    with pytest.raises(ValueError, match=r"side must be two-dimensional.*Pass side\[:, None\]"):
        solver.fit_with_side(batch.x, side[:, 0], rng=rng())
    with pytest.raises(ValueError, match=r"reads 1 columns of side information.*got 0.*fit_with_side"):
        solver.fit(batch.x, rng=rng())
    with pytest.raises(ValueError, match=r"reads 0 columns of side information.*got 1"):
        fit_together([TopK(2, 1, training=BRIEF)], [SideRows(batch.x, side)], [rng()])
    with pytest.raises(ValueError, match=r"reads 0 columns of side information.*got 1"):
        TopK(2, 1, training=BRIEF).fit_stream(Rows(batch.x), rng=rng()).with_side(side)


def test_a_cell_gives_the_labels_of_its_world_or_says_that_there_are_none():
    solver = IdentifiableVAE(2, segments=SEGMENTS, training=BRIEF)
    assert FitCell(WORLD, 0, 50, solver, 200).evaluate().codes.shape == (50, 2)
    bare = FeatureSpec(M, ExactlyK(M, M), Orthonormal(), SignedGaussian())
    with pytest.raises(ValueError, match="the solver reads labels, but the world has none"):
        FitCell(bare, 0, 50, solver, 200).evaluate()
    assert FitCell(bare, 0, 50, IdentifiableVAE(2, training=BRIEF), 200).evaluate().codes.shape == (50, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IdentifiableVAE(3, segments=0), r"segments must lie in \[1, 16777216\]; got 0"),
        (lambda: IdentifiableVAE(3, beta=-1.0), "beta must be finite and lie in"),
        (lambda: DoubleVAE(3, gamma=-1.0), "gamma must be finite and lie in"),
        (lambda: IdentifiableVAE(3, prior_means=1), "prior_means must be True or False"),
    ],
)
def test_wrong_fields_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
