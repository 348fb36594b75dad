"""More shapes of coefficients, drawn independently: truncated and rectified normals, gamma, a few given values."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri_exp

from sparsesim._arrays import FloatArray, Rng, check_real
from sparsesim.generators.base import Support
from sparsesim.generators.magnitude import LARGEST, SMALLEST, check_scale, never_zero
from sparsesim.generators.scales import Scales, check_scales, values_of

_FARTHEST = 30.0  # standard deviations: beyond, mean + std * z loses more than 13 of its 16 digits
_WINDOW = 13.0  # a normal has a mass of 1e-38 beyond
_ROUNDING = 1e-9
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


def normal_moments(
    mean: FloatArray, std: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return E[c] and E[c^2] of c = mean + std * z, z standard normal in (low, high); arrays of one shape ``(m,)``.

    By 120-point Gauss-Legendre quadrature on the part of (low, high) that holds all but 1e-38 of the mass, to about 13
    digits: the closed form cancels in tails and in short intervals.
    """
    left = np.maximum(low, np.minimum(-_WINDOW, high - _WINDOW))
    right = np.minimum(high, np.maximum(_WINDOW, low + _WINDOW))
    z = (left + right)[:, None] / 2.0 + (right - left)[:, None] / 2.0 * _NODES
    least = np.maximum(np.maximum(left, -right), 0.0)[:, None]  # where the density is largest, which is divided out
    density = _WEIGHTS * np.exp((least**2 - z**2) / 2.0)
    density /= density.sum(axis=1, keepdims=True)
    values = mean[:, None] + std[:, None] * z
    return (density * values).sum(axis=1), (density * values**2).sum(axis=1)


def normal_between(low: FloatArray, high: FloatArray, rng: Rng) -> FloatArray:
    """Return standard normal numbers, each given that it lies in [low, high]; arrays of one shape.

    A plain normal number that lies there is taken; the others are replaced by inversion of the distribution function,
    in logarithms and from the nearer tail.
    """
    z = rng.standard_normal(len(low))
    again = np.flatnonzero((z < low) | (z > high))
    if len(again):
        a, b = low[again], high[again]
        mirrored = a + b > 0
        a, b = np.where(mirrored, -b, a), np.where(mirrored, -a, b)
        below, above = log_ndtr(a), log_ndtr(b)
        share = rng.random(len(again))
        inside = ndtri_exp(above + np.log(1.0 - share * -np.expm1(below - above)))
        z[again] = np.clip(np.where(mirrored, -inside, inside), low[again], high[again])
    return z


@final
@dataclass(frozen=True)
class TruncatedNormal:
    """Coefficients are normal of mean ``location`` and deviation ``scale``, given that they lie in (``low``, ``high``).

    ``location`` and ``scale`` are those before the truncation. A bound may be infinite.

    Raises
    ------
    ValueError
        If low >= high, or the interval lies more than 30 scales away from the location.
    """

    location: float
    scale: float
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        check_real("location", self.location, -LARGEST, LARGEST)
        check_scale("scale", self.scale)
        for name, value in (("low", self.low), ("high", self.high)):
            if value not in (-math.inf, math.inf):
                check_real(name, value, -LARGEST, LARGEST)
        if not self.low < self.high:
            raise ValueError(
                f"low must be below high; got low={self.low}, high={self.high}. Use Constant for one value."
            )
        low, high = self._bounds
        if low > _FARTHEST or high < -_FARTHEST:
            raise ValueError(
                f"the interval must begin within 30 scales of location; got ({self.low:g}, {self.high:g}) for "
                f"location={self.location:g}, scale={self.scale:g}. Its tail there is an Exponential."
            )
        if not low < high or max(abs(self.location), self.scale) > 1e13 * (self.high - self.low):
            raise ValueError(
                f"low and high must differ in the digits of location + scale * z; got"
                f" ({self.low:g}, {self.high:g}) for "
                f"location={self.location:g}, scale={self.scale:g}. Use Constant for one value."
            )

    @property
    def _bounds(self) -> tuple[float, float]:
        """Both bounds in standard deviations."""
        return (self.low - self.location) / self.scale, (self.high - self.location) / self.scale

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        low, high = (np.full(len(support.indices), bound) for bound in self._bounds)
        values = self.location + self.scale * normal_between(low, high, rng)
        return never_zero(np.clip(values, self.low, self.high))

    @cached_property
    def _moments(self) -> tuple[float, float]:
        first, second = normal_moments(*(np.array([value]) for value in (self.location, self.scale, *self._bounds)))
        return float(first[0]), float(second[0])

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires], ``(m,)``, by quadrature to about 13 digits."""
        return np.full(m, self._moments[0])

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires], ``(m,)``, by quadrature to about 13 digits."""
        return np.full(m, self._moments[1])


