"""Means with confidence intervals: no score is reported without its seeds and its width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit


@final
@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` seeds with a two-sided confidence interval.

    ``low`` and ``high`` are NaN where fewer than two finite values exist: one seed has no interval.
    """

    mean: float
    low: float
    high: float
    n: int
    confidence: float = 0.95

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        if self.n == 1:
            return f"{self.mean:z.3f} (1 seed, no interval)"
        return f"{self.mean:z.3f} [{self.low:z.3f}, {self.high:z.3f}] ({self.n} seeds)"


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean of ``values (n,)`` and its Student-t interval, mean +- t_{n-1} s / sqrt(n).

    Raises
    ------
    ValueError
        If a value is NaN or infinite: an undefined score is to be excluded by the caller, in the open.
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(
            f"an interval needs at least one value and finite ones; got {len(array)} values, "
            f"{int(np.count_nonzero(~np.isfinite(array)))} of them not finite."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; got {confidence}.")
    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1, confidence)
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * array.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, confidence)


def paired_interval(first: npt.ArrayLike, second: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean difference ``first - second`` over the same seeds, in the same order."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values need the same seeds; got {a.shape} and {b.shape} values.")
    return mean_interval(a - b, confidence)


def seeds_needed(interval: Interval, margin: float, most: int = 100_000) -> int:
    """Return how many seeds would shrink the half-width of ``interval`` below ``margin``, at the same deviation.

    Never less than the seeds at hand, and ``most`` where the margin is zero.
    """
    if interval.n < 2 or margin <= 0:
        return most
    deviation = interval.half_width * np.sqrt(interval.n) / stdtrit(interval.n - 1, (1 + interval.confidence) / 2)
    n = interval.n
    while n < most and stdtrit(n - 1, (1 + interval.confidence) / 2) * deviation / np.sqrt(n) > margin:
        n = max(n + 1, int(1.05 * n))
    return n
