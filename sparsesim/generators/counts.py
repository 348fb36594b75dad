"""How many features fire in a sample: laws of a count, each with a largest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from scipy.special import gammaln

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim.generators.rates import MOST_FEATURES


class CountLaw(Protocol):
    """The law of a count. A frozen dataclass of numbers, so that it has a key."""

    def probabilities(self) -> FloatArray:
        """Return P(count = j) for j = 0 ... largest; they sum to 1."""
        ...


def _check_range(low: object, high: object) -> None:
    largest = check_int("high", high, 0, MOST_FEATURES)
    check_int("low", low, 0, largest, high_name="high")


def _truncated(low: int, logarithms: FloatArray) -> FloatArray:
    """Return probabilities from 0 on, proportional to exp(``logarithms``) from ``low`` on."""
    weights = np.exp(logarithms - logarithms.max())
    return np.concatenate([np.zeros(low), weights / weights.sum()])


@final
@dataclass(frozen=True)
class FixedCount:
    """The count is always ``k``."""

    k: int

    def __post_init__(self) -> None:
        check_int("k", self.k, 0, MOST_FEATURES)

    def probabilities(self) -> FloatArray:
        """Return P(count = j) for j = 0 ... largest; they sum to 1."""
        return np.concatenate([np.zeros(int(self.k)), [1.0]])


@final
@dataclass(frozen=True)
class UniformCount:
    """Every count from ``low`` to ``high``, both included, has the same probability."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def probabilities(self) -> FloatArray:
        """Return P(count = j) for j = 0 ... largest; they sum to 1."""
        return _truncated(int(self.low), np.zeros(int(self.high) - int(self.low) + 1))


@final
@dataclass(frozen=True)
class PoissonCount:
    """The count is Poisson(``mean``), given that it lies in [``low``, ``high``].

    ``mean`` is the one before the truncation.
    """

    mean: float
    low: int
    high: int

    def __post_init__(self) -> None:
        check_real("mean", self.mean, 0.0, 1e9, open_low=True)
        _check_range(self.low, self.high)

    def probabilities(self) -> FloatArray:
        """Return P(count = j) for j = 0 ... largest; they sum to 1."""
        counts = np.arange(int(self.low), int(self.high) + 1.0)
        return _truncated(int(self.low), counts * np.log(float(self.mean)) - gammaln(counts + 1.0))


@final
@dataclass(frozen=True)
class NegativeBinomialCount:
    """The count is negative binomial, given that it lies in [``low``, ``high``].

    Before the truncation it has mean ``mean`` and variance mean + mean^2 / ``dispersion``: heavier tails than Poisson,
    which is the limit of a large dispersion.
    """

    mean: float
    dispersion: float
    low: int
    high: int

    def __post_init__(self) -> None:
        check_real("mean", self.mean, 0.0, 1e9, open_low=True)
        check_real("dispersion", self.dispersion, 0.0, 1e9, open_low=True)
        _check_range(self.low, self.high)

    def probabilities(self) -> FloatArray:
        """Return P(count = j) for j = 0 ... largest; they sum to 1."""
        counts, r = np.arange(int(self.low), int(self.high) + 1.0), float(self.dispersion)
        odds = np.log(float(self.mean)) - np.log(r + float(self.mean))
        return _truncated(int(self.low), gammaln(counts + r) - gammaln(counts + 1.0) + counts * odds)
