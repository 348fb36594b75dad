"""Mean max cosine similarity over the size of the dictionary and the L1 penalty: where are the true features found?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import final

import numpy as np

from sparsesim._arrays import check_int
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.toys import decaying_toy
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.chance import chance_mmcs
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.bakeoff import n_features, sparsity
from studies.tiers import Tier


@final
@dataclass(frozen=True)
class Sweep:
    """Autoencoders that differ in their ``penalties`` alone, trained as one batched model on samples of ``seed``."""

    world: FeatureSpec
    seed: int
    solver: ReLUL1
    penalties: tuple[float, ...]
    n_train: int


@lru_cache(maxsize=8)
def swept(sweep: Sweep) -> list[FittedDictionary]:
    """Return the fit of each penalty, all from the same initial weights; it is a function of its argument."""
    model = sweep.world.build(stream(sweep.seed, Role.TRUTH))
    x = model.sample(sweep.n_train, stream(sweep.seed, Role.TRAIN), dtype=np.float32).x
    solvers = [replace(sweep.solver, penalty=penalty) for penalty in sweep.penalties]
    return fit_together(solvers, [Rows(x)] * len(solvers), [stream(sweep.seed, Role.SOLVER) for _ in solvers])


@final
@dataclass(frozen=True)
class SweepCell:
    """One penalty of a sweep, against held-out samples."""

    sweep: Sweep
    place: int
    n_test: int

    def __post_init__(self) -> None:
        check_int("n_test", self.n_test, 2)
        check_int("place", self.place, 0, len(self.sweep.penalties) - 1)

    def evaluate(self) -> Evaluation:
        model = self.sweep.world.build(stream(self.sweep.seed, Role.TRUTH))
        held_out = model.sample(self.n_test, stream(self.sweep.seed, Role.TEST))
        return Evaluation(model, swept(self.sweep)[self.place], held_out)


def dim(evaluation: Evaluation) -> float:
    """Return d."""
    return float(evaluation.truth.atoms.shape[1])


def mmcs_chance(evaluation: Evaluation) -> float:
    """Return the exact chance level of `mmcs` at this (p, d): E max of p independent |cos|."""
    m, d = evaluation.truth.atoms.shape
    return chance_mmcs(m, evaluation.fitted.width, d)


METRICS = (
    n_features,
    dim,
    recovery.mmcs,
    mmcs_chance,
    recovery.mmcs_learned,
    recovery.mcc,
    recovery.mcc_corrected,
    recovery.recovered_at_90,
    codes.l0,
    codes.true_l0,
    codes.dead_fraction,
    codes.support_f1,
    reconstruction.fvu,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; the report has 512 features in 256 dimensions, with 5 active in its words.

    Attributes
    ----------
    world : m, d, mean number active, and the factor between the rates of successive features.
    ratios : widths over m.
    penalties : lowest, highest, and their number, spaced geometrically.
    """

    seeds: int
    world: tuple[int, int, float, float]
    ratios: tuple[float, ...]
    penalties: tuple[float, float, int]
    steps: int
    n_train: int
    n_test: int = 2000

    def grid(self) -> tuple[float, ...]:
        return tuple(np.geomspace(*self.penalties).round(4).tolist())


WORLD = (32, 16, 1.5, 0.97)
SIZES = {
    Tier.SMOKE: Size(3, (16, 12, 1.0, 0.97), (0.5, 1.0, 2.0), (0.1, 10.0, 3), 150, 2000, 500),
    Tier.LAPTOP: Size(5, WORLD, (0.25, 0.5, 1.0, 2.0, 4.0), (0.1, 10.0, 9), 1500, 32768),
    Tier.PAPER: Size(10, (512, 256, 5.0, 0.99), (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), (0.01, 100.0, 17), 20000, 1_000_000),
}


def study(tier: Tier) -> Study:
    """Return the map at ``tier``: width, penalty (0 is the floor, random directions), seed."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    m, d, active, decay = size.world
    world = decaying_toy(n_features=m, dim=d, mean_active=active, decay=decay)
    pursuit = OrthogonalMatchingPursuit(sparsity(world))
    for ratio in size.ratios:
        width = round(ratio * m)
        solver = ReLUL1(width, training=Training(steps=size.steps))
        for seed in range(size.seeds):
            sweep = Sweep(world, seed, solver, size.grid(), size.n_train)
            for place, penalty in enumerate(size.grid()):
                label = labels(solver="relu_l1", width=width, penalty=penalty, seed=seed)
                cells[label] = SweepCell(sweep, place, size.n_test)
            floor = FitCell(world, seed, size.n_test, RandomDictionary(width, pursuit), 1000)
            cells[labels(solver="random", width=width, penalty=0.0, seed=seed)] = floor
    question = "Does a sparse autoencoder find the true features, and does the map of its score say how many there are?"
    return Study("mmcs_map", question, cells, METRICS)
