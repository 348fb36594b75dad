"""Toy models of superposition, trained and seen: the cells and the metrics of the study of that name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import GivenAtoms
from sparsesim.generators.magnitude import Uniform
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli, ExactlyK
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.neural.relu_output import ReLUOutput, toy_weights
from sparsesim.solvers.neural.solver import fit_together
from theory.capacity import STICKY_FRACTIONS, dimensions_per_feature, feature_dimensionality
from theory.toy_model import one_sparse_loss, two_feature_loss, two_feature_optimum

UNDEFINED = float("nan")
DIGITS = 4  # of what is only drawn
SHOWN = 20  # features whose Gram matrix is drawn
REPRESENTED = 0.5  # of the unit norm: what training keeps is near 1, what it drops near 0
LINE, FLANK = 0.005, 0.0125  # half-width of a line of dimensionalities, and where its surroundings are counted


@final
@dataclass(frozen=True)
class Features:
    """m features on [0, 1] that fire independently with probability ``density``, or exactly one at density 0.

    Feature i has the importance ``importance``^i.
    """

    m: int
    density: float
    importance: float = 1.0

    def world(self) -> FeatureSpec:
        """Return the world of the features themselves: their directions are the axes."""
        axes = GivenAtoms(tuple(tuple(row) for row in np.eye(self.m).tolist()))
        support = Bernoulli(EqualRates(self.m, self.density)) if self.density > 0 else ExactlyK(self.m, 1)
        return FeatureSpec(self.m, support, axes, Uniform(0.0, 1.0))


@final
@dataclass(frozen=True)
class Together:
    """Toy models of one size that are trained as one batched model, ``starts`` of each, on samples of ``seed``."""

    models: tuple[Features, ...]
    solver: ReLUOutput
    seed: int
    samples: int
    starts: int = 1

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("samples", 1), ("starts", 1)):
            check_int(name, getattr(self, name), least)


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """A trained toy model: its ``features``, ``weights (m, d)`` and ``bias (m,)``."""

    features: Features
    fitted: FittedDictionary
    weights: FloatArray

    @property
    def bias(self) -> FloatArray:
        return self.fitted.bias

    @property
    def gram(self) -> FloatArray:
        return self.weights @ self.weights.T

    @property
    def importance(self) -> FloatArray:
        return self.features.importance ** np.arange(self.features.m, dtype=np.float64)

    def loss(self) -> float:
        """Return the exact expected loss, where there is one: two features, or exactly one active of any number."""
        if self.features.density == 0.0:
            return one_sparse_loss(self.gram, self.bias, self.importance)
        if self.features.m != 2:
            return UNDEFINED
        return two_feature_loss(self.gram, self.bias, self.importance, self.features.density)


@lru_cache(maxsize=64)
def trained(together: Together) -> tuple[Trained, ...]:
    """Return each model, the one of lowest exact loss among its starts; it is a function of its argument."""
    solvers, sources, rngs = [], [], []
    for place, features in enumerate(together.models):
        model = features.world().build(stream(together.seed, Role.TRUTH))
        x = model.sample(together.samples, stream(together.seed, Role.TRAIN, place), dtype=np.float32).x
        for start in range(together.starts):
            width, training = together.solver.width, together.solver.training
            solvers.append(ReLUOutput(width, features.importance, together.solver.start, training))
            sources.append(Rows(x))
            rngs.append(stream(together.seed, Role.SOLVER, place, start))
    fits = fit_together(solvers, sources, rngs)
    found = []
    for place, features in enumerate(together.models):
        own = fits[place * together.starts : (place + 1) * together.starts]
        candidates = [Trained(features, fitted, toy_weights(fitted)) for fitted in own]
        found.append(candidates[0] if len(own) == 1 else min(candidates, key=Trained.loss))
    return tuple(found)


@final
@dataclass(frozen=True)
class Seen:
    """What a row is computed from: a trained model, or one ``feature`` of it (-1 for the whole)."""

    model: Trained
    feature: int

    @property
    def fitted(self) -> FittedDictionary:
        return self.model.fitted


@final
@dataclass(frozen=True)
class ToyCell:
    """Model ``place`` of those trained together, or one feature of it."""

    together: Together
    place: int
    feature: int = -1

    def evaluate(self) -> Seen:
        return Seen(trained(self.together)[self.place], self.feature)


@final
@dataclass(frozen=True)
class Optimum:
    """The exact optimum of two features in one dimension: its loss, and W_1 W_2 there."""

    loss: float
    product: float


@final
@dataclass(frozen=True)
class OptimumCell:
    """A point of the plane of density and relative importance, without training."""

    density: float
    importance: float

    def evaluate(self) -> Optimum:
        """Return the optimum; that at importance r is that at 1/r with the features exchanged, and r times the loss."""
        least, weights, _ = two_feature_optimum(self.density, min(self.importance, 1.0 / self.importance))
        return Optimum(least * max(self.importance, 1.0), float(weights[0] * weights[1]))


Result: TypeAlias = Seen | Optimum


def _of_feature(seen: Result, value: Callable[[Trained], FloatArray]) -> float:
    if isinstance(seen, Optimum) or seen.feature < 0:
        return UNDEFINED
    return round(float(value(seen.model)[seen.feature]), DIGITS)


def squared_norm(seen: Result) -> float:
    """Return ||W_i||^2 of the feature."""
    return _of_feature(seen, lambda model: np.diag(model.gram))


def dimensionality(seen: Result) -> float:
    """Return the fraction of a dimension that the feature has."""
    return _of_feature(seen, lambda model: feature_dimensionality(model.weights))


def interference(seen: Result) -> float:
    """Return sum_{j != i} (W_i . W_j)^2 / ||W_i||^2 of the feature, how much it shares; 0 where it is dropped."""

    def shared(model: Trained) -> FloatArray:
        own = np.diag(model.gram)
        others = np.square(model.gram).sum(axis=1) - own**2
        return np.divide(others, own, out=np.zeros_like(own), where=own > REPRESENTED**2)

    return _of_feature(seen, shared)


def gram_with(other: int) -> Callable[[Result], float]:
    """Return the metric ``gram_OTHER``: W_i . W_other, of models of `SHOWN` features."""

    def gram(seen: Result) -> float:
        if isinstance(seen, Optimum) or seen.model.features.m != SHOWN or other > seen.feature:
            return UNDEFINED  # the matrix is symmetric
        return _of_feature(seen, lambda model: model.gram[other])

    gram.__name__ = f"gram_{other}"
    return gram


def _of_model(seen: Result, value: Callable[[Trained], float]) -> float:
    return UNDEFINED if isinstance(seen, Optimum) or seen.feature >= 0 else float(value(seen.model))


def loss(seen: Result) -> float:
    """Return the exact expected loss, of two features or of exactly one active; else NaN."""
    return _of_model(seen, Trained.loss)


def _of_pair(seen: Result, value: Callable[[Trained], float]) -> float:
    if isinstance(seen, Optimum) or seen.model.weights.shape != (2, 1):
        return UNDEFINED
    return _of_model(seen, value)


def optimal_loss(seen: Result) -> float:
    """Return the least loss of two features in one dimension, found by BFGS over weights and biases."""
    return seen.loss if isinstance(seen, Optimum) else UNDEFINED


def optimal_product(seen: Result) -> float:
    """Return W_1 W_2 at that optimum: near -1 an antipodal pair, 0 where one feature is dropped."""
    return seen.product if isinstance(seen, Optimum) else UNDEFINED


def product(seen: Result) -> float:
    """Return W_1 W_2 of two features in one dimension."""
    return _of_pair(seen, lambda model: float(model.gram[0, 1]))


def norm_gap(seen: Result) -> float:
    """Return W_1^2 - W_2^2 of two features in one dimension: 1 where only the first is kept, -1 only the second."""
    return _of_pair(seen, lambda model: float(model.gram[0, 0] - model.gram[1, 1]))


def hidden_per_feature(seen: Result) -> float:
    """Return D* = d / ||W||_F^2, hidden dimensions over features represented."""
    return _of_model(seen, lambda model: dimensions_per_feature(model.weights))


def represented(seen: Result) -> float:
    """Return how many features have at least half the unit norm."""
    return _of_model(seen, lambda model: float((np.linalg.norm(model.weights, axis=1) > REPRESENTED).sum()))


def _near(values: FloatArray, place: float) -> float:
    return float((np.abs(values - place) <= LINE).sum())


def line_at(name: str) -> tuple[Callable[[Result], float], Callable[[Result], float]]:
    """Return the metrics ``at_NAME`` and ``beside_NAME``: features on a line of dimensionality, and in its flanks.

    On the line is within `LINE` of the fraction; beside is the mean number in intervals as wide, `FLANK` above and
    below, which is what a smooth spread of dimensionalities would have on the line.
    """
    fraction = STICKY_FRACTIONS[name]

    def at(seen: Result) -> float:
        return _of_model(seen, lambda model: _near(feature_dimensionality(model.weights), fraction))

    def beside(seen: Result) -> float:
        def flanks(model: Trained) -> float:
            values = feature_dimensionality(model.weights)
            return (_near(values, fraction - FLANK) + _near(values, fraction + FLANK)) / 2.0

        return _of_model(seen, flanks)

    word = name.replace(" ", "_")
    at.__name__, beside.__name__ = f"at_{word}", f"beside_{word}"
    return at, beside


LINES = tuple(name for name, fraction in STICKY_FRACTIONS.items() if fraction < 1.0)
METRICS: tuple[Callable[[Result], float], ...] = (
    squared_norm,
    dimensionality,
    interference,
    loss,
    optimal_loss,
    optimal_product,
    product,
    norm_gap,
    hidden_per_feature,
    represented,
    *(metric for name in LINES for metric in line_at(name)),
    *(gram_with(other) for other in range(SHOWN)),
)
