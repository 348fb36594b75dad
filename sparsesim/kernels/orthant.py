"""Orthants of two correlated standard normal numbers, to rounding, and the correlation that gives one.

With Q the upper tail of the normal law and X, Y of correlation r, the excess P(X > h, Y > k) - Q(h) Q(k) is the
integral of the bivariate density over the correlation from 0 to r (Plackett 1954). It is taken by Gauss-Legendre
quadrature, or from the nearer end r = +-1, where the probability is known, if |r| is large.

References
----------
Plackett (1954), "A reduction formula for normal multivariate integrals"; Drezner and Wesolowsky (1990), "On the
computation of the bivariate normal integral".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]

NODE, WEIGHT = (np.ascontiguousarray(half) for half in np.polynomial.legendre.leggauss(24))
FEW_NODE, FEW_WEIGHT = (np.ascontiguousarray(half) for half in np.polynomial.legendre.leggauss(10))
TINY_NODE, TINY_WEIGHT = (np.ascontiguousarray(half) for half in np.polynomial.legendre.leggauss(6))
TINY, SMALL = 0.1, 0.3  # up to these correlations six and ten nodes reach rounding
LARGE = 0.85  # above it the density is too steep
NOTHING = 9.0  # exp(-9^2 / 2) is below rounding
HALVINGS = 80  # of an interval of length 2, to the last bit of any correlation above 1e-8


@njit(cache=True)
def upper_(h: float) -> float:
    """Return the upper tail Q(h) of the standard normal law."""
    return 0.5 * math.erfc(h * math.sqrt(0.5))


@njit(cache=True)
def _from_zero_(h: float, k: float, r: float, node: Any, weight: Any) -> float:
    """Return the integral of exp(-(h^2 + k^2 - 2 h k c) / 2 (1 - c^2)) / (2 pi sqrt(1 - c^2)) over c from 0 to r."""
    half = 0.5 * r
    total = 0.0
    for place in range(len(node)):
        c = half * (1.0 + node[place])
        rest = 1.0 - c * c
        total += weight[place] * math.exp((h * k * c - 0.5 * (h * h + k * k)) / rest) / math.sqrt(rest)
    return half * total / (2.0 * math.pi)


@njit(cache=True)
def _to_the_end_(h: float, k: float, r: float) -> float:
    """Return the integral of the bivariate density over the correlation from ``r`` > 0 to 1.

    With x^2 = 1 - correlation^2 it is that of exp(-(h-k)^2 / 2x^2 - hk / (1 + c)) / (2 pi c), c = sqrt(1 - x^2), from
    0 to sqrt(1 - r^2): smooth but for the first factor, which is resolved by intervals that double.
    """
    gap, end, total = abs(h - k), math.sqrt((1.0 - r) * (1.0 + r)), 0.0
    low = min(max(gap / NOTHING, 1e-17 * end), end)
    if gap == 0.0:
        low = 0.0
    while low < end:
        high = min(2.0 * low, end) if low > 0.0 else end
        half = 0.5 * (high - low)
        for place in range(len(NODE)):
            x = low + half * (1.0 + NODE[place])
            c = math.sqrt(1.0 - x * x)
            total += half * WEIGHT[place] * math.exp(-0.5 * (gap / x) ** 2 - h * k / (1.0 + c)) / c
        low = high
    return total / (2.0 * math.pi)


@njit(cache=True)
def excess_(h: float, k: float, r: float) -> float:
    """Return P(X > h, Y > k) - Q(h) Q(k), the same for ``(k, h)`` to the last bit; 0 where h or k is infinite."""
    if r == 0.0 or math.isinf(h) or math.isinf(k):
        return 0.0
    h, k = min(h, k), max(h, k)
    if abs(r) <= TINY:
        return _from_zero_(h, k, r, TINY_NODE, TINY_WEIGHT)
    if abs(r) <= SMALL:
        return _from_zero_(h, k, r, FEW_NODE, FEW_WEIGHT)
    if abs(r) <= LARGE:
        return _from_zero_(h, k, r, NODE, WEIGHT)
    if r > 0.0:
        return upper_(k) * upper_(-h) - _to_the_end_(h, k, r)  # at r = 1 both exceed where the larger bound is exceeded
    return max(upper_(h) - upper_(-k), 0.0) - upper_(h) * upper_(k) + _to_the_end_(h, -k, -r)


@njit(cache=True, parallel=True)
def _excesses(h: Any, k: Any, r: Any, out: Any) -> None:
    for pair in prange(len(out)):
        out[pair] = excess_(h[pair], k[pair], r[pair])


@njit(cache=True)
def _solve_(h: float, k: float, excess: float) -> float:
    """Return the correlation of this ``excess``, which grows with it, by bisection."""
    low, high = -1.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if excess_(h, k, middle) < excess:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@njit(cache=True, parallel=True)
def _solutions(h: Any, k: Any, excess: Any, out: Any) -> None:
    for pair in prange(len(out)):
        out[pair] = _solve_(h[pair], k[pair], excess[pair])


def orthant_excess(h: Array, k: Array, correlation: Array) -> Array:
    """Return P(X > h, Y > k) - Q(h) Q(k) for arrays of one shape; its absolute error is below 1e-15."""
    out = np.empty(len(h))
    _excesses(h, k, correlation, out)
    return out


def orthant_correlation(h: Array, k: Array, excess: Array) -> Array:
    """Return the correlations at which `orthant_excess` is ``excess``; -1 or 1 where that is out of reach."""
    out = np.empty(len(h))
    _solutions(h, k, excess, out)
    return out
