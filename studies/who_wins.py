"""Who wins where, over properties of worlds: correlation, hierarchy and skew of rates, each against sparsity.

Along each axis the mean number of active features stays k; along the first two the rate of every feature does too, so
that only what fires with what changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from sparsesim.generators.base import FeatureSpec, SupportLaw
from sparsesim.generators.copula import CorrelatedBernoulli, latent_correlation
from sparsesim.generators.correlation import BlockCorrelation
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.groups import BlockSupport
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.manifolds import UnionSupport
from sparsesim.generators.rates import EqualRates, WithMeanL0, ZipfRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.solvers.base import Encoder, Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.matryoshka import Matryoshka
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Grouped, Labels, OracleCell, Study, labels
from studies import plane
from studies.bakeoff import n_features
from studies.tiers import Tier

CHILDREN = 3  # of each parent
BLOCK = 1 + CHILDREN  # features that fire together, or a parent and its children
FEWER = 3  # times as seldom as its parent fires a child
PENALTIES = (1.0, 1.4, 2.0)  # of the L1 autoencoder; the figure shows the one whose L0 is nearest to k
COUNTING = 10.0  # weight at which JumpReLU keeps to the number of latents that it is told
DIGITS = 9  # of latent correlations, which are found by bisection: none of them is of another key elsewhere

METRICS = (
    n_features,
    codes.code_correlation,
    codes.support_f1,
    codes.l0,
    codes.true_l0,
    recovery.mcc,
    recovery.mcc_chance,
    recovery.mcc_corrected,
    recovery.recovered_at_90,
    reconstruction.fvu,
)


def correlated(m: int, k: int, strength: float) -> SupportLaw:
    """Return m features that fire equally often, with this correlation of their firings within blocks of four."""
    rates = EqualRates(m, k / m)
    if not strength:
        return Bernoulli(rates)
    latent = round(float(latent_correlation(k / m, k / m, strength)), DIGITS)
    return CorrelatedBernoulli(rates, BlockCorrelation((BLOCK,) * (m // BLOCK), latent))


def family(parent: float, strength: float) -> UnionSupport:
    """Return a parent of rate ``parent`` and children a third as frequent, independent of each other given the parent.

    Of a child's firings the share parent + strength (1 - parent) is with its parent: independent at 0, a tree at 1.
    Rates are the same at every strength.
    """
    child = parent / FEWER
    on, off = (parent + strength * (1.0 - parent)) / FEWER, child * (1.0 - strength)
    sets, weights = [], []
    for fired in product((False, True), repeat=BLOCK):
        rate, weight = (on, parent) if fired[0] else (off, 1.0 - parent)
        for one in fired[1:]:
            weight *= rate if one else 1.0 - rate
        sets.append(tuple(place for place, one in enumerate(fired) if one))
        weights.append(weight)
    return UnionSupport(BLOCK, tuple(sets), tuple(weights))


def hierarchical(m: int, k: int, strength: float) -> SupportLaw:
    """Return families of four, k features active in the mean."""
    families = m // BLOCK
    parent = k / (families * (1.0 + CHILDREN / FEWER))
    return BlockSupport(ExactlyK(families, families), family(parent, strength))


def skewed(m: int, k: int, strength: float) -> SupportLaw:
    """Return independent features whose rates fall by Zipf's law with this exponent."""
    return Bernoulli(WithMeanL0(ZipfRates(m, strength, 1.0), k) if strength else EqualRates(m, k / m))


Law: TypeAlias = Callable[[int, int, float], SupportLaw]
LAWS: dict[str, Law] = {"correlation": correlated, "hierarchy": hierarchical, "skew": skewed}


@dataclass(frozen=True)
class Size:
    """What a tier spends: d, m, the values of k and of each axis, seeds, samples, training."""

    d: int
    m: int
    actives: tuple[int, ...]
    axes: tuple[tuple[str, tuple[float, ...]], ...]
    seeds: int
    n_train: int
    n_test: int
    training: Training


AXES = (
    ("correlation", (0.0, 0.2, 0.4, 0.6)),
    ("hierarchy", (0.0, 0.5, 0.8, 1.0)),
    ("skew", (0.0, 0.3, 0.6)),
)
SIZES = {
    Tier.SMOKE: Size(
        8, 16, (1, 3), tuple((name, (points[0], points[-1])) for name, points in AXES), 2, 400, 200,
        Training(steps=40, batch_size=64),
    ),
    Tier.LAPTOP: Size(16, 32, (2, 4, 6), AXES, 5, 5_000, 1_000, Training(steps=1_500, batch_size=128)),
    Tier.PAPER: Size(64, 128, (4, 8, 12), AXES, 10, 200_000, 4_000, Training(steps=30_000)),
}  # fmt: skip


def world(size: Size, axis: str, k: int, strength: float) -> FeatureSpec:
    """Return the world at one point: random directions and half-normal codes, as on the plane of superposition."""
    return FeatureSpec(size.d, LAWS[axis](size.m, k, strength), RandomSphere(), HalfNormal(1.0))


def oracles(m: int, k: int) -> dict[str, Encoder]:
    """Return the encoders that are given the true atoms; the figure's ceiling is the best of them at each point."""
    return {name: encoder for name, encoder in plane.encoders(m, k).items() if name != "one_step"}


def classical(m: int, k: int) -> dict[str, Solver]:
    """Return the floor and the learners that code by pursuit or by the lasso and are not trained by gradients."""
    pursuit = OrthogonalMatchingPursuit(k, non_negative=True)
    return {
        "random": RandomDictionary(m, pursuit),
        "mod": MethodOfOptimalDirections(m, pursuit, iterations=30),
        "online": OnlineDictionaryLearning(m, Lasso(0.1, non_negative=True)),
    }


def neural(m: int, k: int, training: Training) -> dict[str, NeuralSolver]:
    """Return the autoencoders, all told the true width and the mean number of active features but for ReLU + L1."""
    return {
        **{f"relu_l1_{penalty:g}": ReLUL1(m, penalty, training=training) for penalty in PENALTIES},
        "jump_relu": JumpReLU(m, COUNTING, target=float(k), training=training),
        "topk": TopK(m, k, training=training),
        "batch_topk": BatchTopK(m, k, training=training),
        "matryoshka": Matryoshka(m, k, prefixes=(m // 4, m // 2, m), training=training),
        "mp": MatchingPursuitSAE(m, k, training=training),
    }


def _grouped(size: Size, axis: str, points: tuple[float, ...]) -> dict[Labels, Cell]:
    """Return the autoencoders of one axis: models that differ in buffers train together."""
    groups: dict[str, dict[Labels, FitCell]] = {}
    for k, strength, seed in product(size.actives, points, range(size.seeds)):
        here = world(size, axis, k, strength)
        for name, solver in neural(size.m, k, size.training).items():
            group = f"{name}, {k} steps" if isinstance(solver, MatchingPursuitSAE) else name  # its loop has k turns
            label = labels(axis=axis, strength=strength, k=k, solver=name, seed=seed)
            groups.setdefault(group, {})[label] = FitCell(here, seed, size.n_test, solver, size.n_train)
    cells: dict[Labels, Cell] = {}
    for members in groups.values():
        group_of = tuple(members.values())
        cells |= {label: Grouped(group_of, place) for place, label in enumerate(members)}
    return cells


def study(tier: Tier) -> Study:
    """Return the three planes at ``tier``: axis, strength, k, solver, paired seeds."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for axis, points in size.axes:
        for strength, k, seed in product(points, size.actives, range(size.seeds)):
            here = world(size, axis, k, strength)
            for name, encoder in oracles(size.m, k).items():
                label = labels(axis=axis, strength=strength, k=k, solver=name, seed=seed)
                cells[label] = OracleCell(here, seed, size.n_test, encoder)
            for name, solver in classical(size.m, k).items():
                label = labels(axis=axis, strength=strength, k=k, solver=name, seed=seed)
                cells[label] = FitCell(here, seed, size.n_test, solver, size.n_train)
        cells |= _grouped(size, axis, points)
    question = "Which solver finds codes and atoms best where features correlate, form trees, or differ in frequency?"
    return Study("who_wins", question, cells, METRICS)
