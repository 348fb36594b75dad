"""Every variant of the sparse autoencoder on an L0 grid: what is recovered at how many active latents?

Variants are never compared at equal penalties. Each has a grid of its own sparsity parameter, and a score stands at the
L0 that came out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeAlias, final

from sparsesim.generators.base import FeatureSpec
from sparsesim.metrics import codes, consistency, hedging, hierarchy, reconstruction, recovery, splitting
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.adaptive_k import AdaptiveK
from sparsesim.solvers.neural.aligned import FeatureAligned
from sparsesim.solvers.neural.archetypal import Archetypal
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.ensemble import Bagging, Boosting
from sparsesim.solvers.neural.feature_choice import FeatureChoice
from sparsesim.solvers.neural.gated import Gated
from sparsesim.solvers.neural.gradient_topk import GradientTopK
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.jump_relu_tanh import TanhJumpReLU
from sparsesim.solvers.neural.k_sparse import KSparse
from sparsesim.solvers.neural.kron import KronSAE
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.multi_topk import MultiTopK
from sparsesim.solvers.neural.mutual_choice import MutualChoice
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.p_annealing import PAnnealing
from sparsesim.solvers.neural.poly import PolynomialSAE
from sparsesim.solvers.neural.proximal_sae import L1, ProximalSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.spade import SpaDE
from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1
from sparsesim.solvers.neural.tilted import TiltedERM
from sparsesim.solvers.neural.top_afa import TopAFA
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vaease import VAEase
from sparsesim.solvers.neural.variational_topk import VariationalTopK
from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from sparsesim.validate.worlds import standard
from studies.bakeoff import n_features, sparsity, width
from studies.tiers import Tier


@final
@dataclass(frozen=True)
class Twins:
    """An evaluation, and the dictionary that the same solver finds in the same samples from another initialisation."""

    evaluation: Evaluation
    twin: FittedDictionary | None

    @property
    def fitted(self) -> FittedDictionary:
        fitted: Any = self.evaluation.fitted
        return fitted  # type: ignore[no-any-return]


@final
@dataclass(frozen=True)
class TwinCell:
    """What ``cell`` evaluates to, with a second fit from another stream of the solver where ``twin`` asks for it."""

    cell: FitCell | OracleCell
    twin: bool = False

    def evaluate(self) -> Twins:
        other = None
        if self.twin and isinstance(self.cell, FitCell):
            other = replace(self.cell, replica=self.cell.replica + 1).fit()[1]
        return Twins(self.cell.evaluate(), other)


def lifted(metric: Callable[[Evaluation], float]) -> Callable[[Twins], float]:
    """Return ``metric`` of the evaluation within `Twins`, under its own name."""

    @wraps(metric)
    def column(twins: Twins) -> float:
        return metric(twins.evaluation)

    return column


def seed_agreement(twins: Twins) -> float:
    """Return PW-MCC between the two initialisations; NaN where only one was fitted."""
    if twins.twin is None:
        return float("nan")
    return consistency.pairwise_mcc([twins.fitted, twins.twin])


METRICS = (
    *map(
        lifted,
        (
            n_features,
            width,
            recovery.mcc,
            recovery.mcc_chance,
            recovery.mcc_corrected,
            recovery.recovered_at_90,
            recovery.uniqueness,
            codes.support_f1,
            codes.l0,
            codes.true_l0,
            codes.dead_fraction,
            codes.shrinkage,
            reconstruction.fvu,
            hierarchy.absorption_gap,
            hierarchy.absorption_score,
            hedging.hedging_score,
            splitting.feature_splitting,
            splitting.composition,
            splitting.fake_feature_ratio,
        ),
    ),
    seed_agreement,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends."""

    worlds: tuple[str, ...]
    seeds: int
    n_train: int
    n_test: int
    training: Training


SIZES = {
    Tier.SMOKE: Size(("superposed",), 2, 500, 200, Training(steps=30, batch_size=64)),
    Tier.LAPTOP: Size(("superposed", "tree"), 5, 10_000, 2_000, Training(steps=1_500)),
    Tier.PAPER: Size(("flat", "superposed", "zipf", "tree", "noisy"), 20, 100_000, 10_000, Training(steps=30_000)),
}
COUNTS = (2 / 3, 1.0, 5 / 3)  # latents a sample, as multiples of the true mean
PENALTIES = (0.35, 1.0, 2.5)  # as multiples of a penalty that gives about the true L0 in the superposed world
Variant: TypeAlias = Callable[[int, int, float, Training], Solver]  # p, k, multiple of the penalty, training


