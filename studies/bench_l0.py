"""The SynthSAEBench figure on a world that fits a laptop: scores against L0, between references that know the truth.

The world is `published("synthsaebench-1k", "corrected")`: 1,024 features in 128 dimensions, with true rates. As in the
benchmark there are a quarter as many latents as features, so that the truth cannot be learned whole; the true L0 is
that of the features that fit, the most frequent ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray
from sparsesim._identity import Role, stream
from sparsesim.generators.base import Batch, FeatureSpec
from sparsesim.generators.benchmarks import published
from sparsesim.metrics import codes, peer
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Encoder, FittedDictionary, Solver, Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.tiers import Tier

NAME, FORM = "synthsaebench-1k", "corrected"
SHARE = 4  # features a latent, as in the benchmark
RIDGE = 1e-3  # of the mean variance of a coordinate


def frequent(world: FeatureSpec, width: int) -> FloatArray:
    """Return the indices ``(width,)`` of the features with the largest true rates, ascending."""
    rates = world.support.marginals()
    return np.sort(np.argsort(-rates, kind="stable")[:width])


@final
@dataclass(frozen=True, eq=False)
class GivenCodes:
    """The codes ``(n, p)`` of exactly the rows that will be encoded: perfect, and no method."""

    known: Codes

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes; raises ValueError for another number of rows or atoms."""
        if self.known.shape != (len(x), len(atoms)):
            raise ValueError(f"codes are known for shape {self.known.shape}; got {(len(x), len(atoms))}.")
        return self.known


@final
@dataclass(frozen=True, eq=False)
class LinearProbes:
    """One supervised linear score a feature, read where it exceeds a threshold.

    Attributes
    ----------
    weights, offsets : (d, p) and (p,), of the scores.
    thresholds : (p,).
    """

    weights: FloatArray
    offsets: FloatArray
    thresholds: FloatArray

    @classmethod
    def fitted(cls, x: FloatArray, on: FloatArray) -> LinearProbes:
        """Return ridge regressions of ``on (n, p)``, 0 or 1, on ``x (n, d)``, each with the threshold of best F1."""
        centre, mean = x.mean(axis=0), on.mean(axis=0)
        spread = x - centre
        gram = spread.T @ spread / len(x)
        ridge = RIDGE * np.trace(gram) / len(gram)
        weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), spread.T @ (on - mean) / len(x))
        scores = spread @ weights
        cuts = np.array([best_threshold(scores[:, i], on[:, i]) for i in range(on.shape[1])])
        return cls(weights, -centre @ weights, cuts)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return 1 where a score exceeds its threshold, ``(n, p)``."""
        return Codes((x @ self.weights + self.offsets > self.thresholds).astype(np.float64))


def best_threshold(scores: FloatArray, on: FloatArray) -> float:
    """Return the threshold above which ``scores (n,)`` detect ``on (n,)`` with the best F1, infinity if none is on."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(on[order])
    if not hits[-1]:
        return float("inf")
    f1 = 2.0 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    apart = np.append(ranked[1:] < ranked[:-1], True)  # equal scores fire together
    last = int(np.where(apart, f1, -1.0).argmax())
    # Half way to the next score, so that the rounding of a score decides nothing.
    return float(0.5 * (ranked[last] + ranked[last + 1])) if last + 1 < len(ranked) else -np.inf


@final
@dataclass(frozen=True)
class FrequentCell:
    """The true atoms of the ``width`` most frequent features, coded by ``encoder``, by probes, or perfectly.

    The bias is the mean of what those features leave over, as a trained decoder would have it.
    """

    world: FeatureSpec
    seed: int
    n_test: int
    width: int
    encoder: Encoder | str
    n_train: int

    def __post_init__(self) -> None:
        if isinstance(self.encoder, str) and self.encoder not in ("perfect", "probes"):
            raise ValueError(f"encoder must be an Encoder, 'perfect' or 'probes'; got {self.encoder!r}.")

    def evaluate(self) -> Evaluation:
        """Return these atoms and codes against held-out samples."""
        model = self.world.build(stream(self.seed, Role.TRUTH))
        train = model.sample(self.n_train, stream(self.seed, Role.TRAIN))
        test = model.sample(self.n_test, stream(self.seed, Role.TEST))
        kept = frequent(self.world, self.width)
        atoms = model.atoms[kept]
        bias = (train.x - train.codes[:, kept] @ atoms).mean(axis=0)
        fitted = FittedDictionary(atoms, bias, self._encoder(kept, bias, train, test), Status.CONVERGED)
        return Evaluation(model, fitted, test)

    def _encoder(self, kept: FloatArray, bias: FloatArray, train: Batch, test: Batch) -> Encoder:
        if not isinstance(self.encoder, str):
            return self.encoder
        if self.encoder == "perfect":
            return GivenCodes(Codes(test.codes[:, kept]))
        return LinearProbes.fitted(train.x - bias, (train.codes[:, kept].toarray() > 0).astype(np.float64))


