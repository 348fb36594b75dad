"""The tree of the matching pursuit autoencoder: which autoencoder lets a child's latent absorb its parent?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.toys import pursuit_tree_toy
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.matryoshka_relu import PenalisedMatryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.tiers import Tier

WIDTH = 20
PREFIXES = (4, 8, 12, 16, 20)
FAMILIES = {0: (1, 2, 3), 4: (5, 6, 7), 8: (9, 10, 11)}  # children of each parent, in the released order
PAIRS = np.array([(parent, child) for parent, children in FAMILIES.items() for child in children])


def absorption(evaluation: Evaluation) -> float:
    """Return the cosine of the latent matched to a child with the true parent's direction, a mean over the nine pairs.

    The truth has 0, full absorption 1 / sqrt(2); an unmatched child counts 0.
    """
    parent, child = PAIRS.T
    return float((evaluation.aligned_atoms[child] * evaluation.truth.atoms[parent]).sum(axis=1).mean())


METRICS = (absorption, recovery.mcc, codes.l0, codes.true_l0, codes.dead_fraction, reconstruction.fvu)


@dataclass(frozen=True)
class Size:
    """What a tier spends on a cell; the paper trains for 15000 steps of 200 samples and takes medians of 10 runs.

    A step of the pursuit costs the least, and its drift along a flat valley is what takes time: ``pursuit_steps``.
    """

    seeds: int
    n_train: int
    n_test: int
    steps: int
    pursuit_steps: int


SIZES = {
    Tier.SMOKE: Size(5, 2_000, 500, 200, 200),
    Tier.LAPTOP: Size(5, 20_000, 2_000, 2_000, 6_000),
    Tier.PAPER: Size(10, 200_000, 10_000, 15_000, 15_000),
}


def world() -> FeatureSpec:
    """Return the tree without mixing in which parents, children and leaves all have strengths N(1, 1/4^2)."""
    return replace(pursuit_tree_toy(), magnitude=RectifiedNormal(1.0, 0.25))


def solvers(size: Size) -> dict[str, Solver]:
    """Return the autoencoders by name.

    Matching pursuit has the released settings: samples as they are, no bias, steps until the residual is below 0.05.
    Those that choose among a batch are told the true mean number of active features, and 1 and 2 on both sides of it;
    the penalties of the L1 norms give about as many. The Matryoshka of the paper has such a penalty.
    """
    raw = Training(steps=size.pursuit_steps, batch_size=200, learning_rate=3e-2, normalise=False)
    training = Training(steps=size.steps, batch_size=200)
    true_k = round(float(world().support.marginals().sum()), 4)
    return {
        "mp": MatchingPursuitSAE(WIDTH, WIDTH, tolerance=0.05, learn_bias=False, training=raw),
        "relu_l1": ReLUL1(WIDTH, 1.0, training=training),
        "batch_topk": BatchTopK(WIDTH, true_k, training=training),
        "batch_topk_1": BatchTopK(WIDTH, 1, training=training),
        "batch_topk_2": BatchTopK(WIDTH, 2, training=training),
        "matryoshka": Matryoshka(WIDTH, true_k, prefixes=PREFIXES, training=training),
        "matryoshka_relu": PenalisedMatryoshka(WIDTH, 1.0, PREFIXES, training=training),
        "matryoshka_1": Matryoshka(WIDTH, 1, prefixes=PREFIXES, training=training),
        "matryoshka_2": Matryoshka(WIDTH, 2, prefixes=PREFIXES, training=training),
    }


def study(tier: Tier) -> Study:
    """Return the tree at ``tier``: autoencoders x paired seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {
        labels(solver=name, seed=seed): FitCell(world(), seed, size.n_test, solver, size.n_train)
        for seed in range(size.seeds)
        for name, solver in solvers(size).items()
    }
    question = "Which autoencoder lets the latent of a child write its parent's direction?"
    return Study("mp_tree", question, cells, METRICS)
