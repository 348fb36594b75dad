"""Active dimensions on unions of linear manifolds: does each sample use as many latents as its own manifold has?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.manifolds import UnionSupport, linear_union
from sparsesim.metrics import codes, reconstruction
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.exact_bound import exact_loss
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vaease import VAEase, active_dimensions, posterior_variances
from sparsesim.study import Cell, FitCell, Labels, Study, grouped, labels
from studies.tiers import Tier

DIM = 40
SCALE = DIM**0.5  # of a coefficient: the norm that directions have in the released generator
DIMENSIONS = (2, 4, 8)  # of the unequal manifolds
LATENTS = 20
NOISES = (0.1, 0.01)  # fixed variances of the decoder, small from the start
SHORTER = {"half": 2, "quarter": 4}  # trainings that end at a larger learned noise
PENALTIES = (0.3, 1.0, 3.0)
KNOWN = 4  # dimension of each of the equal manifolds


def worlds() -> dict[str, FeatureSpec]:
    """Return three orthogonal manifolds of four dimensions, and three of 2, 4 and 8, with no direction in common."""
    ends = np.cumsum((0, *DIMENSIONS)).tolist()
    sets = tuple(tuple(range(low, low + size)) for low, size in zip(ends[:-1], DIMENSIONS, strict=True))
    unequal = FeatureSpec(DIM, UnionSupport(ends[-1], sets), Orthonormal(), SignedGaussian(SCALE))
    return {"equal": replace(linear_union(dim=DIM), magnitude=SignedGaussian(SCALE)), "unequal": unequal}


def _is_variational(fitted: FittedDictionary) -> bool:
    return hasattr(getattr(fitted.encoder, "module", None), "log_noise")


def used(evaluation: Evaluation) -> FloatArray:
    """Return how many latents each sample uses ``(n,)``.

    Of a variational autoencoder those whose posterior variance is in the lower of two groups, else those that fire.
    """
    fitted = evaluation.fitted
    if isinstance(fitted, FittedDictionary) and _is_variational(fitted):
        return active_dimensions(posterior_variances(fitted, evaluation.batch.x)).astype(np.float64)
    return np.asarray(np.diff(evaluation.codes.indptr), dtype=np.float64)


def active(evaluation: Evaluation) -> float:
    """Return the mean number of latents that a sample uses."""
    return float(used(evaluation).mean())


def certain(evaluation: Evaluation) -> float:
    """Return the mean number of latents whose posterior variance is below 0.05; NaN without a posterior."""
    fitted = evaluation.fitted
    if not isinstance(fitted, FittedDictionary) or not _is_variational(fitted):
        return float("nan")
    return float((posterior_variances(fitted, evaluation.batch.x) < 0.05).sum(axis=1).mean())


def on_manifold(size: int) -> Callable[[Evaluation], float]:
    """Return the metric ``active_on_SIZE``: `active` over samples of manifolds of that dimension, NaN without any."""

    def column(evaluation: Evaluation) -> float:
        own = np.diff(evaluation.batch.codes.indptr) == size
        return float(used(evaluation)[own].mean()) if own.any() else float("nan")

    column.__name__ = f"active_on_{size}"
    return column


def noise(evaluation: Evaluation) -> float:
    """Return the variance of the decoder, learned or fixed, in the scale of training; NaN without one."""
    fitted = evaluation.fitted
    if not isinstance(fitted, FittedDictionary) or not _is_variational(fitted):
        return float("nan")
    module: Any = getattr(fitted.encoder, "module")  # noqa: B009 - an encoder of another solver has none
    return float(np.exp(module.log_noise.item()))


def final_loss(evaluation: Evaluation) -> float:
    """Return minus the evidence bound of held-out samples, nats a sample in the scale of training, at the last weights.

    NaN without a posterior.
    """
    fitted = evaluation.fitted
    if not isinstance(fitted, FittedDictionary) or not _is_variational(fitted):
        return float("nan")
    return exact_loss(fitted, evaluation.batch.x)


METRICS = (active, certain, *map(on_manifold, DIMENSIONS), codes.l0, reconstruction.fvu, noise, final_loss)


@dataclass(frozen=True)
class Size:
    """What a tier spends; the paper has 500 000 samples and 150 epochs."""

    seeds: int
    n_train: int
    n_test: int
    training: Training


SIZES = {
    Tier.SMOKE: Size(2, 1_000, 200, Training(steps=60, batch_size=64, learning_rate=1e-2, normalise=False)),
    Tier.LAPTOP: Size(5, 50_000, 2_000, Training(steps=3_000, learning_rate=1e-2, normalise=False)),
    Tier.PAPER: Size(10, 500_000, 20_000, Training(steps=60_000, learning_rate=1e-2, normalise=False)),
}


def solvers(training: Training) -> dict[str, dict[str, Solver]]:
    """Return the solvers of each world by name.

    Variational models see the data in the scale of the release, where the decoder's first noise variance, 1, is a
    quarter of a coordinate's; ``vaease_scaled`` has it divided out, so that the two are equal. The penalty of the L1
    norm is quoted in that scale, as everywhere. ``vaease_at_0.1`` and ``vaease_at_0.01`` do not learn the noise.
    """
    scaled = replace(training, normalise=True)
    plain = replace(scaled, learning_rate=training.learning_rate / 2)
    own: dict[str, Solver] = {
        "vaease": VAEase(LATENTS, training=training),
        "vae": GaussianVAE(LATENTS, hidden=128, training=training),
    }
    found: dict[str, Solver] = {**own, "vaease_scaled": VAEase(LATENTS, training=scaled)}
    found |= {f"relu_l1_{penalty:g}": ReLUL1(2 * LATENTS, penalty, training=plain) for penalty in PENALTIES}
    found["abs_topk"] = AbsTopK(LATENTS, KNOWN, training=plain)
    for variance in NOISES:
        found[f"vaease_at_{variance:g}"] = VAEase(LATENTS, noise_variance=variance, training=training)
    for word, part in SHORTER.items():
        short = replace(training, steps=training.steps // part)
        found[f"vaease_{word}"] = VAEase(LATENTS, training=short)
        found[f"vae_{word}"] = GaussianVAE(LATENTS, hidden=128, training=short)
    return {"equal": found, "unequal": own}


def study(tier: Tier) -> Study:
    """Return both worlds at ``tier`` on paired seeds; solvers that differ in numbers alone are trained together."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for world, own in solvers(size.training).items():
        for name, solver in own.items():
            for seed in range(size.seeds):
                cell = FitCell(worlds()[world], seed, size.n_test, solver, size.n_train)
                cells[labels(world=world, solver=name, seed=seed)] = cell
    question = "Does each sample of a union of manifolds use as many latents as its own manifold has dimensions?"
    return grouped(Study("vaease_dims", question, cells, METRICS), len(PENALTIES) * size.seeds)
