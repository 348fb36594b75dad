"""Greedy codes that are least squares on a support which grows, shrinks or is exchanged; in float64.

``dictionary`` and ``alpha`` are those of `greedy`. With c the coefficients on the chosen atoms S and b = A_S x, least
squares and non-negative least squares both have c' G_SS c = b' c, so that b' c is the energy they explain.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.greedy import SLOPE, correlations_, least_squares_, resume_, solve_, top_

CHUNK = 16  # rows that share one set of work arrays
FIXED, EXCHANGE, HARD, STAGES = 0, 1, 2, 3


@njit(cache=True)
def _load_(dictionary: Any, alpha: Any, chosen: Any, first: int, size: int, g: Any, b: Any) -> None:
    """Write the rows ``first`` ... ``size - 1`` of the normal equations of the chosen atoms."""
    atoms, _, gram = dictionary
    for i in range(first, size):
        b[i] = alpha[chosen[i]]
        for j in range(i + 1):
            value = gram[chosen[i], chosen[j]] if len(gram) else np.sum(atoms[chosen[i]] * atoms[chosen[j]])
            g[i, j] = g[j, i] = value


@njit(cache=True)
def _fit_(problem: Any, dictionary: Any, chosen: Any, size: int, work: Any, out: Any) -> float:
    """Write the (non-negative) least squares coefficients on the chosen atoms and return the energy they explain.

    The non-negative ones are found from those that ``out`` holds on.
    """
    _, alpha, energy, _, non_negative = problem
    g, b, factor, order, image, spare = work
    _load_(dictionary, alpha, chosen, 0, size, g, b)
    if non_negative:
        held = (order, factor, image)
        count = resume_(g, b, size, held, spare, out)
        least_squares_(g, b, size, count, SLOPE * math.sqrt(energy), held, spare, out)
    else:
        solve_(g, b, size, factor, out)
    explained = 0.0
    for i in range(size):
        explained += b[i] * out[i]
    return explained


@njit(cache=True)
def _carry_(chosen: Any, solution: Any, size: int, pool: Any, count: int, out: Any) -> None:
    """Write the coefficients that the atoms of ``pool`` have in ``solution``, zero for the others; both ascend."""
    t = 0
    for i in range(count):
        while t < size and chosen[t] < pool[i]:
            t += 1
        out[i] = solution[t] if t < size and chosen[t] == pool[i] else 0.0


@njit(cache=True)
def _union_(chosen: Any, size: int, pool: Any, count: int) -> int:
    """Merge ``chosen`` into ``pool``, ascending and each atom once, and return the new count."""
    pool[count : count + size] = chosen[:size]
    merged = pool[: count + size]
    merged.sort()
    kept = 0
    for i in range(len(merged)):
        if i == 0 or merged[i] != merged[kept - 1]:
            pool[kept] = merged[i]
            kept += 1
    return kept


@njit(cache=True)
def _begin_(problem: Any, dictionary: Any, size: int, best: Any, work: Any, score: Any) -> float:
    """Solve on the ``size`` atoms that ``best`` begins with, write the correlations left, return the energy explained.

    Coefficients that are zero stay in the support; what the row ends with is judged against them all the same.
    """
    x, alpha, _, _, _ = problem
    chosen, solution = best
    if size == 0:
        score[:] = alpha
        return 0.0
    solution[:size] = 0.0
    explained = _fit_(problem, dictionary, chosen, size, work, solution)
    correlations_(x, alpha, dictionary, chosen, solution, size, score)
    return float(explained)


@njit(cache=True)
def _exchange_(problem: Any, dictionary: Any, k: int, size: int, options: Any, best: Any, work: Any) -> int:
    """Let atoms compete for ``k`` places (subspace pursuit, CoSaMP) until least squares on them no longer improves."""
    x, alpha, energy, floor, non_negative = problem
    target, extra, project, passes = options[0], int(options[1]), options[2] > 0, int(options[3])
    chosen, solution = best
    room = k + extra
    pool, trial, coefficient, kept = np.empty(room, np.int64), np.empty(room), np.empty(room), np.empty(k, np.int64)
    score = np.empty(len(alpha))
    explained = _begin_(problem, dictionary, size, best, work, score)
    if size > 0 and energy - explained <= target:
        return size
    for _ in range(passes):
        count = _union_(chosen, size, pool, top_(score, extra, floor, non_negative, pool))
        _carry_(chosen, solution, size, pool, count, trial)
        _fit_(problem, dictionary, pool, count, work, trial)
        count = top_(trial[:count], k, 0.0, False, kept)
        for i in range(count):
            trial[i], kept[i] = trial[kept[i]], pool[kept[i]]
        coefficient[:count] = trial[:count]
        now = _fit_(problem, dictionary, kept, count, work, coefficient)
        if now <= explained:
            break
        size, explained = count, now
        chosen[:size], solution[:size] = kept[:size], coefficient[:size]
        if energy - explained <= target:
            break
        correlations_(x, alpha, dictionary, kept, coefficient if project else trial, size, score)
    return size


@njit(cache=True)
def _hard_(problem: Any, dictionary: Any, k: int, size: int, options: Any, best: Any, work: Any) -> int:
    """Alternate a gradient step cut to ``k`` atoms with least squares on them, until the atoms repeat.

    Without a repetition within the passes allowed, what is left in ``best`` explains most of all that was seen.
    """
    x, alpha, energy, floor, non_negative = problem
    target, step, passes = options[0], options[1], int(options[3])
    chosen, solution = best
    now, coefficient, proposed, begun = np.empty(k, np.int64), np.empty(k), np.empty(k, np.int64), np.empty(k)
    score = np.empty(len(alpha))
    explained = _begin_(problem, dictionary, size, best, work, score)
    if size > 0 and energy - explained <= target:
        return size
    count = size
    now[:count], coefficient[:count] = chosen[:count], solution[:count]
    for iteration in range(passes):
        for column in range(len(score)):  # a correlation that is not told from zero moves nothing
            score[column] = step * score[column] if abs(score[column]) > floor else 0.0
        for i in range(count):
            score[now[i]] += coefficient[i]
        fresh = top_(score, k, 0.0, non_negative, proposed)
        if (iteration > 0 or count > 0) and fresh == count and np.array_equal(proposed[:fresh], now[:count]):
            chosen[:count], solution[:count] = now[:count], coefficient[:count]
            return count
        _carry_(now, coefficient, count, proposed, fresh, begun)
        count = fresh
        now[:count], coefficient[:count] = proposed[:count], begun[:count]
        value = _fit_(problem, dictionary, now, count, work, coefficient)
        if value > explained:
            size, explained = count, value
            chosen[:size], solution[:size] = now[:size], coefficient[:size]
        if energy - value <= target:
            return size
        correlations_(x, alpha, dictionary, now, coefficient, count, score)
    return size


@njit(cache=True)
def _stages_(problem: Any, dictionary: Any, k: int, size: int, options: Any, best: Any, work: Any) -> int:
    """Add at each stage all atoms whose correlation stands out of the residual's level, and solve on all chosen."""
    x, alpha, energy, floor, non_negative = problem
    target, level, stages = options[0], options[1], int(options[3])
    chosen, solution = best
    pool, score = np.empty(k, np.int64), np.empty(len(alpha))
    left = energy - _begin_(problem, dictionary, size, best, work, score)
    if size > 0 and (size == k or left <= target):
        return size
    for _ in range(stages):
        limit = level * math.sqrt(max(left, 0.0) / len(x))
        score[chosen[:size]] = 0.0
        count = top_(score, k - size, max(limit, floor), non_negative, pool)
        if count == 0:
            break
        size = _union_(pool, count, chosen, size)
        solution[:size] = 0.0
        left = energy - _fit_(problem, dictionary, chosen, size, work, solution)
        if left <= target or size == k:
            break
        correlations_(x, alpha, dictionary, chosen, solution, size, score)
    return size


