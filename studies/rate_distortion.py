"""Bits against distortion: what codes of trained dictionaries cost, and which dictionary says most in the fewest.

One world has as many orthonormal features as dimensions, each on by itself, so that its rate-distortion function is
that of one entry. The other is overcomplete with k active, and dictionaries of many widths and many k compete.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.metrics import codes, recovery
from sparsesim.metrics.description import description_length, quantised, select_by_description_length
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.reconstruction import fvu_of
from sparsesim.solvers.base import Solver
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.neural.gaussians import deviation_of, standard_kl
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.sign import SignAutoencoder
from sparsesim.solvers.neural.solver import NeuralEncoder, NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE, GaussianVAEModule
from sparsesim.solvers.neural.variational import opened
from sparsesim.solvers.neural.vsc import VariationalSparseCoding, VariationalSparseCodingModule, spike_and_slab_kl
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationThreshold
from sparsesim.study import Cell, FitCell, Grouped, Labels, OracleCell, Study, labels
from studies.tiers import Tier

BINS = (1, 2, 3, 4, 6, 8, 12, 16)
TOLERATED = 0.05  # FVU after rounding at which dictionaries of the map are compared
ATOM_BITS = 16.0  # of one weight of an atom, shared by the samples


def shortest(evaluation: Evaluation) -> float:
    """Return the fewest bits a sample, atoms included, that leave an FVU of at most 0.05; NaN if no rounding does."""
    price = ATOM_BITS * evaluation.batch.x.shape[1]
    try:
        found = select_by_description_length([evaluation], max_fvu=TOLERATED, adaptive=True, atom_bits=price)
    except ValueError:  # says that no number of bins is good enough
        return float("nan")
    return found.bits


def bits_at(bins: int) -> Callable[[Evaluation], float]:
    """Return the metric ``bits_4``, ...: bits a sample of the codes in so many bins, by their frequencies."""

    def column(evaluation: Evaluation) -> float:
        return description_length(evaluation.codes, bins).total

    column.__name__ = f"bits_{bins}"
    return column


def fvu_at(bins: int) -> Callable[[Evaluation], float]:
    """Return the metric ``fvu_4``, ...: the FVU after rounding to so many bins."""

    def column(evaluation: Evaluation) -> float:
        return fvu_of(evaluation.batch.x, evaluation.fitted.decode(quantised(evaluation.codes, bins)))

    column.__name__ = f"fvu_{bins}"
    return column


def channel(evaluation: Evaluation) -> tuple[float, float]:
    """Return the divergence from the prior in bits a sample, and the FVU of codes drawn from the posterior.

    Both are expectations over the posterior, without drawing. The divergence bounds what the codes tell of the sample
    from above, so that it lies on or above the rate-distortion function. NaN for what is no variational autoencoder.
    """
    encoder = evaluation.fitted.encoder
    module = encoder.module if isinstance(encoder, NeuralEncoder) else None
    if not isinstance(module, GaussianVAEModule | VariationalSparseCodingModule):
        return float("nan"), float("nan")
    _, x, _ = opened(evaluation.fitted, evaluation.batch.x, "GaussianVAE", diagonal=False)
    if isinstance(module, GaussianVAEModule):
        mean, log_variance = module.posterior(x)
        nats, variance = standard_kl(mean, log_variance), deviation_of(log_variance).square()
    else:
        slab, log_variance, gate = module.slabs(x)
        nats = spike_and_slab_kl(slab, log_variance, gate, module.alpha)
        mean = slab * gate.sigmoid()
        variance = (slab.square() + deviation_of(log_variance).square()) * gate.sigmoid() - mean.square()
    noise = float((_double(variance).mean(axis=0) * np.square(_double(module.decoder)).sum(axis=1)).sum())
    seen, rebuilt = _double(x), _double(module.decode(mean))
    spread = float(np.square(seen - seen.mean(axis=0)).sum(axis=1).mean())
    return float(nats) / math.log(2.0), fvu_of(seen, rebuilt) + noise / spread


def _double(values: Any) -> FloatArray:  # a tensor
    return np.asarray(values.detach().numpy(), dtype=np.float64)


def drawn_bits(evaluation: Evaluation) -> float:
    """Return the divergence of the posterior from the prior, bits a sample; NaN without either."""
    return channel(evaluation)[0]


def drawn_fvu(evaluation: Evaluation) -> float:
    """Return the FVU of reconstructions from codes drawn from the posterior; NaN without one."""
    return channel(evaluation)[1]


METRICS = (
    shortest,
    drawn_bits,
    drawn_fvu,
    *(bits_at(bins) for bins in BINS),
    *(fvu_at(bins) for bins in BINS),
    recovery.mcc,
    recovery.mcc_chance,
    codes.l0,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: (m, rate) of the plane; (d, m, k), widths and numbers of active atoms of the map."""

    plane: tuple[int, float]
    world: tuple[int, int, int]
    widths: tuple[int, ...]
    active: tuple[int, ...]
    seeds: int
    n_train: int
    n_test: int
    iterations: int
    training: Training


