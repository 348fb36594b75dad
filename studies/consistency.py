"""Does a method find the same dictionary from another initialisation, and is it then the true one?

The world of the paper has 32 random directions in 16 dimensions of which 3 are active. Parts of the study leave it in
one way each: more active features, another width, another penalty, and worlds in which no direction, or no direction
within a plane, is more true than another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.blocks import Subspaces
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.groups import BlockSupport
from sparsesim.generators.magnitude import Constant, HalfNormal, SignedGaussian
from sparsesim.generators.magnitude_coupled import OnSphere
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import codes, consistency, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation, Fitted
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from studies.tiers import Tier
from studies.together import Group, evaluations

DIM, M, K = 16, 32, 3


@final
@dataclass(frozen=True)
class Fits:
    """What several initialisations of a solver made of the samples of one seed; one evaluation where it has none."""

    evaluations: tuple[Evaluation, ...]

    @property
    def fitted(self) -> FittedDictionary:
        """The first of them, whose status stands for the row."""
        first: Any = self.evaluations[0].fitted
        return first  # type: ignore[no-any-return]

    @property
    def dictionaries(self) -> tuple[Fitted, ...]:
        return tuple(one.fitted for one in self.evaluations)


@final
@dataclass(frozen=True)
class FitsCell:
    """The cells of ``group`` at the places ``members``; the whole group is trained as one batched model."""

    group: Group
    members: tuple[int, ...]

    def evaluate(self) -> Fits:
        return Fits(tuple(evaluations(self.group)[place] for place in self.members))


@final
@dataclass(frozen=True)
class KnownCell:
    """The true atoms and their encoder: a single dictionary, which has nothing to agree with."""

    cell: OracleCell

    def evaluate(self) -> Fits:
        return Fits((self.cell.evaluate(),))


def pw_mcc(fits: Fits) -> float:
    """Return the mean over pairs of initialisations of their matched |cos|; NaN of a single dictionary."""
    return consistency.pairwise_mcc(fits) if len(fits.evaluations) > 1 else float("nan")


def pw_mcc_chance(fits: Fits) -> float:
    """Return what random dictionaries of that width reach; NaN of a single dictionary."""
    return consistency.pairwise_mcc_chance(fits) if len(fits.evaluations) > 1 else float("nan")


def averaged(metric: Callable[[Evaluation], float]) -> Callable[[Fits], float]:
    """Return the mean of ``metric`` over the initialisations, under its own name."""

    def column(fits: Fits) -> float:
        return float(np.mean([metric(one) for one in fits.evaluations]))

    column.__name__ = metric.__name__
    return column


METRICS = (
    pw_mcc,
    pw_mcc_chance,
    *map(averaged, (recovery.mcc, recovery.mcc_chance, codes.support_f1, codes.l0, codes.dead_fraction)),
    averaged(reconstruction.fvu),
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: seeds of world and samples, initialisations of each, and the grids."""

    seeds: int
    inits: int
    n_train: int
    training: Training
    ks: tuple[int, ...]
    widths: tuple[int, ...]
    penalties: tuple[float, ...]
    n_test: int = 2_000


SIZES = {
    Tier.SMOKE: Size(2, 2, 500, Training(steps=60, batch_size=64), (1, 3), (16, 64), (0.1, 1.0), 300),
    Tier.LAPTOP: Size(
        5,
        3,
        20_000,
        Training(steps=3_000, batch_size=128),
        (1, 2, 3, 4, 6, 8),
        (16, 24, 48, 64),
        (0.0, 0.1, 0.4, 1.0, 3.0),
    ),
    Tier.PAPER: Size(
        20,
        5,
        50_000,
        Training(steps=30_000),
        tuple(range(1, 11)),
        (16, 24, 48, 64, 96, 128),
        (0.0, 0.05, 0.1, 0.2, 0.4, 1.0, 3.0),
    ),
}


def sparse(k: int) -> FeatureSpec:
    """Return the paper's world with ``k`` active features of half-normal size; unique codes ask for 2k < spark = 17."""
    return FeatureSpec(DIM, ExactlyK(M, k), RandomSphere(), HalfNormal(1.0))


def planes() -> FeatureSpec:
    """Return 16 random planes, two of them active by a point on a circle: directions within a plane are mere names."""
    law = BlockSupport(ExactlyK(M // 2, 2), ExactlyK(2, 2))
    return FeatureSpec(DIM, law, Subspaces((2,) * (M // 2), orthogonal=False), OnSphere(2, Constant(1.0)))


def gaussian() -> FeatureSpec:
    """Return all features active with Gaussian codes: samples are Gaussian, and know of the atoms their covariance."""
    return FeatureSpec(DIM, ExactlyK(M, M), RandomSphere(), SignedGaussian(1.0))


def points(size: Size) -> Iterator[tuple[str, str, float, FeatureSpec, Solver]]:
    """Yield each point: part, solver, position on the part's axis, world, solver."""
    training = size.training
    for k in size.ks:
        yield "active", "topk", k, sparse(k), TopK(M, k, training=training)
    for p in size.widths:
        yield "width", "topk", p, sparse(K), TopK(p, K, training=training)
    for penalty in size.penalties:
        yield "penalty", "relu_l1", penalty, sparse(K), ReLUL1(M, penalty, training=training)
    yield "planes", "topk", 4, planes(), TopK(M, 4, training=training)
    yield "gaussian", "topk", K, gaussian(), TopK(M, K, training=training)
    yield "active", "random", K, sparse(K), RandomDictionary(M, OrthogonalMatchingPursuit(K))


def study(tier: Tier) -> Study:
    """Return every point at ``tier``; all seeds and initialisations of a point train as one batched model."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for part, name, axis, world, solver in points(size):
        group = tuple(
            FitCell(world, seed, size.n_test, solver, size.n_train, start)
            for seed in range(size.seeds)
            for start in range(size.inits)
        )
        for seed in range(size.seeds):
            own = tuple(range(seed * size.inits, (seed + 1) * size.inits))
            cells[labels(part=part, solver=name, axis=float(axis), seed=seed)] = FitsCell(group, own)
    for k in size.ks:
        for seed in range(size.seeds):
            known = OracleCell(sparse(k), seed, size.n_test, CorrelationTopK(k, non_negative=True))
            cells[labels(part="active", solver="one_step", axis=float(k), seed=seed)] = KnownCell(known)
    question = "Is the same dictionary found again from another initialisation, and is it then the true one?"
    return Study("consistency", question, cells, METRICS)
