"""What a number of paired seeds can see: power, detectable difference, and p-values corrected for their number.

Over n seeds a paired difference is taken as normal; its t statistic is then noncentral t with n - 1 degrees of freedom
and noncentrality ``effect sqrt(n) / sd``.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
from scipy.special import nctdtr, stdtr, stdtrit

from sparsesim._arrays import FloatArray, check_int, check_real


def paired_power(effect: float, sd: float, n: int, alpha: float = 0.05, *, comparisons: int = 1) -> float:
    """Return the probability that a two-sided paired t test over ``n`` seeds finds a true difference ``effect``.

    Parameters
    ----------
    effect : mean of the paired difference, in the units of ``sd``.
    sd : standard deviation of the paired difference over seeds, > 0.
    n : seeds, at least 2.
    alpha : probability of a false finding over all ``comparisons`` together, each held to alpha / comparisons.

    Raises
    ------
    ValueError, TypeError
        If a number lies outside its range.

    References
    ----------
    Lehmann and Romano (2005), "Testing Statistical Hypotheses", section 5.3.
    """
    check_real("effect", effect)
    check_real("sd", sd, 0.0, open_low=True)
    check_int("n", n, 2)
    check_real("alpha", alpha, 0.0, 1.0, open_low=True)
    check_int("comparisons", comparisons, 1)
    return _power(abs(effect) / sd * math.sqrt(n), n, alpha / comparisons)


def _power(noncentrality: float, n: int, level: float) -> float:
    critical = -float(stdtrit(n - 1, level / 2))
    below = float(nctdtr(n - 1, noncentrality, critical))
    opposite = float(nctdtr(n - 1, noncentrality, -critical))  # lost to rounding, as NaN, where it is next to 0
    return 1.0 - below + (opposite if math.isfinite(opposite) else 0.0)


def detectable_difference(sd: float, n: int, power: float = 0.8, alpha: float = 0.05, *, comparisons: int = 1) -> float:
    """Return the smallest true difference that ``n`` paired seeds find with probability ``power``, in units of ``sd``.

    0 where ``sd`` is 0: differences that are all equal show any mean.

    Raises
    ------
    ValueError, TypeError
        If a number lies outside its range, or ``power`` is not above alpha / comparisons, which no difference has.
    """
    check_real("sd", sd, 0.0)
    check_int("n", n, 2)
    check_int("comparisons", comparisons, 1)
    level = check_real("alpha", alpha, 0.0, 1.0, open_low=True) / comparisons
    if not level < check_real("power", power, 0.0, 1.0) < 1:
        raise ValueError(f"power must lie strictly between alpha / comparisons = {level:g} and 1; got {power!r}.")
    return sd * _shift(n, float(power), level) / math.sqrt(n)


@functools.lru_cache(maxsize=256)  # a validation asks for the same few, once a comparison
def _shift(n: int, power: float, level: float) -> float:
    """Return the noncentrality at which ``n`` seeds have ``power``."""
    low, high = 0.0, 1.0
    while _power(high, n, level) < power:
        low, high = high, 2 * high
    for _ in range(60):  # halves an interval of doubles to its last bits
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, n, level) >= power else (middle, high)
    return high


def paired_p_value(differences: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the paired t test that the mean of ``differences (n,)`` is zero.

    Differences that are all equal up to rounding have no spread: 1 where they are zero, 0 where they are not.

    Raises
    ------
    ValueError
        For fewer than two differences, or ones that are not finite.
    """
    values = np.asarray(differences, dtype=np.float64).ravel()
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"a paired test needs at least 2 differences, all finite; got {values.tolist()}.")
    largest = float(np.abs(values).max())
    if largest == 0.0:
        return 1.0
    scaled = values / largest
    spread = float(scaled.std(ddof=1))
    if spread < 8 * np.finfo(np.float64).eps:
        return 0.0
    return float(2 * stdtr(len(scaled) - 1, -abs(float(scaled.mean())) / spread * math.sqrt(len(scaled))))


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return Holm's adjusted p-values ``(c,)``: rejecting those at most alpha errs anywhere with probability <= alpha.

    The i-th smallest of c becomes the largest of ``min(1, (c - j + 1) p_(j))`` over j <= i; no independence is needed.

    Raises
    ------
    ValueError
        If a value lies outside [0, 1].

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p_values, dtype=np.float64).ravel()
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1]; got {values.tolist()}. Leave out what is undefined.")
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, np.arange(len(values), 0, -1) * values[order])
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted
