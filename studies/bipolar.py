"""Features of either sign: how many latents do they need, for codes of one sign and for codes of both?

``width``: orthonormal features whose signs are equally likely, along the number of latents. ``sign``: as many latents
as features, along the probability of the positive sign. ``superposed``: more features than dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_real
from sparsesim.generators.base import FeatureSpec, Support
from sparsesim.generators.geometry import LowCoherence, Orthonormal
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.bakeoff import n_features, width
from studies.tiers import Tier

FOUND = 0.9  # cosine of a latent that serves a direction


@final
@dataclass(frozen=True)
class Signs:
    """Coefficients are +1 with probability ``positive`` and else -1."""

    positive: float

    def __post_init__(self) -> None:
        check_real("positive", self.positive, 0.0, 1.0)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)``."""
        return np.where(rng.random(len(support.indices)) < self.positive, 1.0, -1.0)

    def mean(self, m: int) -> FloatArray:
        """Return the mean of each feature ``(m,)``."""
        return np.full(m, 2.0 * self.positive - 1.0)

    def second_moment(self, m: int) -> FloatArray:
        """Return the mean square of each feature ``(m,)``, one."""
        return np.ones(m)


def served(evaluation: Evaluation) -> float:
    """Return the share of the 2m signed directions that a latent serves; MCC, which is blind to signs, cannot tell.

    A latent of cosine c with a feature serves its positive side where c > 0.9 and its negative where c < -0.9; if its
    codes have either sign, both.
    """
    cosines, active = evaluation.cosines, evaluation.codes
    signed = np.zeros(cosines.shape[1], dtype=bool)
    signed[active.indices[active.data < 0]] = True
    either = np.abs(cosines).max(axis=1, where=signed, initial=0.0)
    sides = [np.maximum((sign * cosines).max(axis=1, initial=0.0), either) for sign in (1.0, -1.0)]
    return float(np.mean([side > FOUND for side in sides]))


METRICS = (
    n_features,
    width,
    reconstruction.fvu,
    served,
    recovery.mcc,
    recovery.mcc_chance,
    codes.l0,
    codes.true_l0,
    codes.dead_fraction,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; ``superposed`` is m and d."""

    seeds: int
    n_train: int
    training: Training
    m: int
    k: int
    widths: tuple[float, ...]
    signs: tuple[float, ...]
    superposed: tuple[int, int]
    n_test: int = 2_000


SIZES = {
    Tier.SMOKE: Size(2, 500, Training(steps=80, batch_size=64), 12, 2, (1.0, 2.0), (0.9, 1.0), (16, 10), 300),
    Tier.LAPTOP: Size(
        5,
        20_000,
        Training(steps=2_000, batch_size=128),
        24,
        3,
        (0.5, 1.0, 1.5, 2.0, 3.0),
        (0.75, 0.9, 1.0),
        (40, 24),
    ),
    Tier.PAPER: Size(
        20,
        200_000,
        Training(steps=30_000),
        128,
        10,
        (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 3.0, 4.0),
        (0.6, 0.75, 0.9, 0.95, 1.0),
        (256, 128),
    ),
}


def orthonormal(m: int, k: int, positive: float) -> FeatureSpec:
    """Return ``m`` orthonormal features, ``k`` of them active with ±1."""
    return FeatureSpec(m, ExactlyK(m, k), Orthonormal(), Signs(positive))


def solvers(p: int, k: int, training: Training) -> dict[str, Solver]:
    """Return the autoencoders with ``p`` latents of which at most ``k`` speak, and a floor."""
    return {
        "abs_topk": AbsTopK(p, k, training=training),
        "topk": TopK(p, k, training=training),
        "nested_topk": NestedTopK(p, k, training=training),
        "random": RandomDictionary(p, OrthogonalMatchingPursuit(min(k, p))),
    }


def points(size: Size) -> Iterator[tuple[str, float, float, FeatureSpec, int, int]]:
    """Yield part, width over m, probability of the positive sign, world, width, k."""
    for share in size.widths:
        yield "width", share, 0.5, orthonormal(size.m, size.k, 0.5), round(share * size.m), size.k
    for positive in size.signs:
        yield "sign", 1.0, positive, orthonormal(size.m, size.k, positive), size.m, size.k
    m, dim = size.superposed
    for share in (1.0, 2.0):
        world = FeatureSpec(dim, ExactlyK(m, 2), LowCoherence(), Signs(0.5))
        yield "superposed", share, 0.5, world, round(share * m), 2


def study(tier: Tier) -> Study:
    """Return the three parts at ``tier`` on paired seeds; the seeds of a point train as one batched model."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for part, share, positive, world, p, k in points(size):
        for name, solver in solvers(p, k, size.training).items():
            group = tuple(FitCell(world, seed, size.n_test, solver, size.n_train) for seed in range(size.seeds))
            for seed in range(size.seeds):
                label = labels(part=part, solver=name, share=share, positive=positive, seed=seed)
                cells[label] = Grouped(group, seed)
    question = "How many latents do features of either sign need, by codes of one sign and of both?"
    return Study("bipolar", question, cells, METRICS)
