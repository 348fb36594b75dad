"""Who fails where: autoencoders against properties of data that their encoders assume, or assume away.

``ring``: six clusters of a plane, three of them apart and three amid the others. ``dims``: clusters of unlike intrinsic
dimension. ``sparse``: a few of many directions in superposition, each of its own strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeAlias, final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, IntArray, Rng, check_int
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import LowCoherence
from sparsesim.generators.magnitude import Uniform
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.spade import SpaDE
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.tiers import Tier

ACTIVE = 1e-6  # above it a latent counts as active, as in the released code
FILLED = 1e-5  # variance of an axis that a cluster fills; others have 1e-6
CLUSTERS = 5


@final
@dataclass(frozen=True, eq=False)
class Clusters:
    """Samples ``x (n, d)`` with the cluster of each."""

    x: FloatArray
    labels: IntArray


class ClusterLaw(Protocol):
    """A frozen dataclass of numbers that draws clusters."""

    def draw(self, n: int, rng: Rng) -> Clusters: ...


@final
@dataclass(frozen=True)
class Ring:
    """Six round Gaussian clusters of the plane at angles of 60 degrees, at radius 1.5 and 0.5 in turn.

    The three at radius 0.5 lie in the hull of the others.
    """

    variance: float = 2.0**-5.5

    def centres(self) -> FloatArray:
        """Return the centres ``(6, 2)``."""
        angles = np.arange(6) * math.pi / 3.0
        radii = np.where(np.arange(6) % 2, 0.5, 1.5)
        return np.column_stack([radii * np.cos(angles), radii * np.sin(angles)])

    def draw(self, n: int, rng: Rng) -> Clusters:
        """Return ``n`` samples of equally likely clusters."""
        labels = rng.integers(6, size=n)
        return Clusters(self.centres()[labels] + math.sqrt(self.variance) * rng.standard_normal((n, 2)), labels)


@final
@dataclass(frozen=True)
class UnlikeDims:
    """Gaussian clusters that fill the first ``dims[j]`` axes of R^``dim``, each with total variance 1/50."""

    dim: int
    dims: tuple[int, ...]
    seed: int

    def centres(self) -> FloatArray:
        """Return the centres, uniform on a cube of side 6 / 128, ``(clusters, dim)``."""
        return 0.046875 * stream(self.seed, Role.LAW).random((len(self.dims), self.dim))

    def draw(self, n: int, rng: Rng) -> Clusters:
        """Return ``n`` samples of equally likely clusters."""
        labels = rng.integers(len(self.dims), size=n)
        sizes = np.array(self.dims)[labels]
        inside = np.arange(self.dim)[None] < sizes[:, None]
        noise = rng.standard_normal((n, self.dim)) * np.sqrt(np.where(inside, 0.02 / sizes[:, None], 0.0) + 1e-6)
        return Clusters(self.centres()[labels] + noise, labels)


@final
@dataclass(frozen=True, eq=False)
class Coded:
    """Held-out clusters with the codes and reconstructions of a fit."""

    fitted: FittedDictionary
    held_out: Clusters
    codes: Codes
    reconstruction: FloatArray


@cache  # a run takes the cells in any order
def _fits(law: ClusterLaw, solver: Solver, seeds: int, n_train: int) -> tuple[FittedDictionary, ...]:
    samples = [law.draw(n_train, stream(seed, Role.TRAIN)).x for seed in range(seeds)]
    rngs = [stream(seed, Role.SOLVER) for seed in range(seeds)]
    if isinstance(solver, NeuralSolver):
        return tuple(solver.fit_ensemble([Rows(x) for x in samples], rngs))
    return tuple(solver.fit(x, rng=rng) for x, rng in zip(samples, rngs, strict=True))


@final
@dataclass(frozen=True)
class ClusterCell:
    """What ``solver`` makes of seed ``seed`` of ``seeds``, which are trained as one batched model."""

    law: ClusterLaw
    solver: Solver
    seed: int
    seeds: int
    n_train: int
    n_test: int

    def __post_init__(self) -> None:
        check_int("seed", self.seed, 0, self.seeds - 1, high_name="seeds - 1")

    def evaluate(self) -> Coded:
        """Return the codes of held-out samples."""
        fitted = _fits(self.law, self.solver, self.seeds, self.n_train)[self.seed]  # type: ignore[arg-type]
        held_out = self.law.draw(self.n_test, stream(self.seed, Role.TEST))
        found = fitted.encode(held_out.x)
        return Coded(fitted, held_out, found, fitted.decode(found))


Seen: TypeAlias = Coded | Evaluation
NAN = float("nan")


def _best_f1(seen: Coded) -> FloatArray:
    """Return for each cluster the best F1 of any latent's activity as its detector."""
    active = (seen.codes > ACTIVE).astype(np.float64).toarray()
    member = np.eye(int(seen.held_out.labels.max()) + 1)[seen.held_out.labels]
    hits = member.T @ active
    best: FloatArray = (2.0 * hits / np.maximum(member.sum(axis=0)[:, None] + active.sum(axis=0), 1.0)).max(axis=1)
    return best


def f1_apart(seen: Seen) -> float:
    """Return the best F1 of a latent, as a mean over the three outer clusters; NaN beyond the ring."""
    return float(_best_f1(seen)[::2].mean()) if isinstance(seen, Coded) and seen.held_out.x.shape[1] == 2 else NAN


def f1_amid(seen: Seen) -> float:
    """Return the best F1 of a latent, as a mean over the three inner clusters; NaN beyond the ring."""
    return float(_best_f1(seen)[1::2].mean()) if isinstance(seen, Coded) and seen.held_out.x.shape[1] == 2 else NAN


def _by_cluster(seen: Coded) -> tuple[FloatArray, FloatArray]:
    """Return for each cluster the mean number of active latents and the error over the variance."""
    kinds = range(int(seen.held_out.labels.max()) + 1)
    l0 = np.asarray((seen.codes > ACTIVE).sum(axis=1)).ravel()
    own = [seen.held_out.labels == kind for kind in kinds]
    x, error = seen.held_out.x, np.square(seen.held_out.x - seen.reconstruction).sum(axis=1)
    spread = [np.square(x[one] - x[one].mean(axis=0)).sum(axis=1).mean() for one in own]
    return (
        np.array([l0[one].mean() for one in own]),
        np.array([error[one].mean() / size for one, size in zip(own, spread, strict=True)]),
    )


def intrinsic(seen: Coded) -> FloatArray:
    """Return how many axes each cluster fills, from its samples."""
    x, own = seen.held_out.x, seen.held_out.labels
    return np.array([float((x[own == kind].var(axis=0) > FILLED).sum()) for kind in range(int(own.max()) + 1)])


def _of_cluster(name: str, index: int, values: Callable[[Coded], FloatArray]) -> Callable[[Seen], float]:
    """Return the metric ``name_index``: an entry of ``values``; NaN where there is no such cluster, or on the ring."""

    def column(seen: Seen) -> float:
        if not isinstance(seen, Coded) or seen.held_out.x.shape[1] == 2:
            return NAN
        return float(values(seen)[index])

    column.__name__ = f"{name}_{index}"
    return column


def dim_tracking(seen: Seen) -> float:
    """Return the correlation over clusters of mean L0 and intrinsic dimension; 0 where all have one L0, NaN beyond."""
    if not isinstance(seen, Coded) or seen.held_out.x.shape[1] == 2:
        return NAN
    l0 = _by_cluster(seen)[0]
    return float(np.corrcoef(l0, intrinsic(seen))[0, 1]) if np.ptp(l0) > 0.01 * l0.mean() else 0.0


def sparse_mcc(seen: Seen) -> float:
    """Return the chance-corrected MCC of the sparse world, NaN of clusters."""
    return NAN if isinstance(seen, Coded) else recovery.mcc_corrected(seen)


def fvu(seen: Seen) -> float:
    """Return the share of the variance that is left."""
    if isinstance(seen, Coded):
        return reconstruction.fvu_of(seen.held_out.x, seen.reconstruction)
    return reconstruction.fvu(seen)


def l0(seen: Seen) -> float:
    """Return the mean number of active latents."""
    return float((seen.codes > ACTIVE).sum() / seen.codes.shape[0])


