"""Absorption under an l1 penalty: how far a child's atom leans to its parent, against the exact optimum.

Three parts. ``pair``: two orthonormal features of size 1, the child now and then alone. ``matrix``: three features with
random joint supports, where every atom leans to every other. ``toy``: four features in 50 dimensions, one of them the
child of another, as the paper has it. Nothing has a bias and data are not normalised, as in the closed forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias, final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, check_real, unit_rows
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.magnitude import Constant
from sparsesim.generators.manifolds import UnionSupport
from sparsesim.metrics import hierarchy, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Solver, Status
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.neural.fixed_bias import FixedBias
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import NeuralEncoder
from sparsesim.solvers.neural.tied_relu_l1 import TiedReLUL1
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.tiers import Tier
from studies.together import Group, best
from theory.absorption import tilt_matrix
from theory.population_lasso import best_atoms, population_loss

PARENT, BOTH = 0.2, 0.1  # probabilities of the parent alone and of parent and child
SETS = ((), (0,), (0, 1), (1,))
JOINT = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
EVEN = 6.0  # concentration of the probabilities of the joint supports: none is rare
LAWS = 23  # tells the draw of these probabilities from other draws of a seed
TOY = (0.25, 0.2, 0.25, 0.25)  # the second given the first, in the hierarchy
DIGITS = 9  # to which samples of a noiseless world are compared
UNDEFINED = float("nan")


@final
@dataclass(frozen=True)
class PopulationLasso:
    """Learns the best atoms for exact non-negative lasso codes of the distinct samples; for noiseless small worlds."""

    width: int
    penalty: float
    starts: int = 8

    def __post_init__(self) -> None:
        check_int("width", self.width, 1, 8)
        check_real("penalty", self.penalty, 0.0)
        check_int("starts", self.starts, 1)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the best dictionary from random starts, mixtures of the distinct samples of ``x (n, d)``."""
        points, counts = np.unique(np.round(x, DIGITS), axis=0, return_counts=True)
        starts = rng.exponential(size=(self.starts, self.width, len(points))) ** 3 @ points
        found = best_atoms(points, counts / len(x), starts, self.penalty)
        encoder = Lasso(self.penalty / 2.0, non_negative=True)  # its loss has a half of the squared error
        return FittedDictionary(found.atoms, np.zeros(x.shape[1]), encoder, Status.CONVERGED)


def pair(penalty: float, ratio: float) -> FeatureSpec:
    """Return two features of which the child is alone with probability ``ratio * penalty * BOTH``."""
    alone = ratio * penalty * BOTH
    weights = (1.0 - PARENT - BOTH - alone, PARENT, BOTH, alone)
    return FeatureSpec(2, UnionSupport(2, SETS, weights), Orthonormal(), Constant(1.0))


def joint(law: int) -> FeatureSpec:
    """Return three features whose joint supports have random probabilities, drawn once for each ``law``."""
    weights = stream(law, Role.LAW, LAWS).dirichlet(np.full(len(JOINT), EVEN))
    return FeatureSpec(3, UnionSupport(3, JOINT, tuple(weights.tolist())), Orthonormal(), Constant(1.0))


def toy(parents: tuple[int, ...]) -> FeatureSpec:
    """Return four features in 50 dimensions with these parents (-1 for none)."""
    return FeatureSpec(50, Forest(parents, TOY), Orthonormal(), Constant(1.0))


TOYS = {"independent": toy((-1, -1, -1, -1)), "hierarchy": toy((-1, 0, -1, -1))}


@final
@dataclass(frozen=True)
class Entry:
    """An evaluation with the pair of features that a row is about: the atom of ``atom``, seen along ``along``."""

    evaluation: Evaluation
    atom: int
    along: int
    penalty: float

    @property
    def fitted(self) -> FittedDictionary:
        fitted: Any = self.evaluation.fitted
        return fitted  # type: ignore[no-any-return]


