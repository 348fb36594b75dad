"""Non-negative orthogonal matching pursuit: positive correlations select, non-negative least squares solves.

The small systems are in float64 whatever the precision of the samples. The module stands alone: a compiled function
that is cached is not renewed when a function it calls changes in another file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

DEPENDENT = 1e-10  # squared distance of a unit atom from the span of the others below which it counts as dependent


@njit(cache=True)
def _solve_(g: Any, b: Any, use: Any, size: int, factor: Any, out: Any) -> None:
    """Write the solution of g[use][:, use] out[use] = b[use] by Cholesky; unused and dependent entries become zero."""
    for i in range(size):
        for j in range(i + 1):
            value = g[i, j] if use[i] and use[j] else 0.0
            for t in range(j):
                value -= factor[i, t] * factor[j, t]
            if i == j:
                factor[i, i] = math.sqrt(value) if value > DEPENDENT else 0.0
            else:
                factor[i, j] = value / factor[j, j] if factor[j, j] > 0 else 0.0
        if factor[i, i] == 0:
            factor[i, :i] = 0
    for i in range(size):
        out[i] = b[i]
        for t in range(i):
            out[i] -= factor[i, t] * out[t]
        out[i] = out[i] / factor[i, i] if factor[i, i] > 0 else 0.0
    for i in range(size - 1, -1, -1):
        for t in range(i + 1, size):
            out[i] -= factor[t, i] * out[t]
        out[i] = out[i] / factor[i, i] if factor[i, i] > 0 else 0.0


@njit(cache=True)
def _descend_(g: Any, b: Any, size: int, entering: int, use: Any, factor: Any, trial: Any, solution: Any) -> bool:
    """Let ``entering`` grow from zero until the least squares solution on the atoms in use is positive.

    Returns False where rounding alone made ``entering`` look useful (it depends on those in use).
    """
    use[entering] = True
    while True:
        _solve_(g, b, use, size, factor, trial)
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
def _least_squares_(g: Any, b: Any, size: int, floor: float, use: Any, factor: Any, trial: Any, solution: Any) -> None:
    """Minimise c'gc/2 - b'c over c >= 0 from a feasible start (Lawson and Hanson), to slopes of at most ``floor``."""
    for _ in range(3 * size + 3):  # each pass lowers the objective; the bound only guards against rounding
        steepest, entering = floor, -1
        for i in range(size):
            slope = b[i]
            for t in range(size):
                slope -= g[i, t] * solution[t]
            if not use[i] and slope > steepest:
                steepest, entering = slope, i
        if entering < 0 or not _descend_(g, b, size, entering, use, factor, trial, solution):
            return


@njit(cache=True)
def _select(alpha: Any, rows: Any, solution: Any, chosen: Any, size: int, residual: Any) -> int:
    """Return the atom of largest correlation with the residual that is not chosen yet; the lowest index wins ties."""
    residual[:] = alpha
    for t in range(size):
        weight = residual.dtype.type(solution[t])
        if weight > 0:
            for column in range(len(alpha)):
                residual[column] -= weight * rows[t, column]
    for t in range(size):
        residual[chosen[t]] = 0
    return int(np.argmax(residual))


@njit(cache=True)
def _pursue_(x: Any, atoms: Any, alpha: Any, limit: Any, work: Any) -> int:
    """Select up to ``limit[0]`` atoms, leave the coefficients in ``work``, and return how many were selected."""
    k, floor, tolerance = limit
    chosen, solution, use, g, b, factor, trial, rows, residual = work
    energy = np.sum(x.astype(np.float64) ** 2)
    norm = math.sqrt(energy)
    for size in range(k):
        atom = _select(alpha, rows, solution, chosen, size, residual)
        if not residual[atom] > floor * norm:
            return size
        chosen[size], solution[size], use[size] = atom, 0.0, False
        rows[size] = atoms @ atoms[atom]
        b[size] = np.sum(x.astype(np.float64) * atoms[atom])
        for t in range(size + 1):
            g[size, t] = g[t, size] = np.sum(atoms[atom].astype(np.float64) * atoms[chosen[t]])
        _least_squares_(g, b, size + 1, 1e-13 * norm, use, factor, trial, solution)
        explained = 0.0  # of the energy of x: at the optimum c'gc = b'c
        for t in range(size + 1):
            explained += b[t] * solution[t]
        if tolerance > 0 and energy - explained <= tolerance**2 * energy:
            return size + 1
    return int(k)


@njit(cache=True, parallel=True)
def _pursue_all_(x: Any, atoms: Any, alpha: Any, k: Any, limit: Any, out: Any) -> None:
    start, indices, data, count = out
    floor, tolerance = limit
    p, largest = len(atoms), max(k.max(), 1)
    for row in prange(len(x)):
        chosen, solution, use = np.empty(largest, np.int64), np.empty(largest), np.empty(largest, np.bool_)
        g, factor = np.empty((largest, largest)), np.empty((largest, largest))
        rows, residual = np.empty((largest, p), x.dtype), np.empty(p, x.dtype)
        work = (chosen, solution, use, g, np.empty(largest), factor, np.empty(largest), rows, residual)
        size = _pursue_(x[row], atoms, alpha[row], (k[row], floor, tolerance), work)
        for t in range(size):
            if solution[t] > 0:
                place = start[row] + count[row]
                indices[place], data[place] = chosen[t], solution[t]
                count[row] += 1


def non_negative_pursuit_(
    x: npt.NDArray[Any],
    atoms: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    k: npt.NDArray[Any],
    limit: tuple[float, float],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Fill ``out`` (start, indices, data, count) with the codes of ``x (n, d)``; ``alpha (n, p)`` is x @ atoms.T.

    ``limit`` is the least correlation to go on with and the residual norm to stop at, both as fractions of ||x||.
    """
    _pursue_all_(x, atoms, alpha, k, limit, out)