METRICS = (
    f1_apart,
    f1_amid,
    dim_tracking,
    sparse_mcc,
    fvu,
    l0,
    *(_of_cluster("axes", index, intrinsic) for index in range(CLUSTERS)),
    *(_of_cluster("l0", index, lambda seen: _by_cluster(seen)[0]) for index in range(CLUSTERS)),
    *(_of_cluster("nmse", index, lambda seen: _by_cluster(seen)[1]) for index in range(CLUSTERS)),
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; ``widths`` are those of the ring and of the clusters of unlike dimension."""

    seeds: int
    n_train: int
    training: Training
    widths: tuple[int, int]
    dim: int
    dims: tuple[int, ...]
    n_test: int = 3_000


def _trained(steps: int, batch_size: int) -> Training:
    return Training(steps, batch_size, learning_rate=1e-2, decay=0.5, grad_clip=1.0)


SIZES = {
    Tier.SMOKE: Size(2, 600, _trained(60, 64), (24, 24), 12, (1, 2, 4, 8, 11), 600),
    Tier.LAPTOP: Size(5, 20_000, _trained(1_000, 256), (64, 96), 32, (2, 4, 8, 16, 30)),
    Tier.PAPER: Size(20, 1_000_000, _trained(20_000, 512), (128, 512), 128, (6, 14, 30, 62, 126)),
}
SPARSE = (40, 20, 3)  # features, dimensions, active
LEVELS: dict[str, tuple[tuple[float, ...], ...]] = {  # weak to strong sparsity: on the ring, unlike dims, sparse
    "relu_l1": ((1e-4, 0.05, 0.5), (0.05, 0.5, 2.0), (0.3, 1.0, 3.0)),
    "jump_relu": ((1e-4, 0.01, 0.1), (0.01, 0.1, 0.5), (0.1, 0.3, 1.0)),
    "topk": ((0.14, 0.06, 0.03), (0.33, 0.17, 0.06), (0.15, 0.1, 0.075)),  # k over the width
    "spade": ((1e-3, 0.05, 0.5), (0.01, 0.1, 1.0), (0.01, 0.3, 3.0)),
}
PARTS = ("ring", "dims", "sparse")
# bandwidth and first threshold of JumpReLU: on the ring those of the released code, with which all latents stay active
# in the other worlds; from higher thresholds few latents of the ring ever speak
GATES = {"ring": (1e-3, 1e-3), "dims": (0.5, 0.5), "sparse": (0.5, 0.5)}


def solver(part: str, name: str, width: int, level: float, training: Training) -> Solver:
    """Return the autoencoder ``name`` for ``part``, with a weight or share ``level`` of its sparsity."""
    if name == "relu_l1":
        return ReLUL1(width, level, training)
    if name == "jump_relu":
        bandwidth, threshold = GATES[part]
        return JumpReLU(width, level, bandwidth, threshold, training=training)
    if name == "spade":
        return SpaDE(width, level, training)
    return TopK(width, max(1, round(level * width)), training=training)


def study(tier: Tier) -> Study:
    """Return every autoencoder on every world at three levels of sparsity, with a random dictionary as floor."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    laws: dict[str, ClusterLaw] = {"ring": Ring(), "dims": UnlikeDims(size.dim, size.dims, 0)}
    m, dim, k = SPARSE
    world = FeatureSpec(dim, ExactlyK(m, k), LowCoherence(), Uniform(0.5, 1.5))
    for place, part in enumerate(PARTS):
        width = (*size.widths, m)[place]
        made = [
            (name, level, solver(part, name, width, levels[place][level], size.training))
            for name, levels in LEVELS.items()
            for level in range(3)
        ]
        floor = RandomDictionary(width, CorrelationTopK(max(1, round(LEVELS["topk"][place][1] * width))))
        for name, level, one in [*made, ("random", 1, floor)]:
            group = tuple(FitCell(world, seed, size.n_test, one, size.n_train) for seed in range(size.seeds))
            for seed in range(size.seeds):
                label = labels(part=part, solver=name, level=level, seed=seed)
                if part == "sparse":
                    cells[label] = Grouped(group, seed)
                else:
                    cells[label] = ClusterCell(laws[part], one, seed, size.seeds, size.n_train, size.n_test)
    question = "Which autoencoder fails on which property of the data?"
    return Study("spade_map", question, cells, METRICS)
