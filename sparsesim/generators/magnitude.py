"""How strongly the features fire: coefficients drawn independently, none of them zero.

The samplers can return an exact zero with a probability below 2^-52; it is read as the smallest normal number.
Scales lie in [1e-150, 1e150], so that the energy of a world, a sum of their squares, is neither zero nor infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_real
from sparsesim.generators.base import Support

TINY = float(np.finfo(np.float64).tiny)
SMALLEST, LARGEST = 1e-150, 1e150


def never_zero(values: FloatArray) -> FloatArray:
    """Return ``values`` with zeros replaced, in place, by the smallest normal number."""
    values[values == 0] = TINY
    return values


def check_scale(name: str, value: object) -> float:
    """Return ``value`` as a float in [1e-150, 1e150]."""
    check_real(name, value, 0.0, open_low=True)
    return check_real(name, value, SMALLEST, LARGEST)


@final
@dataclass(frozen=True)
class Constant:
    """Every coefficient is ``value``, which may be negative but not zero."""

    value: float = 1.0

    def __post_init__(self) -> None:
        if check_real("value", self.value) == 0:
            raise ValueError(
                "value must not be 0: a coefficient of zero is a feature that does not fire. Pass e.g. 1.0."
            )
        check_scale("abs(value)", abs(self.value))

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return np.full(len(support.indices), float(self.value))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.value))

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.value) ** 2)


@final
@dataclass(frozen=True)
class Uniform:
    """Coefficients are uniform on (``low``, ``high``], 0 <= low < high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_real("low", self.low, 0.0)
        check_real("high", self.high)
        if not self.low < self.high:
            raise ValueError(
                f"low must be below high; got low={self.low}, high={self.high}. Use Constant for one value."
            )
        check_scale("high", self.high)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return never_zero(self.high - (self.high - self.low) * rng.random(len(support.indices)))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.full(m, (self.low + self.high) / 2.0)

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, (self.low**2 + self.low * self.high + self.high**2) / 3.0)


@final
@dataclass(frozen=True)
class HalfNormal:
    """Coefficients are scale * |z| with z standard normal: mean scale * sqrt(2/pi), second moment scale^2."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        check_scale("scale", self.scale)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return never_zero(self.scale * np.abs(rng.standard_normal(len(support.indices))))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.full(m, self.scale * math.sqrt(2.0 / math.pi))

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.scale) ** 2)


@final
@dataclass(frozen=True)
class LogNormal:
    """Coefficients are exp(mu + sigma z) with z standard normal, sigma > 0: E[c^r] = exp(r mu + r^2 sigma^2 / 2)."""

    mu: float = 0.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("mu", self.mu, -300.0, 300.0)  # beyond, exp underflows or the second moment overflows
        check_scale("sigma", self.sigma)
        check_real("sigma", self.sigma, high=10.0)
        if self.mu + self.sigma**2 > 345.0:  # exp(690) = 1e300
            raise ValueError(
                f"mu + sigma^2 must be at most 345, or the second moment overflows; got mu={self.mu}, "
                f"sigma={self.sigma}. Lower mu."
            )

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return never_zero(np.exp(self.mu + self.sigma * rng.standard_normal(len(support.indices))))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.full(m, math.exp(self.mu + self.sigma**2 / 2.0))

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, math.exp(2.0 * self.mu + 2.0 * self.sigma**2))


@final
@dataclass(frozen=True)
class Exponential:
    """Coefficients are exponential with mean ``scale`` and second moment 2 scale^2."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        check_scale("scale", self.scale)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return never_zero(self.scale * rng.standard_exponential(len(support.indices)))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.scale))

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, 2.0 * float(self.scale) ** 2)


@final
@dataclass(frozen=True)
class SignedGaussian:
    """Coefficients are normal of mean 0 and standard deviation ``scale``."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        check_scale("scale", self.scale)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return never_zero(self.scale * rng.standard_normal(len(support.indices)))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.zeros(m)

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.scale) ** 2)


@final
@dataclass(frozen=True)
class BernoulliSign:
    """Coefficients are +``value`` or -``value``, each with probability 1/2."""

    value: float = 1.0

    def __post_init__(self) -> None:
        check_scale("value", self.value)

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        return np.where(rng.random(len(support.indices)) < 0.5, -float(self.value), float(self.value))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.zeros(m)

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires] for each feature, ``(m,)``."""
        return np.full(m, float(self.value) ** 2)
