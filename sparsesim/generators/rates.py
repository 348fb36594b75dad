"""How often the features fire: firing rates ``(m,)`` in [0, 1], one a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim._identity import Role, stream

MOST_FEATURES = 2**31 - 1  # feature indices are int32
_STREAM = 1  # tells the random rates of a seed from the other random laws of that seed


class RateLaw(Protocol):
    """The firing rate of each feature. A frozen dataclass of numbers and tuples, so that it has a key."""

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        ...

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
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
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
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        rates: FloatArray = self.max_rate * np.arange(1.0, self.m + 1.0) ** -float(self.exponent)
        return rates


@final
@dataclass(frozen=True)
class MandelbrotRates:
    """The rates of ``m`` features fall as a shifted power: rate_i = max_rate * ((1 + q) / (i + 1 + q))^s, 0 <= i < m.

    The Zipf-Mandelbrot law with the largest rate as its constant; q = ``offset`` > -1 flattens the head (q > 0) or
    sharpens it (q < 0), and q = 0 is `ZipfRates`.
    """

    m: int
    exponent: float
    offset: float
    max_rate: float

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_real("exponent", self.exponent, 0.0)
        check_real("offset", self.offset, -1.0, open_low=True)
        check_real("max_rate", self.max_rate, 0.0, 1.0, open_low=True)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        first = 1.0 + float(self.offset)
        rates: FloatArray = self.max_rate * (first / (np.arange(self.m) + first)) ** float(self.exponent)
        return rates


@final
@dataclass(frozen=True)
class AffineZipfRates:
    """A power of the rank, mapped affinely so that the first of ``m`` rates is ``max_rate`` and the last ``min_rate``.

    With w_i = (i + 1)^-exponent, rate_i = min_rate + (max_rate - min_rate) (w_i - w_m-1) / (w_0 - w_m-1). It is *not* a
    power law: its tail is flat at ``min_rate``. An exponent near 0 gives rates linear in the logarithm of the rank.

    References
    ----------
    The Zipfian firing probabilities of SAELens (``sae_lens.synthetic``) and of SynthSAEBench.
    """

    m: int
    exponent: float
    max_rate: float
    min_rate: float

    def __post_init__(self) -> None:
        check_int("m", self.m, 2, MOST_FEATURES)
        check_real("exponent", self.exponent, 1e-9)
        check_real("max_rate", self.max_rate, 0.0, 1.0)
        check_real("min_rate", self.min_rate, 0.0, self.max_rate)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        # expm1 keeps the differences of powers near 1 that a small exponent gives.
        """Return the rates ``(m,)``."""
        below = np.expm1(-float(self.exponent) * np.log(np.arange(1.0, self.m + 1.0)))
        share = 1.0 - below / below[-1]
        rates: FloatArray = self.min_rate * (1.0 - share) + self.max_rate * share
        return rates


@final
@dataclass(frozen=True)
class LinearRates:
    """The rates of ``m`` features lead from ``first`` to ``last`` in equal steps; either may be the larger."""

    m: int
    first: float
    last: float

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_real("first", self.first, 0.0, 1.0)
        check_real("last", self.last, 0.0, 1.0)
        if self.m == 1 and self.first != self.last:
            raise ValueError(
                f"one feature has one rate; got first={self.first}, last={self.last} at m=1. Use EqualRates(1, rate)."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        return np.linspace(float(self.first), float(self.last), int(self.m))


@final
@dataclass(frozen=True)
class UniformRates:
    """The rates of ``m`` features were drawn once, uniformly from [``low``, ``high``); ``seed`` says which draw."""

    m: int
    low: float
    high: float
    seed: int

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_real("high", self.high, 0.0, 1.0)
        check_real("low", self.low, 0.0, self.high)
        check_int("seed", self.seed, 0)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        return stream(self.seed, Role.LAW, _STREAM).uniform(self.low, self.high, int(self.m))


@final
@dataclass(frozen=True)
class BetaRates:
    """The rates of ``m`` features were drawn once from Beta(``a``, ``b``); ``seed`` says which draw.

    Their mean over seeds is a / (a + b). A draw below the smallest number is a rate of 0.
    """

    m: int
    a: float
    b: float
    seed: int

    def __post_init__(self) -> None:
        check_int("m", self.m, 1, MOST_FEATURES)
        check_real("a", self.a, 1e-3, 1e12)  # beyond, the sampler is not a Beta law any more
        check_real("b", self.b, 1e-3, 1e12)
        check_int("seed", self.seed, 0)

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return int(self.m)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        return stream(self.seed, Role.LAW, _STREAM).beta(float(self.a), float(self.b), int(self.m))


@final
@dataclass(frozen=True)
class WithMeanL0:
    """The rates of ``base`` times one constant, so that they sum to ``mean_l0``, the mean number of active features.

    Raises
    ------
    ValueError
        If the largest rate would exceed 1: mean_l0 > sum(rates) / max(rates).
    """

    base: RateLaw
    mean_l0: float

    def __post_init__(self) -> None:
        check_real("mean_l0", self.mean_l0, 0.0, open_low=True)
        if isinstance(self.base, type) or not callable(getattr(self.base, "rates", None)):
            raise TypeError(f"base must be a rate law such as ZipfRates(64, 1.0, 0.1); got {self.base!r}.")
        rates = self.base.rates()
        largest = float(rates.max())
        if largest == 0:
            raise ValueError(f"base must have a rate above 0 to be scaled; all rates of {self.base!r} are 0.")
        most = float((rates / largest).sum())
        if self.mean_l0 > most:
            raise ValueError(
                f"mean_l0 must be at most sum(rates)/max(rates) = {most:.6g} of base, or its largest rate would be "
                f"{self.mean_l0 / most:.6g} > 1; got mean_l0={self.mean_l0}. Lower it, or use flatter rates."
            )

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.base.n_features

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        shape = self.base.rates()
        shape = shape / shape.max()
        rates: FloatArray = shape * min(1.0, float(self.mean_l0) / float(shape.sum()))
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
        """Return m, the number of true features."""
        return len(self.values)

    def rates(self) -> FloatArray:
        """Return the rates ``(m,)``."""
        return np.array(self.values, dtype=np.float64)


def check_rates(name: str, values: object) -> None:
    """Raise unless ``values`` is a non-empty tuple of real numbers in [0, 1]."""
    if not isinstance(values, tuple):
        raise TypeError(f"{name} must be a tuple of rates; got {type(values).__name__}. Pass tuple({name}).")
    if not values:
        raise ValueError(f"{name} must hold at least one rate; got an empty tuple.")
    for index, value in enumerate(values):
        check_real(f"{name}[{index}]", value, 0.0, 1.0)
