"""Every solver in every standard world at the true width and the true sparsity: who recovers what?"""

from __future__ import annotations

from dataclasses import dataclass

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.noise import SignalToNoise
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Encoder, Solver
from sparsesim.solvers.baselines import IndependentComponents, PrincipalComponents, RandomDictionary
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.learn import KSVD, MethodOfOptimalDirections
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from sparsesim.validate.worlds import standard
from studies.tiers import Tier


def n_features(evaluation: Evaluation) -> float:
    """Return m, so that every score of the table stands beside the size of its world."""
    return float(evaluation.truth.n_features)


def width(evaluation: Evaluation) -> float:
    """Return p, so that every score of the table stands beside the width it was reached with."""
    return float(evaluation.fitted.width)


METRICS = (
    n_features,
    width,
    recovery.mcc,
    recovery.mcc_chance,
    recovery.mcc_corrected,
    recovery.mcc_learned,
    recovery.mmcs,
    recovery.recovered_at_90,
    recovery.recovered_at_95,
    recovery.recovered_at_99,
    recovery.uniqueness,
    codes.support_precision,
    codes.support_recall,
    codes.support_f1,
    codes.code_correlation,
    codes.l0,
    codes.true_l0,
    codes.dead_fraction,
    codes.shrinkage,
    reconstruction.fvu,
    reconstruction.amortisation_gap,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends on a cell."""

    seeds: int
    n_train: int
    n_test: int
    training: Training
    iterations: int


SIZES = {
    Tier.SMOKE: Size(5, 4_000, 1_000, Training(steps=1_500), 30),
    Tier.LAPTOP: Size(10, 20_000, 4_000, Training(steps=10_000), 100),
    Tier.PAPER: Size(20, 100_000, 10_000, Training(steps=50_000), 200),
}


def sparsity(world: FeatureSpec) -> int:
    """Return k, the mean number of active features rounded to a whole one, at least 1."""
    return max(1, round(float(world.support.marginals().sum())))


def solvers(world: FeatureSpec, size: Size) -> dict[str, Solver]:
    """Return the learners by name, all told the true width and the mean number of active features."""
    m, d, k = world.n_features, world.dim, sparsity(world)
    pursuit = OrthogonalMatchingPursuit(k)
    return {
        "random": RandomDictionary(m, pursuit),
        "pca": PrincipalComponents(min(m, d)),
        "ica": IndependentComponents(min(m, d)),
        "mod": MethodOfOptimalDirections(m, pursuit, iterations=size.iterations),
        "ksvd": KSVD(m, pursuit, iterations=size.iterations),
        "relu_l1": ReLUL1(m, training=size.training),
        "topk": TopK(m, k, training=size.training),
        "batch_topk": BatchTopK(m, k, training=size.training),
        "vae": GaussianVAE(m, training=size.training),
    }


def oracles(world: FeatureSpec) -> dict[str, Encoder | None]:
    """Return the encoders that are given the true atoms; None is also given the true support.

    ``oracle_stop`` knows the level of the noise instead of the sparsity: it pursues until the residual is noise.
    """
    k = sparsity(world)
    noise = 10 ** (-world.noise.db / 20) if isinstance(world.noise, SignalToNoise) else 1e-6
    return {
        "oracle_mp": MatchingPursuit(k),
        "oracle_omp": OrthogonalMatchingPursuit(k),
        "oracle_stop": OrthogonalMatchingPursuit(world.dim // 2, tolerance=noise),
        "oracle_lasso": Lasso(0.1),
        "genie": None,
    }


def study(tier: Tier) -> Study:
    """Return the bake-off at ``tier``: worlds x (learners + oracles) x paired seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for name, world in standard().items():
        for seed in range(size.seeds):
            for solver_name, solver in solvers(world, size).items():
                cell = FitCell(world, seed, size.n_test, solver, size.n_train)
                cells[labels(world=name, solver=solver_name, seed=seed)] = cell
            for oracle_name, encoder in oracles(world).items():
                cells[labels(world=name, solver=oracle_name, seed=seed)] = OracleCell(world, seed, size.n_test, encoder)
    question = "At the true width and sparsity, which solver recovers the true features of which world?"
    return Study("bakeoff", question, cells, METRICS)
