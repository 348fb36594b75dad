"""Relevance determination: the count of the exact optimum, the worlds, and the claims."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from paper_figures import ard
from paper_figures.__main__ import TABLES
from paper_figures.ard import HEADER, SHOWN, WEIGHTS, claims, draw, optimum, rows
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.ard import relevance, relevant
from sparsesim.solvers.neural.train import Training
from sparsesim.study import run
from sparsesim.study.table import Table
from studies import ard as declared
from studies.ard import METRICS, NOISES, RANKS, SIZES, solvers, study, world
from studies.tiers import Tier
from theory.vae import learned_noise, linear_vae

NAMES = tuple(metric.__name__ for metric in METRICS)


def invented(**changes: float) -> Table:
    """A table in which every count is that of the optimum, or off by the number given for its solver."""
    made = []
    for name in solvers(Training()):
        for rank in RANKS:
            for noise in NOISES:
                count = optimum(rank, noise, WEIGHTS[name]) + changes.get(name, 0.0)
                loud = rank + changes.get("loud", 0.0)
                made += [[name, rank, noise, seed, "done", count, loud, *(1.0 for _ in NAMES[2:])] for seed in (0, 1)]
    return Table.of_rows(["solver", "rank", "noise", "seed", "status", *NAMES], made)


def test_at_the_optimum_every_claim_is_reproduced_and_everything_is_drawn():
    assert {one.verdict for one in claims(invented())} == {Verdict.REPRODUCED}
    assert len(draw(invented()).axes) == len(RANKS)
    found = rows(invented())
    assert len(found) == len(SHOWN) * len(RANKS) * len(NOISES) and {len(row) for row in found} == {len(HEADER)}


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"ard": 1.0}, "The relevant latents"),
        ({"ard_half": -8.0}, "With a weight below one"),
        ({"ard_half": -2.0}, "At weight 1/2"),
        ({"vae": 1.0}, "Of linear models"),
        ({"loud": 1.0}, "Latents of at least"),
    ],
)
def test_other_counts_fail_their_claim(changes, begins):
    (found,) = [one for one in claims(invented(**changes)) if one.sentence.startswith(begins)]
    assert found.verdict is Verdict.FAILED


@pytest.mark.parametrize(("rank", "noise", "beta"), [(2, 0.1, 0.5), (4, 0.3, 1.0), (8, 0.3, 0.5)])
def test_the_count_of_the_optimum_is_that_of_the_gains_of_the_linear_model(rank, noise, beta):
    eigenvalues = np.sort([1 + noise**2] * rank + [noise**2] * (declared.DIM - rank))[::-1]
    variance = learned_noise(eigenvalues, declared.LATENTS, beta)
    gains = linear_vae(eigenvalues, declared.LATENTS, variance, beta).gain
    counts = [k for k in range(1, declared.LATENTS + 1) if gains[:k].sum() >= (0.99 - 1e-12) * gains.sum()]
    assert optimum(rank, noise, beta) == counts[0]
    assert (ard.DIM, ard.LATENTS) == (declared.DIM, declared.LATENTS)
    assert {**declared.WEIGHTS, "vae": 1.0} == WEIGHTS


def test_the_worlds_have_the_stated_spectrum():
    x = world(4, 0.3).build(stream(0, Role.TRUTH)).sample(20_000, stream(0, Role.TEST)).x
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T)))[::-1]
    # eigenvalues of a sample spread by about 2 sqrt(d / n) = 0.06 of themselves
    assert np.abs(values[:4] / 1.09 - 1).max() < 0.07 and np.abs(values[4:] / 0.09 - 1).max() < 0.07


def test_the_smoke_tier_runs_and_can_be_judged_and_drawn(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    assert len(claims(table)) == 5 and len(draw(table).axes) == len(RANKS)
    assert table.column("loud_latents").min() >= 1 and table.column("noise_variance").min() > 0


@pytest.mark.skipif(not (TABLES / "ard.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_counts_the_rank():
    table = Table.read(TABLES / "ard.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {(row["solver"], row["rank"], row["noise"], row["seed"]) for row in table.rows()} == cells
    assert json.loads((TABLES / "ard.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert SIZES[Tier.LAPTOP].seeds >= 5
    assert claims(table)[1].verdict is Verdict.REPRODUCED


def best_count(x: np.ndarray) -> int:
    """Return the count of the exact optimum on the covariance of these very samples."""
    values = np.sort(np.linalg.eigvalsh(np.cov(x.T)))[::-1]
    gains = linear_vae(values, declared.LATENTS, learned_noise(values, declared.LATENTS)).gain
    return int(np.searchsorted(np.cumsum(gains) / gains.sum(), ard.SHARE)) + 1


def of_exact_covariance(x: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the samples, moved and stretched until their covariance is the given one."""
    away = x - x.mean(axis=0)
    return away @ np.linalg.cholesky(np.linalg.inv(np.cov(away.T))) @ np.linalg.cholesky(covariance).T


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_diagnosis_that_the_spectrum_of_samples_and_of_batches_is_counted(seed):
    model = world(2, 0.3).build(stream(seed, Role.TRUTH))
    drawn = model.sample(20_000, stream(seed, Role.TRAIN)).x
    exact = of_exact_covariance(drawn, model.atoms.T @ model.atoms + 0.09 * np.eye(declared.DIM))
    found = {}
    for name, x, batch in (("drawn", drawn, 2_048), ("exact", exact, 2_048), ("batches", exact, 256)):
        solver = solvers(replace(SIZES[Tier.LAPTOP].training, batch_size=batch))["ard"]
        found[name] = len(relevant(relevance(solver.fit(x, rng=stream(seed, Role.SOLVER)), x)))
    assert best_count(drawn) in (6, 7) and abs(found["drawn"] - best_count(drawn)) <= 1
    assert best_count(exact) == found["exact"] == 2  # the control: a flat spectrum, large batches
    assert found["batches"] >= 5
