"""Dimensions of unions of manifolds: the worlds, what counts as used, and what the claims say of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from paper_figures import vaease_dims
from paper_figures.__main__ import TABLES
from paper_figures.seeds import by_seed
from paper_figures.vaease_dims import HEADER, claims, draw, optimum, rows
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vaease import VAEase, active_dimensions, posterior_variances
from sparsesim.solvers.neural.variational import opened
from sparsesim.study import FitCell, run
from sparsesim.study.table import Table
from studies import vaease_dims as declared
from studies.tiers import Tier
from studies.vaease_dims import (
    METRICS,
    SIZES,
    active,
    certain,
    final_loss,
    noise,
    on_manifold,
    solvers,
    study,
    used,
    worlds,
)

NAMES = tuple(metric.__name__ for metric in METRICS)
SHORT = Training(steps=20, batch_size=32, normalise=False)


def expected(world: str, name: str, seed: int) -> dict[str, float]:
    """What theory and the observations of the study say of one row."""
    gated, ends = name.startswith("vaease"), {"quarter": 0.1, "half": 0.01}
    size = 4.0 if gated or name.startswith("abs") else 12.0 if world == "equal" else 14.0
    variance = ends.get(name.split("_")[-1], 0.001) * (1 + 0.1 * seed)
    found = dict.fromkeys(NAMES, 1.0) | {"active": size, "noise": variance, "fvu": 1e-5 * (1 + 0.1 * seed)}
    found |= {f"active_on_{k}": float(k) if gated else 14.0 for k in declared.DIMENSIONS}
    if name.startswith("vae"):
        found["final_loss"] = optimum("vaease" if gated else "vae", variance)
    if name.startswith("relu"):
        found |= {"active": 5.0, "fvu": 0.002}
    if name == "vaease_at_0.01":
        found["active"] = 17.0
    if name == "vaease_scaled":
        found["fvu"] = 1.0
    return found


def invented(**changes: dict[str, float]) -> Table:
    """A table in which every row is as `expected`, or that of the named solver off by the given changes."""
    made = []
    for world, own in solvers(SHORT).items():
        for name in own:
            for seed in range(3):
                scores = expected(world, name, seed)
                scores |= {key: scores[key] + by for key, by in changes.get(name, {}).items()}
                made.append([world, name, seed, "budget spent", *(scores[n] + 1e-7 * seed for n in NAMES)])
    return Table.of_rows(["world", "solver", "seed", "status", *NAMES], made)


def test_as_theory_has_it_every_claim_is_reproduced_and_everything_is_drawn():
    assert {one.verdict for one in claims(invented())} == {Verdict.REPRODUCED}
    assert len(draw(invented()).axes) == 3
    found = rows(invented())
    assert len(found) == sum(map(len, solvers(SHORT).values())) and {len(row) for row in found} == {len(HEADER)}


@pytest.mark.parametrize(
    ("name", "changes", "begins"),
    [
        ("vaease", {"active": 4.0}, "VAEase uses as many"),
        ("vae", {"active": -4.0}, "A plain VAE keeps"),
        ("vaease", {"active_on_2": 3.0}, "On manifolds of unequal dimension, samples of the one of 2"),
        ("vae", {"active_on_2": -5.0}, "A plain VAE does not tell"),
        ("vaease", {"fvu": 0.1}, "VAEase is sparse"),
        ("vaease_quarter", {"final_loss": 40.0}, "The loss of VAEase falls"),
        ("vae_quarter", {"final_loss": 40.0}, "The loss of a plain VAE falls"),
        ("vae", {"final_loss": 9.0}, "A trained plain VAE"),
        ("vaease", {"final_loss": 99.0}, "Trained VAEase costs less"),
        ("relu_l1_0.3", {"fvu": -0.002}, "A sparse autoencoder uses"),
        ("relu_l1_0.3", {"active": -2.0}, "The latents of a sparse"),
        ("vaease_at_0.01", {"active": -13.0}, "With the noise small"),
        ("vaease_scaled", {"fvu": -1.0}, "Where the first noise"),
    ],
)
def test_what_is_otherwise_fails_its_claim(name, changes, begins):
    (found,) = [one for one in claims(invented(**{name: changes})) if one.sentence.startswith(begins)]
    assert found.verdict is Verdict.FAILED


def test_the_worlds_are_unions_of_orthogonal_manifolds_of_the_stated_dimensions():
    for name, sizes in (("equal", vaease_dims.EQUAL), ("unequal", declared.DIMENSIONS)):
        batch = worlds()[name].build(stream(0, Role.TRUTH)).sample(3000, stream(0, Role.TEST))
        own = np.diff(batch.codes.indptr)
        assert sorted(set(own.tolist())) == sorted(set(sizes))
        assert np.linalg.matrix_rank(batch.x) == sum(sizes)
        for size in set(sizes) if name == "unequal" else ():
            rows_of = batch.x[own == size]
            assert np.linalg.matrix_rank(rows_of) == size
            # shares of a third each, and coordinates of variance 40: four standard errors
            assert abs((own == size).mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 3000)
            energy = np.square(rows_of).sum(axis=1)
            assert abs(energy.mean() - 40 * size) < 4 * 40 * np.sqrt(2 * size / len(rows_of))
    assert vaease_dims.DIM == declared.DIM and vaease_dims.LATENTS == declared.LATENTS
    assert vaease_dims.PENALTIES == declared.PENALTIES and vaease_dims.UNEQUAL == declared.DIMENSIONS
    assert vaease_dims.FIXED in declared.NOISES


def test_what_a_sample_uses_is_what_its_posterior_or_its_code_says():
    cell = FitCell(worlds()["unequal"], 0, 60, VAEase(20, hidden=8, training=SHORT), 200)
    evaluation = cell.evaluate()
    variances = posterior_variances(evaluation.fitted, evaluation.batch.x)
    own = np.diff(evaluation.batch.codes.indptr)
    assert np.array_equal(used(evaluation), active_dimensions(variances))
    assert active(evaluation) == active_dimensions(variances).mean()
    assert on_manifold(8)(evaluation) == active_dimensions(variances[own == 8]).mean()
    assert certain(evaluation) == (variances < 0.05).sum(axis=1).mean() and noise(evaluation) > 0
    sparse = FitCell(worlds()["equal"], 0, 60, ReLUL1(8, 1.0, training=SHORT), 200).evaluate()
    assert active(sparse) == sparse.codes.nnz / 60
    assert np.isnan([certain(sparse), noise(sparse), on_manifold(8)(sparse)]).all()


@pytest.mark.parametrize("solver", [VAEase(20, hidden=8, training=SHORT), GaussianVAE(20, training=SHORT)])
def test_the_loss_at_the_end_is_that_of_posterior_samples(solver):
    evaluation = FitCell(worlds()["unequal"], 0, 1_000, solver, 500).evaluate()
    module, x, _ = opened(evaluation.fitted, evaluation.batch.x, "either")
    with torch.no_grad():
        steps = [Step(0, 1, (torch.Generator().manual_seed(draw),)) for draw in range(16)]
        drawn = [float(sum(module.losses(x, step).values())) for step in steps]
    assert final_loss(evaluation) == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 4)


def test_the_smoke_tier_runs_and_can_be_judged_and_drawn(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(claims(table)) == 15 and len(draw(table).axes) == 3


@pytest.mark.skipif(not (TABLES / "vaease_dims.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_finds_the_dimension():
    table = Table.read(TABLES / "vaease_dims.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {(row["world"], row["solver"], row["seed"]) for row in table.rows()} == cells
    assert json.loads((TABLES / "vaease_dims.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert SIZES[Tier.LAPTOP].seeds >= 5
    assert claims(table)[0].verdict is Verdict.REPRODUCED
    plain = by_seed(table, "active", world="equal", solver="vae")
    assert np.median(plain) == 12 and np.abs(plain - 12).max() <= 1  # one seed keeps a latent too many
