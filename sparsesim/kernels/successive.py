"""Successive sampling without replacement: draws from a tree of sums, and the exponential race behind the draws.

The first k arrivals of independent exponential clocks of rates ``weights`` are k successive draws without replacement
with probabilities proportional to the weights among those that are left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.sampling import BLOCK, block_seeds, uniform_

Array = npt.NDArray[Any]


@njit(cache=True)
def _set_(total: Any, node: int, weight: float) -> None:
    """Set a leaf of the tree of sums and add up its ancestors anew, so that no rounding piles up."""
    total[node] = weight
    node //= 2
    while node:
        total[node] = total[2 * node] + total[2 * node + 1]
        node //= 2


@njit(cache=True)
def _find_(total: Any, leaves: int, value: float) -> int:
    """Return the leaf where the running sum passes ``value``; never one of weight zero, whatever the rounding."""
    node = 1
    while node < leaves:
        node *= 2
        if total[node] <= 0.0 or (value >= total[node] and total[node + 1] > 0.0):
            value -= total[node]
            node += 1
    return node


@njit(cache=True, parallel=True)
def _draw(seeds: Any, weights: Any, leaves: int, k: int, n: int, indices: Any) -> None:
    for block in prange(len(seeds)):
        state = seeds[block].copy()
        total = np.zeros(2 * leaves)
        total[leaves : leaves + len(weights)] = weights
        for node in range(leaves - 1, 0, -1):
            total[node] = total[2 * node] + total[2 * node + 1]
        for row in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            chosen = indices[row * k : (row + 1) * k]
            for j in range(k):
                leaf = _find_(total, leaves, uniform_(state) * total[1])
                chosen[j] = leaf - leaves
                _set_(total, leaf, 0.0)
            for j in range(k):
                _set_(total, leaves + chosen[j], weights[chosen[j]])
            chosen.sort()


@njit(cache=True)
def _others_(arrived: Any, skip: int, most: int, before: Any, after: Any, out: Any) -> None:
    """Write P(at most ``most`` of all events but j and ``skip`` happen) into ``out[j]``, by sums of positive terms.

    ``before[j]`` are the probabilities of the numbers that happen among events 0 ... j - 1, ``after[j]`` the
    distribution function of the number among j ... m - 1.
    """
    m = len(arrived)
    before[0, 0], before[0, 1:] = 1.0, 0.0
    after[m] = 1.0
    for j in range(m):
        p = 0.0 if j == skip else arrived[j]
        for s in range(most, 0, -1):
            before[j + 1, s] = before[j, s] * (1.0 - p) + before[j, s - 1] * p
        before[j + 1, 0] = before[j, 0] * (1.0 - p)
    for j in range(m - 1, -1, -1):
        p = 0.0 if j == skip else arrived[j]
        for s in range(most, 0, -1):
            after[j, s] = after[j + 1, s] * (1.0 - p) + after[j + 1, s - 1] * p
        after[j, 0] = after[j + 1, 0] * (1.0 - p)
    for j in range(m):
        total = 0.0
        for s in range(most + 1):
            total += before[j, s] * after[j + 1, most - s]
        out[j] = total


@njit(cache=True, parallel=True)
def _densities(times: Any, weights: Any, k: int, out: Any) -> None:
    """Write time * density of the arrival of j before k others into ``out[t, j]``."""
    m = len(weights)
    for t in prange(len(times)):
        arrived = -np.expm1(-weights * times[t])
        _others_(arrived, -1, k - 1, np.empty((m + 1, k)), np.empty((m + 1, k)), out[t])
        for j in range(m):
            out[t, j] *= weights[j] * times[t] * np.exp(-weights[j] * times[t])


@njit(cache=True, parallel=True)
def _joint(times: Any, quadrature: Any, weights: Any, k: int, out: Any) -> None:
    """Add the probability that i and j > i arrive among the first k, the later one within the times, to ``out``."""
    m = len(weights)
    for i in prange(m):
        before, after, few = np.empty((m + 1, k - 1)), np.empty((m + 1, k - 1)), np.empty(m)
        for t in range(len(times)):
            arrived = -np.expm1(-weights * times[t])
            _others_(arrived, i, k - 2, before, after, few)
            late = weights[i] * np.exp(-weights[i] * times[t])
            for j in range(i + 1, m):
                last = late * arrived[j] + weights[j] * np.exp(-weights[j] * times[t]) * arrived[i]
                out[i, j] += quadrature[t] * times[t] * last * few[j]


@njit(cache=True)
def _reached(weights: Any, time: float, k: int) -> Any:
    """Return P(fewer than k arrived) and P(at least k arrived), each a sum of positive terms."""
    count = np.zeros(k + 1)  # the last entry absorbs
    count[0] = 1.0
    for weight in weights:
        p = -np.expm1(-weight * time)
        count[k] += count[k - 1] * p
        for s in range(k - 1, 0, -1):
            count[s] = count[s] * (1.0 - p) + count[s - 1] * p
        count[0] *= 1.0 - p
    return count[:k].sum(), count[k]


def draw_successive(weights: Array, k: int, n: int, rng: np.random.Generator) -> Array:
    """Return ascending ``indices (n * k,)`` of n successive samples of size k with positive ``weights``."""
    indices = np.empty(n * k, np.int32)
    leaves = 1 << max(len(weights) - 1, 1).bit_length()
    _draw(block_seeds(n, rng), weights, leaves, k, n, indices)
    return indices


def race_window(weights: Array, k: int, tail: float) -> tuple[float, float]:
    """Return log times before which k have arrived, and after which they have not, with probability below ``tail``."""
    edges = []
    for side in (1, 0):
        low, high = -800.0, 800.0
        for _ in range(60):
            middle = (low + high) / 2.0
            small = _reached(weights, float(np.exp(np.clip(middle, -740.0, 700.0))), k)[side] <= tail
            if small == bool(side):
                low = middle
            else:
                high = middle
        edges.append(low if side else high)
    return edges[0], edges[1]


def race_densities(times: Array, weights: Array, k: int) -> Array:
    """Return ``(len(times), m)``: time * density at that time of the arrival of each clock among the first k."""
    out = np.empty((len(times), len(weights)))
    _densities(times, weights, k, out)
    return out


def race_joint(times: Array, quadrature: Array, start: float, weights: Array, k: int) -> Array:
    """Return ``(m, m)``, P(i and j arrive among the first k), zero on the diagonal; both surely do before ``start``."""
    arrived = -np.expm1(-weights * start)
    out = np.triu(np.outer(arrived, arrived), 1)
    if k > 1:
        _joint(times, quadrature, weights, k, out)
    else:
        out[:] = 0.0
    return out + out.T
