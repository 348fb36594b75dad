"""Additive observation noise: white, by standard deviation or by signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np

from sparsesim._arrays import FloatArray, Rng, check_real


class NoiseLaw(Protocol):
    """Noise ``std * w`` where ``w`` has unit variance in each coordinate."""

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        """Return the standard deviation a coordinate, given E||signal||^2 (summed over ``dim`` coordinates)."""
        ...

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        """Return ``w (n, d)``, of unit variance."""
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
        return float(self.sigma)

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        return _white(shape, rng, dtype)


@final
@dataclass(frozen=True)
class SignalToNoise:
    """White Gaussian noise at a signal-to-noise ratio in dB: 10 log10(E||codes @ atoms||^2 / E||noise||^2) = ``db``.

    The signal energy is about zero and without the bias of the world, the convention of the sparse-recovery literature.
    ``db`` lies in [-300, 300]: beyond, one of the two is below the rounding of the other.
    """

    db: float

    def __post_init__(self) -> None:
        check_real("db", self.db, -300.0, 300.0)

    def std(self, signal_energy: Callable[[], float], dim: int) -> float:
        return float(np.sqrt(signal_energy() / dim * 10.0 ** (-self.db / 10.0)))

    def draw(self, shape: tuple[int, int], rng: Rng, dtype: np.dtype[Any]) -> FloatArray:
        return _white(shape, rng, dtype)