@final
@dataclass(frozen=True)
class EntryCell:
    """One entry of what the best of some members of a group learned, by their own loss on the training samples."""

    group: Group
    members: tuple[int, ...]
    atom: int
    along: int
    penalty: float

    def evaluate(self) -> Entry:
        return Entry(best(self.group, self.members, self.penalty), self.atom, self.along, self.penalty)


def decoder_cosine(entry: Entry) -> float:
    """Return the cosine of the atom matched to one feature with the direction of the other."""
    return float(entry.evaluation.aligned_atoms[entry.atom] @ entry.evaluation.truth.atoms[entry.along])


def tilt(entry: Entry) -> float:
    """Return the atom's coordinate along the other feature over that along its own; the truth has 0."""
    row = entry.evaluation.aligned_atoms[entry.atom] @ entry.evaluation.truth.atoms.T
    return float(row[entry.along] / row[entry.atom])


def encoder_cosine(entry: Entry) -> float:
    """Return the cosine of the encoder row of the same latent; NaN for dictionaries without an encoder network."""
    encoder = entry.fitted.encoder
    if not isinstance(encoder, NeuralEncoder):
        return UNDEFINED
    module: Any = getattr(encoder.module, "host", encoder.module)
    weights = module.encoder if hasattr(module, "encoder") else module.atoms()
    match = entry.evaluation.match
    (place,) = np.flatnonzero(match.features == entry.atom)
    row, _ = unit_rows(weights.detach().double().numpy()[match.atoms[place]][None])
    return float(row[0] @ entry.evaluation.truth.atoms[entry.along])


def held_code(entry: Entry) -> float:
    """Return the code of the other feature's latent on both features, over its code on that feature alone.

    1 where a parent's latent is as active with the child as without it, 0 where it falls silent, the hole in its
    recall.
    """
    evaluation, match = entry.evaluation, entry.evaluation.match
    (place,) = np.flatnonzero(match.features == entry.along)
    own, other = evaluation.truth.atoms[entry.along], evaluation.truth.atoms[entry.atom]
    codes = evaluation.fitted.encode(np.stack([own, own + other])).toarray()[:, match.atoms[place]]
    return float(codes[1] / codes[0]) if codes[0] > 0 else UNDEFINED


def _population(entry: Entry) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return the true codes, the samples and the probabilities of all that can occur; None where it is no list."""
    truth: Any = entry.evaluation.truth
    law = truth.spec.support
    if not isinstance(law, UnionSupport):
        return None
    codes = np.array([[float(i in own) for i in range(law.m)] for own in law.sets])
    return codes, codes @ truth.atoms, np.array(law.weights)


def loss(entry: Entry) -> float:
    """Return the population loss of the atoms with exact lasso codes; NaN in the toy, whose law is not a list."""
    found = _population(entry)
    return UNDEFINED if found is None else population_loss(*found[1:], entry.fitted.atoms, entry.penalty)[0]


def truth_loss(entry: Entry) -> float:
    """Return the population loss of the true atoms with exact lasso codes; NaN in the toy."""
    found = _population(entry)
    return UNDEFINED if found is None else population_loss(*found[1:], entry.evaluation.truth.atoms, entry.penalty)[0]


def first_order(entry: Entry) -> float:
    """Return the tilt of the best atoms to first order in the penalty, from the law of the world; NaN in the toy."""
    found = _population(entry)
    if found is None:
        return UNDEFINED
    return float(tilt_matrix(found[0], entry.penalty, found[2])[entry.atom, entry.along])


def mcc(entry: Entry) -> float:
    """Return the mean matched |cos|."""
    return recovery.mcc(entry.evaluation)


def recall_child_on(entry: Entry) -> float:
    """Return the recall of the parent's latent where its child fires; NaN without a hierarchy."""
    return hierarchy.parent_recall_child_on(entry.evaluation)


def recall_child_off(entry: Entry) -> float:
    """Return the recall of the parent's latent where no child fires; NaN without a hierarchy."""
    return hierarchy.parent_recall_child_off(entry.evaluation)


