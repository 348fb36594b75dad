"""Hedging: atoms of an autoencoder that is too narrow, or allowed too few active latents, against exact optima.

``single``: one latent for two features. ``wide``: half as many latents as features, which come in correlated pairs.
``topk``: two latents for two features, one of them active. ``escape``: the same with a free decoder bias, which has no
optimum. Features are orthonormal and of size 1; data are not normalised, and the bias is held at zero unless said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, final

import numpy as np

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import BlockCorrelation
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import Constant
from sparsesim.generators.manifolds import UnionSupport
from sparsesim.generators.rates import GivenRates
from sparsesim.metrics import hedging, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.neural.fixed_bias import FixedBias
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.tiers import Tier
from studies.together import Group, best

# Probabilities of the first feature alone, of both, of the second alone.
NARROW = {
    "hierarchy": (0.2, 0.05, 0.0),  # the paper: 0.25, and 0.2 given the first
    "loose": (0.2, 0.05, 0.1),  # the paper: the second also alone
    "rare": (0.3, 0.1, 0.0),
    "even": (0.15, 0.15, 0.0),
    "often": (0.1, 0.3, 0.0),
}
FEW = {
    "independent": (0.21, 0.09, 0.21),  # both features with 0.3
    "uneven": (0.3, 0.1, 0.2),
    "together": (0.1, 0.3, 0.1),
    "apart": (0.35, 0.03, 0.3),
}
RATES = (0.3, 0.15)  # of the features of a correlated pair
PAIRS = 8
PRICE = 0.1  # penalty in the wide world


def two(law: tuple[float, float, float], dim: int = 10) -> FeatureSpec:
    """Return two features with probabilities ``law`` of the first alone, both, the second alone."""
    support = UnionSupport(2, ((), (0,), (0, 1), (1,)), (1.0 - sum(law), *law))
    return FeatureSpec(dim, support, Orthonormal(), Constant(1.0))


def paired(rho: float) -> FeatureSpec:
    """Return pairs of features that fire together as latent Gaussians of correlation ``rho`` exceed their levels."""
    support = CorrelatedBernoulli(GivenRates(RATES * PAIRS), BlockCorrelation((2,) * PAIRS, rho))
    return FeatureSpec(2 * PAIRS, support, Orthonormal(), Constant(1.0))


@final
@dataclass(frozen=True)
class StartsCell:
    """What the best of some members of a group learned, by its own loss on the training samples.

    With one active latent training often ends with a latent that never fires, and a single latent at the rarer
    feature; the loss shows both.
    """

    group: Group
    members: tuple[int, ...]
    penalty: float

    def evaluate(self) -> Evaluation:
        return best(self.group, self.members, self.penalty)


def held_out_error(evaluation: Evaluation) -> float:
    """Return the mean of ||x - xhat||^2, summed over d, on the held-out samples."""
    return float(np.square(evaluation.batch.x - evaluation.reconstruction).sum(axis=1).mean())


def _angles(evaluation: Evaluation) -> np.ndarray:
    return np.asarray(np.arccos(np.minimum(np.abs(evaluation.cosines).max(axis=0), 1.0)))


def largest_angle(evaluation: Evaluation) -> float:
    """Return the angle in rad of an atom from its nearest feature, the largest of all atoms; the truth has 0."""
    return float(_angles(evaluation).max())


def smallest_angle(evaluation: Evaluation) -> float:
    """Return the angle in rad of an atom from its nearest feature, the smallest of all atoms; the truth has 0."""
    return float(_angles(evaluation).min())


def squared_error(evaluation: Evaluation) -> float:
    """Return E||x - xhat||^2, summed over d; exact where the law is a list of sets, else of the held-out samples."""
    truth: Any = evaluation.truth
    law = truth.spec.support
    if not isinstance(law, UnionSupport):
        return held_out_error(evaluation)
    x = np.array([[float(i in own) for i in range(law.m)] for own in law.sets]) @ truth.atoms
    fitted = evaluation.fitted
    return float(np.array(law.weights) @ np.square(x - fitted.decode(fitted.encode(x))).sum(axis=1))


def bias_norm(evaluation: Evaluation) -> float:
    """Return the norm of the decoder bias; the truth has 0."""
    return float(np.linalg.norm(evaluation.fitted.bias))


METRICS: tuple[Any, ...] = (
    largest_angle,
    smallest_angle,
    squared_error,
    bias_norm,
    hedging.hedging_score,
    recovery.mcc,
    recovery.mcc_chance,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; ``escapes`` are the steps after which a free bias is looked at.

    Of ``starts`` initialisations of a single latent, or of one active latent, the best is shown.
    """

    seeds: int
    starts: int
    n_train: int
    n_test: int
    steps: int
    batch_size: int
    penalties: tuple[float, ...]
    rhos: tuple[float, ...]
    escapes: tuple[int, ...]


