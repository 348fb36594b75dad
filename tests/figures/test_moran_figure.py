"""The study of sparse decoding: its world, the score of its masks, its claims, and the committed table."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from paper_figures import moran
from paper_figures.__main__ import TABLES
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.sparse_vae import SparseVAE
from sparsesim.solvers.neural.train import Training
from sparsesim.study import run
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


@pytest.mark.skipif(not (TABLES / "moran.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_of_the_study_as_declared():
    table = Table.read(TABLES / "moran.csv")
    assert {(row["solver"], row["rho"], row["seed"]) for row in table.rows()} == points()
    assert json.loads((TABLES / "moran.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
