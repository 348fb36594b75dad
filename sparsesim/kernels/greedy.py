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

DEPENDENT = 1e-10  # squared distance of a unit atom from the span of the others below which it counts as dependent
SLOPE = 1e-13  # slopes of non-negative least squares below this fraction of ||x|| count as zero


@njit(cache=True, fastmath={"contract"})
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


@njit(cache=True)
def top_(score: Any, k: int, floor: float, non_negative: bool, out: Any) -> int:
    """Write, ascending, the ``k`` atoms of largest score above ``floor``; return how many. The lowest index wins."""
    size, ranks = 0, np.empty(max(k, 1))
    for atom in range(len(score)):
        value = score[atom] if non_negative else abs(score[atom])
        if value > floor and (size < k or (k > 0 and value > ranks[size - 1])):
            place = min(size, k - 1)
            while place > 0 and ranks[place - 1] < value:
                ranks[place], out[place] = ranks[place - 1], out[place - 1]
                place -= 1
            ranks[place], out[place] = value, atom
            size = min(size + 1, k)
    out[:size].sort()
    return size


@njit(cache=True)
def solve_(g: Any, b: Any, use: Any, size: int, factor: Any, out: Any) -> None:
    """Write the solution of g[use][:, use] out[use] = b[use] by Cholesky; unused and dependent entries become zero."""
    for i in range(size):
        diagonal = g[i, i] if use[i] else 0.0
        for j in range(i):
            value = g[i, j] if use[i] and use[j] else 0.0
            for t in range(j):
                value -= factor[i, t] * factor[j, t]
            factor[i, j] = value / factor[j, j] if factor[j, j] > 0 else 0.0
            diagonal -= factor[i, j] ** 2
        factor[i, i] = math.sqrt(diagonal) if diagonal > DEPENDENT else 0.0
        if factor[i, i] == 0:
            factor[i, :i] = 0
        value = b[i]
        for t in range(i):
            value -= factor[i, t] * out[t]
        out[i] = value / factor[i, i] if factor[i, i] > 0 else 0.0
    for i in range(size - 1, -1, -1):
        for t in range(i + 1, size):
            out[i] -= factor[t, i] * out[t]
        out[i] = out[i] / factor[i, i] if factor[i, i] > 0 else 0.0


@njit(cache=True)
def descend_(g: Any, b: Any, size: int, entering: int, use: Any, factor: Any, trial: Any, solution: Any) -> bool:
    """Let ``entering`` grow from zero until the least squares solution on the atoms in use is positive.

    Returns False where rounding alone made ``entering`` look useful (it depends on those in use).
    """
    use[entering] = True
    while True:
        solve_(g, b, use, size, factor, trial)
        if solution[entering] == 0 and trial[entering] <= 0:
            use[entering] = False
            return False
        step, leaving = 1.0, -1
        for i in range(size):
            if use[i] and trial[i] <= 0 and solution[i] <= step * (solution[i] - trial[i]):
                step, leaving = solution[i] / (solution[i] - trial[i]), i
        if leaving < 0:
            solution[:size] = trial[:size]
            return True
        for i in range(size):
            solution[i] += step * (trial[i] - solution[i])
            if i == leaving or solution[i] <= 0:
                use[i] = False
                solution[i] = 0.0


@njit(cache=True)
def least_squares_(g: Any, b: Any, size: int, floor: float, use: Any, factor: Any, trial: Any, solution: Any) -> None:
    """Minimise c'gc/2 - b'c over c >= 0 from a feasible start (Lawson and Hanson), to slopes of at most ``floor``."""
    for _ in range(3 * size + 3):  # each pass lowers the objective; the bound only guards against rounding
        steepest, entering = floor, -1
        for i in range(size):
            slope = b[i]
            for t in range(size):
                slope -= g[i, t] * solution[t]
            if not use[i] and slope > steepest:
                steepest, entering = slope, i
        if entering < 0 or not descend_(g, b, size, entering, use, factor, trial, solution):
            return
