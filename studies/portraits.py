"""What is seen of a world, and what is checked of it: portraits of one realisation, and counts over seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from scipy.special import bdtr, bdtrc, ndtri

from sparsesim._arrays import FloatArray, IntArray, check_int
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureModel, FeatureSpec, SecondOrderLaw, Support
from sparsesim.generators.geometry import coherence
from sparsesim.generators.laws import has_independent_rows
from theory.frames import welch_bound

SHOWN = 32  # features of a world that have a row
RASTER = 48  # samples of the raster
PAIRED = 64  # features up to which all pairs are counted
DIGITS = 4  # of what is only drawn
UNDEFINED = float("nan")


@final
@dataclass(frozen=True, eq=False)
class Portrait:
    """One realisation of a world (seed 0), as the figure shows it.

    Attributes
    ----------
    shown : the features that have a row, at most `SHOWN`: all, or nearly geometrically spaced ones.
    rates, realised : (m,) declared firing rates and those in the samples.
    rank : (m,) of the declared rate, 1 for the largest.
    cosines : (shown, shown) inner products of the atoms.
    fired : (RASTER, shown) who fires in the first samples.
    frame, signal : shares of the eigenvalues of atoms^T atoms and of the covariance of codes @ atoms, descending.
    """

    shown: IntArray
    rates: FloatArray
    realised: FloatArray
    rank: IntArray
    cosines: FloatArray
    fired: IntArray
    frame: FloatArray
    signal: FloatArray


def _shares(gram: FloatArray) -> FloatArray:
    values = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    return values / values.sum()


def shown_of(m: int) -> IntArray:
    if m <= SHOWN:
        return np.arange(m)
    return np.unique(np.round(np.geomspace(1.0, m, SHOWN)).astype(np.int64)) - 1


@lru_cache(maxsize=64)
def portrait(world: FeatureSpec, samples: int) -> Portrait:
    """Return the portrait of ``world`` from ``samples`` samples; it is a function of its arguments."""
    model = world.build(stream(0, Role.TRUTH))
    codes = model.sample(samples, stream(0, Role.TEST)).codes
    rates, shown = world.support.marginals(), shown_of(world.n_features)
    rank = np.empty(len(rates), np.int64)
    rank[np.argsort(-rates, kind="stable")] = np.arange(1, len(rates) + 1)
    signal = codes @ model.atoms
    signal -= signal.mean(axis=0)
    return Portrait(
        shown,
        rates,
        np.bincount(codes.indices, minlength=len(rates)) / samples,
        rank,
        model.atoms[shown] @ model.atoms[shown].T,
        (codes[:RASTER].toarray()[:, shown] != 0).astype(np.int64),
        _shares(model.atoms.T @ model.atoms),
        _shares(signal.T @ signal),
    )


@final
@dataclass(frozen=True)
class Look:
    """What a row of the portrait is computed from: the world and the place of the row."""

    portrait: Portrait
    place: int


@final
@dataclass(frozen=True, eq=False)
class Check:
    """What a row about a seed is computed from: the realised world and fresh supports."""

    model: FeatureModel
    support: Support


@final
@dataclass(frozen=True)
class LookCell:
    """One feature of the portrait of a world."""

    world: FeatureSpec
    samples: int
    place: int

    def __post_init__(self) -> None:
        check_int("samples", self.samples, RASTER)
        check_int("place", self.place, 0)

    def evaluate(self) -> Look:
        return Look(portrait(self.world, self.samples), self.place)


@final
@dataclass(frozen=True)
class CheckCell:
    """One seed of a world: does it keep what it declares?"""

    world: FeatureSpec
    samples: int
    seed: int

    def __post_init__(self) -> None:
        check_int("samples", self.samples, 1)
        check_int("seed", self.seed, 0)

    def evaluate(self) -> Check:
        support = self.world.support.draw(self.samples, stream(self.seed, Role.TEST))
        return Check(self.world.build(stream(self.seed, Role.TRUTH)), support)


def _look(seen: Look | Check, values: Callable[[Portrait], FloatArray | IntArray]) -> float:
    """Return the entry of ``values`` at the place of the row; NaN beyond their end and on rows about a seed."""
    if not isinstance(seen, Look):
        return UNDEFINED
    row = values(seen.portrait)
    return float(row[seen.place]) if seen.place < len(row) else UNDEFINED


def rank(seen: Look | Check) -> float:
    """Return the rank of the feature's declared rate among all m, 1 for the largest."""
    return _look(seen, lambda portrait: portrait.rank[portrait.shown])


def rate(seen: Look | Check) -> float:
    """Return the declared firing rate of the feature."""
    return _look(seen, lambda portrait: portrait.rates[portrait.shown])


def realised(seen: Look | Check) -> float:
    """Return the fraction of the samples in which the feature fires."""
    return _look(seen, lambda portrait: portrait.realised[portrait.shown])


def frame_share(seen: Look | Check) -> float:
    """Return the share of the row-th largest eigenvalue of atoms^T atoms; NaN beyond the dimension."""
    return _look(seen, lambda portrait: np.round(portrait.frame, DIGITS))


def signal_share(seen: Look | Check) -> float:
    """Return the share of the row-th largest eigenvalue of the covariance of codes @ atoms; NaN beyond d."""
    return _look(seen, lambda portrait: np.round(portrait.signal, DIGITS))


