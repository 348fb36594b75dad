"""What a score varies with from run to run: the world, the initial weights, or the order of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sparsesim._arrays import Rng, check_int
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.rates import ZipfRates
from sparsesim.generators.support import Bernoulli
from sparsesim.metrics import reconstruction, recovery
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.wrapped import WrappedSolver
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from sparsesim.validate.worlds import MAGNITUDE
from studies.bakeoff import n_features, sparsity
from studies.tiers import Tier

START = 1  # tells the stream of initial weights from those of solvers that draw all from one


@final
@dataclass(frozen=True)
class FixedStart(WrappedSolver):
    """Trains ``host`` from the initial weights number ``start``: its random stream decides the order of samples alone.

    The same number gives the same weights in every world of one dimension, so that starts and orders are crossed.

    Parameters
    ----------
    host : a solver whose model draws its initial weights from its generator and looks at no sample for them.
    start : number of the initial weights.
    """

    start: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("start", self.start, 0)

    def module(self, dim: int, rng: Rng) -> SparseModule:
        module = self.host.module(dim, stream(self.start, Role.SOLVER, START))
        if type(module).prime is not SparseModule.prime:
            raise ValueError(f"host must not start from a sample, which is no fixed start; got {self.host!r}.")
        return module


@dataclass(frozen=True)
class Size:
    """What a tier spends: features in dimensions, levels of world, start and order, samples, training."""

    m: int
    d: int
    levels: tuple[int, int, int]
    n_train: int
    training: Training


SIZES = {
    Tier.SMOKE: Size(12, 8, (3, 2, 2), 300, Training(steps=60, batch_size=32)),
    Tier.LAPTOP: Size(32, 16, (10, 6, 4), 5_000, Training(steps=1_000, batch_size=128)),
    Tier.PAPER: Size(256, 64, (30, 8, 8), 200_000, Training(steps=20_000)),
}
METRICS = (n_features, recovery.mcc, recovery.mcc_chance, recovery.recovered_at_90, reconstruction.fvu)


def world(m: int, d: int) -> FeatureSpec:
    """Return random directions in superposition with unequal rates, about three features active a sample."""
    return FeatureSpec(d, Bernoulli(ZipfRates(m, 0.7, 0.3)), RandomSphere(), MAGNITUDE)


def solvers(m: int, k: int, training: Training) -> dict[str, NeuralSolver]:
    """Return the autoencoders by name, all told the true width and the mean number of active features."""
    return {
        "relu_l1": ReLUL1(m, 2.0, training=training),
        "topk": TopK(m, k, training=training),
        "batch_topk": BatchTopK(m, k, training=training),
        "matryoshka": Matryoshka(m, k, prefixes=(m // 4, m // 2, m), training=training),
        "mp": MatchingPursuitSAE(m, k, training=training),
    }


def study(tier: Tier) -> Study:
    """Return the crossed design at ``tier``: solver, world (features and samples), start, order (a replica).

    All runs in one world are trained as one batched model.
    """
    size = SIZES[tier]
    here = world(size.m, size.d)
    worlds, starts, orders = size.levels
    cells: dict[Labels, Cell] = {}
    for name, solver in solvers(size.m, sparsity(here), size.training).items():
        for seed in range(worlds):
            places = [(start, order) for start in range(starts) for order in range(orders)]
            group = tuple(
                FitCell(here, seed, 500, FixedStart(solver, start), size.n_train, order) for start, order in places
            )
            for index, (start, order) in enumerate(places):
                cells[labels(solver=name, seed=seed, start=start, order=order)] = Grouped(group, index)
    question = "What does a recovery score vary with: the world, the initial weights, or the order of the samples?"
    return Study("variance", question, cells, METRICS)