METRICS = (
    tilt,
    decoder_cosine,
    encoder_cosine,
    held_code,
    loss,
    truth_loss,
    first_order,
    mcc,
    recall_child_on,
    recall_child_off,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends; a toy, whose tied autoencoder has many poor minima, starts ``toy_restarts`` times."""

    seeds: int
    restarts: int
    toy_restarts: int
    n_train: int
    n_test: int
    training: Training
    penalties: tuple[float, ...]
    ratios: tuple[float, ...]
    laws: int
    weak: tuple[float, ...]  # penalties of the matrix, where it is a first order


def _training(steps: int, batch_size: int) -> Training:
    return Training(steps=steps, batch_size=batch_size, learning_rate=5e-3, normalise=False)


RATIOS = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.5, 2.5, 4.0)
SIZES = {
    Tier.SMOKE: Size(2, 2, 3, 2_000, 300, _training(120, 64), (0.2,), (0.0, 0.5, 4.0), 1, (0.05,)),
    Tier.LAPTOP: Size(5, 10, 30, 50_000, 2_000, _training(4_000, 256), (0.05, 0.1, 0.2), RATIOS, 3, (0.02, 0.05)),
    Tier.PAPER: Size(
        10, 20, 60, 500_000, 10_000, _training(40_000, 1_024), (0.02, 0.05, 0.1, 0.2), RATIOS, 10, (0.01, 0.05)
    ),
}

Members: TypeAlias = dict[tuple[str, float, float], tuple[FeatureSpec, Solver]]  # world, penalty, ratio or law


def members(size: Size, part: str, solver: str) -> Members:
    """Return the members of the group that trains together, by what they are called in the table."""

    def make(width: int, penalty: float) -> Solver:
        made: dict[str, Solver] = {
            "sae": FixedBias(ReLUL1(width, penalty, training=size.training), towards_data=True),
            "tied": TiedReLUL1(width, penalty, training=size.training),
            "lasso": PopulationLasso(width, penalty),
            "random": RandomDictionary(width, Lasso(penalty / 2.0, non_negative=True)),
        }
        return made[solver]

    if part == "pair":
        grid = product(size.penalties, size.ratios)
        return {("pair", penalty, ratio): (pair(penalty, ratio), make(2, penalty)) for penalty, ratio in grid}
    if part == "matrix":
        laws = product(size.weak, range(size.laws))
        return {(f"law_{law}", penalty, 0.0): (joint(law), make(3, penalty)) for penalty, law in laws}
    return {(name, 0.05, 0.0): (world, make(4, 0.05)) for name, world in TOYS.items()}


PARTS = (("pair", "sae"), ("pair", "lasso"), ("matrix", "sae"), ("matrix", "lasso"), ("toy", "sae"), ("toy", "tied"))
FLOOR = ("toy", "random")


def _entries(part: str) -> list[tuple[int, int]]:
    count = {"pair": 2, "matrix": 3, "toy": 4}[part]
    return [(i, j) for i, j in product(range(count), repeat=2) if i != j or part == "toy"]


def _cells(size: Size, seed: int) -> Iterator[tuple[Labels, Cell]]:
    for part, kind in (*PARTS, FLOOR):
        named = members(size, part, kind)
        restarts = size.toy_restarts if part == "toy" else size.restarts
        replicas = range(restarts if kind in ("sae", "tied") else 1)
        group = tuple(
            FitCell(world, seed, size.n_test, solver, size.n_train, replica)
            for replica, (world, solver) in product(replicas, named.values())
        )
        for place, (world, penalty, ratio) in enumerate(named):
            own = tuple(range(place, len(group), len(named)))
            for atom, along in _entries(part):
                label = labels(part=part, solver=kind, world=world, penalty=penalty, ratio=ratio, atom=atom)
                yield (*label, *labels(along=along, seed=seed)), EntryCell(group, own, atom, along, penalty)


def study(tier: Tier) -> Study:
    """Return pair, matrix and toy at ``tier``, each entry of what was learned a row, on paired seeds."""
    size = SIZES[tier]
    cells = dict(entry for seed in range(size.seeds) for entry in _cells(size, seed))
    return Study("absorption", "How far does an l1 penalty tilt atoms towards what they occur with?", cells, METRICS)
