"""One positive number for each feature: constant, given, by rank, random but fixed, or by how often a feature fires."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias, final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim._identity import Role, stream
from sparsesim.generators.base import MagnitudeLaw, Support, SupportLaw
from sparsesim.generators.magnitude import LARGEST, SMALLEST, check_scale, never_zero
from sparsesim.generators.rates import RateLaw

_STREAM = 3  # tells the random scales of a seed from the other random laws of that seed


class ScaleLaw(Protocol):
    """A number for each feature. A frozen dataclass of numbers and tuples, so that it has a key."""

    def values(self, m: int) -> FloatArray:
        """Return the numbers ``(m,)``."""
        ...


Scales: TypeAlias = float | tuple[float, ...] | ScaleLaw


def check_scales(name: str, scales: object) -> None:
    """Raise TypeError unless ``scales`` is a number, a tuple of numbers or a law with ``values(m)``."""
    if isinstance(scales, tuple):
        for index, value in enumerate(scales):
            check_real(f"{name}[{index}]", value)
    elif isinstance(scales, type) or not callable(getattr(scales, "values", None)):
        check_real(f"{name}, if it is neither a tuple nor a scale law,", scales)


def values_of(name: str, scales: Scales, m: int) -> FloatArray:
    """Return ``scales`` as an array ``(m,)``, raising where it is of another length or not finite."""
    if isinstance(scales, int | float | numbers.Real):
        return np.full(m, float(scales))
    values = np.asarray(scales if isinstance(scales, tuple) else scales.values(m), dtype=np.float64)
    if values.shape != (m,):
        raise ValueError(f"{name} must hold one number for each of m={m} features; got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; feature {int(np.flatnonzero(~np.isfinite(values))[0])} is not.")
    return values


@final
@dataclass(frozen=True)
class LinearScales:
    """The scales lead from ``first`` to ``last`` in equal steps along the features, both positive."""

    first: float
    last: float

    def __post_init__(self) -> None:
        check_scale("first", self.first)
        check_scale("last", self.last)

    def values(self, m: int) -> FloatArray:
        """Return the numbers ``(m,)``."""
        return np.linspace(float(self.first), float(self.last), m)


@final
@dataclass(frozen=True)
class GeometricScales:
    """The scales lead from ``first`` to ``last`` in equal ratios along the features, both positive."""

    first: float
    last: float

    def __post_init__(self) -> None:
        check_scale("first", self.first)
        check_scale("last", self.last)

    def values(self, m: int) -> FloatArray:
        """Return the numbers ``(m,)``."""
        return np.exp(np.linspace(math.log(self.first), math.log(self.last), m))


@final
@dataclass(frozen=True)
class FoldedNormalScales:
    """The scales were drawn once as |N(``mean``, ``std``^2)|, clipped to [``low``, ``high``]; ``seed`` says which draw.

    A prefix of the features has the same scales in a world of more features.
    """

    mean: float
    std: float
    seed: int
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        check_real("mean", self.mean)
        check_scale("std", self.std)
        check_int("seed", self.seed, 0)
        check_real("low", self.low, 0.0)
        if self.high != math.inf:
            check_real("high", self.high, self.low, open_low=True)

    def values(self, m: int) -> FloatArray:
        """Return the numbers ``(m,)``."""
        normal = stream(self.seed, Role.LAW, _STREAM).standard_normal(m)
        return np.clip(np.abs(self.mean + self.std * normal), self.low, self.high)


@final
@dataclass(frozen=True)
class FrequencyScales:
    """The scales are a power of how often the features fire: scale_i = gain * rate_i^exponent.

    Parameters
    ----------
    rates : a support law (its true marginals are read), a rate law, or a tuple of rates; all positive.
    exponent : positive where frequent features are strong, negative where rare ones are.
    gain : positive.
    """

    rates: SupportLaw | RateLaw | tuple[float, ...]
    exponent: float
    gain: float = 1.0

    def __post_init__(self) -> None:
        check_real("exponent", self.exponent, -100.0, 100.0)
        check_scale("gain", self.gain)
        rates = self._rates()
        if not len(rates) or rates.min() <= 0 or rates.max() > 1:
            raise ValueError(
                f"rates must lie in (0, 1] to have a power; got values in [{rates.min(initial=1):g}, "
                f"{rates.max(initial=0):g}]. Leave out the features that never fire."
            )

    def _rates(self) -> FloatArray:
        law = self.rates
        if isinstance(law, tuple):
            check_scales("rates", law)
            return np.array(law, dtype=np.float64)
        for name in ("marginals", "rates"):
            method = getattr(law, name, None)
            if callable(method) and not isinstance(law, type):
                return np.asarray(method(), dtype=np.float64)
        raise TypeError(f"rates must be a support law, a rate law or a tuple of rates; got {law!r}.")

    def values(self, m: int) -> FloatArray:
        """Return the numbers ``(m,)``."""
        rates = self._rates()
        if len(rates) != m:
            raise ValueError(f"rates must be as many as features, m={m}; got {len(rates)}.")
        with np.errstate(over="ignore"):  # infinities are refused by the reader
            return np.asarray(self.gain * rates ** float(self.exponent))


@final
@dataclass(frozen=True)
class Scaled:
    """The coefficients of ``base``, those of feature i times ``scales[i]`` > 0.

    Parameters
    ----------
    base : any magnitude law; one of dependent coefficients must give ``cross(m)``.
    scales : a number, a tuple of m numbers, or a scale law such as `LinearScales` or `FrequencyScales`.
    """

    base: MagnitudeLaw
    scales: Scales

    def __post_init__(self) -> None:
        if isinstance(self.base, type) or not hasattr(self.base, "second_moment"):
            raise TypeError(f"base must be a magnitude law such as HalfNormal(); got {self.base!r}.")
        if not self.independent and not hasattr(self.base, "cross"):
            raise TypeError(f"base must give cross(m) where its coefficients are dependent; {self.base!r} has none.")
        check_scales("scales", self.scales)
        if isinstance(self.scales, tuple):
            self._scales(len(self.scales))
        elif isinstance(self.scales, numbers.Real):
            self._scales(1)

    @property
    def independent(self) -> bool:
        """Whether the coefficients are independent given the support, as those of ``base``."""
        return bool(getattr(self.base, "independent", True))

    @cached_property
    def _known(self) -> dict[int, FloatArray]:
        return {}

    def _scales(self, m: int) -> FloatArray:
        if m not in self._known:
            scales = values_of("scales", self.scales, m)
            if m and not (scales.min() >= SMALLEST and scales.max() <= LARGEST):
                raise ValueError(
                    f"scales must lie in [1e-150, 1e+150]; got values in [{scales.min():g}, {scales.max():g}]. "
                    "Put a sign into the base, or into the directions."
                )
            self._known[m] = scales
        return self._known[m]

    def draw(self, support: Support, rng: Rng) -> FloatArray:
        """Return the coefficients ``(nnz,)`` of the firing features."""
        values = self._scales(support.n_features)[support.indices] * self.base.draw(support, rng)
        return never_zero(np.asarray(values))

    def mean(self, m: int) -> FloatArray:
        """Return E[coefficient | fires] for each feature, ``(m,)``."""
        return np.asarray(self._scales(m) * self.base.mean(m))

    def second_moment(self, m: int) -> FloatArray:
        """Return E[coefficient^2 | fires], ``(m,)``; raises ValueError where that leaves the range of numbers."""
        with np.errstate(over="ignore", under="ignore"):
            second = np.asarray(self._scales(m) ** 2 * self.base.second_moment(m))
        if not (np.isfinite(second).all() and second.all()):
            raise ValueError(f"scales of base must leave a finite second moment above 0; {self!r:.200} does not.")
        return second

    def cross(self, m: int) -> FloatArray:
        """Return E[c_i c_j | i and j fire], ``(m, m)``, with `second_moment` on the diagonal."""
        scales = self._scales(m)
        if self.independent:
            mean = self.mean(m)
            joint = np.outer(mean, mean)
        else:
            joint = np.outer(scales, scales) * self.base.cross(m)  # type: ignore[attr-defined]
        np.fill_diagonal(joint, self.second_moment(m))
        return np.asarray(joint)
