"""What recovery scores reach by chance, and rankings that change when it is taken off."""

from __future__ import annotations

from dataclasses import dataclass

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics import recovery
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import IndependentComponents, PrincipalComponents, RandomDictionary
from sparsesim.solvers.clustering import KMeans
from sparsesim.solvers.learn import MethodOfOptimalDirections
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, Study, labels
from studies.bakeoff import n_features, width
from studies.mmcs_map import dim, mmcs_chance
from studies.tiers import Tier


@dataclass(frozen=True)
class Size:
    """What a tier spends.

    Attributes
    ----------
    dims : dimensions d of the first sweep, m = p = 2 d.
    ratios : widths of the second sweep over m, at the d of the ranking.
    world : d, m and k of the ranking.
    """

    seeds: int
    dims: tuple[int, ...]
    ratios: tuple[float, ...]
    world: tuple[int, int, int]
    n_train: int
    iterations: int


SIZES = {
    Tier.SMOKE: Size(3, (4, 8), (0.5, 1.0, 4.0), (8, 16, 2), 500, 3),
    Tier.LAPTOP: Size(10, (2, 4, 8, 16, 32, 64), (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), (16, 32, 3), 2000, 8),
    Tier.PAPER: Size(
        30, (2, 4, 8, 16, 32, 64, 128, 256), (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), (16, 32, 3), 10000, 50
    ),
}
METRICS = (
    n_features,
    width,
    dim,
    recovery.mmcs,
    mmcs_chance,
    recovery.mcc,
    recovery.mcc_chance,
    recovery.mcc_corrected,
    recovery.mcc_learned,
)


def _world(d: int, m: int, k: int) -> FeatureSpec:
    return FeatureSpec(d, ExactlyK(m, k), RandomSphere(), HalfNormal(1.0))


def solvers(size: Size) -> dict[str, Solver]:
    """Return what is ranked: a random dictionary of 16 times the features among solvers that look at the data."""
    d, m, k = size.world
    pursuit = OrthogonalMatchingPursuit(k)
    return {
        "random": RandomDictionary(m, pursuit),
        "random_wide": RandomDictionary(16 * m, pursuit),
        "pca": PrincipalComponents(d),
        "ica": IndependentComponents(d),
        "kmeans": KMeans(m),
        "mod": MethodOfOptimalDirections(m, pursuit, iterations=size.iterations),
    }


def study(tier: Tier) -> Study:
    """Return the floors over d and over the width, and the ranking, on paired seeds."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    d, m, k = size.world
    for seed in range(size.seeds):
        for dims in size.dims:
            cell = FitCell(
                _world(dims, 2 * dims, 1), seed, 2, RandomDictionary(2 * dims, OrthogonalMatchingPursuit(1)), 2
            )
            cells[labels(part="dimension", solver="random", place=dims, seed=seed)] = cell
        for ratio in size.ratios:
            floor = RandomDictionary(round(ratio * m), OrthogonalMatchingPursuit(1))
            cells[labels(part="width", solver="random", place=ratio, seed=seed)] = FitCell(
                _world(d, m, k), seed, 2, floor, 2
            )
        for name, solver in solvers(size).items():
            cell = FitCell(_world(d, m, k), seed, 2, solver, size.n_train)
            cells[labels(part="ranking", solver=name, place=0, seed=seed)] = cell
    return Study(
        "chance_floors", "How much of a recovery score is chance, and does it change a ranking?", cells, METRICS
    )
