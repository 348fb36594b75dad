"""Bars: does a group lasso on the decoder give each row of an image a latent of its own?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsesim._arrays import FloatArray, unit_rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import GivenAtoms
from sparsesim.generators.magnitude import Constant
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.metrics import recovery
from sparsesim.metrics.disentanglement import dci_disentanglement
from sparsesim.metrics.disentanglement_codes import code_mcc
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.neural.output_groups import OutputGroups, group_norms
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.study import Cell, FitCell, Labels, Study, grouped, labels
from studies.tiers import Tier

SIDE = 8  # rows, pixels of a row, and latents
GROUPS = tuple(tuple(range(SIDE * row, SIDE * row + SIDE)) for row in range(SIDE))
BRIGHT, NOISE, RATE = 0.5, 0.05, 0.4  # of a pixel of a bar, of every pixel, and of bars where each comes by itself
PENALTIES = (0.0, 0.3, 0.6, 0.9)


def worlds() -> dict[str, FeatureSpec]:
    """Return images of one bar each, as published, and of bars that come independently."""
    rows = np.repeat(np.eye(SIDE), SIDE, axis=1) / np.sqrt(SIDE)
    one = FeatureSpec(
        SIDE * SIDE,
        ExactlyK(SIDE, 1),
        GivenAtoms(tuple(map(tuple, rows.tolist()))),
        Constant(BRIGHT * SIDE**0.5),
        noise=Gaussian(NOISE),
    )
    return {"one": one, "independent": replace(one, support=Bernoulli(EqualRates(SIDE, RATE)))}


def speaks(evaluation: Evaluation) -> FloatArray:
    """Return how loudly each latent speaks to each row ``(rows, latents)``, in shares of the latent's unit norm."""
    atoms, _ = unit_rows(np.asarray(evaluation.fitted.atoms, dtype=np.float64))
    return np.asarray(group_norms(atoms, GROUPS))


def permutation_share(evaluation: Evaluation) -> float:
    """Return the energy on the best one-to-one matching of rows and latents, in shares of the number of rows.

    1 if and only if each latent speaks to one row and each row is spoken to by one; a latent without an atom counts 0.
    """
    energy = np.square(speaks(evaluation))
    rows, latents = linear_sum_assignment(energy, maximize=True)
    return float(energy[rows, latents].sum() / SIDE)


def exact_zeros(evaluation: Evaluation) -> float:
    """Return the share of blocks (row, latent) that are exactly zero: (rows - 1) / rows for a permutation."""
    return float((speaks(evaluation) == 0.0).mean())


def silent(evaluation: Evaluation) -> float:
    """Return the number of latents whose atom is exactly zero."""
    atoms: Any = evaluation.fitted.atoms
    return float((~atoms.any(axis=1)).sum())


METRICS = (permutation_share, exact_zeros, silent, recovery.mcc, recovery.mcc_chance, code_mcc, dci_disentanglement)


@dataclass(frozen=True)
class Size:
    """What a tier spends; the release trains on 2048 images for 20 000 epochs of batches of 64."""

    seeds: int
    n_test: int
    training: Training
    n_train: int = 2048


SIZES = {
    Tier.SMOKE: Size(2, 200, Training(steps=60, batch_size=32, learning_rate=1e-2), 256),
    Tier.LAPTOP: Size(5, 2_000, Training(steps=3_000, batch_size=64, learning_rate=1e-2)),
    Tier.PAPER: Size(20, 10_000, Training(steps=100_000, batch_size=64, learning_rate=1e-3)),
}


def study(tier: Tier) -> Study:
    """Return world x penalty on paired seeds; penalty zero is the host alone."""
    size = SIZES[tier]
    host = GaussianVAE(SIDE, noise_variance=0.3, training=size.training)
    cells: dict[Labels, Cell] = {}
    for name, world in worlds().items():
        for penalty in PENALTIES:
            for seed in range(size.seeds):
                solver = OutputGroups(host, GROUPS, penalty)
                cell = FitCell(world, seed, size.n_test, solver, size.n_train)
                cells[labels(world=name, penalty=penalty, seed=seed)] = cell
    question = "Does a group lasso on the decoder give each row of an image a latent of its own?"
    return grouped(Study("bars", question, cells, METRICS), len(worlds()) * len(PENALTIES) * size.seeds)
