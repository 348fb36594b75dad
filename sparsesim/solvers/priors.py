"""Laws of a code that the Bayesian encoders take as given: which atoms are active, and how strongly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int, check_real


def _check_rate(value: float | tuple[float, ...]) -> None:
    for rate in value if isinstance(value, tuple) else (value,):
        if not 0.0 < check_real("rate", rate) < 1.0:
            raise ValueError(
                f"rate must lie strictly between 0 and 1; got {rate}. Leave out atoms that are never active."
            )


def _check_positive(name: str, value: float | tuple[float, ...]) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        check_real(name, number, 0.0, open_low=True)


def each_atom(name: str, value: float | tuple[float, ...], p: int) -> FloatArray:
    """Return ``value``, one number or one an atom, as an array ``(p,)``; raises ValueError where the count is not p."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim and array.shape != (p,):
        raise ValueError(f"{name} must be one number or one for each of the p={p} atoms; got {len(array)}.")
    return np.full(p, array) if array.ndim == 0 else array


@final
@dataclass(frozen=True)
class BernoulliGaussian:
    """Each atom is active with probability ``rate``, independently, with a value from N(mean, variance).

    Parameters
    ----------
    rate : in (0, 1), one number or one an atom.
    variance : of an active value, above 0, one number or one an atom.
    mean : of an active value.
    """

    rate: float | tuple[float, ...]
    variance: float | tuple[float, ...] = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        _check_positive("variance", self.variance)
        check_real("mean", self.mean)

    def log_odds(self, p: int) -> FloatArray:
        """Return ln(rate / (1 - rate)) of each of ``p`` atoms."""
        rate = each_atom("rate", self.rate, p)
        return np.asarray(np.log(rate) - np.log1p(-rate))

    def spread(self, p: int) -> FloatArray:
        """Return the variance of the active value of each of ``p`` atoms."""
        return each_atom("variance", self.variance, p)


@final
@dataclass(frozen=True)
class BernoulliHalfNormal:
    """Each atom is active with probability ``rate``, independently, with the size of a draw of N(0, variance).

    Parameters
    ----------
    rate : in (0, 1), one number or one an atom.
    variance : the mean square of an active value; above 0, one number or one an atom.
    """

    rate: float | tuple[float, ...]
    variance: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        _check_positive("variance", self.variance)

    def log_odds(self, p: int) -> FloatArray:
        """Return ln(rate / (1 - rate)) of each of ``p`` atoms."""
        return BernoulliGaussian(self.rate).log_odds(p)

    def spread(self, p: int) -> FloatArray:
        """Return the mean square of the active value of each of ``p`` atoms."""
        return each_atom("variance", self.variance, p)


@final
@dataclass(frozen=True)
class BernoulliExponential:
    """Each atom is active with probability ``rate``, independently, with an exponential value.

    Parameters
    ----------
    rate : in (0, 1), one number or one an atom.
    mean : of an active value, above 0, one number or one an atom.
    """

    rate: float | tuple[float, ...]
    mean: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        _check_positive("mean", self.mean)

    def log_odds(self, p: int) -> FloatArray:
        """Return ln(rate / (1 - rate)) of each of ``p`` atoms."""
        return BernoulliGaussian(self.rate).log_odds(p)

    def spread(self, p: int) -> FloatArray:
        """Return the squared mean, which is the variance, of the active value of each of ``p`` atoms."""
        return np.square(each_atom("mean", self.mean, p))


@final
@dataclass(frozen=True)
class ExactlyK:
    """Exactly ``k`` atoms are active, all such supports equally likely, with values from N(mean, variance).

    Parameters
    ----------
    k : at least 1.
    variance : of an active value, above 0, one number or one an atom.
    mean : of an active value.
    """

    k: int
    variance: float | tuple[float, ...] = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        _check_positive("variance", self.variance)
        check_real("mean", self.mean)

    def spread(self, p: int) -> FloatArray:
        """Return the variance of the active value of each of ``p`` atoms."""
        return each_atom("variance", self.variance, p)


SpikeSlab: TypeAlias = BernoulliGaussian | BernoulliHalfNormal | BernoulliExponential


def log_mass(prior: BernoulliGaussian | ExactlyK, p: int, largest: int) -> float:
    """Return ln of what makes ``prod odds`` over supports of at most ``largest`` atoms sum to one (k: of exactly k)."""
    if isinstance(prior, ExactlyK):
        return -math.log(math.comb(p, prior.k))
    odds = np.exp(prior.log_odds(p))
    if largest >= p:
        return -float(np.log1p(odds).sum())
    sums = np.zeros(largest + 1)  # elementary symmetric sums of the odds
    sums[0] = 1.0
    for value in odds:
        sums[1:] += value * sums[:-1]
    return -math.log(float(sums.sum()))
