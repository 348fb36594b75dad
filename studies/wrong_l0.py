"""Too few active latents, or too many: which atoms a BatchTopK autoencoder learns, and what shows it without the truth.

The toy world of the paper: 50 orthonormal features in 100 dimensions whose rates fall from 0.39 to 0.05, two in three
pairs of them correlated, of either sign; the true number of active features is 10.95 a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Batch, FeatureModel, FeatureSpec
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import DenseCorrelation
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.rates import LinearRates
from sparsesim.kernels.synthesis import synthesise
from sparsesim.metrics import codes, decoder, hedging, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Solver, Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.fixed_bias import FixedBias
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationThreshold
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier
from theory.hedging import sharing_threshold

M, DIM = 50, 100
RATES = LinearRates(M, 0.345 * (M - 1) / M + 0.05, 0.05)
TRUE_L0 = float(RATES.rates().sum())
MAGNITUDE = (1.0, 0.15)  # mean and standard deviation
STRENGTH = (0.3, 0.9)  # of the correlations before they are made consistent
UNCORRELATED = 0.3  # share of pairs
SMALLEST = 1e-6  # eigenvalue that a negative one is raised to
FOLDS = 10  # parts of the coordinates, each hidden in a tenth of the samples
PAIRS = 3  # tells the draw of the correlations of a seed from its others


def correlation(seed: int) -> DenseCorrelation:
    """Return latent correlations: 70% of the pairs, half of them positive, made consistent by raising eigenvalues.

    Strengths are uniform on [0.3, 0.9], which no matrix has; what is left of them is 0.14 in the median. So it is
    in the released code.
    """
    rng = stream(seed, Role.LAW, PAIRS)
    first, second = np.triu_indices(M, 1)
    chosen = rng.permutation(len(first))[: len(first) - int(UNCORRELATED * len(first))]
    sign = np.where(np.arange(len(chosen)) < len(chosen) // 2, 1.0, -1.0)
    matrix = np.zeros((M, M))
    matrix[first[chosen], second[chosen]] = sign * rng.uniform(*STRENGTH, len(chosen))
    values, vectors = np.linalg.eigh(matrix + matrix.T + np.eye(M))
    matrix = (vectors * np.maximum(values, SMALLEST)) @ vectors.T
    size = np.sqrt(np.diag(matrix))
    matrix = np.triu(matrix / np.outer(size, size), 1)
    return DenseCorrelation(tuple(map(tuple, (matrix + matrix.T + np.eye(M)).tolist())))


def world(seed: int) -> FeatureSpec:
    """Return the world with the correlations of ``seed``."""
    support = CorrelatedBernoulli(RATES, correlation(seed))
    return FeatureSpec(DIM, support, Orthonormal(), RectifiedNormal(*MAGNITUDE))


@cache  # a run takes the cells in any order; 30 MB a seed
def drawn(seed: int, n_train: int, n_test: int) -> tuple[FeatureModel, FloatArray, Batch]:
    """Return the world of ``seed`` and its samples, drawn once for all cells of the seed."""
    model = world(seed).build(stream(seed, Role.TRUTH))
    train = model.sample(n_train, stream(seed, Role.TRAIN), dtype=np.float32).x
    return model, train, model.sample(n_test, stream(seed, Role.TEST))


@final
@dataclass(frozen=True)
class SharedCell:
    """Fit ``solver`` to the samples of ``seed``, or code by the true atoms where there is only a ``level``."""

    seed: int
    n_train: int
    n_test: int
    solver: Solver | None
    level: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("n_train", 1), ("n_test", FOLDS)):
            check_int(name, getattr(self, name), least)

    def evaluate(self) -> Evaluation:
        """Return what was learned, or the truth with a threshold, against held-out samples."""
        model, train, batch = drawn(self.seed, self.n_train, self.n_test)
        if self.solver is not None:
            return Evaluation(model, self.solver.fit(train, rng=stream(self.seed, Role.SOLVER)), batch)
        encoder = CorrelationThreshold(self.level, non_negative=True)
        return Evaluation(model, FittedDictionary(model.atoms, model.bias, encoder, Status.CONVERGED), batch)


def squared_error(evaluation: Evaluation) -> float:
    """Return ||x - xhat||^2, summed over d, as a mean over samples."""
    return float(np.square(evaluation.batch.x - evaluation.reconstruction).sum(axis=1).mean())


def masked_error(evaluation: Evaluation) -> float:
    """Return `hidden_error` with as many atoms as the dictionary's own encoder uses a sample; it needs no truth."""
    return hidden_error(evaluation, max(1, round(codes.l0(evaluation))))


