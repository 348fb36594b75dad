"""One bit a latent: what a trained two-layer autoencoder keeps of Gaussian and of sparse data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray, unit_rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.laws import MagnitudeLaw
from sparsesim.generators.magnitude import BernoulliSign, SignedGaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli
from sparsesim.metrics import reconstruction
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.neural.sign import SignAutoencoder
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.tiers import Tier
from theory.autoencoders import sign_autoencoder_mse


def encoder_rows(evaluation: Evaluation) -> FloatArray:
    """Return the unit rows of the encoder in the basis of the features, ``(p, d)``."""
    fitted: Any = evaluation.fitted
    weights = np.asarray(fitted.encoder.module.encoder.numpy(), dtype=np.float64)
    return unit_rows(weights)[0] @ evaluation.truth.atoms.T


def gaussian_error(evaluation: Evaluation) -> float:
    """Return the exact error a dimension of the learned encoder on Gaussian data, with the best decoder."""
    return sign_autoencoder_mse(encoder_rows(evaluation))


def fourth_powers(evaluation: Evaluation) -> float:
    """Return the mean over latents of sum_j b_ij^4: 1/d where a row is spread evenly, 1 where it is one feature."""
    return float((encoder_rows(evaluation) ** 4).sum(axis=1).mean())


METRICS = (reconstruction.fvu, gaussian_error, fourth_powers)


@dataclass(frozen=True)
class Size:
    """What a tier spends: d dimensions, rates in bits a dimension, densities of both kinds of sparse data."""

    d: int
    seeds: int
    n_train: int
    n_test: int
    training: Training
    rates: tuple[float, ...]
    gaussian: tuple[float, ...]
    signs: tuple[float, ...]


RATES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SIZES = {
    Tier.SMOKE: Size(16, 3, 2_000, 2_000, Training(steps=200), (0.5, 1.0, 2.0), (0.5, 1.0), (0.4, 0.9)),
    Tier.LAPTOP: Size(
        32, 5, 20_000, 10_000, Training(steps=2_000), RATES,
        (0.1, 0.2, 0.4, 0.7, 1.0), (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9),
    ),
    Tier.PAPER: Size(
        128, 10, 200_000, 20_000, Training(steps=20_000), RATES,
        (0.05, 0.1, 0.2, 0.4, 0.7, 1.0), tuple(round(0.3 + 0.05 * i, 2) for i in range(15)),
    ),
}  # fmt: skip
SPARSE = 0.5  # density of the sparse data whose rate is varied


def world(d: int, density: float, signs: bool) -> FeatureSpec:
    """Return d orthonormal features, each active with probability ``density``: normal, or +-1."""
    magnitude: MagnitudeLaw = BernoulliSign() if signs else SignedGaussian()
    return FeatureSpec(d, Bernoulli(EqualRates(d, density)), Orthonormal(), magnitude)


def study(tier: Tier) -> Study:
    """Return loss against rate for dense and sparse normal data, and loss at one bit a dimension against density."""
    size = SIZES[tier]
    points = [("rate", density, rate) for density in (1.0, SPARSE) for rate in size.rates]
    points += [("normal", density, 1.0) for density in size.gaussian]
    points += [("signs", density, 1.0) for density in size.signs]
    cells: dict[Labels, Cell] = {}
    for part, density, rate in points:
        spec = world(size.d, density, part == "signs")
        solver = SignAutoencoder(round(rate * size.d), training=size.training)
        group = tuple(FitCell(spec, seed, size.n_test, solver, size.n_train) for seed in range(size.seeds))
        for seed in range(size.seeds):
            cells[labels(part=part, density=density, rate=rate, d=size.d, seed=seed)] = Grouped(group, seed)
    question = "What does a two-layer autoencoder of one bit a latent keep, and does it see that data are sparse?"
    return Study("two_layer", question, cells, METRICS)