@njit(cache=True)
def _encode_chunk_(
    method: int, x: Any, alpha: Any, dictionary: Any, k: Any, limit: Any, options: Any, start: Any, count: Any, out: Any
) -> None:
    indices, data = out
    floor, tolerance, non_negative = limit
    most, own = max(k.max(), 1), options.copy()
    cap = min(len(dictionary[0]), most + (int(options[1]) if method == EXCHANGE else 0))
    spare = (np.empty(cap), np.empty(cap), np.empty(cap, np.bool_))
    work = (np.empty((cap, cap)), np.empty(cap), np.empty((cap, cap)), np.empty(cap, np.int64), np.empty(cap), spare)
    best = (np.empty(2 * most, np.int64), np.empty(most))
    for row in range(len(x)):
        energy, size = np.sum(x[row] ** 2), count[row]
        best[0][:size], count[row] = indices[start[row] : start[row] + size], 0
        own[0] = energy * tolerance**2 if tolerance > 0 else -np.inf
        problem = (x[row], alpha[row], energy, floor * math.sqrt(energy), non_negative)
        if method == EXCHANGE:
            size = _exchange_(problem, dictionary, k[row], size, own, best, work)
        elif method == HARD:
            size = _hard_(problem, dictionary, k[row], size, own, best, work)
        elif method == STAGES:
            size = _stages_(problem, dictionary, k[row], size, own, best, work)
        else:  # the support is what the row holds already
            best[1][:size] = 0.0
            _fit_(problem, dictionary, best[0], size, work, best[1])
        for t in range(size):
            if best[1][t] != 0:
                place = start[row] + count[row]
                indices[place], data[place] = best[0][t], best[1][t]
                count[row] += 1


@njit(cache=True, parallel=True)
def _encode_all_(method: int, x: Any, alpha: Any, dictionary: Any, k: Any, limit: Any, options: Any, out: Any) -> None:
    start, indices, data, count = out
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))
        own = (start[low:high], count[low:high], (indices, data))
        _encode_chunk_(method, x[low:high], alpha[low:high], dictionary, k[low:high], limit, options, *own)


def encode_(
    method: int,
    x: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], ...],
    k: npt.NDArray[Any],
    limit: tuple[float, float, bool],
    options: tuple[float, float, int],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Fill ``out`` (start, indices, data, count) with the codes of ``x (n, d)``, ``k (n,)`` atoms a row at most.

    The first ``count`` places of a row hold the atoms that it begins with.

    Parameters
    ----------
    method : FIXED (the support that ``indices`` holds), EXCHANGE, HARD or STAGES.
    limit : least correlation to go on with and residual norm to stop at, as fractions of ||x||; non-negative or not.
    options : EXCHANGE: atoms that compete and 1 to go on from least squares, 0 from what was cut; HARD: the step;
        STAGES: the level of a stage in residual deviations; last, the number of passes.
    """
    own = np.array([0.0, *options])
    _encode_all_(method, x, alpha, dictionary, k, limit, own, out)
