"""What stands between the clean signal ``codes @ atoms`` and the sample: changes of the signal, entries that are lost.

A sample is x = f(codes @ atoms) + bias + noise, f the changes of ``FeatureSpec.observation`` in their order, from which
`Missing` takes entries away. Each change is said by a frozen object (`Observation`) and drawn, once a world, as a
`SignalMap`, whose arrays are part of the truth: ``FeatureModel.observation``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final, runtime_checkable

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_real, read_only, unit_rows

BoolArray: TypeAlias = npt.NDArray[np.bool_]


class SignalMap(Protocol):
    """A realised change of the clean signal."""

    def apply(self, signal: FloatArray, codes: Codes, rng: Rng) -> FloatArray:
        """Return the changed ``signal (n, d)`` of samples with true ``codes (n, m)``, in its precision.

        ``signal`` may be overwritten. Each row depends on its own row of ``signal`` and ``codes`` and on ``rng`` only.
        """
        ...


@runtime_checkable
class AddedSignal(SignalMap, Protocol):
    """A change that adds something of mean zero, independent of codes and signal: x stays linear in the codes."""

    def covariance(self) -> FloatArray:
        """Return the covariance ``(d, d)`` of what is added."""
        ...


class Observation(Protocol):
    """A change of the clean signal, as it is said. A frozen dataclass of numbers and tuples, so that it has a key."""

    def realise(self, atoms: FloatArray, energy: Callable[[], float], rng: Rng) -> SignalMap:
        """Return the change of a world with ``atoms (m, d)``, where E||signal before it||^2 is ``energy()``.

        Raises ValueError where (m, d) admits none.
        """
        ...


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a @ b`` summed in one thread, so that the last bits do not depend on how many there are."""
    with threadpool_limits(limits=1, user_api="blas"):
        return np.asarray(a @ b)


@final
@dataclass(frozen=True)
class Background:
    """Dense dark matter: an independent normal vector of a random ``rank``-dimensional subspace is added.

    signal <- signal + s g B, g ~ N(0, I_r), with orthonormal rows B (r, d) drawn once a world and s such that the
    background has the share ``fraction`` of the energy: r s^2 = fraction / (1 - fraction) E||signal||^2.

    Parameters
    ----------
    rank : r, at most d.
    fraction : share of the energy of the changed signal that is background, in (0, 0.999].
    """

    rank: int
    fraction: float

    def __post_init__(self) -> None:
        check_int("rank", self.rank, 1)
        check_real("fraction", self.fraction, 0.0, 0.999, open_low=True)

    def realise(self, atoms: FloatArray, energy: Callable[[], float], rng: Rng) -> LowRankBackground:
        """Return the background of a world with ``atoms (m, d)``; raises ValueError if rank > d."""
        basis = random_frame(check_int("rank", self.rank, 1, atoms.shape[1], high_name="dim"), atoms.shape[1], rng)
        return LowRankBackground(basis, float(np.sqrt(self.fraction / (1.0 - self.fraction) * energy() / self.rank)))


@final
@dataclass(frozen=True, eq=False)
class LowRankBackground:
    """What a `Background` adds in one world: ``scale * g @ basis``, g standard normal.

    Attributes
    ----------
    basis : (r, d) orthonormal rows, read-only.
    scale : standard deviation in each direction of the subspace.
    """

    basis: FloatArray
    scale: float

    def apply(self, signal: FloatArray, codes: Codes, rng: Rng) -> FloatArray:
        """Return the changed ``signal (n, d)``, in its precision."""
        kind = signal.dtype
        added = product(rng.standard_normal((len(signal), len(self.basis)), dtype=kind.type), self.basis.astype(kind))
        signal += np.asarray(self.scale, dtype=kind) * added
        return signal

    def covariance(self) -> FloatArray:
        """Return the covariance ``(d, d)`` of what is added."""
        return self.scale**2 * product(self.basis.T, self.basis)


def random_frame(rank: int, dim: int, rng: Rng) -> FloatArray:
    """Return orthonormal rows ``(rank, dim)``, uniform over all such frames (Haar), read-only."""
    with threadpool_limits(limits=1, user_api="blas"):
        q, r = np.linalg.qr(rng.standard_normal((dim, rank)))
    sign = np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the factorisation unique, hence the law uniform
    return read_only(np.ascontiguousarray((q * sign).T))


def random_directions(count: int, dim: int, rng: Rng) -> FloatArray:
    """Return independent unit rows ``(count, dim)``, uniform on the sphere, read-only."""
    return read_only(unit_rows(rng.standard_normal((count, dim)))[0])


@final
@dataclass(frozen=True)
class Missing:
    """Entries of x are lost, each on its own with probability ``rate`` (missing completely at random).

    Entries are lost last, after the noise. ``Batch.observed`` says which are left.

    Parameters
    ----------
    rate : probability that an entry is lost, in [0, 1].
    nan : a lost entry is NaN, which solvers refuse until it is imputed; else 0.
    """

    rate: float
    nan: bool = False

    def __post_init__(self) -> None:
        check_real("rate", self.rate, 0.0, 1.0)
        if not isinstance(self.nan, bool):
            raise TypeError(f"nan must be True (lost entries are NaN) or False (they are 0); got {self.nan!r}.")

    def lose_(self, x: FloatArray, rng: Rng) -> BoolArray:
        """Overwrite the lost entries of ``x (n, d)`` and return which are left, ``(n, d)``."""
        observed: BoolArray = rng.random(x.shape) >= self.rate
        x[~observed] = np.nan if self.nan else 0.0
        return observed
