"""What greedy pursuits share: correlations with a residual, the largest of them, least squares on few atoms; float64.

``dictionary`` is atoms (p, d), their transpose and their Gram matrix (empty where it is too large to store: then
correlations are those of a residual). ``alpha`` is A x. Compiled functions that call these are cached apart, and numba
does not renew them when this file changes: run ``make clean`` after editing it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from sparsesim.kernels.compiled import borrowing, larger

BLOCK = 32  # scores whose maximum is looked at first
DEPENDENT = 1e-10  # squared distance of a unit atom from the span of the others below which it counts as dependent
SLOPE = 1e-13  # slopes of non-negative least squares below this fraction of ||x|| count as zero


@borrowing("contract")
def subtract_(out: Any, weights: Any, rows: Any, places: Any, count: int) -> None:
    """Subtract ``weights[t] * rows[places[t]]`` for t < ``count``, four rows a pass."""
    quads = count - count % 4
    for t in range(0, quads, 4):
        w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        r0, r1, r2, r3 = rows[places[t]], rows[places[t + 1]], rows[places[t + 2]], rows[places[t + 3]]
        for column in range(len(out)):
            value = out[column] - w0 * r0[column]
            value -= w1 * r1[column]
            value -= w2 * r2[column]
            value -= w3 * r3[column]
            out[column] = value
    for t in range(quads, count):
        weight, row = weights[t], rows[places[t]]
        for column in range(len(out)):
            out[column] -= weight * row[column]


@njit(cache=True)
def correlations_(x: Any, alpha: Any, dictionary: Any, chosen: Any, solution: Any, size: int, out: Any) -> None:
    """Write A (x - solution A_S), the correlations ``(p,)`` with the residual."""
    atoms, atoms_t, gram = dictionary
    if len(gram):
        out[:] = alpha
        subtract_(out, solution, gram, chosen, size)
        return
    residual = x.copy()
    subtract_(residual, solution, atoms, chosen, size)
    out[:] = 0.0
    subtract_(out, -residual, atoms_t, np.arange(len(x)), len(x))


@borrowing()
def _peak(score: Any, low: int, high: int, non_negative: bool) -> float:
    """Return the largest score (magnitude) of the atoms from ``low`` up to ``high``, at least zero."""
    top = 0.0
    for atom in range(low, high):
        top = larger(top, score[atom] if non_negative else abs(score[atom]))
    return top


@njit(cache=True)
def top_(score: Any, k: int, floor: float, non_negative: bool, out: Any) -> int:
    """Write, ascending, the ``k`` atoms of largest score above ``floor``; return how many. The lowest index wins.

    A block of atoms without one that would be taken costs a maximum, which is vectorised.
    """
    size, ranks, bar = 0, np.empty(max(k, 1)), floor
    for low in range(0, len(score) if k > 0 else 0, BLOCK):
        high = min(low + BLOCK, len(score))
        if not _peak(score, low, high, non_negative) > bar:
            continue
        for atom in range(low, high):
            value = score[atom] if non_negative else abs(score[atom])
            if value > bar:
                place = min(size, k - 1)
                while place > 0 and ranks[place - 1] < value:
                    ranks[place], out[place] = ranks[place - 1], out[place - 1]
                    place -= 1
                ranks[place], out[place] = value, atom
                size = min(size + 1, k)
                if size == k:
                    bar = ranks[k - 1]
    out[:size].sort()
    return size


@borrowing("contract", "reassoc")
def _dot(a: Any, b: Any, size: int) -> float:
    total = 0.0
    for t in range(size):
        total += a[t] * b[t]
    return total


@borrowing()
def solve_(g: Any, b: Any, size: int, factor: Any, out: Any) -> None:
    """Write the solution of g out = b by Cholesky; an entry that depends on those before it becomes zero."""
    for i in range(size):
        row = factor[i]
        for j in range(i):
            other = factor[j]
            row[j] = (g[i, j] - _dot(row, other, j)) / other[j] if other[j] > 0 else 0.0
        diagonal = g[i, i] - _dot(row, row, i)
        row[i] = math.sqrt(diagonal) if diagonal > DEPENDENT else 0.0
        for j in range(i if row[i] == 0 else 0):
            row[j] = 0.0
        out[i] = (b[i] - _dot(row, out, i)) / row[i] if row[i] > 0 else 0.0
    for i in range(size - 1, -1, -1):
        row = factor[i]
        out[i] = out[i] / row[i] if row[i] > 0 else 0.0
        for t in range(i):
            out[t] -= row[t] * out[i]


@borrowing()
def _enter_(g: Any, b: Any, entering: int, held: Any, count: int, spare: Any) -> bool:
    """Let an atom join the ``count`` in use: a column of R and a number of R^-T b; return False where it depends."""
    order, factor, image = held
    pivot, value = g[entering, entering], b[entering]
    for t in range(count):
        spare[t] = g[entering, order[t]]
    for t in range(count):
        row = factor[t]
        own = spare[t] / row[t]
        for s in range(t + 1, count):
            spare[s] -= own * row[s]
        row[count] = own
        pivot -= own * own
        value -= own * image[t]
    if not pivot > DEPENDENT:
        return False
    order[count], factor[count, count] = entering, math.sqrt(pivot)
    image[count] = value / factor[count, count]
    return True


@borrowing()
def _leave_(held: Any, count: int, place: int) -> int:
    """Take the atom at ``place`` out of those in use; rotations keep R triangular. Returns how many are left."""
    order, factor, image = held
    for t in range(place, count - 1):
        order[t] = order[t + 1]
    for i in range(count):
        row = factor[i]
        for t in range(max(place, i - 1), count - 1):
            row[t] = row[t + 1]
    for t in range(place, count - 1):
        upper, lower = factor[t], factor[t + 1]
        length = math.hypot(upper[t], lower[t])
        c, s = upper[t] / length, lower[t] / length
        for j in range(t, count - 1):
            u, v = upper[j], lower[j]
            upper[j], lower[j] = c * u + s * v, c * v - s * u
        image[t], image[t + 1] = c * image[t] + s * image[t + 1], c * image[t + 1] - s * image[t]
    return count - 1


@borrowing()
def _descend_(held: Any, count: int, trial: Any, solution: Any) -> int:
    """Go to least squares on the atoms in use, those that reach zero leaving on the way; return how many stay.

    The coefficients of those in use are positive, but for one that has just entered: its target is.
    """
    order, factor, image = held
    while True:
        for i in range(count - 1, -1, -1):
            row = factor[i]
            trial[i] = (image[i] - _dot(row[i + 1 :], trial[i + 1 :], count - i - 1)) / row[i]
        step, leaving = 1.0, -1
        for t in range(count):
            value = solution[order[t]]
            if trial[t] <= 0 and value <= step * (value - trial[t]):
                step, leaving = value / (value - trial[t]), t
        if leaving < 0:
            for t in range(count):
                solution[order[t]] = trial[t]
            return count
        for t in range(count - 1, -1, -1):
            i = order[t]
            solution[i] += step * (trial[t] - solution[i])
            if t == leaving or solution[i] <= 0:
                solution[i] = 0.0
                count = _leave_(held, count, t)


@borrowing()
def resume_(g: Any, b: Any, size: int, held: Any, work: Any, solution: Any) -> int:
    """Take the positive of ``solution`` into use and go to least squares on them; return how many are in use."""
    count, trial = 0, work[1]
    for i in range(size):
        if solution[i] > 0 and _enter_(g, b, i, held, count, trial):
            count += 1
        else:
            solution[i] = 0.0
    return _descend_(held, count, trial, solution)


@borrowing()
def least_squares_(g: Any, b: Any, size: int, count: int, floor: float, held: Any, work: Any, solution: Any) -> int:
    """Minimise c'gc/2 - b'c over c >= 0 (Lawson and Hanson) to slopes of at most ``floor``; return how many are in use.

    It goes on from ``solution``, least squares on the ``count`` atoms in use: ``held`` is their places, the triangle R
    with R'R = g on them, and R^-T b. One atom enters at a time, that of largest slope, and a step costs the square of
    the atoms in use and a pass over their rows of g.
    """
    slope, trial, barred = work
    order = held[0]
    for i in range(size):
        barred[i] = False
    for _ in range(3 * size + 3):  # each pass lowers the objective; the bound only guards against rounding
        for i in range(size):
            slope[i] = b[i]
        for t in range(count):
            trial[t] = solution[order[t]]
        subtract_(slope[:size], trial, g, order, count)
        steepest, entering = floor, -1
        for i in range(size):
            if solution[i] == 0 and not barred[i] and slope[i] > steepest:
                steepest, entering = slope[i], i
        if entering < 0:
            break
        # rounding alone may make an atom look useful: one that depends on those in use, or would not grow
        if not _enter_(g, b, entering, held, count, trial) or held[2][count] <= 0:
            barred[entering] = True
            continue
        count = _descend_(held, count + 1, trial, solution)
    return count