@final
@dataclass(frozen=True)
class RectifiedNormal:
    """Coefficient i is normal of mean ``means[i]`` and deviation ``stds[i]``, given that it is positive.

    A feature whose coefficient is relu(mean_i + std_i * z) does not fire where that is 0, with the probability
    1 - `firing_probability`; given that it fires, its coefficient has this law.

    Parameters
    ----------
    means, stds : a number, a tuple of m numbers, or a scale law such as `LinearScales` or `FoldedNormalScales`. Where a
        deviation is 0 the coefficient is its mean. Each mean_i / std_i is at least -30, and the larger of |mean_i| and
        std_i lies in [1e-150, 1e150].

    References
    ----------
    The magnitudes of SAELens (``sae_lens.synthetic``) and of SynthSAEBench.
    """

    means: Scales
    stds: Scales

    def __post_init__(self) -> None:
        check_scales("means", self.means)
        check_scales("stds", self.stds)
        both = (self.means, self.stds)
        sizes = [len(scales) for scales in both if isinstance(scales, tuple)]
        if sizes or all(isinstance(scales, numbers.Real) for scales in both):
            self._parameters(sizes[0] if sizes else 1)  # a scale law may be of one m only, which is not known yet

    def _parameters(self, m: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return means, deviations and the standardised bound -mean / std, each ``(m,)``."""
        if m not in self._known:
            means, stds = values_of("means", self.means, m), values_of("stds", self.stds, m)
            with np.errstate(divide="ignore", invalid="ignore"):
                bounds = np.where((stds == 0) & (means > 0), -math.inf, -means / stds)
            bad = np.flatnonzero(~((stds >= 0) & (bounds <= _FARTHEST)))
            if len(bad):
                raise ValueError(
                    f"stds must be at least 0 and means at least -30 stds, and positive where stds are 0; feature "
                    f"{bad[0]} has mean={means[bad[0]]:g}, std={stds[bad[0]]:g}. Raise its mean."
                )
            size = np.maximum(np.abs(means), stds)
            if m and not (size.min() >= SMALLEST and size.max() <= LARGEST):
                raise ValueError(
                    "the larger of |mean| and std must lie in [1e-150, 1e+150]; got values in "
                    f"[{size.min():g}, {size.max():g}]. Bring the scale nearer to 1."
                )
            self._known[m] = means, stds, bounds
        return self._known[m]

    @cached_property
    def _known(self) -> dict[int, tuple[FloatArray, FloatArray, FloatArray]]:
        return {}

    @cached_property
    def _moments(self) -> dict[int, tuple[FloatArray, FloatArray]]:
        return {}

    def firing_probability(self, m: int) -> FloatArray:
        """Return P(mean_i + std_i * z > 0), ``(m,)``: how often a feature asked to fire does."""
        return np.asarray(ndtr(-self._parameters(m)[2]))

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        means, stds, bounds = self._parameters(support.n_features)
        at = support.indices
        z = normal_between(bounds[at], np.full(len(at), math.inf), rng)
        return never_zero(np.maximum(means[at] + stds[at] * z, 0.0))

    def _both(self, m: int) -> tuple[FloatArray, FloatArray]:
        if m not in self._moments:
            self._moments[m] = normal_moments(*self._parameters(m), np.full(m, math.inf))
        return self._moments[m]

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires], ``(m,)``, by quadrature to about 13 digits."""
        return self._both(m)[0].copy()

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires], ``(m,)``, by quadrature to about 13 digits."""
        return self._both(m)[1].copy()


@final
@dataclass(frozen=True)
class Gamma:
    """Coefficients are Gamma(``shape``) times ``scale``: mean shape * scale, second moment shape (shape + 1) scale^2.

    ``shape`` is at least 1/4: smaller ones have mass below the smallest number of single precision.
    """

    shape: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_real("shape", self.shape, 0.25, 1e12)
        check_scale("scale", self.scale)
        check_scale("shape * scale", self.shape * self.scale)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return never_zero(self.scale * rng.standard_gamma(float(self.shape), len(support.indices)))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.shape) * self.scale)

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.shape) * (self.shape + 1.0) * float(self.scale) ** 2)


@final
@dataclass(frozen=True)
class Discrete:
    """Coefficients take ``values[j]``, none of them zero, with probability ``probabilities[j]``.

    Raises
    ------
    ValueError
        If a value is zero or given twice, or the probabilities are negative or do not sum to 1 (within 1e-9).
    """

    values: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("values", "probabilities"):
            if not isinstance(getattr(self, name), tuple):
                raise TypeError(
                    f"{name} must be a tuple; got {type(getattr(self, name)).__name__}. Pass tuple({name})."
                )
        if not self.values or len(self.values) != len(self.probabilities):
            raise ValueError(
                f"values and probabilities must be equally many, at least one; got {len(self.values)} and "
                f"{len(self.probabilities)}."
            )
        for index, (value, probability) in enumerate(zip(self.values, self.probabilities, strict=True)):
            check_scale(f"abs(values[{index}])", abs(check_real(f"values[{index}]", value)))
            check_real(f"probabilities[{index}]", probability, 0.0, 1.0)
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"values must differ; got {self.values}. Add the probabilities of equal ones.")
        if abs(math.fsum(self.probabilities) - 1.0) > _ROUNDING:
            raise ValueError(f"probabilities must sum to 1; got {math.fsum(self.probabilities):.12g}. Normalise them.")

    @cached_property
    def _table(self) -> tuple[FloatArray, FloatArray]:
        """Values and exact shares."""
        shares = np.array(self.probabilities, dtype=np.float64)
        return np.array(self.values, dtype=np.float64), shares / shares.sum()

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        values, shares = self._table
        reached = np.cumsum(shares)
        found = np.searchsorted(reached / reached[-1], rng.random(len(support.indices)), side="right")
        return np.asarray(values[found])

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        values, shares = self._table
        return np.full(m, float(shares @ values))

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        values, shares = self._table
        return np.full(m, float(shares @ values**2))
