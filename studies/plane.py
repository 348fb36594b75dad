"""Every family of solvers on one plane: how many active features, at how much superposition, are found?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.active_set import NonNegativeLeastSquares
from sparsesim.solvers.base import Encoder, Solver
from sparsesim.solvers.baselines import IndependentComponents, RandomDictionary
from sparsesim.solvers.clustering import KMeans
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.homotopy import BasisPursuit
from sparsesim.solvers.message_passing import ApproximateMessagePassing
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.priors import BernoulliHalfNormal
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, FitCell, Grouped, Labels, OracleCell, Study, labels
from studies.bakeoff import n_features
from studies.tiers import Tier
from studies.transitions import exact_recovery as recovered_in_order


def dim(evaluation: Evaluation) -> float:
    """Return d, so that both coordinates of the plane stand in the table."""
    return float(evaluation.truth.atoms.shape[1])


def exact_recovery(evaluation: Evaluation) -> float:
    """Return the fraction of codes recovered to 1% of their norm with the true atoms; NaN for learned ones."""
    if not np.array_equal(evaluation.fitted.atoms, evaluation.truth.atoms):
        return float("nan")
    return recovered_in_order(evaluation)


METRICS = (
    n_features,
    dim,
    codes.code_correlation,
    codes.support_f1,
    codes.l0,
    recovery.mcc,
    recovery.mcc_chance,
    recovery.mcc_corrected,
    recovery.recovered_at_90,
    reconstruction.fvu,
    exact_recovery,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: d, the grid of m / d and of k, seeds, samples, training."""

    d: int
    ratios: tuple[float, ...]
    actives: tuple[int, ...]
    seeds: int
    n_train: int
    n_test: int
    training: Training


SIZES = {
    Tier.SMOKE: Size(8, (1.0, 2.0), (1, 7), 2, 400, 200, Training(steps=40, batch_size=64)),
    Tier.LAPTOP: Size(
        16, (1.0, 1.5, 2.0, 3.0, 4.0), (1, 2, 3, 4, 6, 10), 5, 5_000, 1_000, Training(steps=1_200, batch_size=128)
    ),
    Tier.PAPER: Size(
        64, (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0), (1, 2, 4, 6, 8, 12, 16, 24, 40), 10, 200_000, 4_000, Training(30_000)
    ),
}
PENALTIES = (1.0, 3.0)  # of the L1 autoencoder; the figure shows the better one at each point, chosen by the truth


def encoders(m: int, k: int) -> dict[str, Encoder]:
    """Return the encoders that are given the true atoms: the law of the codes known, convex, greedy, least, linear."""
    return {
        "bayes": ApproximateMessagePassing(BernoulliHalfNormal(k / m), tolerance=1e-7, max_iter=1_000),
        "l1": BasisPursuit(non_negative=True),
        "oracle_omp": OrthogonalMatchingPursuit(k, non_negative=True),
        "nnls": NonNegativeLeastSquares(),
        "one_step": CorrelationTopK(k, non_negative=True),
    }


def classical(m: int, d: int, k: int) -> dict[str, Solver]:
    """Return the floor and the learners that are not trained by gradients."""
    return {
        "random": RandomDictionary(m, OrthogonalMatchingPursuit(k, non_negative=True)),
        "kmeans": KMeans(m, iterations=30),
        "ica": IndependentComponents(min(m, d)),
        "online": OnlineDictionaryLearning(m, Lasso(0.1, non_negative=True)),
    }


def neural(m: int, k: int, training: Training) -> dict[str, NeuralSolver]:
    """Return the gradient-trained learners, told the true width and, where they ask, the true number of features."""
    prefixes = (m // 4, m // 2, m)
    return {
        "vae": GaussianVAE(m, training=training),
        **{f"relu_l1_{penalty:g}": ReLUL1(m, penalty, training=training) for penalty in PENALTIES},
        "topk": TopK(m, k, training=training),
        "batch_topk": BatchTopK(m, k, training=training),
        "matryoshka": Matryoshka(m, k, prefixes=prefixes, training=training),
        "mp": MatchingPursuitSAE(m, k, training=training),
    }


def world(d: int, m: int, k: int) -> FeatureSpec:
    """Return k of m random directions active in each sample, with half-normal codes and no noise."""
    return FeatureSpec(d, ExactlyK(m, k), RandomSphere(), HalfNormal(1.0))


def _groups(size: Size, m: int) -> dict[str, dict[Labels, FitCell]]:
    """Return for each gradient-trained learner its cells of width m: models that differ in buffers train together."""
    found: dict[str, dict[Labels, FitCell]] = {}
    for k in size.actives:
        for name, solver in neural(m, k, size.training).items():
            group = f"{name}, {k} steps" if isinstance(solver, MatchingPursuitSAE) else name  # its loop has k turns
            for seed in range(size.seeds):
                cell = FitCell(world(size.d, m, k), seed, size.n_test, solver, size.n_train)
                found.setdefault(group, {})[labels(solver=name, ratio=m / size.d, k=k, seed=seed)] = cell
    return found


def study(tier: Tier) -> Study:
    """Return the plane at ``tier``: solver, m / d, k, paired seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for m in (round(ratio * size.d) for ratio in size.ratios):
        for k in size.actives:
            here = world(size.d, m, k)
            for seed in range(size.seeds):
                for name, encoder in encoders(m, k).items():
                    label = labels(solver=name, ratio=m / size.d, k=k, seed=seed)
                    cells[label] = OracleCell(here, seed, size.n_test, encoder)
                for name, solver in classical(m, size.d, k).items():
                    label = labels(solver=name, ratio=m / size.d, k=k, seed=seed)
                    cells[label] = FitCell(here, seed, size.n_test, solver, size.n_train)
        for members in _groups(size, m).values():
            group = tuple(members.values())
            cells |= {label: Grouped(group, place) for place, label in enumerate(members)}
    question = "How many active features, at how much superposition, does each family of solvers find?"
    return Study("plane", question, cells, METRICS)
