"""Sparse codes by gradient steps alone, without a linear system: iterative hard thresholding and gradient pursuit.

``dictionary`` and ``alpha`` are those of `greedy`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.greedy import correlations_, subtract_, top_

CHUNK = 16  # rows that share one set of work arrays
SHRINK = 2.0  # a normalised step that is too long is divided by this
SAFETY = 0.99  # and must stay below this fraction of the longest step along which the error cannot rise
EPSILON = 2.0**-52


@njit(cache=True)
def _energy(dictionary: Any, chosen: Any, values: Any, size: int) -> float:
    """Return ||values A_S||^2."""
    atoms, _, gram = dictionary
    total = 0.0
    if len(gram):
        for i in range(size):
            cross = 0.5 * gram[chosen[i], chosen[i]] * values[i]
            for j in range(i):
                cross += gram[chosen[i], chosen[j]] * values[j]
            total += 2.0 * values[i] * cross
        return max(total, 0.0)
    image = np.zeros(atoms.shape[1])
    subtract_(image, values, atoms, chosen, size)
    return float(np.sum(image**2))


@njit(cache=True)
def _move_(problem: Any, dictionary: Any, now: Any, slope: Any, step: float, score: Any, fresh: Any) -> Any:
    """Write the step from ``now`` cut to k atoms into ``fresh``; return its size, and its change (size, energy, norm).

    The change is left behind the new atoms in ``fresh``, which holds places for 3k.
    """
    k, floor, non_negative = problem
    chosen, values, size = now
    atoms, amounts = fresh
    for column in range(len(score)):  # a correlation that is not told from zero moves nothing
        score[column] = step * slope[column] if abs(slope[column]) > floor else 0.0
    for i in range(size):
        score[chosen[i]] += values[i]
    count = top_(score, k, 0.0, non_negative, atoms)
    for i in range(count):
        amounts[i] = score[atoms[i]]
        atoms[count + i], amounts[count + i] = atoms[i], amounts[i]
    total, norm = count, 0.0
    for i in range(size):
        place = np.searchsorted(atoms[:count], chosen[i])
        if place < count and atoms[place] == chosen[i]:
            amounts[count + place] -= values[i]
        else:
            atoms[count + total], amounts[count + total] = chosen[i], -values[i]
            total += 1
    for i in range(total):
        norm += amounts[count + i] ** 2
    return count, _energy(dictionary, atoms[count:], amounts[count:], total), norm


@njit(cache=True)
def _normalised(dictionary: Any, slope: Any, chosen: Any, size: int, floor: float, spare: Any) -> float:
    """Return the step of least error along the gradient on the chosen atoms, 1 where that gradient is zero."""
    norm = 0.0
    for i in range(size):
        spare[i] = slope[chosen[i]] if abs(slope[chosen[i]]) > floor else 0.0
        norm += spare[i] ** 2
    energy = _energy(dictionary, chosen, spare, size)
    return norm / energy if energy > 0 else 1.0


@njit(cache=True)
def _start_(alpha: Any, dictionary: Any, k: int, limit: Any, begin: Any, state: Any) -> Any:
    """Write where to start, with its slopes, into ``state``; return its size and its squared error.

    It is ``begin``, at most k codes, unless zero is nearer; zero stands on the atoms that it will move first.
    """
    x, energy, floor, non_negative = limit
    chosen, values, slope = state
    size = len(begin[0])
    if size > 0:
        chosen[:size], values[:size] = begin
        correlations_(x, alpha, dictionary, chosen, values, size, slope)
        left = energy
        for i in range(size):
            left -= values[i] * (alpha[chosen[i]] + slope[chosen[i]])
        if left < energy:
            return size, left
    size = top_(alpha, k, floor, non_negative, chosen)
    values[:size], slope[:] = 0.0, alpha
    return size, energy


@njit(cache=True)
def _hard_(
    x: Any, alpha: Any, dictionary: Any, k: int, limit: Any, options: Any, begin: Any, best: Any, work: Any
) -> int:
    """Take gradient steps cut to ``k`` atoms until they change nothing; leave the best codes seen in ``best``."""
    energy, floor, tolerance, non_negative = limit
    fixed, passes, precision = options
    slope, score, values, atoms, amounts = work
    chosen = best[0][:k].copy()
    own = (x, energy, floor, non_negative)
    size, least = _start_(alpha, dictionary, k, own, begin, (chosen, values, slope))
    kept = size if least < energy else 0
    best[0][:kept], best[1][:kept] = chosen[:kept], values[:kept]
    problem = (k, floor, non_negative)
    for _ in range(int(passes)):
        step = fixed if fixed > 0 else _normalised(dictionary, slope, chosen, size, floor, amounts)
        now = (chosen, values, size)
        count, moved, norm = _move_(problem, dictionary, now, slope, step, score, (atoms, amounts))
        while fixed <= 0 and not (count == size and np.array_equal(atoms[:count], chosen[:size])):
            if step * moved <= SAFETY * norm:
                break
            step /= SHRINK
            count, moved, norm = _move_(problem, dictionary, now, slope, step, score, (atoms, amounts))
        size = count
        chosen[:size], values[:size] = atoms[:size], amounts[:size]
        correlations_(x, alpha, dictionary, chosen, values, size, slope)
        left, length = energy, 0.0
        for i in range(size):
            left -= values[i] * (alpha[chosen[i]] + slope[chosen[i]])
            length += values[i] ** 2
        if not left <= 4.0 * energy:  # it diverges, NaN included
            break
        if left <= least + EPSILON * energy:
            kept, least = size, min(left, least)
            best[0][:kept], best[1][:kept] = chosen[:size], values[:size]
        if norm <= precision**2 * length or left <= tolerance**2 * energy * (tolerance > 0):
            break
    return kept


@njit(cache=True)
def _pursue_(x: Any, alpha: Any, dictionary: Any, k: int, limit: Any, begin: Any, best: Any, work: Any) -> int:
    """Make ``k`` selections, each with the best step along the gradient on all atoms selected so far.

    Non-negative coefficients at zero do not fall, and the step ends where the first of the others would. The codes to
    ``begin`` at count as selected, unless zero is nearer.
    """
    energy, floor, tolerance, non_negative = limit
    slope, direction = work[0], work[1]
    chosen, values = best
    size, left = len(begin[0]), energy
    if size > 0:
        chosen[:size], values[:size] = begin
        correlations_(x, alpha, dictionary, chosen, values, size, slope)
        for i in range(size):
            left -= values[i] * (alpha[chosen[i]] + slope[chosen[i]])
    if not (size > 0 and left < energy):
        size, left, slope[:] = 0, energy, alpha
    if size > 0 and tolerance > 0 and left <= tolerance**2 * energy:
        return size
    for _ in range(k):
        atom = int(np.argmax(slope) if non_negative else np.argmax(np.abs(slope)))
        new = (slope[atom] if non_negative else abs(slope[atom])) > floor
        if new and not np.any(chosen[:size] == atom):
            chosen[size], values[size] = atom, 0.0
            size += 1
        norm, steepest = 0.0, 0.0
        for i in range(size):
            stays = non_negative and values[i] == 0 and slope[chosen[i]] < 0
            direction[i] = 0.0 if stays else slope[chosen[i]]
            norm += direction[i] ** 2
            steepest = max(steepest, abs(direction[i]))
        if not steepest > floor:
            break
        bend, last = _energy(dictionary, chosen, direction, size), -1
        step = norm / bend
        for i in range(size):
            if non_negative and values[i] + step * direction[i] < 0:
                step, last = values[i] / -direction[i], i
        left -= step * (2.0 * norm - step * bend)
        for i in range(size):
            values[i] = 0.0 if i == last else values[i] + step * direction[i]
            if non_negative:
                values[i] = max(values[i], 0.0)
        if tolerance > 0 and left <= tolerance**2 * energy:
            break
        correlations_(x, alpha, dictionary, chosen, values, size, slope)
    return size


@njit(cache=True)
def _encode_chunk_(x: Any, alpha: Any, dictionary: Any, k: int, limit: Any, options: Any, begin: Any, out: Any) -> None:
    start, indices, data, count = out
    limits, atoms, amounts = begin
    p, (floor, tolerance, non_negative) = len(dictionary[0]), limit
    most = min(k + np.max(np.diff(limits)) if options[1] == 0 else k, p)
    work = (np.empty(p), np.empty(p), np.empty(3 * most), np.empty(3 * most, np.int64), np.empty(3 * most))
    best = (np.empty(most, np.int64), np.empty(most))
    for row in range(len(x)):
        energy = np.sum(x[row] ** 2)
        own = (energy, floor * math.sqrt(energy), tolerance, non_negative)
        given = (atoms[limits[row] : limits[row + 1]], amounts[limits[row] : limits[row + 1]])
        if options[1] > 0:
            size = _hard_(x[row], alpha[row], dictionary, k, own, options, given, best, work)
        else:
            size = _pursue_(x[row], alpha[row], dictionary, k, own, given, best, work)
        for t in range(size):
            if best[1][t] != 0:
                place = start[row] + count[row]
                indices[place], data[place] = best[0][t], best[1][t]
                count[row] += 1


@njit(cache=True, parallel=True)
def _encode_all_(x: Any, alpha: Any, dictionary: Any, k: int, limit: Any, options: Any, begin: Any, out: Any) -> None:
    start, indices, data, count = out
    limits, atoms, amounts = begin
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))
        own, given = (start[low:high], indices, data, count[low:high]), (limits[low : high + 1], atoms, amounts)
        _encode_chunk_(x[low:high], alpha[low:high], dictionary, k, limit, options, given, own)


@njit(cache=True)
def _strongest_chunk_(alpha: Any, k: int, floor: Any, non_negative: bool, start: Any, out: Any) -> None:
    indices, data, count = out
    chosen = np.empty(k, np.int64)
    for row in range(len(alpha)):
        size = top_(alpha[row], k, floor[row], non_negative, chosen)
        for t in range(size):
            indices[start[row] + t], data[start[row] + t] = chosen[t], alpha[row, chosen[t]]
        count[row] = size


@njit(cache=True, parallel=True)
def _strongest_all_(alpha: Any, k: int, floor: Any, non_negative: bool, out: Any) -> None:
    start, indices, data, count = out
    for chunk in prange((len(alpha) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(alpha))
        own = (indices, data, count[low:high])
        _strongest_chunk_(alpha[low:high], k, floor[low:high], non_negative, start[low:high], own)


def strongest_(
    alpha: npt.NDArray[Any], k: int, floor: npt.NDArray[Any], non_negative: bool, out: tuple[npt.NDArray[Any], ...]
) -> None:
    """Fill ``out`` (start, indices, data, count) with the ``k`` largest entries of ``alpha (n, p)`` above ``floor``."""
    _strongest_all_(alpha, k, floor, non_negative, out)


def hard_thresholding_(
    x: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], ...],
    k: int,
    limit: tuple[float, float, bool],
    options: tuple[float, int, float],
    begin: tuple[npt.NDArray[Any], ...],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Fill ``out`` (start, indices, data, count) with iterative hard thresholding of ``x (n, d)`` to ``k`` atoms.

    ``limit`` is the least correlation to go on with and the residual norm to stop at, as fractions of ||x||, and
    whether codes are non-negative; ``options`` the step (0: normalised), the passes and the relative change to stop at;
    ``begin`` the codes to start from, at most k a row in order (limits (n + 1,), atoms, values), empty for zero.
    """
    step, passes, precision = options
    _encode_all_(x, alpha, dictionary, k, limit, (float(step), float(passes), float(precision)), begin, out)


def gradient_pursuit_(
    x: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], ...],
    k: int,
    limit: tuple[float, float, bool],
    begin: tuple[npt.NDArray[Any], ...],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Fill ``out`` (start, indices, data, count) with gradient pursuit of ``x (n, d)`` in ``k`` selections.

    ``begin`` are codes to start from (limits (n + 1,), atoms, values); a row has room for these and k atoms more.
    """
    _encode_all_(x, alpha, dictionary, k, limit, (0.0, 0.0, 0.0), begin, out)