def hidden_error(evaluation: Evaluation, k: int) -> float:
    """Return the error of predicting hidden coordinates from the others with ``k`` atoms, over their energy.

    A tenth of the coordinates is hidden in a tenth of the samples each; codes are those of non-negative OMP on the
    visible pieces of the atoms.
    """
    bias = np.asarray(evaluation.fitted.bias)
    x = np.asarray(evaluation.batch.x, dtype=np.float64) - bias
    atoms = np.asarray(evaluation.fitted.atoms, dtype=np.float64)
    error = energy = 0.0
    for fold in range(FOLDS):
        rows, hidden = x[fold::FOLDS], np.arange(fold, x.shape[1], FOLDS)
        visible = np.setdiff1d(np.arange(x.shape[1]), hidden)
        part = atoms[:, visible]
        size = np.maximum(np.linalg.norm(part, axis=1), np.finfo(np.float64).tiny)
        found = OrthogonalMatchingPursuit(k, non_negative=True).encode(rows[:, visible], part / size[:, None])
        predicted = synthesise(found, atoms[:, hidden] / size[:, None])
        error += float(np.square(rows[:, hidden] - predicted).sum())
        energy += float(np.square(rows[:, hidden]).sum())
    return error / energy


def projection_12(evaluation: Evaluation) -> float:
    """Return `nth_decoder_projection` for n = 12, one above the true L0."""
    return decoder.nth_decoder_projection(evaluation, 12)


def projection_18(evaluation: Evaluation) -> float:
    """Return `nth_decoder_projection` for n = 18."""
    return decoder.nth_decoder_projection(evaluation, 18)


def projection_25(evaluation: Evaluation) -> float:
    """Return `nth_decoder_projection` for n = 25, half the width."""
    return decoder.nth_decoder_projection(evaluation, 25)


def bias_norm(evaluation: Evaluation) -> float:
    """Return the norm of the decoder bias; the truth has 0."""
    return float(np.linalg.norm(evaluation.fitted.bias))


METRICS: tuple[Any, ...] = (
    recovery.mcc,
    recovery.mcc_chance,
    recovery.recovered_at_90,
    codes.l0,
    codes.true_l0,
    codes.dead_fraction,
    hedging.hedging_score,
    squared_error,
    masked_error,
    decoder.decoder_coherence,
    projection_12,
    projection_18,
    projection_25,
    bias_norm,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; the paper trains on 15 million samples, 14,648 steps of 1024 at the rate 3e-4.

    ``ks`` with the decoder bias held at zero, ``free`` with a learned one as in the paper, ``long`` with four times as
    many steps.
    """

    seeds: int
    n_train: int
    n_test: int
    steps: int
    ks: tuple[int, ...]
    free: tuple[int, ...]
    long: tuple[int, ...]


SIZES = {
    Tier.SMOKE: Size(2, 2_000, 300, 60, (5, 11, 18), (5,), (11,)),
    Tier.LAPTOP: Size(5, 60_000, 3_000, 1_500, (5, 7, 9, 10, 11, 12, 14, 18), (5, 11), (11,)),
    Tier.PAPER: Size(10, 1_000_000, 20_000, 30_000, tuple(range(1, 26)), tuple(range(1, 26)), (9, 11, 14)),
}


def solvers(size: Size) -> dict[tuple[str, int], Solver]:
    """Return the autoencoders by name and k, and the random dictionary that is the floor."""
    short = Training(steps=size.steps, learning_rate=3e-3, normalise=False)
    long = Training(steps=4 * size.steps, learning_rate=3e-3, normalise=False)
    found: dict[tuple[str, int], Solver] = {}
    found |= {("held", k): FixedBias(BatchTopK(M, k, training=short)) for k in size.ks}
    found |= {("free", k): BatchTopK(M, k, training=short) for k in size.free}
    found |= {("long", k): FixedBias(BatchTopK(M, k, training=long)) for k in size.long}
    return found | {("random", k): RandomDictionary(M, OrthogonalMatchingPursuit(k, True)) for k in size.ks}


def study(tier: Tier) -> Study:
    """Return autoencoders x number of active latents x paired seeds, with the true atoms at the same number."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for seed in range(size.seeds):
        budget = (seed, size.n_train, size.n_test)
        for (name, k), solver in solvers(size).items():
            cells[labels(solver=name, k=k, seed=seed)] = SharedCell(*budget, solver)
        for k in size.ks:
            level = sharing_threshold(TRUE_L0, k, *MAGNITUDE)
            cells[labels(solver="truth", k=k, seed=seed)] = SharedCell(*budget, None, level)
    question = "What does a sparse autoencoder learn at the wrong number of active latents, and does anything show it?"
    return Study("wrong_l0", question, cells, METRICS)
