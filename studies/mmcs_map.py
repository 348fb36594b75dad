"""Mean max cosine similarity over the size of the dictionary and the L1 penalty: where are the true features found?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparsesim.generators.toys import decaying_toy
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.chance import chance_mmcs
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.bakeoff import n_features, sparsity
from studies.tiers import Tier


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
    """Return the map at ``tier``: width, penalty (0 is the floor, random directions), seed.

    The penalties of one width and seed start from the same weights and are trained as one batched model.
    """
    size, cells = SIZES[tier], dict[Labels, Cell]()
    m, d, active, decay = size.world
    world = decaying_toy(n_features=m, dim=d, mean_active=active, decay=decay)
    pursuit = OrthogonalMatchingPursuit(sparsity(world))
    for ratio in size.ratios:
        width = round(ratio * m)
        solver = ReLUL1(width, training=Training(steps=size.steps))
        for seed in range(size.seeds):
            sweep = tuple(
                FitCell(world, seed, size.n_test, replace(solver, penalty=penalty), size.n_train)
                for penalty in size.grid()
            )
            for place, penalty in enumerate(size.grid()):
                label = labels(solver="relu_l1", width=width, penalty=penalty, seed=seed)
                cells[label] = Grouped(sweep, place)
            floor = FitCell(world, seed, size.n_test, RandomDictionary(width, pursuit), 1000)
            cells[labels(solver="random", width=width, penalty=0.0, seed=seed)] = floor
    question = "Does a sparse autoencoder find the true features, and does the map of its score say how many there are?"
    return Study("mmcs_map", question, cells, METRICS)
