"""Group bias adaptation: which target frequencies find the features, in how many dimensions, and against TopK?

``resonance``: one group of latents with one target frequency, against the frequency of the features. ``transition``:
the target at half that frequency, along the dimension and the number of features n. ``rows``: half of the samples have
few active features and half have many, so that no one k fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, check_int
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import Constant, HalfNormal
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.restricted import RowRestricted
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Grouped, Labels, Study, labels
from studies.bakeoff import n_features
from studies.tiers import Tier

ACTIVE = 3  # features a sample in the first two parts, frequency 3 / n
OFTEN, MOVE = 5, 0.03  # steps between two moves of the biases, and their size: for thousands of steps, not millions


@final
@dataclass(frozen=True)
class TwoCounts:
    """The count is ``low`` or ``high``, with probability one half each."""

    low: int
    high: int

    def __post_init__(self) -> None:
        check_int("high", self.high, 1)
        check_int("low", self.low, 0, self.high - 1)

    def probabilities(self) -> FloatArray:
        """Return P(count = j), ``(high + 1,)``."""
        found = np.zeros(self.high + 1)
        found[[self.low, self.high]] = 0.5
        return found


def _found(evaluation: Evaluation, threshold: float) -> float:
    return float((evaluation.cosines.max(axis=1, initial=0.0) > threshold).mean())


def frr_80(evaluation: Evaluation) -> float:
    """Return the share of features with a latent of cosine above 0.8, several for one or one for several allowed."""
    return _found(evaluation, 0.8)


def frr_90(evaluation: Evaluation) -> float:
    """Return the share of features with a latent of cosine above 0.9: the paper's feature recovery rate."""
    return _found(evaluation, 0.9)


METRICS = (
    n_features,
    frr_80,
    frr_90,
    recovery.mcc,
    codes.l0,
    codes.true_l0,
    codes.dead_fraction,
    reconstruction.fvu,
)


@dataclass(frozen=True)
class Size:
    """What a tier spends: seeds, the grids of the parts, and n, d and width of the world with two counts."""

    seeds: int
    n_train: int
    steps: int
    ratios: tuple[float, ...]
    dims: tuple[int, ...]
    counts: tuple[int, ...]
    roots: tuple[float, ...]
    rows: tuple[int, int, int]
    n_test: int = 1_000


SIZES = {
    Tier.SMOKE: Size(2, 500, 40, (0.25, 0.5, 4.0), (16,), (16, 64), (1.0, 3.0), (32, 16, 64), 200),
    Tier.LAPTOP: Size(
        5,
        20_000,
        1_500,
        (0.125, 0.25, 0.5, 1.0, 2.0, 4.0),
        (16, 32),
        (16, 64, 144),
        (1.0, 1.5, 2.0, 3.0),
        (64, 32, 256),
    ),
    Tier.PAPER: Size(
        20,
        200_000,
        30_000,
        (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0),
        (16, 32, 64),
        (16, 64, 256, 1024),
        (0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
        (128, 42, 1024),
    ),
}
RESONANT = 64  # features of the first part


def uniform(n: int, dim: int) -> FeatureSpec:
    """Return ``n`` random directions, three of them active in each sample with half-normal codes."""
    return FeatureSpec(dim, ExactlyK(n, ACTIVE), RandomSphere(), HalfNormal(1.0))


def two_counts(n: int, dim: int) -> FeatureSpec:
    """Return the world with 3 or 20 active of 128, in proportion: every feature is on in about 9% of the samples."""
    low, high = max(1, round(3 * n / 128)), max(2, round(20 * n / 128))
    return FeatureSpec(dim, RowRestricted(EqualRates(n, 0.09), TwoCounts(low, high)), RandomSphere(), Constant(1.0))


def adapted(width: int, groups: int, high: float, low: float, steps: int) -> GroupBias:
    """Return group bias adaptation with targets from ``high`` to ``low``, whose biases gate without shrinking."""
    training = Training(steps=steps)
    return GroupBias(width, groups, min(high, 1.0), low, OFTEN, MOVE, jump=True, training=training)


Point = tuple[str, str, int, int, float, FeatureSpec, Solver]  # part, solver, n, d, target, world, solver


def points(size: Size) -> Iterator[list[Point]]:
    """Yield the points of each model shape; ``target`` is 0 where there is none, and for several the highest."""
    frequency = ACTIVE / RESONANT
    for dim in size.dims:
        world = uniform(RESONANT, dim)
        targets = [ratio * frequency for ratio in size.ratios]
        yield [
            ("resonance", "gba", RESONANT, dim, p, world, adapted(2 * RESONANT, 1, p, p, size.steps)) for p in targets
        ]
    for n in size.counts:
        for root in size.roots:
            dim, p = round(root * n**0.5), 0.5 * ACTIVE / n
            yield [("transition", "gba", n, dim, p, uniform(n, dim), adapted(2 * n, 1, p, p, size.steps))]
    yield from _rows(size)


def _rows(size: Size) -> Iterator[list[Point]]:
    n, dim, width = size.rows
    world, steps = two_counts(n, dim), 2 * size.steps
    frequency = float(world.support.marginals()[0])
    most = max(2, round(20 * n / 128))
    made: dict[str, tuple[float, Solver]] = {
        **{
            f"topk_{share:g}": (0.0, TopK(width, round(share * most), training=Training(steps=steps)))
            for share in (1.0, 1.5, 2.5)
        },
        "gba_near": (2 * frequency, adapted(width, 4, 2 * frequency, frequency / 4, steps)),
        "gba_full": (0.5, adapted(width, 10, 0.5, 1e-3, steps)),
        "gba_wrong": (frequency / 8, adapted(width, 4, frequency / 8, frequency / 64, steps)),
        "random": (0.0, RandomDictionary(width, OrthogonalMatchingPursuit(most))),
    }
    for name, (target, solver) in made.items():
        yield [("rows", name, n, dim, target, world, solver)]


def study(tier: Tier) -> Study:
    """Return the three parts at ``tier``; what has one shape trains as one batched model."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for block in points(size):
        keys = [(point, seed) for point in block for seed in range(size.seeds)]
        group = tuple(FitCell(world, seed, size.n_test, solver, size.n_train) for (*_, world, solver), seed in keys)
        for place, ((part, name, n, dim, target, _, _), seed) in enumerate(keys):
            label = labels(part=part, solver=name, n=n, d=dim, target=round(target, 6), seed=seed)
            cells[label] = Grouped(group, place)
    return Study("gba", "Which target frequencies find the features, and in how many dimensions?", cells, METRICS)
