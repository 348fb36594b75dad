"""Relevance of latents: does automatic relevance determination count the dimensions of data, whatever the noise?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import reconstruction
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.neural.ard import ARDVAE, relevance, relevant
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.study import Cell, FitCell, Labels, Study, grouped, labels
from studies.tiers import Tier

DIM, LATENTS = 20, 12
RANKS = (2, 4, 8)
NOISES = (0.03, 0.1, 0.3)  # standard deviation of a coordinate, beside directions of variance 1
WEIGHTS = {"ard": 1.0, "ard_half": 0.5}


def world(rank: int, noise: float) -> FeatureSpec:
    """Return Gaussian data of variance 1 in ``rank`` random directions of R^20, and white noise in all."""
    return FeatureSpec(DIM, ExactlyK(rank, rank), Orthonormal(), SignedGaussian(), noise=Gaussian(noise))


def _relevance(evaluation: Evaluation) -> FloatArray:
    fitted: Any = evaluation.fitted
    return relevance(fitted, evaluation.batch.x)


def relevant_latents(evaluation: Evaluation) -> float:
    """Return the fewest latents whose relevances make up 99% of all."""
    return float(len(relevant(_relevance(evaluation))))


def loud_latents(evaluation: Evaluation) -> float:
    """Return how many latents have at least a tenth of the largest relevance."""
    found = _relevance(evaluation)
    return float(np.count_nonzero(found > 0.1 * found.max()))


def noise_variance(evaluation: Evaluation) -> float:
    """Return the learned variance of the decoder, in the scale E||x - mean||^2 = d."""
    encoder: Any = getattr(evaluation.fitted, "encoder", None)
    return float(np.exp(encoder.module.log_noise.item()))


METRICS = (relevant_latents, loud_latents, noise_variance, reconstruction.fvu)


@dataclass(frozen=True)
class Size:
    """What a tier spends."""

    seeds: int
    n_train: int
    n_test: int
    training: Training


SIZES = {
    Tier.SMOKE: Size(2, 1_000, 200, Training(steps=60, batch_size=64, learning_rate=1e-2)),
    Tier.LAPTOP: Size(5, 20_000, 2_000, Training(steps=3_000, learning_rate=1e-2)),
    Tier.PAPER: Size(20, 200_000, 10_000, Training(steps=30_000, learning_rate=5e-3)),
}


def solvers(training: Training) -> dict[str, Solver]:
    """Return the solvers by name: the prior variances learned, at two weights of the divergence, and held at one."""
    found: dict[str, Solver] = {
        name: ARDVAE(LATENTS, beta=weight, training=training) for name, weight in WEIGHTS.items()
    }
    return {**found, "vae": GaussianVAE(LATENTS, training=training)}


def study(tier: Tier) -> Study:
    """Return rank x noise x solver on paired seeds; cells of one kind of solver are trained together."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for name, solver in solvers(size.training).items():
        for rank in RANKS:
            for noise in NOISES:
                for seed in range(size.seeds):
                    cell = FitCell(world(rank, noise), seed, size.n_test, solver, size.n_train)
                    cells[labels(solver=name, rank=rank, noise=noise, seed=seed)] = cell
    question = "Does the relevance of latents count the dimensions of data, whatever the noise?"
    return grouped(Study("ard", question, cells, METRICS), len(RANKS) * len(NOISES) * size.seeds)
