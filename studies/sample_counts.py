"""How many samples fix a dictionary: learners of square and of overcomplete ones, from too few samples to many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.magnitude import SignedGaussian
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.alternating import SignedDescent
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.baselines import IndependentComponents, RandomDictionary
from sparsesim.solvers.erspud import ERSpUD
from sparsesim.solvers.learn import KSVD, MethodOfOptimalDirections
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.tiers import Tier


@final
@dataclass(frozen=True)
class Spanned:
    """Learns by ``solver`` where the samples span the space, and returns random atoms where they do not.

    A learner of bases refuses samples of lower rank: they fix no basis. That it then has found nothing is its score.
    """

    solver: ERSpUD | IndependentComponents

    @property
    def width(self) -> int:
        return self.solver.width

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary learned from ``x (n, d)``."""
        if np.linalg.matrix_rank(x) < x.shape[1]:
            return RandomDictionary(self.width, OrthogonalMatchingPursuit(1)).fit(x, rng=rng)
        return self.solver.fit(x, rng=rng)


@final
@dataclass(frozen=True, eq=False)
class Counted:
    """A learned dictionary (its status stands for the row), its evaluation, and the share of features in training."""

    fitted: FittedDictionary
    evaluation: Evaluation
    seen: float


@final
@dataclass(frozen=True)
class CountingCell:
    """Fit and evaluate ``cell``, and count which features its training samples show."""

    cell: FitCell

    def evaluate(self) -> Counted:
        """Return the evaluation beside the share of features seen; the samples are those of the fit."""
        model, fitted = self.cell.fit()
        train = model.sample(self.cell.n_train, stream(self.cell.seed, Role.TRAIN))
        shown = np.unique(train.codes.indices[train.codes.data != 0])
        evaluation = Evaluation(model, fitted, self.cell.held_out(model))
        return Counted(fitted, evaluation, len(shown) / train.codes.shape[1])


def seen(counted: Counted) -> float:
    """Return the share of the true features that some training sample shows."""
    return counted.seen


def recovered(counted: Counted) -> float:
    """Return the share of the true features with an atom of |cosine| at least 0.99."""
    return recovery.recovered_at_99(counted.evaluation)


def complete(counted: Counted) -> float:
    """Return 1 if every true feature is recovered, else 0."""
    return float(recovered(counted) == 1.0)


def mcc(counted: Counted) -> float:
    """Return the mean |cosine| of features and matched atoms."""
    return recovery.mcc(counted.evaluation)


def mcc_chance(counted: Counted) -> float:
    """Return what random atoms reach of it."""
    return recovery.mcc_chance(counted.evaluation)


METRICS = (seen, recovered, complete, mcc, mcc_chance)


@dataclass(frozen=True)
class Size:
    """What a tier spends: sizes m of square dictionaries, (d, m, k) of the overcomplete one, sample counts, seeds."""

    square: tuple[int, ...]
    k: int
    overcomplete: tuple[int, int, int]
    samples: tuple[int, ...]
    seeds: int
    iterations: int


def counts(low: int, high: int, a_doubling: int) -> tuple[int, ...]:
    """Return sample counts from ``low`` to ``high``, in equal ratios, ``a_doubling`` of them a factor of two."""
    steps = round(a_doubling * np.log2(high / low))
    return tuple(round(low * 2 ** (step / a_doubling)) for step in range(steps + 1))


SIZES = {
    Tier.SMOKE: Size((6, 8), 2, (8, 12, 2), counts(4, 512, 1), 3, 20),
    Tier.LAPTOP: Size((8, 16, 32), 2, (16, 32, 3), counts(4, 2048, 2), 6, 60),
    Tier.PAPER: Size((8, 16, 32, 64), 2, (32, 64, 4), counts(4, 16384, 4), 20, 500),
}


def solvers(d: int, m: int, k: int, iterations: int) -> dict[str, Solver]:
    """Return the learners by name; all that code samples are told k, and those of square dictionaries need d = m."""
    pursuit = OrthogonalMatchingPursuit(k)
    square: dict[str, Solver] = {
        "erspud": Spanned(ERSpUD(d, programmes=8 * d)),
        "ica": Spanned(IndependentComponents(d)),
    }
    both: dict[str, Solver] = {
        "mod": MethodOfOptimalDirections(m, pursuit, iterations=iterations),
        "ksvd": KSVD(m, pursuit, iterations=iterations),
        "online": OnlineDictionaryLearning(m, pursuit, passes=max(1, iterations // 2), batch_size=32),
        "descent": SignedDescent(m, CorrelationTopK(k), pairs=10 * m, iterations=iterations),
        "random": RandomDictionary(m, pursuit),
    }
    return {**square, **both} if d == m else both


def study(tier: Tier) -> Study:
    """Return square (orthonormal) and overcomplete (random) dictionaries at ``tier``, by learner, samples and seed."""
    size = SIZES[tier]
    worlds = [(m, m, size.k) for m in size.square] + [size.overcomplete]
    cells: dict[Labels, Cell] = {}
    for d, m, k in worlds:
        spec = FeatureSpec(d, ExactlyK(m, k), Orthonormal() if d == m else RandomSphere(), SignedGaussian(1.0))
        for name, solver in solvers(d, m, k, size.iterations).items():
            for samples in size.samples:
                for seed in range(size.seeds):
                    cell = CountingCell(FitCell(spec, seed, 2, solver, samples))
                    cells[labels(d=d, m=m, k=k, solver=name, samples=samples, seed=seed)] = cell
    return Study("sample_counts", "How many samples fix a dictionary, and who needs how many?", cells, METRICS)