SIZES = {
    Tier.SMOKE: Size((8, 0.1), (12, 16, 2), (12, 16, 24), (1, 2, 3), 3, 1_000, 1_000, 30, Training(steps=50)),
    Tier.LAPTOP: Size(
        (16, 0.1), (24, 32, 3), (16, 24, 32, 40, 48, 64), (2, 3, 4, 5, 6), 5, 3_000, 20_000, 50, Training(steps=1_500)
    ),
    Tier.PAPER: Size(
        (64, 0.1), (64, 96, 5), (48, 64, 80, 96, 112, 128, 192), (3, 4, 5, 6, 7, 8), 10, 100_000, 50_000, 300,
        Training(steps=20_000),
    ),
}  # fmt: skip
THRESHOLDS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2)  # of the true codes, whose standard deviation is 1
PENALTIES = (0.1, 0.3, 1.0)
NOISES = (0.05, 0.1, 0.2, 0.4, 0.7)  # beta sigma^2 of the Gaussian VAE, over the variance of a dimension: its FVU
SLABS = (0.1, 0.3, 0.6, 1.0, 2.0)  # the same with a spike in the prior; a feature that is on has a variance of 10
HIDDEN = 64  # units of the encoder that tells which latents are on: no linear one sees a large value of either sign
LONGER = 3  # times as many steps for those, which learn when to open


def solvers(m: int, rate: float, training: Training, iterations: int) -> dict[str, dict[float, Solver]]:
    """Return the learners of the plane by name, each along a knob of its own that trades bits for distortion."""
    mean = rate * m
    counts = sorted({max(1, round(share * mean)) for share in (0.5, 1.0, 2.0, 3.0)})
    return {
        "mod": {
            float(k): MethodOfOptimalDirections(m, OrthogonalMatchingPursuit(k), iterations=iterations) for k in counts
        },
        "topk": {float(k): TopK(2 * m, k, training=training) for k in counts},
        "relu_l1": {penalty: ReLUL1(2 * m, penalty, training=training) for penalty in PENALTIES},
        "sign": {share: SignAutoencoder(round(share * m), training=training) for share in (0.5, 1.0, 2.0)},
    }


def variational(m: int, rate: float, training: Training) -> dict[str, dict[float, NeuralSolver]]:
    """Return the variational autoencoders of the plane by name, along the variance of their decoder."""
    longer = replace(training, steps=LONGER * training.steps)
    return {
        "vae": {noise: GaussianVAE(m, noise_variance=noise, training=longer) for noise in NOISES},
        "vsc": {
            noise: VariationalSparseCoding(m, noise_variance=noise, hidden=HIDDEN, alpha=rate, training=longer)
            for noise in SLABS
        },
    }


def _variational_cells(size: Size, plane: FeatureSpec) -> dict[Labels, Cell]:
    """Return the cells of the variational autoencoders; those of a kind train together."""
    cells: dict[Labels, Cell] = {}
    for name, along in variational(*size.plane, size.training).items():
        members = {
            labels(part="plane", solver=name, width=size.plane[0], knob=knob, seed=seed): FitCell(
                plane, seed, size.n_test, solver, 4 * size.n_train
            )
            for knob, solver in along.items()
            for seed in range(size.seeds)
        }
        group = tuple(members.values())
        cells |= {label: Grouped(group, place) for place, label in enumerate(members)}
    return cells


def study(tier: Tier) -> Study:
    """Return the plane of bits and distortion, and the map of description lengths by width and active atoms."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    m, rate = size.plane
    plane = FeatureSpec(m, Bernoulli(EqualRates(m, rate)), Orthonormal(), SignedGaussian())
    d, features, k = size.world
    world = FeatureSpec(d, ExactlyK(features, k), RandomSphere(), SignedGaussian())
    for seed in range(size.seeds):
        for threshold in THRESHOLDS:
            oracle = OracleCell(plane, seed, size.n_test, CorrelationThreshold(threshold))
            cells[labels(part="plane", solver="oracle", width=m, knob=threshold, seed=seed)] = oracle
        for name, along in solvers(m, rate, size.training, size.iterations).items():
            for knob, solver in along.items():
                fit = FitCell(plane, seed, size.n_test, solver, 4 * size.n_train)
                cells[labels(part="plane", solver=name, width=solver.width, knob=knob, seed=seed)] = fit
        for width in size.widths:
            for active in size.active:
                learner = MethodOfOptimalDirections(
                    width, OrthogonalMatchingPursuit(active), iterations=size.iterations
                )
                fit = FitCell(world, seed, size.n_test, learner, size.n_train)
                cells[labels(part="map", solver="mod", width=width, knob=float(active), seed=seed)] = fit
        truth = OracleCell(world, seed, size.n_test, OrthogonalMatchingPursuit(k))
        cells[labels(part="map", solver="oracle", width=features, knob=float(k), seed=seed)] = truth
    cells |= _variational_cells(size, plane)
    question = "How many bits do codes cost at what distortion, and does the shortest description find the truth?"
    return Study("rate_distortion", question, cells, METRICS)
