"""Toy models of superposition: when do more features than dimensions share them, and in which arrangements?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsesim.solvers.neural.relu_output import ReLUOutput
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, Labels, Study, labels
from studies.superposition import METRICS, SHOWN, Features, OptimumCell, Together, ToyCell
from studies.tiers import Tier

GRAM = (5, 0.7, (1.0, 0.3, 0.1, 0.03, 0.01))  # hidden dimensions, decay of importance, densities
CORNERS = (4, 5, 6, 7, 8)


@dataclass(frozen=True)
class Size:
    """What a tier spends.

    Attributes
    ----------
    plane : densities and relative importances of two features in one dimension.
    uniform : m, d and the number of densities, spaced geometrically from 1 to 1/20, of equally important features.
    steps, uniform_steps : of training; the notebook of the paper trains for 10000 steps of 1024 samples.
    samples : a model learns from; each is seen many times.
    starts, corner_starts : initialisations of a model of the plane, and of a polygon, of which the best is kept.
    """

    seeds: int
    plane: tuple[tuple[float, ...], tuple[float, ...]]
    uniform: tuple[int, int, int]
    steps: int
    uniform_steps: int
    samples: int
    starts: int
    corner_starts: int
    batch_size: int = 256


def _densities(count: int) -> tuple[float, ...]:
    return tuple(((np.arange(count) + 0.5) / count).round(4).tolist())


def _ratios(count: int) -> tuple[float, ...]:
    return tuple(np.geomspace(0.1, 10.0, count).round(4).tolist())


SIZES = {
    Tier.SMOKE: Size(2, ((0.25, 0.85), _ratios(4)), (20, 4, 3), 300, 300, 2048, 2, 4),
    Tier.LAPTOP: Size(5, (_densities(10), _ratios(9)), (100, 10, 12), 1000, 4000, 16384, 2, 24),
    Tier.PAPER: Size(10, (_densities(20), _ratios(25)), (200, 20, 20), 5000, 10000, 131072, 10, 100, 1024),
}


def _training(size: Size, steps: int, rate: float, weight_decay: float = 0.0) -> Training:
    return Training(steps, size.batch_size, rate, decay=0.5, weight_decay=weight_decay, normalise=False)


def _matrices(size: Size, seed: int) -> dict[Labels, Cell]:
    """Return models of 20 features of falling importance in 5 dimensions; each feature of the first seed has a row."""
    hidden, decay, densities = GRAM
    models = tuple(Features(SHOWN, density, decay) for density in densities)
    solver = ReLUOutput(hidden, training=_training(size, 2 * size.steps, 0.01))
    together = Together(models, solver, seed, 4 * size.samples)
    cells: dict[Labels, Cell] = {}
    for place, density in enumerate(densities):
        for feature in range(-1, SHOWN if seed == 0 else 0):
            label = labels(part="matrix", m=SHOWN, density=density, importance=decay, seed=seed, feature=feature)
            cells[label] = ToyCell(together, place, feature)
    return cells


def _grid(size: Size) -> list[tuple[float, float]]:
    return [(density, ratio) for density in size.plane[0] for ratio in size.plane[1]]


def _plane(size: Size, seed: int) -> dict[Labels, Cell]:
    """Return models of two features in one dimension, over density and relative importance."""
    grid = _grid(size)
    models = tuple(Features(2, density, ratio) for density, ratio in grid)
    together = Together(
        models, ReLUOutput(1, training=_training(size, size.steps, 0.01)), seed, size.samples, size.starts
    )
    return {
        labels(part="plane", m=2, density=density, importance=ratio, seed=seed, feature=-1): ToyCell(together, place)
        for place, (density, ratio) in enumerate(grid)
    }


def _polygons(size: Size, seed: int) -> dict[Labels, Cell]:
    """Return models of a few equally important features in the plane of which exactly one is active: density 0."""
    cells: dict[Labels, Cell] = {}
    for corners in CORNERS:
        solver = ReLUOutput(2, start=1.0, training=_training(size, size.steps, 0.02))
        together = Together((Features(corners, 0.0),), solver, seed, size.samples, size.corner_starts)
        label = labels(part="polygon", m=corners, density=0.0, importance=1.0, seed=seed, feature=-1)
        cells[label] = ToyCell(together, 0)
    return cells


def _uniform(size: Size, seed: int) -> dict[Labels, Cell]:
    """Return models of many equally important features at falling density; each feature of seed 0 has a row."""
    m, hidden, levels = size.uniform
    densities = (20.0 ** -np.linspace(0.0, 1.0, levels)).round(4).tolist()
    start = float(np.sqrt(2.0 / (m * hidden + 20 * hidden)).round(4))  # the deviation that the released notebook has
    solver = ReLUOutput(hidden, start=start, training=_training(size, size.uniform_steps, 3e-3, 0.01))
    together = Together(tuple(Features(m, density) for density in densities), solver, seed, size.samples)
    cells: dict[Labels, Cell] = {}
    for place, density in enumerate(densities):
        for feature in range(-1, m if seed == 0 else 0):
            label = labels(part="uniform", m=m, density=density, importance=1.0, seed=seed, feature=feature)
            cells[label] = ToyCell(together, place, feature)
    return cells


def study(tier: Tier) -> Study:
    """Return the toy models at ``tier``: Gram matrices, the plane of two features, polygons, and uniform features."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    for density, ratio in _grid(size):
        label = labels(part="optimum", m=2, density=density, importance=ratio, seed=0, feature=-1)
        cells[label] = OptimumCell(density, ratio)
    for seed in range(size.seeds):
        cells |= _matrices(size, seed) | _plane(size, seed) | _polygons(size, seed) | _uniform(size, seed)
    question = "When do more features than dimensions share them, and in which arrangements?"
    return Study("toy_model", question, cells, METRICS)
