"""What the scores of codes and reconstructions need of the samples: sums, which blocks of samples may be added up from.

Each kind is made from one block of samples, and ``a + b`` is what the samples of both give: counts exactly, the others
up to rounding, in float64. A score is a function of the total, so that it is the same whether all samples were held at
once or seen block by block. Means are kept with the scatter about them and combined by the formula for two groups,
since sums of squares would lose the digits of what varies little about a large mean.

References
----------
Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", for combining means and scatters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from sparsesim._arrays import Codes, FloatArray, IntArray
from sparsesim.kernels.energies import centred_energies, column_ranges, norm_sums

Common = tuple[IntArray, IntArray]


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> FloatArray:
    """Return above / below, and 0 where below is 0."""
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    found: FloatArray = np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=bottom != 0)
    return found


@final
@dataclass(frozen=True, eq=False)
class Firing:
    """In how many of n samples each true feature ``(m,)``, each latent ``(p,)``, its partner ``(m,)`` and both fire."""

    n: int
    true: IntArray
    latents: IntArray
    partners: IntArray
    both: IntArray

    @classmethod
    def of(cls, true: Codes, learned: Codes, aligned: Codes, common: Common) -> Firing:
        """Return the counts of one block, ``common`` being where a feature and its partner both fire."""
        (n, m), p = true.shape, learned.shape[1]
        return cls(
            n,
            np.bincount(true.indices, minlength=m),
            np.bincount(learned.indices, minlength=p),
            np.bincount(aligned.indices, minlength=m),
            np.bincount(true.indices[common[0]], minlength=m),
        )

    def __add__(self, other: Firing) -> Firing:
        return Firing(
            self.n + other.n,
            self.true + other.true,
            self.latents + other.latents,
            self.partners + other.partners,
            self.both + other.both,
        )


@final
@dataclass(frozen=True, eq=False)
class Detection:
    """Each latent as a detector of its nearest feature: true positives, latent fires, feature is positive; ``(p,)``."""

    n: int
    hits: IntArray
    fires: IntArray
    positive: IntArray

    def __add__(self, other: Detection) -> Detection:
        return Detection(
            self.n + other.n, self.hits + other.hits, self.fires + other.fires, self.positive + other.positive
        )


@final
@dataclass(frozen=True, eq=False)
class Column:
    """Sparse columns about their means over all n samples, zeros included, in units of their largest magnitudes."""

    unit: FloatArray  # (m,) the largest magnitude, 0 for an empty column
    centred: FloatArray  # (nnz,) stored values less their column's mean
    mean: FloatArray  # (m,)
    count: IntArray  # (m,) stored values
    scatter: FloatArray  # (m,) sum over n samples of (value - mean)^2, exactly 0 for a constant column


def centred_columns(data: FloatArray, indices: IntArray, n: int, m: int) -> Column:
    """Return the columns of sparse codes ``(n, m)``, each in units of its largest magnitude, about their means."""
    values = np.asarray(data, dtype=np.float64)
    # The unit of each column is its largest magnitude: 1e-200 and 1e200 square safely, and a constant column is
    # exactly one, so that its scatter is exactly zero.
    largest = np.zeros(m)
    np.maximum.at(largest, indices, np.abs(values))
    values = values / np.where(largest > 0, largest, 1.0)[indices]
    count = np.bincount(indices, minlength=m)
    mean = np.bincount(indices, weights=values, minlength=m) / n
    centred = values - mean[indices]
    scatter = np.bincount(indices, weights=centred**2, minlength=m) + (n - count) * mean**2
    return Column(largest, centred, mean, count, scatter)


@final
@dataclass(frozen=True, eq=False)
class Pairs:
    """Moments of each feature's coefficient a and its partner's b over n samples, ``(m,)`` each.

    Units are the largest |a| and |b|: ``mean``, ``scatter`` and ``product`` (of both about their means) are in them.
    ``energy`` and ``overlap`` are the sums of a^2 and a b where both fire. ``error`` and ``strength`` are the sums over
    all features of (a - b)^2 and a^2 in units of ``scale``^2.
    """

    n: int
    unit: FloatArray  # (2, m) of a and of b
    mean: FloatArray  # (2, m)
    scatter: FloatArray  # (2, m)
    product: FloatArray
    energy: FloatArray
    overlap: FloatArray
    scale: float
    error: float
    strength: float

    @classmethod
    def of(cls, true: Codes, learned: Codes, common: Common) -> Pairs:
        """Return the moments of one block of codes ``(n, m)`` and of those of the partners, ``(n, m)``.

        The covariance is summed over centred values: both fire, one fires, none fires. Subtracting products of means
        instead would lose all digits for dense codes.
        """
        n, m = true.shape
        a, b = centred_columns(true.data, true.indices, n, m), centred_columns(learned.data, learned.indices, n, m)
        in_true, in_learned = common
        where = true.indices[in_true]

        def summed(weights: FloatArray, indices: IntArray) -> FloatArray:
            total: FloatArray = np.bincount(indices, weights=weights, minlength=m).astype(np.float64, copy=False)
            return total

        a_both, b_both = a.centred[in_true], b.centred[in_learned]
        a_alone = summed(a.centred, true.indices) - summed(a_both, where)
        b_alone = summed(b.centred, learned.indices) - summed(b_both, where)
        neither = n - a.count - b.count + np.bincount(where, minlength=m)
        product = summed(a_both * b_both, where) - a_alone * b.mean - b_alone * a.mean + neither * a.mean * b.mean
        fires = true.data[in_true].astype(np.float64) / a.unit[where]
        heard = learned.data[in_learned].astype(np.float64) / b.unit[where]
        return cls(
            n,
            np.stack([a.unit, b.unit]),
            np.stack([a.mean, b.mean]),
            np.stack([a.scatter, b.scatter]),
            product,
            summed(fires**2, where),
            summed(fires * heard, where),
            *_code_errors(true.data, learned.data, common),
        )

    def __add__(self, other: Pairs) -> Pairs:
        unit = np.maximum(self.unit, other.unit)
        left, right = ratio(self.unit, unit), ratio(other.unit, unit)
        means = left * self.mean, right * other.mean
        n, apart = self.n + other.n, means[1] - means[0]
        weight = self.n * other.n / n
        scale = max(self.scale, other.scale)
        low, high = np.square(ratio([self.scale, other.scale], scale)).tolist()
        return Pairs(
            n,
            unit,
            means[0] + apart * (other.n / n),
            left**2 * self.scatter + right**2 * other.scatter + weight * apart**2,
            left.prod(axis=0) * self.product + right.prod(axis=0) * other.product + weight * apart.prod(axis=0),
            left[0] ** 2 * self.energy + right[0] ** 2 * other.energy,
            left.prod(axis=0) * self.overlap + right.prod(axis=0) * other.overlap,
            scale,
            low * self.error + high * other.error,
            low * self.strength + high * other.strength,
        )


def _code_errors(true: FloatArray, learned: FloatArray, common: Common) -> tuple[float, float, float]:
    """Return the largest |a| (or |b|, if there is none, or 0) and the sums of (a - b)^2 and a^2 in its square."""
    scale = float(np.abs(true).max(initial=0.0)) or float(np.abs(learned).max(initial=0.0))
    a, b = true.astype(np.float64) / (scale or 1.0), learned.astype(np.float64) / (scale or 1.0)
    both = np.square(a[common[0]] - b[common[1]]).sum()
    alone = np.square(np.delete(a, common[0])).sum() + np.square(np.delete(b, common[1])).sum()
    return scale, float(both + alone), float(np.square(a).sum())


@final
@dataclass(frozen=True, eq=False)
class Energies:
    """Sums over n samples x and d of (x - estimate)^2, (x - mean)^2 and (estimate - mean)^2, in units of ``unit``^2.

    The unit is at least the range of x, and 0 where samples are equal and estimated exactly, so that all sums are 0.

    Attributes
    ----------
    low, high : (d,) the range of x.
    mean : (d,) of x.
    shift : (d,) the sum of estimate - mean, in units.
    """

    n: int
    unit: float
    low: FloatArray
    high: FloatArray
    mean: FloatArray
    shift: FloatArray
    error: float
    variance: float
    signal: float

    @classmethod
    def of(cls, x: FloatArray, estimate: FloatArray) -> Energies:
        """Return the sums of one block of samples and their estimates, ``(n, d)`` each, with at least one sample."""
        low, high, mean = column_ranges(x)
        unit = float((high - low).max(initial=0.0)) or float(np.abs(estimate - x).max(initial=0.0))
        sums, shift = centred_energies(x, estimate, mean, unit or 1.0)
        return cls(len(x), unit, low, high, mean, shift, *sums.tolist())

    def __add__(self, other: Energies) -> Energies:
        n, low, high = self.n + other.n, np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        unit = max(self.unit, other.unit, float((high - low).max(initial=0.0)))  # blocks may lie far from each other
        mean = self.mean + (other.mean - self.mean) * (other.n / n)
        one, two = self._about(mean, unit), other._about(mean, unit)
        shift, error = one.shift + two.shift, one.error + two.error
        return Energies(n, unit, low, high, mean, shift, error, one.variance + two.variance, one.signal + two.signal)

    def _about(self, mean: FloatArray, unit: float) -> Energies:
        """Return the same with sums about another mean, in another unit; 0 is the unit of nothing at all."""
        factor, away = float(ratio(self.unit, unit)), ratio(self.mean - mean, unit)
        moved, shift = self.n * _squares(away), factor * self.shift
        variance = factor**2 * self.variance + moved
        signal = factor**2 * self.signal + 2.0 * float(away @ shift) + moved
        shift = shift + self.n * away
        return Energies(self.n, unit, self.low, self.high, mean, shift, factor**2 * self.error, variance, signal)

    @property
    def vary(self) -> bool:
        """Whether two of the samples differ."""
        return bool((self.low < self.high).any())


def _squares(values: FloatArray) -> float:
    return float(values @ values)


@final
@dataclass(frozen=True, eq=False)
class Norms:
    """Sums over n samples about zero: x, ||x||^2, ||x - estimate||^2, and ||estimate|| / ||x|| where ``counted``."""

    n: int
    total: FloatArray  # (d,)
    squares: float
    error: float
    counted: int
    ratios: float

    @classmethod
    def of(cls, x: FloatArray, estimate: FloatArray, least: float) -> Norms:
        """Return the sums of one block ``(n, d)``; samples of norm up to ``least`` are not counted."""
        sums, total = norm_sums(x, estimate, least)
        squares, error, counted, ratios = sums.tolist()
        return cls(len(x), total, squares, error, int(counted), ratios)

    def __add__(self, other: Norms) -> Norms:
        return Norms(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.error + other.error,
            self.counted + other.counted,
            self.ratios + other.ratios,
        )


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """All kinds of sums over the same samples."""

    firing: Firing
    detection: Detection
    pairs: Pairs
    energies: Energies
    norms: Norms

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.firing + other.firing,
            self.detection + other.detection,
            self.pairs + other.pairs,
            self.energies + other.energies,
            self.norms + other.norms,
        )
