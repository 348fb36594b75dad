"""Which factor a score varies with: exact variance components of a balanced crossed design, with intervals.

One value for each combination of the levels of f random factors, ``values (n_1, ..., n_f)``, is a sum of independent
effects, one for each set u of factors, of variance sigma_u^2; the set of all factors holds the error as well. With one
value a cell the mean squares are independent, and under normal effects ``df_u MS_u / E MS_u`` is chi-square with
``df_u = prod_{i in u} (n_i - 1)``, where ``E MS_u = sum_{v >= u} prod_{i not in v} n_i  sigma_v^2``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain, combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Factors: TypeAlias = tuple[int, ...]  # axes of the table, ascending


def _table(values: npt.ArrayLike) -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim < 1 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ValueError(
            f"values must be a table of finite numbers, an axis for each factor and at least 2 levels each; "
            f"got shape {table.shape}."
        )
    return table


def _sets(count: int) -> list[Factors]:
    """Return all non-empty sets of factors, small ones first."""
    return list(chain.from_iterable(combinations(range(count), size) for size in range(1, count + 1)))


def _above(factors: Factors, count: int) -> list[tuple[Factors, int]]:
    """Return every set that contains ``factors``, with the sign (-1)^(how many more it has)."""
    return [(one, (-1) ** (len(one) - len(factors))) for one in _sets(count) if set(factors) <= set(one)]


def _repeats(factors: Factors, shape: tuple[int, ...]) -> int:
    return math.prod(size for axis, size in enumerate(shape) if axis not in factors)


def mean_squares(values: npt.ArrayLike) -> dict[Factors, tuple[float, int]]:
    """Return the mean square and its degrees of freedom for every set of factors of the table.

    ``SS_u = prod_{i not in u} n_i  sum (sum_{v <= u} (-1)^{|u|-|v|} mean over the axes not in v)^2``: the sums of
    squares add up to that of all deviations from the grand mean.

    Raises
    ------
    ValueError
        If a factor has a single level, or a value is not finite.
    """
    table = _table(values)
    deviations = table - table.mean()
    found = {}
    for factors in _sets(table.ndim):
        effect = deviations.mean(axis=tuple(set(range(table.ndim)) - set(factors)), keepdims=True)
        for axis in factors:
            effect = effect - effect.mean(axis=axis, keepdims=True)
        freedom = math.prod(table.shape[axis] - 1 for axis in factors)
        found[factors] = float(np.square(effect).sum()) * _repeats(factors, table.shape) / freedom, freedom
    return found


def variance_components(values: npt.ArrayLike) -> dict[Factors, float]:
    """Return the unbiased estimate of sigma_u^2 for every set of factors; it may be negative.

    ``sum_{v >= u} (-1)^{|v|-|u|} MS_v / prod_{i not in u} n_i``. Unbiased whatever the laws of the effects, of least
    variance among unbiased ones under normal effects, and then the restricted maximum likelihood estimate where none
    is negative.

    Raises
    ------
    ValueError
        As `mean_squares`.

    References
    ----------
    Searle, Casella and McCulloch (1992), "Variance components", chapter 4; Cornfield and Tukey (1956).
    """
    shape, squares = _table(values).shape, mean_squares(values)
    return {
        factors: sum(sign * squares[one][0] for one, sign in _above(factors, len(shape))) / _repeats(factors, shape)
        for factors in squares
    }


def surrogates(values: npt.ArrayLike, draws: int, rng: np.random.Generator) -> dict[Factors, Array]:
    """Return ``draws`` values of every component whose quantiles are an interval for it, or for a function of them.

    Each mean square is replaced by ``df_u MS_u / chi^2_{df_u}``, all independent: what its expectation could be, seen
    from the data. The 2.5% and 97.5% quantiles cover about as often as they say, under normal effects; draws of one
    component may be negative, and functions such as shares are taken draw by draw.

    Raises
    ------
    ValueError
        As `mean_squares`, or for fewer than one draw.

    References
    ----------
    Weerahandi (1993), "Generalized confidence intervals"; Chiang (2001), "A simple general method for constructing
    confidence intervals for functions of variance components".
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}.")
    shape, squares = _table(values).shape, mean_squares(values)
    expected = {
        factors: freedom * square / rng.chisquare(freedom, draws) for factors, (square, freedom) in squares.items()
    }
    return {
        factors: np.sum([sign * expected[one] for one, sign in _above(factors, len(shape))], axis=0)
        / _repeats(factors, shape)
        for factors in squares
    }


def shares(components: Mapping[Factors, npt.ArrayLike]) -> dict[Factors, Array]:
    """Return each component, negative ones taken as zero, over their sum; NaN where all are zero."""
    kept = {factors: np.maximum(np.asarray(value, dtype=np.float64), 0.0) for factors, value in components.items()}
    total = np.asarray(sum(kept.values()))
    with np.errstate(invalid="ignore"):
        return {factors: value / np.where(total > 0.0, total, np.nan) for factors, value in kept.items()}


def variance_of_mean(components: Mapping[Factors, float], levels: tuple[int, ...]) -> float:
    """Return ``sum_u sigma_u^2 / prod_{i in u} n_i``, the variance of the mean over a table with these ``levels``.

    What more levels of one factor buy: with one world and many initialisations it stays above the variance of worlds.

    Raises
    ------
    ValueError
        If a number of levels is below 1 or a component names a factor that has none.
    """
    if not levels or min(levels) < 1 or any(max(factors) >= len(levels) for factors in components):
        raise ValueError(f"levels must give at least 1 for each factor of the components; got {levels}.")
    return float(sum(value / math.prod(levels[i] for i in factors) for factors, value in components.items()))
