"""Independent features given how many of them fire: drawing, rates, pairs and energy from elementary symmetric sums.

With odds w_i = p_i / (1 - p_i) and e_j(i) the sum over all j-subsets of the features i ... m-1 of the product of their
odds, feature i fires, given that j of i ... m-1 do, with probability w_i e_{j-1}(i+1) / e_j(i). All recursions add
positive numbers only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.sampling import BLOCK, block_seeds, uniform_

Array = npt.NDArray[Any]


@njit(cache=True)
def symmetric_sums(log_odds: Any, most: int) -> Any:
    """Return log e_j(i) as ``(most + 1, m + 1)``; row j does not increase along i, in floating point either."""
    m = len(log_odds)
    sums = np.full((most + 1, m + 1), -np.inf)
    sums[0] = 0.0
    for j in range(1, most + 1):
        for i in range(m - j, -1, -1):
            without, inside = sums[j, i + 1], log_odds[i] + sums[j - 1, i + 1]
            high, low = max(without, inside), min(without, inside)
            sums[j, i] = high + math.log1p(math.exp(low - high))
    return sums


@njit(cache=True)
def _next_(sums: Any, place: int, last: int, level: float) -> int:
    """Return the largest i in [place, last] with sums[i] >= level: doubling steps, then bisection."""
    step = 1
    low = place
    while low + step <= last and sums[low + step] >= level:
        low += step
        step *= 2
    high = min(low + step, last + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if sums[middle] >= level:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, parallel=True)
def _draw(seeds: Any, indptr: Any, sums: Any, free: Any, forced: Any, indices: Any) -> None:
    """Write the rows of ``indptr`` in blocks; the next feature that fires is found by inverting its tail."""
    n, m = len(indptr) - 1, len(free)
    for block in prange(len(seeds)):
        state = seeds[block].copy()
        for row in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            chosen = indices[indptr[row] : indptr[row + 1]]
            chosen[: len(forced)] = forced
            place = 0
            for t in range(len(forced), len(chosen)):
                j = len(chosen) - t
                level = sums[j, place] + math.log(1.0 - uniform_(state))
                place = _next_(sums[j], place, m - j, level)
                chosen[t] = free[place]
                place += 1
            if len(forced):
                chosen.sort()


@njit(cache=True)
def hazards(log_odds: Any, sums: Any) -> Any:
    """Return ``(m, most + 1)``: the probability that feature i fires, given that j of i ... m-1 do."""
    m, most = len(log_odds), len(sums) - 1
    out = np.zeros((m, most + 1))
    for i in range(m):
        for j in range(1, min(most, m - i) + 1):
            out[i, j] = min(1.0, math.exp(log_odds[i] + sums[j - 1, i + 1] - sums[j, i]))
    return out


@njit(cache=True)
def _walk_(hazard: Any, first: int, left: Any, rates: Any) -> None:
    """Write P(fires) of the features ``first`` ... m-1 from the law ``left (most + 1,)`` of how many are left."""
    m, size = hazard.shape
    for i in range(first, m):
        fires = left[0] * 0.0
        for j in range(1, size):
            moved = left[j] * hazard[i, j]
            fires += moved
            left[j] -= moved
            left[j - 1] += moved
        rates[i] = fires


@njit(cache=True)
def marginals(hazard: Any, counts: Any) -> Any:
    """Return the firing rates ``(m,)``, where the number of features that fire has the law ``counts (most + 1,)``."""
    rates = np.empty(len(hazard))
    _walk_(hazard, 0, counts.copy(), rates)
    return rates


@njit(cache=True)
def _reach(hazard: Any, counts: Any) -> Any:
    """Return ``(m, most + 1)``: P(feature i fires and j of the features after it do)."""
    m, size = hazard.shape
    out, left = np.zeros((m, size)), counts.copy()
    for i in range(m):
        for j in range(1, size):
            moved = left[j] * hazard[i, j]
            out[i, j - 1] = moved
            left[j] -= moved
            left[j - 1] += moved
    return out


@njit(cache=True, parallel=True)
def _pairs(hazard: Any, reach: Any) -> Any:
    m = len(hazard)
    joint = np.zeros((m, m))
    for i in prange(m):
        joint[i, i] = reach[i].sum()
        _walk_(hazard, i + 1, reach[i].copy(), joint[i])
    return joint


@njit(cache=True)
def energy(hazard: Any, counts: Any, fixed: Any, vectors: Any) -> float:
    """Return E||fixed + sum of the firing rows of ``vectors (m, width)``||^2, in one pass from the last feature.

    With j of the features i ... m-1 firing, their sum has mean ``centre[j]`` and mean squared norm ``total[j]``.
    """
    (m, size), width = hazard.shape, vectors.shape[1]
    centre, total = np.zeros((size, width)), np.zeros(size)
    for i in range(m - 1, -1, -1):
        own = 0.0
        for column in range(width):
            own += vectors[i, column] ** 2
        for j in range(min(size - 1, m - i), 0, -1):
            fires, cross = hazard[i, j], 0.0
            for column in range(width):
                before, value = centre[j - 1, column], vectors[i, column]
                cross += value * before
                centre[j, column] = (1.0 - fires) * centre[j, column] + fires * (value + before)
            total[j] = (1.0 - fires) * total[j] + fires * (own + 2.0 * cross + total[j - 1])
    result = 0.0
    for j in range(size):
        result += counts[j] * total[j]
        for column in range(width):
            result += counts[j] * fixed[column] * (fixed[column] + 2.0 * centre[j, column])
    return result


def draw(
    counts: Array, sums: Array, free: Array, forced: Array, n: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ascending ``indices (nnz,)`` of n samples.

    Parameters
    ----------
    counts : (most + 1,) law of the number of ``free`` features that fire.
    sums : (most + 1, free + 1) their `symmetric_sums`.
    free : ascending features.
    forced : features that always fire.
    """
    reached = np.cumsum(counts)
    fired = np.searchsorted(reached / reached[-1], rng.random(n), side="right")
    indptr = np.concatenate([[0], np.cumsum(fired + len(forced))]).astype(np.int64)
    indices = np.empty(indptr[-1], np.int32)
    _draw(block_seeds(n, rng), indptr, sums, free, forced, indices)
    return indptr, indices


def pairs(hazard: Array, counts: Array) -> Array:
    """Return the joint firing rates ``(m, m)``, with the marginals on the diagonal."""
    joint = _pairs(hazard, _reach(hazard, counts))
    return np.asarray(np.triu(joint) + np.triu(joint, 1).T)
