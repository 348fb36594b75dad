"""How often the features fire: firing rates ``(m,)`` in [0, 1], one a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int, check_real

MOST_FEATURES = 2**31 - 1  # feature indices are int32


class RateLaw(Protocol):
    """The firing rate of each feature. A frozen dataclass of numbers and tuples, so that it has a key."""

    @property
    def n_features(self) -> int: ...

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        ...


@final
@dataclass(frozen=True)
class EqualRates:
    """All ``m`` features fire at the same ``rate`` in (0, 1]."""

    m: int
    rate: float

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_real("rate", self.rate, 0.0, 1.0, open_low=True)

    @property
    def n_features(self) -> int:
        return int(self.m)

    def rates(self) -> FloatArray:
        return np.full(self.m, float(self.rate))


@final
@dataclass(frozen=True)
class ZipfRates:
    """The rates of ``m`` features fall as a power of the rank: rate_i = max_rate * (i + 1)^-exponent, i = 0 ... m-1.

    A pure power law; exponent 0 gives equal rates.
    """

    m: int
    exponent: float
    max_rate: float

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_real("exponent", self.exponent, 0.0)
        check_real("max_rate", self.max_rate, 0.0, 1.0, open_low=True)

    @property
    def n_features(self) -> int:
        return int(self.m)

    def rates(self) -> FloatArray:
        rates: FloatArray = self.max_rate * np.arange(1.0, self.m + 1.0) ** -float(self.exponent)
        return rates


@final
@dataclass(frozen=True)
class GivenRates:
    """The rates are those given, each in [0, 1]; a feature of rate 0 never fires."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        check_rates("values", self.values)

    @property
    def n_features(self) -> int:
        return len(self.values)

    def rates(self) -> FloatArray:
        return np.array(self.values, dtype=np.float64)


def check_rates(name: str, values: object) -> None:
    """Raise unless ``values`` is a non-empty tuple of real numbers in [0, 1]."""
    if not isinstance(values, tuple):
        raise TypeError(f"{name} must be a tuple of rates; got {type(values).__name__}. Pass tuple({name}).")
    if not values:
        raise ValueError(f"{name} must hold at least one rate; got an empty tuple.")
    for index, value in enumerate(values):
        check_real(f"{name}[{index}]", value, 0.0, 1.0)