SIZES = {
    Tier.SMOKE: Size(2, 2, 2_000, 300, 120, 64, (0.0, 0.5), (0.0, 0.8), (60, 180)),
    Tier.LAPTOP: Size(
        5, 8, 40_000, 4_000, 2_500, 256, (0.0, 0.1, 0.5), (-0.6, -0.3, 0.0, 0.3, 0.6, 0.9), (300, 1_000, 3_000, 9_000)
    ),
    Tier.PAPER: Size(
        10,
        16,
        400_000,
        20_000,
        30_000,
        512,
        (0.0, 0.001, 0.1, 0.5),
        (-0.6, -0.3, 0.0, 0.3, 0.6, 0.9),
        (1_000, 10_000, 100_000),
    ),
}


def _raw(steps: int, batch_size: int) -> Training:
    return Training(steps=steps, batch_size=batch_size, learning_rate=5e-3, normalise=False)


Named = dict[tuple[str, str, str, float], tuple[FeatureSpec, Solver]]  # part, solver, law, position on the axis


def _single(size: Size) -> Iterator[Named]:
    training = _raw(size.steps, size.batch_size)
    for solver in ("held", "free"):
        found: Named = {}
        for (name, law), penalty in product(NARROW.items(), size.penalties if solver == "held" else (0.0,)):
            base = ReLUL1(1, penalty, training=training)
            found["single", solver, name, penalty] = (
                two(law),
                FixedBias(base, towards_data=True) if solver == "held" else base,
            )
        yield found


def _wide(size: Size) -> Iterator[Named]:
    training, m = _raw(size.steps, size.batch_size), 2 * PAIRS
    made: dict[str, Solver] = {
        "narrow": FixedBias(ReLUL1(PAIRS, PRICE, training=training), towards_data=True),
        "full": FixedBias(ReLUL1(m, PRICE, training=training), towards_data=True),
        "random": RandomDictionary(PAIRS, Lasso(PRICE / 2.0, non_negative=True)),
    }
    for name, solver in made.items():
        yield {("wide", name, "pairs", rho): (paired(rho), solver) for rho in size.rhos}


def _topk(size: Size) -> Iterator[Named]:
    held = FixedBias(TopK(2, 1, training=_raw(size.steps, size.batch_size)), towards_data=True)
    yield {("topk", "held", name, 0.0): (two(law), held) for name, law in FEW.items()}
    for steps in size.escapes:
        free = TopK(2, 1, training=_raw(steps, size.batch_size))
        yield {("escape", "free", "independent", float(steps)): (two(FEW["independent"]), free)}


def study(tier: Tier) -> Study:
    """Return the four parts at ``tier``; all seeds and laws of a solver train as one batched model."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for named in (*_single(size), *_wide(size), *_topk(size)):
        starts = size.starts if next(iter(named))[0] in ("single", "topk") else 1
        seeded = [(key, seed) for seed in range(size.seeds) for key in named]
        group = tuple(
            FitCell(world, seed, size.n_test, solver, size.n_train, start)
            for start in range(starts)
            for (world, solver), seed in ((named[key], seed) for key, seed in seeded)
        )
        for place, ((part, solver, law, axis), seed) in enumerate(seeded):
            label = labels(part=part, solver=solver, law=law, axis=axis, seed=seed)
            own = tuple(range(place, len(group), len(seeded)))
            penalty = axis if part == "single" else 0.0  # that latents compete for one active place has no price
            cells[label] = Grouped(group, place) if starts == 1 else StartsCell(group, own, penalty)
    question = "What becomes of atoms when there are too few latents, or too few of them may be active?"
    return Study("hedging", question, cells, METRICS)
