"""How many seeds a paired difference needs, what a given number can see, and exact intervals for a proportion.

Over n seeds a paired difference is taken as normal with mean ``effect`` and standard deviation ``sd``; its t statistic
is then noncentral t with n - 1 degrees of freedom and noncentrality ``effect sqrt(n) / sd``, exactly.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaincinv, gammaincinv, gammaln, ndtr, stdtr, stdtrit

Array: TypeAlias = npt.NDArray[np.floating[Any]]

MOST_SEEDS = 10_000_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(60)


def _check_open(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ValueError(f"{name} must lie strictly between {low:g} and {high:g}; got {value!r}.")


def _check_design(sd: float, alpha: float, comparisons: int) -> None:
    _check_open("sd", sd, 0.0, math.inf)
    _check_open("alpha", alpha, 0.0, 1.0)
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1; got {comparisons}.")


def _power(noncentrality: float, freedom: int, alpha: float) -> float:
    """Return the power of a t test, both tails counted: E[Q(c s - a) + Q(c s + a)].

    Here a is the noncentrality, c the critical value and s = chi_f / sqrt(f), over which Gauss-Legendre rules
    integrate: one each side of, and five where the first tail falls from 1 to 0, at s = a/c with width 1/c.
    """
    critical = float(-stdtrit(freedom, alpha / 2.0))
    ends = np.sqrt(2.0 / freedom * gammaincinv(freedom / 2.0, np.array([1e-17, 0.5]))), 1.0 + 9.0 / math.sqrt(freedom)
    low, middle, high = float(ends[0][0]), float(ends[0][1]), ends[1]
    falls = (noncentrality + np.linspace(-9.0, 9.0, 7)) / critical
    breaks = np.unique(np.clip(np.concatenate([[low, middle, high], falls]), low, high))
    half, centre = np.diff(breaks)[:, None] / 2.0, (breaks[1:] + breaks[:-1])[:, None] / 2.0
    s = centre + half * _NODES
    log_density = math.log(2.0) + freedom / 2.0 * math.log(freedom / 2.0) - float(gammaln(freedom / 2.0))
    density = np.exp(log_density + (freedom - 1) * np.log(s) - freedom * s**2 / 2.0)
    found = ndtr(noncentrality - critical * s) + ndtr(-noncentrality - critical * s)
    return min(1.0, float((half * _WEIGHTS * density * found).sum()))


def paired_power(effect: float, sd: float, n: int, alpha: float = 0.05, *, comparisons: int = 1) -> float:
    """Return the probability that a two-sided paired t test over ``n`` seeds finds a true difference ``effect``.

    Parameters
    ----------
    effect : mean of the paired difference, in the units of ``sd``; its sign does not matter.
    sd : standard deviation of the paired difference over seeds, > 0.
    n : seeds, at least 2.
    alpha : probability of a false finding over all ``comparisons`` together.
    comparisons : number of differences tested; each is held to alpha / comparisons (Bonferroni), which is also what
        Holm's first step asks of the smallest p-value.

    References
    ----------
    Lehmann and Romano (2005), "Testing Statistical Hypotheses", on the power of the t test.
    """
    _check_design(sd, alpha, comparisons)
    if not math.isfinite(effect):
        raise ValueError(f"effect must be finite; got {effect!r}.")
    if n < 2:
        raise ValueError(f"n must be at least 2 seeds, or there is no standard deviation; got {n}.")
    return _power(abs(effect) / sd * math.sqrt(n), n - 1, alpha / comparisons)


def unpaired_power(effect: float, sd: float, n: int, alpha: float = 0.05, *, comparisons: int = 1) -> float:
    """Return the probability that a two-sided t test of two groups of ``n`` runs each finds a difference ``effect``.

    ``sd`` is that of one run, the same in both groups: 2n - 2 degrees of freedom, noncentrality effect sqrt(n/2) / sd.
    Runs that share their seed with correlation r differ by sd sqrt(2 (1 - r)); see `paired_power`.

    Raises
    ------
    ValueError
        As `paired_power`.

    References
    ----------
    Lehmann and Romano (2005), "Testing Statistical Hypotheses", on the two-sample t test.
    """
    _check_design(sd, alpha, comparisons)
    if not math.isfinite(effect):
        raise ValueError(f"effect must be finite; got {effect!r}.")
    if n < 2:
        raise ValueError(f"n must be at least 2 seeds, or there is no standard deviation; got {n}.")
    return _power(abs(effect) / sd * math.sqrt(n / 2), 2 * n - 2, alpha / comparisons)


def seeds_for_difference(
    effect: float, sd: float, power: float = 0.8, alpha: float = 0.05, *, comparisons: int = 1
) -> int:
    """Return the fewest seeds at which `paired_power` reaches ``power``; power increases with n, so it is a bisection.

    Raises
    ------
    ValueError
        If ``effect`` is zero (no number of seeds finds it) or more than ten million seeds are needed.
    """
    _check_design(sd, alpha, comparisons)
    _check_open("power", power, 0.0, 1.0)
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"effect must be finite and not 0: no number of seeds tells 0 from 0; got {effect!r}.")
    low, high = 1, 2
    while paired_power(effect, sd, high, alpha, comparisons=comparisons) < power:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            raise ValueError(
                f"effect={effect:g} at sd={sd:g} needs more than {MOST_SEEDS} seeds. Reduce sd by pairing, or ask for "
                "a larger effect."
            )
    while high - low > 1:
        middle = (low + high) // 2
        enough = paired_power(effect, sd, middle, alpha, comparisons=comparisons) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def minimum_detectable_difference(
    sd: float, n: int, power: float = 0.8, alpha: float = 0.05, *, comparisons: int = 1, paired: bool = True
) -> float:
    """Return the smallest true difference that ``n`` seeds find with probability ``power``, in the units of ``sd``.

    ``sd`` is that of a paired difference, or with ``paired=False`` of a single run, of which there are n a group.

    Raises
    ------
    ValueError
        If ``power`` is at most alpha / comparisons, which a difference of zero reaches already.
    """
    _check_design(sd, alpha, comparisons)
    if n < 2:
        raise ValueError(f"n must be at least 2 seeds, or there is no standard deviation; got {n}.")
    level = alpha / comparisons
    _check_open("power", power, level, 1.0)
    freedom, scale = (n - 1, math.sqrt(n)) if paired else (2 * n - 2, math.sqrt(n / 2))
    high = 1.0
    while _power(high * scale, freedom, level) < power:
        high *= 2.0
    shift = brentq(lambda one: _power(one * scale, freedom, level) - power, 0.0, high, xtol=1e-12, rtol=1e-12)
    return sd * float(shift)


def half_width(sd: float, n: int, alpha: float = 0.05) -> float:
    """Return the half-width of the 1 - alpha t-interval of a mean over ``n`` seeds with sample deviation ``sd``."""
    _check_design(sd, alpha, 1)
    if n < 2:
        raise ValueError(f"n must be at least 2 seeds, or there is no standard deviation; got {n}.")
    return -float(stdtrit(n - 1, alpha / 2.0)) * sd / math.sqrt(n)


def clopper_pearson(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Return the exact 1 - alpha interval of a proportion: it covers with at least that probability, whatever p.

    The bounds are where a one-sided binomial test is at alpha / 2: quantiles of Beta(s, n-s+1) and Beta(s+1, n-s).

    References
    ----------
    Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the binomial".
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, n] with n >= 1; got successes={successes}, n={n}.")
    _check_open("alpha", alpha, 0.0, 1.0)
    low = float(betaincinv(successes, n - successes + 1, alpha / 2.0)) if successes else 0.0
    high = 1.0 - float(betaincinv(n - successes, successes + 1, alpha / 2.0)) if successes < n else 1.0
    return low, high


def holm(p_values: npt.ArrayLike) -> Array:
    """Return Holm's adjusted p-values ``(c,)``: rejecting those at most alpha errs anywhere with probability <= alpha.

    In ascending order p_(i) becomes max_{j <= i} min(1, (c - j + 1) p_(j)); no independence is needed.

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values must be a vector of numbers in [0, 1]; got {p_values!r}.")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, values[order] * np.arange(len(values), 0, -1)))
    return adjusted


def paired_p_value(differences: npt.ArrayLike) -> float:
    """Return the two-sided p-value of the paired t test that the mean of ``differences (n,)`` is zero.

    Raises
    ------
    ValueError
        For fewer than two differences, or ones that are all equal, which have no standard error.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"differences must be a vector of at least 2 finite numbers; got shape {values.shape}.")
    if values.min() == values.max():  # whose deviation may be of the order of rounding instead of 0
        raise ValueError(f"differences are all {values[0]:g}: they have no standard error. Look at them, do not test.")
    values = values / np.abs(values).max()
    spread = float(values.std(ddof=1))
    statistic = abs(float(values.mean())) / spread * math.sqrt(len(values))
    return float(2.0 * stdtr(len(values) - 1, -statistic))
