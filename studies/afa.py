"""Approximate feature activation: is the norm of a code that of its sample, and does it say how many latents speak?

``norm``: true codes of one size and random sign, against the interval of the theorem and the exact deviation.
``fixed``: the same number of features in every sample, which the autoencoder is not told. ``varied``: one to seven.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray
from sparsesim.generators.base import FeatureSpec, Geometry
from sparsesim.generators.counts import UniformCount
from sparsesim.generators.equiangular import EquiangularTightFrame
from sparsesim.generators.geometry import LowCoherence, RandomSphere
from sparsesim.generators.magnitude import BernoulliSign, Uniform
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.restricted import RowRestricted
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.top_afa import TopAFA
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Grouped, Labels, OracleCell, Study, labels
from studies.tiers import Tier

STRENGTH = Uniform(0.5, 1.5)
DIM = 32
WORLDS = {"near": 40, "superposed": 64}  # features in 32 dimensions, of low coherence
MOST = 7  # active features where they vary from one on: four in the mean


@final
@dataclass(frozen=True)
class NormMatched:
    """Encodes by the largest correlations with the atoms, as many as bring the norm of the code nearest to that of x.

    The rule of top-AFA with tied weights: C_j = the sum of the j largest squares of ReLU(x A^T), and the first j that
    minimises |sqrt(C_j) - ||x|||.
    """

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        values = np.maximum(x @ atoms.T, 0.0)
        order = np.argsort(-values, axis=1, kind="stable")
        norms = np.sqrt(np.cumsum(np.square(np.take_along_axis(values, order, axis=1)), axis=1))
        last = np.abs(norms - np.linalg.norm(x, axis=1)[:, None]).argmin(axis=1)
        kept = np.zeros(values.shape, dtype=bool)
        np.put_along_axis(kept, order, np.arange(values.shape[1]) <= last[:, None], axis=1)
        return Codes(np.where(kept, values, 0.0))


def _norms(evaluation: Evaluation) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return ||x||^2, ||f||^2 and k of each sample with its true code; samples without features are left out."""
    true = evaluation.true_codes
    energy = np.square(evaluation.batch.x - evaluation.truth.bias).sum(axis=1)
    size = np.asarray(true.power(2).sum(axis=1)).ravel()
    count = np.diff(true.indptr).astype(np.float64)
    some = count > 0
    return energy[some], size[some], count[some]


def _pairs(evaluation: Evaluation) -> FloatArray:
    atoms = evaluation.truth.atoms
    gram: FloatArray = np.abs(atoms @ atoms.T)
    return gram[np.triu_indices(len(atoms), 1)]


def largest_cosine(evaluation: Evaluation) -> float:
    """Return the coherence of the true atoms."""
    return float(_pairs(evaluation).max())


def mean_square_cosine(evaluation: Evaluation) -> float:
    """Return the mean of <d_i, d_j>^2 over the pairs of true atoms."""
    return float(np.square(_pairs(evaluation)).mean())


def norm_rms(evaluation: Evaluation) -> float:
    """Return the root mean square of ||x||^2 / ||f||^2 - 1 over samples."""
    energy, size, _ = _norms(evaluation)
    return float(np.sqrt(np.square(energy / size - 1.0).mean()))


def norm_largest(evaluation: Evaluation) -> float:
    """Return the largest | ||x||^2 / ||f||^2 - 1 | of any sample, at most (k - 1) times the coherence."""
    energy, size, _ = _norms(evaluation)
    return float(np.abs(energy / size - 1.0).max())


def epsilon_lbo(evaluation: Evaluation) -> float:
    """Return the largest | ||x||^2 - ||f||^2 | / ((k - 1) ||f||^2), which bounds the coherence below; NaN for k = 1."""
    energy, size, count = _norms(evaluation)
    several = count > 1
    if not several.any():
        return float("nan")
    return float((np.abs(energy - size)[several] / ((count - 1.0) * size)[several]).max())


def l0_correlation(evaluation: Evaluation) -> float:
    """Return the correlation over samples of the numbers of active latents and features; NaN where one is constant."""
    pair = [np.diff(one.indptr) for one in (evaluation.codes, evaluation.true_codes)]
    return float(np.corrcoef(*pair)[0, 1]) if all(np.ptp(one) > 0 for one in pair) else float("nan")


METRICS = (
    largest_cosine,
    mean_square_cosine,
    norm_rms,
    norm_largest,
    epsilon_lbo,
    codes.l0,
    codes.true_l0,
    l0_correlation,
    codes.support_f1,
    recovery.mcc,
    recovery.mcc_chance,
    reconstruction.fvu,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: seeds, samples, training, and the numbers of active features."""

    seeds: int
    n_train: int
    training: Training
    ks: tuple[int, ...]
    fixed: tuple[int, ...]
    n_test: int = 2_000


SIZES = {
    Tier.SMOKE: Size(2, 500, Training(steps=60, batch_size=64), (2, 8), (2,), 300),
    Tier.LAPTOP: Size(5, 20_000, Training(steps=1_500, batch_size=128), (2, 3, 4, 8, 16), (1, 2, 4, 8)),
    Tier.PAPER: Size(20, 200_000, Training(steps=30_000), (2, 3, 4, 6, 8, 12, 16, 24), (1, 2, 3, 4, 6, 8, 12)),
}
FRAMES: dict[str, tuple[int, int, Geometry]] = {
    "equiangular": (64, 28, EquiangularTightFrame()),
    "low": (64, 32, LowCoherence()),
    "random": (64, 32, RandomSphere()),
}


def fixed(name: str, k: int) -> FeatureSpec:
    """Return the world ``name`` with ``k`` active features in every sample."""
    return FeatureSpec(DIM, ExactlyK(WORLDS[name], k), LowCoherence(), STRENGTH)


def varied(name: str) -> FeatureSpec:
    """Return the world ``name`` with one to seven active features."""
    support = RowRestricted(EqualRates(WORLDS[name], 0.1), UniformCount(1, MOST))
    return FeatureSpec(DIM, support, LowCoherence(), STRENGTH)


def _worlds(size: Size) -> Iterator[tuple[str, str, int, FeatureSpec]]:
    for name in WORLDS:
        for k in size.fixed:
            yield "fixed", name, k, fixed(name, k)
        yield "varied", name, (1 + MOST) // 2, varied(name)


def study(tier: Tier) -> Study:
    """Return norms of true codes, and top-AFA beside TopK with the true mean k, a floor, and the rule on true atoms."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for frame, (m, dim, geometry) in FRAMES.items():
        for k in size.ks:
            world = FeatureSpec(dim, ExactlyK(m, k), geometry, BernoulliSign())
            for seed in range(size.seeds):
                label = labels(part="norm", world=frame, solver="truth", k=k, seed=seed)
                cells[label] = OracleCell(world, seed, size.n_test)
    for part, name, k, world in _worlds(size):
        solvers: dict[str, Solver] = {
            "top_afa": TopAFA(WORLDS[name], training=size.training),
            "topk": TopK(WORLDS[name], k, training=size.training),
            "random": RandomDictionary(WORLDS[name], NormMatched()),
        }
        for solver, one in solvers.items():
            group = tuple(FitCell(world, seed, size.n_test, one, size.n_train) for seed in range(size.seeds))
            for seed in range(size.seeds):
                cells[labels(part=part, world=name, solver=solver, k=k, seed=seed)] = Grouped(group, seed)
        for seed in range(size.seeds):
            label = labels(part=part, world=name, solver="rule", k=k, seed=seed)
            cells[label] = OracleCell(world, seed, size.n_test, NormMatched())
    question = "Is the norm of a code that of its sample, and does that choose how many latents speak?"
    return Study("afa", question, cells, METRICS)
