"""Additive observation noise: white or correlated, light- or heavy-tailed, by level or by signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, final

import numpy as np
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim._identity import Role, stream
from sparsesim.generators.observation import product, random_frame

_FRAME, _SUBSPACE = 0, 1  # tell the random frames of a seed apart


class NoiseLaw(Protocol):
    """Noise ``std * w`` where ``w`` has mean 0 and variance 1, averaged over the coordinates."""

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation a coordinate, given E||signal||^2 (summed over ``dim``)."""
        ...

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        ...

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        ...


def _white(shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
    return rng.standard_normal(shape, dtype=dtype.type)


@final
@dataclass(frozen=True)
class Gaussian:
    """White Gaussian noise of a given standard deviation in each coordinate."""

    sigma: float = 0.0

    def __post_init__(self) -> None:
        check_real("sigma", self.sigma, 0.0)

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate."""
        return float(self.sigma)

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        return _white(shape, rng, dtype)

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        return np.eye(dim)


@final
@dataclass(frozen=True)
class StudentT:
    """White heavy-tailed noise: Student's t with ``dof`` > 2, scaled to standard deviation ``sigma``.

    Kurtosis is 3 + 6 / (dof - 4) for dof > 4 and infinite below.
    """

    dof: float
    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("dof", self.dof, 2.0, open_low=True)
        check_real("sigma", self.sigma, 0.0)

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate."""
        return float(self.sigma)

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        values = np.sqrt(1.0 - 2.0 / self.dof) * rng.standard_t(self.dof, shape)
        return np.asarray(values, dtype=dtype)

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        return np.eye(dim)


@final
@dataclass(frozen=True)
class Laplace:
    """White noise with double-exponential tails and standard deviation ``sigma``; its kurtosis is 6."""

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("sigma", self.sigma, 0.0)

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate."""
        return float(self.sigma)

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        return rng.laplace(0.0, np.sqrt(0.5), shape).astype(dtype, copy=False)

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        return np.eye(dim)


@final
@dataclass(frozen=True)
class AutoregressiveNoise:
    """Gaussian noise correlated along the coordinates, cov(w_i, w_j) = ``rho``^|i - j|; AR(1), stationary."""

    rho: float
    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("rho", self.rho, -1.0, 1.0)
        check_real("sigma", self.sigma, 0.0)

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate."""
        return float(self.sigma)

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        innovations = rng.standard_normal(shape)
        innovations[:, 1:] *= np.sqrt(1.0 - self.rho**2)
        return np.asarray(lfilter([1.0], [1.0, -self.rho], innovations, axis=1)).astype(dtype, copy=False)

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        return np.asarray(toeplitz(float(self.rho) ** np.arange(dim)))


@lru_cache(maxsize=4)
def _frame(rank: int, dim: int, seed: int, kind: int) -> FloatArray:
    return random_frame(rank, dim, stream(seed, Role.OBSERVATION, kind, dim))


@final
@dataclass(frozen=True)
class PowerLawNoise:
    """Gaussian noise with covariance eigenvalues proportional to i^-``exponent``, i = 1 ... d, in a random frame.

    The frame is drawn under ``seed``; the eigenvalues sum to d, so that the average variance is 1.
    """

    exponent: float
    sigma: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_real("exponent", self.exponent, 0.0)
        check_real("sigma", self.sigma, 0.0)
        check_int("seed", self.seed, 0)

    def eigenvalues(self, dim: int) -> FloatArray:
        """Return the eigenvalues ``(d,)`` of the covariance, descending."""
        values = np.arange(1.0, dim + 1.0) ** -float(self.exponent)
        return np.asarray(values * (dim / values.sum()))

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate."""
        return float(self.sigma)

    def _factor(self, dim: int) -> FloatArray:
        return np.sqrt(self.eigenvalues(dim))[:, None] * _frame(dim, dim, int(self.seed), _FRAME)

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        return product(_white(shape, rng, dtype), self._factor(shape[1]).astype(dtype))

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        factor = self._factor(dim)
        return product(factor.T, factor)


@final
@dataclass(frozen=True)
class LowRankNoise:
    """Gaussian noise in a random ``rank``-dimensional subspace only, of equal variance d / rank in its directions.

    The subspace is drawn under ``seed``; the average variance of a coordinate is 1.
    """

    rank: int
    sigma: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("rank", self.rank, 1)
        check_real("sigma", self.sigma, 0.0)
        check_int("seed", self.seed, 0)

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate."""
        return float(self.sigma)

    def _factor(self, dim: int) -> FloatArray:
        rank = check_int("rank", self.rank, 1, dim, high_name="dim")
        return np.asarray(np.sqrt(dim / rank) * _frame(rank, dim, int(self.seed), _SUBSPACE))

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        factor = self._factor(shape[1])
        return product(_white((shape[0], len(factor)), rng, dtype), factor.astype(dtype))

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        factor = self._factor(dim)
        return product(factor.T, factor)


@final
@dataclass(frozen=True)
class SignalToNoise:
    """Noise at a signal-to-noise ratio in dB: 10 log10(E||signal||^2 / E||noise||^2) = ``db``.

    The signal energy is about zero and without the bias of the world, the convention of the sparse-recovery literature;
    where the world changes its signal (`FeatureSpec.observation`) it is that of the changed signal. ``db`` lies in
    [-300, 300]: beyond, one of the two is below the rounding of the other.

    Parameters
    ----------
    db : the ratio.
    shape : law of the noise up to its level, with sigma=1; white and Gaussian by default.
    """

    db: float
    shape: NoiseLaw = Gaussian(1.0)

    def __post_init__(self) -> None:
        check_real("db", self.db, -300.0, 300.0)
        if isinstance(self.shape, type) or not hasattr(self.shape, "draw") or isinstance(self.shape, SignalToNoise):
            raise TypeError(f"shape must be a noise law of given sigma, such as StudentT(5); got {self.shape!r}.")
        if getattr(self.shape, "sigma", 1.0) != 1.0:
            raise ValueError(f"shape must have sigma=1, since db decides the level; got {self.shape!r}.")

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the root mean square standard deviation of a coordinate at this ratio, given E||signal||^2."""
        return float(np.sqrt(signal_energy() / dim * 10.0 ** (-self.db / 10.0)))

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``."""
        return self.shape.draw(shape, rng, dtype)

    def covariance(self, dim: int) -> FloatArray:
        """Return the covariance ``(d, d)`` of ``w``, whose trace is d."""
        return self.shape.covariance(dim)