def true_l0(evaluation: Evaluation) -> float:
    """Return the mean number of active features among as many of the most frequent ones as there are latents."""
    counts = np.bincount(evaluation.true_codes.indices, minlength=evaluation.truth.n_features)
    return float(np.sort(counts)[::-1][: evaluation.fitted.width].sum() / evaluation.true_codes.shape[0])


METRICS = (
    peer.saelens_f1,
    peer.saelens_mcc,
    peer.saelens_uniqueness,
    peer.saelens_explained_variance,
    peer.saelens_precision,
    peer.saelens_recall,
    codes.latent_f1,
    codes.l0,
    true_l0,
    codes.dead_fraction,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: latents a sample asked for, and the penalties that give about as many."""

    seeds: int
    n_train: int
    n_test: int
    training: Training
    counts: tuple[int, ...] = (3, 6, 9)
    l1: tuple[float, ...] = (5.0, 3.6, 2.6)
    l0: tuple[float, ...] = (3.0, 1.7, 1.1)
    price: tuple[float, ...] = (4.0, 3.0, 1.6)  # of the lasso in the true atoms


SIZES = {
    Tier.SMOKE: Size(2, 4_000, 1_000, Training(steps=60)),
    Tier.LAPTOP: Size(5, 50_000, 5_000, Training(steps=600)),
    Tier.PAPER: Size(20, 2_000_000, 50_000, Training(steps=50_000, batch_size=1024)),
}


def autoencoders(p: int, size: Size, point: int) -> dict[str, Solver]:
    """Return the five autoencoders of the benchmark at a point of their grids."""
    k, fit = size.counts[point], size.training
    return {
        "relu_l1": ReLUL1(p, size.l1[point], training=fit),
        "jump_relu": JumpReLU(p, size.l0[point], training=fit),
        "batch_topk": BatchTopK(p, k, training=fit),
        "matryoshka": Matryoshka(p, k, prefixes=(p // 32, p // 8, p // 2, p), training=fit),
        "mp": MatchingPursuitSAE(p, k, training=fit),
        "random": RandomDictionary(p, OrthogonalMatchingPursuit(k, non_negative=True)),
    }


def study(tier: Tier) -> Study:
    """Return autoencoders and references at ``tier``: variant, point of the grid, paired seeds."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    world = published(NAME, FORM)
    p = world.n_features // SHARE
    for seed in range(size.seeds):
        for point, k in enumerate(size.counts):
            for name, solver in autoencoders(p, size, point).items():
                cell: Cell = FitCell(world, seed, size.n_test, solver, size.n_train)
                cells[labels(world=FORM, variant=name, point=point, seed=seed)] = cell
            given: dict[str, Encoder | str] = {
                "matched_filter": CorrelationTopK(k, non_negative=True),
                "true_omp": OrthogonalMatchingPursuit(k, non_negative=True),
                "true_lasso": Lasso(size.price[point], non_negative=True),
            }
            if point == 1:
                given |= {"probes": "probes", "perfect": "perfect"}
            for name, encoder in given.items():
                cell = FrequentCell(world, seed, size.n_test, p, encoder, min(size.n_train, 20_000))
                cells[labels(world=FORM, variant=name, point=point, seed=seed)] = cell
    return Study(
        "bench_l0", "How do the scores of a benchmark move with L0, and what would the truth score?", cells, METRICS
    )