def fired_bits(seen: Look | Check) -> float:
    """Return the sum of 2^t over the first samples t = 0 ... 47 in which the feature fires, exact in a float."""
    return _look(seen, lambda portrait: 2.0 ** np.arange(RASTER) @ portrait.fired)


def cosine_with(other: int) -> Callable[[Look | Check], float]:
    """Return the metric ``cosine_OTHER``: the inner product of the feature's atom with that of an earlier row."""

    def cosine(seen: Look | Check) -> float:
        if not isinstance(seen, Look) or other >= seen.place:
            return UNDEFINED  # the matrix is symmetric with a unit diagonal
        return round(float(seen.portrait.cosines[seen.place, other]), DIGITS)

    cosine.__name__ = f"cosine_{other}"
    return cosine


def n_features(seen: Look | Check) -> float:
    """Return m."""
    return float(seen.model.n_features) if isinstance(seen, Check) else UNDEFINED


def dim(seen: Look | Check) -> float:
    """Return d."""
    return float(seen.model.dim) if isinstance(seen, Check) else UNDEFINED


def mean_l0(seen: Look | Check) -> float:
    """Return the declared mean number of active features, the sum of the rates."""
    return float(seen.model.spec.support.marginals().sum()) if isinstance(seen, Check) else UNDEFINED


def realised_l0(seen: Look | Check) -> float:
    """Return the mean number of features that fire in a sample."""
    return len(seen.support.indices) / seen.support.n_samples if isinstance(seen, Check) else UNDEFINED


def coherence_excess(seen: Look | Check) -> float:
    """Return the coherence of the atoms minus the Welch bound (0 for m <= d), below which none can be."""
    if not isinstance(seen, Check):
        return UNDEFINED
    m, d = seen.model.atoms.shape
    return coherence(seen.model.atoms) - (welch_bound(m, d) if m > d else 0.0)


def largest_cosine(seen: Look | Check) -> float:
    """Return the coherence of the atoms, max |cosine| of two features."""
    return coherence(seen.model.atoms) if isinstance(seen, Check) else UNDEFINED


def _largest_z(counts: FloatArray, n: int, rates: FloatArray) -> FloatArray:
    """Return |z| of each count, the exact tail probability of Binomial(n, rate) read as a normal quantile."""
    rates = np.clip(rates, 0.0, 1.0)
    at_least = np.where(counts > 0, bdtrc(np.maximum(counts - 1, 0), n, rates), 1.0)
    tail = np.minimum(bdtr(counts, n, rates), at_least)
    return np.asarray(-ndtri(np.clip(tail, 1e-300, 0.5)))


def worst_rate_z(seen: Look | Check) -> float:
    """Return the largest |z| of a feature's firing count.

    Where rows depend on each other in time, z is divided by the root of the variance inflation that the law states.
    """
    if not isinstance(seen, Check):
        return UNDEFINED
    law, n = seen.model.spec.support, seen.support.n_samples
    counts = np.bincount(seen.support.indices, minlength=law.n_features)
    inflation = law.inflation() if hasattr(law, "inflation") else 1.0
    return float((_largest_z(counts, n, law.marginals()) / np.sqrt(inflation)).max())


def _together(support: Support) -> FloatArray:
    """Return in how many samples each pair fires together, ``(m, m)``."""
    fired = support.codes(np.ones(len(support.indices)))
    return np.asarray((fired.T @ fired).toarray())


def worst_pair_z(seen: Look | Check) -> float:
    """Return the largest |z| of the number of samples in which two features fire together.

    NaN where rows are dependent, where the law has no closed form for pairs, and above 64 features.
    """
    if not isinstance(seen, Check):
        return UNDEFINED
    law = seen.model.spec.support
    if not isinstance(law, SecondOrderLaw) or not has_independent_rows(law) or law.n_features > PAIRED:
        return UNDEFINED
    above = np.triu_indices(law.n_features, 1)
    if not len(above[0]):
        return 0.0
    return float(_largest_z(_together(seen.support)[above], seen.support.n_samples, law.pairwise()[above]).max())


def violations(seen: Look | Check) -> float:
    """Return how often a sample does what its law says never happens.

    Counted are pairs that fire together though P(i and j) = 0, and features that fire without one with which they
    always fire, P(i and j) = P(i). NaN where the law has no closed form for pairs.
    """
    if not isinstance(seen, Check):
        return UNDEFINED
    law = seen.model.spec.support
    if not isinstance(law, SecondOrderLaw):
        return UNDEFINED
    joint, found = law.pairwise(), _together(seen.support)
    rates = np.diag(joint)
    implied = joint >= rates[:, None] * (1.0 - 1e-12)
    alone = np.diag(found)[:, None] - found
    return float(found[joint <= 0.0].sum() + alone[implied].sum())


METRICS = (
    rank,
    rate,
    realised,
    frame_share,
    signal_share,
    fired_bits,
    n_features,
    dim,
    mean_l0,
    realised_l0,
    coherence_excess,
    largest_cosine,
    worst_rate_z,
    worst_pair_z,
    violations,
    *(cosine_with(other) for other in range(SHOWN - 1)),
)
