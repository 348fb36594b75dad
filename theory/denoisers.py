"""Bayes denoisers of sparse codes in Gaussian noise: posterior means, variances, MMSE and mutual information.

A code entry is zero with probability 1 - eps and drawn from a slab otherwise; it is seen as ``r = s + tau z``, z
standard normal. The MMSE is integrated as E[Var(s | r)]: the difference E s^2 - E[E(s | r)^2] loses all digits for
small tau.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, expit, log_ndtr

from theory._premises import moderate

Array: TypeAlias = npt.NDArray[np.float64]

_LADDER = np.linspace(-12.0, 12.0, 33)  # panels of 3/4 noise deviations: the spike's mass and where the weight turns
_FAR = np.arange(1, 21) / 20.0  # geometric panels from 12 deviations out to the end of the slab
_CROSSING = np.concatenate([-(2.0 ** np.arange(9, -2, -1)), [0.0], 2.0 ** np.arange(-1, 10)])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)  # a panel
_FINE, _FINE_WEIGHTS = np.polynomial.legendre.leggauss(32)  # a Gaussian cut at both ends: exact to rounding
_FINE_POWERS = _FINE ** np.arange(3)[:, None]
_NARROW = 1.0 / 400.0  # of a unit interval: its far end is at least ten noise deviations from the mode
_BLOCK = 64  # noise levels integrated at a time


def normal_density(x: npt.ArrayLike) -> Array:
    """Return the standard normal density."""
    return np.asarray(np.exp(-0.5 * np.square(x)) / math.sqrt(2.0 * math.pi))


def _log_normal(r: Array, variance: Array) -> Array:
    return np.asarray(-0.5 * (r * r / variance + np.log(2.0 * math.pi * variance)))


def _log_ndtr_above(a: Array) -> Array:
    """Return ``a^2/2 + ln Phi(a)``, which stays of order ln|a| for a -> -inf, where both terms are huge."""
    tail = np.log(0.5 * erfcx(-np.minimum(a, 0.0) / math.sqrt(2.0)))
    return np.asarray(np.where(a < 0.0, tail, 0.5 * a * a + log_ndtr(a)))


def truncated_moments(a: npt.ArrayLike) -> tuple[Array, Array]:
    """Return mean and variance of a normal of mean ``a`` and variance 1 given that it is positive.

    ``a + h`` and ``1 - h (a + h)``, h = phi(a) / Phi(a); their asymptotic series below a = -40, where they cancel.
    """
    a = np.asarray(a, dtype=np.float64)
    hazard = math.sqrt(2.0 / math.pi) / erfcx(-a / math.sqrt(2.0))
    y = 1.0 / np.square(np.minimum(a, -1.0))
    far_mean = np.sqrt(y) * (1.0 + y * (-2.0 + y * (10.0 + y * (-74.0 + y * 706.0))))
    far_variance = y * (1.0 + y * (-6.0 + y * (50.0 + y * -518.0)))
    mean = np.where(a < -40.0, far_mean, a + hazard)
    return np.asarray(mean), np.asarray(np.where(a < -40.0, far_variance, 1.0 - hazard * (a + hazard)))


def _far(tau: Array, reach: float) -> Array:
    start = 12.0 * tau
    return np.asarray(start * (1.0 + reach / start) ** _FAR)


class Slab(Protocol):
    """The law of a code entry that is not zero, at unit scale."""

    @property
    def mean(self) -> float:
        """Return E s."""

    @property
    def power(self) -> float:
        """Return E s^2."""

    def log_density(self, r: Array, tau2: Array) -> Array:
        """Return the log density of ``s + tau z`` at ``r``."""

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        """Return mean and variance of s given ``s + tau z = r``."""

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        """Return breakpoints ``(t, b)``, in any order, between which all integrands are smooth, for ``tau2 (t, 1)``."""


@final
@dataclass(frozen=True)
class Gaussian:
    """A standard normal: signed codes."""

    mean: ClassVar[float] = 0.0
    power: ClassVar[float] = 1.0

    def log_density(self, r: Array, tau2: Array) -> Array:
        return _log_normal(r, 1.0 + tau2)

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        return r / (1.0 + tau2), np.broadcast_to(tau2 / (1.0 + tau2), np.broadcast(r, tau2).shape)

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        tau = np.sqrt(tau2)
        far = _far(tau, 9.0)
        return np.concatenate([-far, tau * _LADDER, far], axis=1)


@final
@dataclass(frozen=True)
class HalfNormal:
    """The magnitude of a standard normal."""

    mean: ClassVar[float] = math.sqrt(2.0 / math.pi)
    power: ClassVar[float] = 1.0

    def log_density(self, r: Array, tau2: Array) -> Array:
        return np.asarray(_log_normal(r, 1.0 + tau2) + math.log(2.0) + log_ndtr(r / np.sqrt(tau2 * (1.0 + tau2))))

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        mean, variance = truncated_moments(r / np.sqrt(tau2 * (1.0 + tau2)))
        spread = tau2 / (1.0 + tau2)
        return np.sqrt(spread) * mean, spread * variance

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        tau = np.sqrt(tau2)
        return np.concatenate([tau * _LADDER, _far(tau, 9.0)], axis=1)


@final
@dataclass(frozen=True)
class Exponential:
    """An exponential of mean 1."""

    mean: ClassVar[float] = 1.0
    power: ClassVar[float] = 2.0

    def log_density(self, r: Array, tau2: Array) -> Array:
        a = (r - tau2) / np.sqrt(tau2)
        below = -r * r / (2.0 * tau2) + _log_ndtr_above(np.minimum(a, 0.0))  # where -r + tau2/2 would cancel
        return np.asarray(np.where(a < 0.0, below, -r + tau2 / 2.0 + log_ndtr(a)))

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        mean, variance = truncated_moments((r - tau2) / np.sqrt(tau2))
        return np.sqrt(tau2) * mean, tau2 * variance

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        tau = np.sqrt(tau2)
        return np.concatenate([tau * _LADDER, _far(tau, 40.0)], axis=1)


@final
@dataclass(frozen=True)
class Uniform:
    """Uniform on [0, 1]; its posterior is a normal cut at both ends, integrated over where it is not negligible."""

    mean: ClassVar[float] = 0.5
    power: ClassVar[float] = 1.0 / 3.0

    def log_density(self, r: Array, tau2: Array) -> Array:
        return np.asarray(self._cut(r, tau2)[0])

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        _, mean, variance = self._cut(r, tau2)
        return mean, variance

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        tau = np.sqrt(tau2)
        return np.concatenate([tau * _LADDER, 1.0 + tau * _LADDER], axis=1)

    def _cut(self, r: Array, tau2: Array) -> Array:
        """Return log density, mean and variance ``(3, ...)``."""
        r, tau2 = np.broadcast_arrays(np.asarray(r, dtype=np.float64), np.asarray(tau2, dtype=np.float64))
        result = np.empty((3, *r.shape))
        narrow = tau2 <= _NARROW
        for some, cut in ((narrow, self._near_end), (~narrow, self._both_ends)):
            if some.any():
                result[:, some] = cut(r[some], tau2[some])
        return result

    @staticmethod
    def _near_end(r: Array, tau2: Array) -> tuple[Array, Array, Array]:
        near, tau = np.minimum(r, 1.0 - r), np.sqrt(tau2)
        mean, variance = truncated_moments(near / tau)
        return log_ndtr(near / tau), np.where(r > 0.5, 1.0 - tau * mean, tau * mean), tau2 * variance

    @staticmethod
    def _both_ends(r: Array, tau2: Array) -> tuple[Array, Array, Array]:
        mode = np.clip(r, 0.0, 1.0)
        gap = np.abs(r - mode)
        # The density falls by e^32 from its mode to mode +- reach.
        reach = 64.0 * tau2 / (gap + np.sqrt(gap * gap + 64.0 * tau2))
        low, high = np.maximum(mode - reach, 0.0), np.minimum(mode + reach, 1.0)
        half, middle = 0.5 * (high - low), 0.5 * (low + high)
        # The exponent -(s - r)^2 / (2 tau2), less its value at the mode, as a polynomial of u in s = middle + half u.
        step, pull = middle - mode, mode - r
        powers = np.stack([step * (step + 2.0 * pull), 2.0 * half * (step + pull), half * half], axis=-1)
        weight = np.exp((powers / (-2.0 * tau2[..., None])) @ _FINE_POWERS)
        total, first, second = np.moveaxis(weight @ (_FINE_POWERS * _FINE_WEIGHTS).T, -1, 0)
        mean = first / total
        variance = half * half * (second / total - mean * mean)  # in u, where it is at least 1/400
        return np.asarray(_log_normal(pull, tau2) + np.log(half * total)), middle + half * mean, variance


@final
@dataclass(frozen=True)
class One:
    """The constant 1: binary codes."""

    mean: ClassVar[float] = 1.0
    power: ClassVar[float] = 1.0

    def log_density(self, r: Array, tau2: Array) -> Array:
        return _log_normal(r - 1.0, tau2)

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        shape = np.broadcast(r, tau2).shape
        return np.ones(shape), np.zeros(shape)

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        tau = np.sqrt(tau2)
        turn = 0.5 + tau2 * (log_odds + _CROSSING)  # the weight is 1/2 at the middle and turns over a few tau2
        points = np.concatenate([tau * _LADDER, 1.0 + tau * _LADDER, turn], axis=1)
        return np.asarray(np.clip(points, -12.0 * tau, 1.0 + 12.0 * tau))


@final
@dataclass(frozen=True)
class Rademacher:
    """A fair sign, +1 or -1."""

    mean: ClassVar[float] = 0.0
    power: ClassVar[float] = 1.0

    def log_density(self, r: Array, tau2: Array) -> Array:
        size = np.abs(r)
        return np.asarray(_log_normal(size - 1.0, tau2) + np.log1p(np.exp(-2.0 * size / tau2)) - math.log(2.0))

    def moments(self, r: Array, tau2: Array) -> tuple[Array, Array]:
        decay = np.exp(-2.0 * np.abs(r) / tau2)
        return np.tanh(r / tau2), 4.0 * decay / np.square(1.0 + decay)

    def breaks(self, tau2: Array, log_odds: float) -> Array:
        tau = np.sqrt(tau2)
        turn = 0.5 + tau2 * (log_odds + math.log(2.0) + _CROSSING)
        points = np.concatenate([1.0 + tau * _LADDER, turn], axis=1)
        limit = 1.0 + 12.0 * tau
        return np.asarray(np.clip(np.concatenate([-points, tau * _LADDER, points], axis=1), -limit, limit))


def _positive(name: str, value: npt.ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.all((array > 0.0) & np.isfinite(array)):
        raise ValueError(f"{name} must be positive and finite; got {array}.")
    return array


@final
@dataclass(frozen=True)
class SpikeSlab:
    """A code entry: ``scale`` times a draw of ``slab`` with probability ``eps``, otherwise zero.

    Parameters
    ----------
    eps : the density of the code, in (0, 1].
    slab : `Gaussian`, `HalfNormal`, `Exponential`, `Uniform`, `One` or `Rademacher`, at unit scale.
    scale : positive.
    """

    eps: float
    slab: Slab
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.eps <= 1.0:
            raise ValueError(
                f"eps must lie in (0, 1]; got {self.eps}. Without any active entry nothing is to estimate."
            )
        moderate("scale", self.scale)

    @property
    def mean(self) -> float:
        """Return E s."""
        return self.eps * self.scale * self.slab.mean

    @property
    def power(self) -> float:
        """Return E s^2."""
        return self.eps * self.scale**2 * self.slab.power

    @property
    def variance(self) -> float:
        """Return Var s."""
        return self.power - self.mean**2

    def log_odds(self) -> float:
        """Return ln((1 - eps) / eps), -inf for eps = 1."""
        return math.log1p(-self.eps) - math.log(self.eps) if self.eps < 1.0 else -math.inf

    def posterior(self, r: npt.ArrayLike, tau2: npt.ArrayLike) -> tuple[Array, Array, Array]:
        """Return P(s != 0 | r), E(s | r) and Var(s | r), in the common shape of ``r`` and ``tau2``.

        With the slab's density p1 and its posterior moments m1, v1 of s given r and s != 0,
        ``w = eps p1 / ((1 - eps) N(r; 0, tau2) + eps p1)``, mean ``w m1``, variance ``w v1 + w (1 - w) m1^2``.
        The derivative of the mean in r is ``Var(s | r) / tau2``.

        Raises
        ------
        ValueError
            Unless tau2 is positive and finite.
        """
        variance = _positive("tau2", tau2) / self.scale**2
        x, variance = np.broadcast_arrays(np.asarray(r, dtype=np.float64) / self.scale, variance)
        favour = self.slab.log_density(x, variance) - _log_normal(x, variance) - self.log_odds()
        weight = expit(favour)
        mean, spread = self.slab.moments(x, variance)
        total = weight * spread + weight * expit(-favour) * mean**2
        return np.asarray(weight), np.asarray(self.scale * weight * mean), np.asarray(self.scale**2 * total)

    def mmse(self, tau2: npt.ArrayLike) -> Array:
        """Return E Var(s | s + tau z), the least mean squared error, in the shape of ``tau2``.

        By Gauss-Legendre panels, relative error below 1e-8 (where it is above 1e-300, else 0).

        References
        ----------
        Donoho, Maleki and Montanari, arXiv:0907.3574; Krzakala et al., arXiv:1206.3953, for the Gauss-Bernoulli form.
        """
        return self.scale**2 * self._over_levels(self._variance_integral, tau2)

    def mutual_information(self, tau2: npt.ArrayLike) -> Array:
        """Return I(s; s + tau z) in nats, in the shape of ``tau2``; its derivative in 1/tau2 is mmse / 2.

        References
        ----------
        Guo, Shamai and Verdu (2005), arXiv:cs/0412108, Theorem 1, the I-MMSE identity.
        """
        return self._over_levels(self._information_integral, tau2)

    def rule(self, tau2: npt.ArrayLike, kinks: npt.ArrayLike | None = None) -> tuple[Array, Array]:
        """Return nodes and weights ``(t, q)`` of a quadrature over r for the unit-scale slab at levels ``tau2 (t,)``.

        ``kinks (t, c)`` are further breakpoints, where an integrand has a corner.
        """
        level = np.asarray(tau2, dtype=np.float64)[:, None]
        odds = self.log_odds() if self.eps < 1.0 else 0.0
        points = self.slab.breaks(level, odds)
        if kinks is not None:
            points = np.concatenate([points, np.asarray(kinks, dtype=np.float64)], axis=1)
        points = np.sort(points, axis=1)
        half = 0.5 * np.diff(points, axis=1)[..., None]
        middle = 0.5 * (points[:, 1:] + points[:, :-1])[..., None]
        return (middle + half * _NODES).reshape(len(level), -1), (half * _WEIGHTS).reshape(len(level), -1)

    def _over_levels(self, integral: Any, tau2: npt.ArrayLike) -> Array:
        level = _positive("tau2", tau2) / self.scale**2
        flat = level.reshape(-1)
        parts = [integral(flat[low : low + _BLOCK]) for low in range(0, len(flat), _BLOCK)]
        return np.concatenate([np.empty(0), *parts]).reshape(level.shape)

    def _components(self, level: Array) -> tuple[Array, Array, Array, Array]:
        """Return nodes, weights and the log densities of (1 - eps) spike and eps slab there."""
        r, weights = self.rule(level)
        tau2 = level[:, None]
        with np.errstate(divide="ignore"):
            spike = _log_normal(r, tau2) + np.log1p(-self.eps)
        return r, weights, spike, self.slab.log_density(r, tau2) + math.log(self.eps)

    def _variance_integral(self, level: Array) -> Array:
        r, weights, spike, slab = self._components(level)
        mean, spread = self.slab.moments(r, level[:, None])
        active, silent = np.exp(slab), np.exp(spike)
        # w (1 - w) times the density: silent is 0 wherever the sum is below the smallest float.
        inside = active * (spread + silent / np.maximum(active + silent, np.finfo(np.float64).tiny) * mean**2)
        return np.asarray((weights * inside).sum(axis=1))

    def _information_integral(self, level: Array) -> Array:
        r, weights, spike, slab = self._components(level)
        log_density = np.logaddexp(spike, slab)
        density = weights * np.exp(log_density)
        entropy = -(density * log_density).sum(axis=1) - 0.5 * np.log(2.0 * math.pi * math.e * level)
        # Above tau2 = 1 the information is small: E s^2 / (2 tau2) - E ln(p(r) / N(r; 0, tau2)) has no cancellation.
        ratio = slab - math.log(self.eps) - _log_normal(r, level[:, None])
        with np.errstate(divide="ignore"):  # of a dense code, where the ratio underflows
            small = np.log1p(self.eps * np.expm1(np.minimum(ratio, 1.0)))
        ratio = np.where(ratio < 1.0, small, log_density - _log_normal(r, level[:, None]))
        faint = self.eps * self.slab.power / (2.0 * level) - (density * np.where(density > 0.0, ratio, 0.0)).sum(axis=1)
        return np.asarray(np.where(level < 1.0, entropy, faint))
