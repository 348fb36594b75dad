"""The study of sparse decoding: its world, the score of its masks, its claims, and the committed table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from paper_figures import moran
from paper_figures.__main__ import TABLES
from sparsesim._identity import Role, stream
from sparsesim.metrics.disentanglement_codes import code_mcc
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural import sparse_vae
from sparsesim.solvers.neural.gaussians import standard_kl
from sparsesim.solvers.neural.sparse_vae import SparseVAE
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.variational import opened
from sparsesim.study import FitCell, Grouped, run
from sparsesim.study.table import Table
from studies import moran as declared
from studies.tiers import Tier

COLUMNS = ("solver", "rho", "seed", "status", *(one.__name__ for one in declared.METRICS))


def points(tier: Tier = Tier.LAPTOP) -> set[tuple[str, float, int]]:
    return {tuple(value for _, value in labels) for labels in declared.study(tier).cells}


def invented(score: float = 0.95, left: float = 2.0, support: float = 0.97) -> Table:
    rows = []
    for name, rho, seed in sorted(points()):
        ours = name == "sparse_vae"
        value = (score if ours else 0.5) + 1e-4 * seed
        masks = [left, support] if ours else [float("nan"), float("nan")]
        rows.append([name, rho, seed, "budget_spent", value, value, value, *masks])
    return Table.of_rows(list(COLUMNS), rows)


def test_where_everything_is_as_they_say_every_claim_is_reproduced():
    table = invented()
    found = moran.claims(table)
    assert {one.verdict for one in found} == {Verdict.REPRODUCED} and len(found) == 8
    assert len(moran.rows(table)) == len({point[:2] for point in points()})
    assert {len(row) for row in moran.rows(table)} == {len(moran.HEADER)}
    assert len(moran.draw(table).axes) == 4


def test_claims_fail_where_the_table_contradicts_them():
    worse = {one.verdict for one in moran.claims(invented(score=0.4))[:4]}
    assert worse == {Verdict.FAILED}
    many = [one.verdict for one in moran.claims(invented(left=5.0, support=0.5))]
    assert Verdict.FAILED in many[4:6] or Verdict.DRIFT in many[4:6]
    assert many[6] is Verdict.FAILED


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_world_is_the_seven_functions_with_noise_of_one_half(rho):
    n = 20_000
    model = declared.world(rho).build(stream(0, Role.TRUTH))
    batch = model.sample(n, stream(0, Role.TEST))
    one, two = batch.codes.toarray().T
    clean = np.stack([one, 2 * one, 3 * one**2, 4 * two, 5 * two, 6 * np.sin(two), 7 * one * two], axis=1)
    noise = batch.x - clean
    # standard errors: of a standard deviation sigma / sqrt(2 n) = 0.0025, of a mean 0.0035, of rho at most 1 / sqrt(n)
    np.testing.assert_allclose(noise.std(axis=0), 0.5, atol=5 * 0.0025)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=5 * 0.0036)
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(rho, abs=5 / np.sqrt(n))
    np.testing.assert_allclose([one.std(), two.std()], 1.0, atol=5 / np.sqrt(2 * n))


def masked(support: np.ndarray) -> SimpleNamespace:
    """An evaluation whose fit has masks of this support, ``(7, p)``."""
    x = np.random.default_rng(0).standard_normal((30, 7))
    solver = SparseVAE(support.shape[1], hidden=4, decoder_hidden=4, training=Training(steps=1, batch_size=10))
    fitted = solver.fit(x, rng=np.random.default_rng(0))
    fitted.encoder.module.slab.copy_(torch.from_numpy(support))
    return SimpleNamespace(fitted=fitted)


def test_the_support_is_scored_under_the_best_matching_and_latents_left_over_count_against_it():
    reach = np.array(declared.REACH, dtype=float).T
    exact = np.zeros((7, 5))
    exact[:, [3, 1]] = reach
    assert declared.support_f1(masked(exact)) == 1.0 and declared.surviving(masked(exact)) == 2.0
    more = exact.copy()
    more[2, 0] = 1.0
    assert declared.support_f1(masked(more)) == pytest.approx(16 / 17) and declared.surviving(masked(more)) == 3.0
    assert declared.support_f1(masked(np.zeros((7, 5)))) == 0.0 and declared.surviving(masked(np.zeros((7, 5)))) == 0.0
    assert declared.support_f1(masked(np.ones((7, 2)))) == pytest.approx(16 / 22)


@pytest.mark.slow
def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    assert moran.claims(table) and len(moran.draw(table).axes) == 4
    assert np.isnan(table.where(solver="pca").column("surviving")).all()


def pair_kl(rho: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the divergence from a prior whose two latents have correlation ``rho``, in place of `standard_kl`."""
    precision = torch.tensor([[1.0, -rho], [-rho, 1.0]]) / (1.0 - rho**2)

    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        square = ((mean @ precision) * mean).sum(-1) + log_variance.exp().sum(-1) / (1.0 - rho**2)
        return 0.5 * (square - log_variance.sum(-1) - 2.0 + np.log(1.0 - rho**2)).mean(-1)

    return divergence


def price(evaluation: Evaluation, rho: float) -> float:
    """Return what the posteriors of a fit cost more under independent latents than under correlated ones, in nats."""
    module, x, _ = opened(evaluation.fitted, evaluation.batch.x, "SparseVAE")
    with torch.no_grad():
        posterior = module.posterior(x)
        return float(standard_kl(*posterior) - pair_kl(rho)(*posterior))


def test_the_divergence_from_independent_latents_is_the_standard_one():
    mean, log_variance = torch.randn(2, 7, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pair_kl(0.0)(mean, log_variance), standard_kl(mean, log_variance))


@pytest.mark.slow
def test_the_diagnosis_that_a_prior_of_independent_latents_mixes_correlated_factors(monkeypatch):
    """Under N(0, I) the true factors cost -ln(1 - rho^2) / 2 nats more than a mixture; under their own prior nothing.

    Two latents of like signs that hold one factor twice have an MCC of 0.9 at this correlation: more tells them apart.
    """
    rho, size = 0.8, declared.SIZES[Tier.LAPTOP]
    solver = replace(declared.solvers(size)["sparse_vae"], width=2)
    cells = tuple(FitCell(declared.world(rho), seed, 2000, solver, size.n_train) for seed in range(4))
    scores, losses, prices = {}, {}, []
    for prior in (0.0, rho):
        monkeypatch.setattr(sparse_vae, "standard_kl", pair_kl(prior))
        found = Grouped(cells, 0).together()[0]
        scores[prior] = np.array([code_mcc(one) for one in found])
        losses[prior] = np.array([np.mean(one.fitted.trace["loss"][-5:]) for one in found])
        prices = [price(one, rho) for one, score in zip(found, scores[prior], strict=True) if score > 0.97]
    assert scores[0.0].max() < 0.8 and (scores[rho] > 0.97).sum() >= 2
    expected = -0.5 * np.log(1.0 - rho**2)  # 0.51, if latents have the moments of their prior
    np.testing.assert_allclose(prices, expected, atol=0.1)
    # a mixture is as good a fit as the factors under their own prior: it has won the price back
    assert abs((losses[0.0] - losses[rho]).mean()) < expected / 3


@pytest.mark.skipif(not (TABLES / "moran.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    table = Table.read(TABLES / "moran.csv")
    assert {(row["solver"], row["rho"], row["seed"]) for row in table.rows()} == points()
    assert json.loads((TABLES / "moran.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