def by_count() -> dict[str, Variant]:
    """Return the variants whose parameter is a number of active latents k."""
    return {
        "k_sparse": lambda p, k, _, t: KSparse(p, k, training=t),
        "topk": lambda p, k, _, t: TopK(p, k, training=t),
        "multi_topk": lambda p, k, _, t: MultiTopK(p, k, training=t),
        "batch_topk": lambda p, k, _, t: BatchTopK(p, k, training=t),
        "matryoshka": lambda p, k, _, t: Matryoshka(p, k, prefixes=(p // 8, p // 4, p // 2, p), training=t),
        "nested_topk": lambda p, k, _, t: NestedTopK(p, k, training=t),
        "abs_topk": lambda p, k, _, t: AbsTopK(p, k, training=t),
        "mutual_choice": lambda p, k, _, t: MutualChoice(p, k, training=t),
        "feature_choice": lambda p, k, _, t: FeatureChoice(p, k, training=t),
        "adaptive_k": lambda p, k, _, t: AdaptiveK(p, max(1, k - 1), k + 1, training=t),
        "gradient_topk": lambda p, k, _, t: GradientTopK(p, k, training=t),
        "variational_topk": lambda p, k, _, t: VariationalTopK(p, k, beta=0.01, training=t),
        "kron": lambda p, k, _, t: KronSAE(p, k, left=2, right=2, training=t),
        "mp": lambda p, k, _, t: MatchingPursuitSAE(p, k, training=t),
        "archetypal": lambda p, k, _, t: Archetypal(p, k, candidates=4 * p, training=t),
        "poly": lambda p, k, _, t: PolynomialSAE(p, k, training=t),
        "aligned": lambda p, k, _, t: FeatureAligned(TopK(p, k, training=t)),
        "bagging": lambda p, k, _, t: Bagging(TopK(p // 2, (k + 1) // 2, training=t), 2),
        "boosting": lambda p, k, _, t: Boosting(TopK(p // 2, (k + 1) // 2, training=t), 2),
    }


def by_penalty() -> dict[str, Variant]:
    """Return the variants whose parameter is the weight of a penalty."""
    return {
        "tied_relu_l1": lambda p, _, c, t: TiedReLUL1(p, 2.0 * c, training=t),
        "relu_l1": lambda p, _, c, t: ReLUL1(p, 3.0 * c, training=t),
        "weighted_relu_l1": lambda p, _, c, t: WeightedReLUL1(p, 2.0 * c, training=t),
        "gated": lambda p, _, c, t: Gated(p, 3.0 * c, training=t),
        "p_annealing": lambda p, _, c, t: PAnnealing(p, c, training=t),
        "jump_relu": lambda p, _, c, t: JumpReLU(p, 0.6 * c, training=t),
        "jump_relu_tanh": lambda p, _, c, t: TanhJumpReLU(p, 0.15 * c, training=t),
        "proximal": lambda p, _, c, t: ProximalSAE(p, L1(1.5 * c), iterations=3, training=t),
        "tilted": lambda p, _, c, t: TiltedERM(ReLUL1(p, 3.0 * c, training=t)),
        "spade": lambda p, _, c, t: SpaDE(p, 3.0 * c, training=t),
    }


def without() -> dict[str, Variant]:
    """Return the variants that choose their sparsity themselves."""
    return {
        "top_afa": lambda p, k, c, t: TopAFA(p, training=t),
        "group_bias": lambda p, k, c, t: GroupBias(p, high=min(0.5, 4 * k / p), low=k / (8 * p), training=t),
        "vaease": lambda p, k, c, t: VAEase(p, training=t),
    }


def grid(world: FeatureSpec, training: Training) -> dict[tuple[str, int], Solver]:
    """Return every variant at the true width and at each point of its grid, 1 being the one meant for the true L0."""
    p, k = world.n_features, sparsity(world)
    counts = [max(1, round(share * k)) for share in COUNTS]
    found: dict[tuple[str, int], Solver] = {}
    for name, make in by_count().items():
        found |= {(name, point): make(p, count, 1.0, training) for point, count in enumerate(counts)}
    for name, make in by_penalty().items():
        found |= {(name, point): make(p, k, penalty, training) for point, penalty in enumerate(PENALTIES)}
    found |= {(name, 1): make(p, k, 1.0, training) for name, make in without().items()}
    found |= {
        ("random", point): RandomDictionary(p, OrthogonalMatchingPursuit(count)) for point, count in enumerate(counts)
    }
    return found


def study(tier: Tier) -> Study:
    """Return variants x grid x worlds x paired seeds, with a random dictionary as floor and true atoms as ceiling."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for name in size.worlds:
        world = standard()[name]
        for seed in range(size.seeds):
            for (variant, point), solver in grid(world, size.training).items():
                fit = FitCell(world, seed, size.n_test, solver, size.n_train)
                label = labels(world=name, variant=variant, point=point, seed=seed)
                cells[label] = TwinCell(fit, twin=point == 1)
            for point, share in enumerate(COUNTS):
                oracle = OrthogonalMatchingPursuit(max(1, round(share * sparsity(world))))
                label = labels(world=name, variant="oracle", point=point, seed=seed)
                cells[label] = TwinCell(OracleCell(world, seed, size.n_test, oracle))
    return Study("variants", "Which autoencoder recovers what, at how many active latents?", cells, METRICS)
