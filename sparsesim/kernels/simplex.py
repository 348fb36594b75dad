"""The point of a polytope nearest to each sample: least squares with weights on the simplex, by an active set.

For points b_j and a sample x: ``min ||x - z B||^2`` over ``z >= 0, sum z = 1``. On the active points the weights are
those of the affine hull, proportional to the solution of ``M y = 1`` with ``M_ij = <b_i - x, b_j - x> + c^2``, for
any c > 0: with t = sum y, ``y^T M y - 2 c^2 t`` is a function of t and of the distance alone, and M is definite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

CHUNK = 16  # rows that share work arrays
DEPENDENT = 1e-13  # squared distance from the span of those before, over M_ii, below which a point is dependent


@njit(cache=True)
def _residual_(x: Any, points: Any, active: Any, weights: Any, size: int, out: Any) -> float:
    """Write x - weights B; return its squared norm."""
    for column in range(len(out)):
        out[column] = x[column]
    for t in range(size):
        row = points[active[t]]
        for column in range(len(out)):
            out[column] -= weights[t] * row[column]
    total = 0.0
    for column in range(len(out)):
        total += out[column] ** 2
    return total


@njit(cache=True, fastmath={"contract", "reassoc"})
def _row_(matrix: Any, x: Any, points: Any, active: Any, size: int, shift: float) -> None:
    """Write row and column ``size`` of M, that of the last active point."""
    last = points[active[size]]
    for t in range(size + 1):
        row, total = points[active[t]], shift
        for column in range(len(x)):
            total += (last[column] - x[column]) * (row[column] - x[column])
        matrix[size, t] = matrix[t, size] = total


@njit(cache=True)
def _hull_(matrix: Any, size: int, factor: Any, out: Any) -> bool:
    """Write the weights ``(size,)`` of least distance in the affine hull; False where the points depend."""
    for i in range(size):
        pivot = matrix[i, i]
        value = 1.0
        for j in range(i):
            entry = matrix[i, j]
            for t in range(j):
                entry -= factor[i, t] * factor[j, t]
            factor[i, j] = entry / factor[j, j]
            pivot -= factor[i, j] ** 2
            value -= factor[i, j] * out[j]
        if not pivot > DEPENDENT * matrix[i, i]:
            return False
        factor[i, i] = math.sqrt(pivot)
        out[i] = value / factor[i, i]
    total = 0.0
    for i in range(size - 1, -1, -1):
        for t in range(i + 1, size):
            out[i] -= factor[t, i] * out[t]
        out[i] /= factor[i, i]
        total += out[i]
    for i in range(size):
        out[i] /= total
    return total > 0


@njit(cache=True)
def _drop_(matrix: Any, active: Any, weights: Any, size: int, place: int) -> None:
    """Remove the active point at ``place``; the others keep their order."""
    for t in range(place, size - 1):
        active[t], weights[t] = active[t + 1], weights[t + 1]
        for s in range(size):
            matrix[t, s] = matrix[t + 1, s]
    for t in range(place, size - 1):
        for s in range(size - 1):
            matrix[s, t] = matrix[s, t + 1]


@njit(cache=True)
def _settle_(matrix: Any, active: Any, weights: Any, size: int, factor: Any, trial: Any) -> int:
    """Go from the weights towards the best of the affine hull, dropping points that reach zero; return how many stay.

    A last point that depends on the others leaves as it came, with weight zero.
    """
    while True:
        if not _hull_(matrix, size, factor, trial):
            return size - 1
        step, leaving = 1.0, -1
        for t in range(size):
            if trial[t] <= 0 and weights[t] <= step * (weights[t] - trial[t]):
                step, leaving = weights[t] / (weights[t] - trial[t]), t
        if leaving < 0:
            for t in range(size):
                weights[t] = trial[t]
            return size
        for t in range(size):
            weights[t] += step * (trial[t] - weights[t])
        weights[leaving] = 0.0
        for t in range(size - 1, -1, -1):
            if weights[t] <= 0:
                _drop_(matrix, active, weights, size, t)
                size -= 1


@njit(cache=True, fastmath={"contract", "reassoc"})
def _farthest(x: Any, points: Any, residual: Any) -> Any:
    """Return the point that goes farthest along ``residual``, and how far, seen from x."""
    best, entering = -np.inf, -1
    for j in range(len(points)):
        row, slope = points[j], 0.0
        for column in range(len(x)):
            slope += (row[column] - x[column]) * residual[column]
        if slope > best:
            best, entering = slope, j
    return entering, best


@njit(cache=True, fastmath={"contract", "reassoc"})
def _closest(x: Any, points: Any) -> Any:
    """Return the point nearest to x, and the mean squared distance of all (1 where they all are x)."""
    least, closest, total = np.inf, -1, 0.0
    for j in range(len(points)):
        row, distance = points[j], 0.0
        for column in range(len(x)):
            distance += (row[column] - x[column]) ** 2
        total += distance
        if distance < least:
            least, closest = distance, j
    return closest, total / len(points) if total > 0 else 1.0


@njit(cache=True)
def _begin_(x: Any, points: Any, start: Any, shift: float, work: Any) -> int:
    """Take over the weights to start from, as far as the points are independent; return how many stay positive."""
    active, weights, matrix, factor, trial, _ = work
    size, total = 0, 0.0
    for t in range(len(start[0])):
        if start[1][t] > 0 and size < len(weights):
            active[size], weights[size] = start[0][t], start[1][t]
            _row_(matrix, x, points, active, size, shift)
            if _hull_(matrix, size + 1, factor, trial):
                total += weights[size]
                size += 1
    for t in range(size):
        weights[t] /= total
    return _settle_(matrix, active, weights, size, factor, trial) if size else 0


@njit(cache=True)
def _nearest_(x: Any, points: Any, start: Any, options: Any, work: Any) -> Any:
    """Leave active points and weights in ``work``; return their number, and the gap max_j <b_j - z B, x - z B>."""
    tolerance, passes = options
    active, weights, matrix, factor, trial, residual = work
    entering, shift = _closest(x, points)
    size, gap, previous = _begin_(x, points, start, shift, work), np.inf, np.inf
    if not size:
        active[0], weights[0], size = entering, 1.0, 1
        _row_(matrix, x, points, active, 0, shift)
    for _ in range(passes):
        distance = _residual_(x, points, active, weights, size, residual)
        entering, best = _farthest(x, points, residual)
        if not distance < previous:  # rounding alone keeps it from falling
            break
        gap, previous = best + distance, distance
        if gap <= tolerance * shift or size == len(weights):
            break
        active[size], weights[size] = entering, 0.0
        _row_(matrix, x, points, active, size, shift)
        size = _settle_(matrix, active, weights, size + 1, factor, trial)
    return size, max(gap, 0.0)


@njit(cache=True, parallel=True)
def nearest_points_(x: Any, points: Any, start: Any, options: Any, out: Any) -> None:
    """Write the weights of the nearest points of conv(points) to rows of ``x (n, d)``.

    ``start`` is (indptr, indices, data) of weights to begin from, ``out`` is (size, active, weights, gap) with room
    for min(p, d + 1) + 1 a row. A row ends where its gap is at most ``options[0]`` times the mean squared distance of
    the points from it, after ``options[1]`` points, or where the distance no longer falls.
    """
    n, room = out[1].shape
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        matrix, factor = np.empty((room, room)), np.empty((room, room))
        trial, residual = np.empty(room), np.empty(x.shape[1])
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n)):
            low, high = start[0][row], start[0][row + 1]
            begin = (start[1][low:high], start[2][low:high])
            work = (out[1][row], out[2][row], matrix, factor, trial, residual)
            out[0][row], out[3][row] = _nearest_(x[row], points, begin, options, work)
