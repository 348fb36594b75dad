"""The lasso with norms of groups, nested or disjoint: accelerated proximal gradients, one sample per loop step.

The penalty is Omega(z) = sum_g w_g ||z_g||. Groups come children before parents; then shrinking group after group is
the proximal map of the sum (Jenatton et al. 2011, algorithm 1), and the dual norm of v is the least t at which the
proximal map of t Omega sends v to zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

CHUNK = 16  # rows that share work arrays
CHECK = 10  # steps between two computations of the duality gap
HALVINGS = 44  # of the bracket of the dual norm: its ends differ by 1e-13


@njit(cache=True)
def _shrink_(v: Any, groups: Any, amount: float, non_negative: bool) -> bool:
    """Replace ``v`` by the proximal map of ``amount`` Omega (plus v >= 0 if asked); return whether all is zero."""
    limits, members, weights = groups
    if non_negative:
        for i in range(len(v)):
            v[i] = max(v[i], 0.0)
    for g in range(len(weights)):
        total = 0.0
        for i in members[limits[g] : limits[g + 1]]:
            total += v[i] ** 2
        threshold, norm = amount * weights[g], math.sqrt(total)
        factor = 1 - threshold / norm if norm > threshold else 0.0
        for i in members[limits[g] : limits[g + 1]]:
            v[i] *= factor
    return bool(np.all(v == 0))


@njit(cache=True)
def _norm(v: Any, groups: Any) -> float:
    limits, members, weights = groups
    value = 0.0
    for g in range(len(weights)):
        total = 0.0
        for i in members[limits[g] : limits[g + 1]]:
            total += v[i] ** 2
        value += weights[g] * math.sqrt(total)
    return value


@njit(cache=True)
def _dual_norm(v: Any, groups: Any, least: float, non_negative: bool, spare: Any) -> float:
    """Return the dual norm of ``v`` from above, or ``least`` where it is smaller."""
    spare[:] = v
    if _shrink_(spare, groups, least, non_negative):
        return least
    low, high = least, 2 * least
    spare[:] = v
    while not _shrink_(spare, groups, high, non_negative):
        low, high = high, 2 * high
        spare[:] = v
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        spare[:] = v
        if _shrink_(spare, groups, middle, non_negative):
            high = middle
        else:
            low = middle
    return high


@njit(cache=True, fastmath={"contract"})
def _slopes_(z: Any, b: Any, gram: Any, out: Any) -> None:
    """Write b - z G into ``out (p,)``."""
    out[:] = b
    for i in range(len(z)):
        if z[i] != 0:
            weight, row = z[i], gram[i]
            for column in range(len(out)):
                out[column] -= weight * row[column]


@njit(cache=True)
def _relative_gap(z: Any, slope: Any, problem: Any, penalty: float, non_negative: bool, spare: Any) -> float:
    """Return the duality gap over ||x||^2 / 2, by the residual scaled to the dual ball as in the lasso."""
    b, _, groups, energy = problem
    t = penalty / _dual_norm(slope, groups, penalty, non_negative, spare)
    inner, left = 0.0, energy  # z A . r, and ||r||^2 = ||x||^2 - z b - z slope
    for i in range(len(z)):
        inner += z[i] * slope[i]
        left -= z[i] * (b[i] + slope[i])
    gap = (1 - t) ** 2 * max(left, 0.0) / 2 + penalty * _norm(z, groups) - t * inner
    return float(gap / (energy / 2))


@njit(cache=True)
def _minimise_(z: Any, problem: Any, rule: Any, stop: Any, work: Any) -> float:
    """Minimise from where ``z`` is, into ``z``, and return the relative duality gap that was reached."""
    b, gram, groups, _ = problem
    penalty, step, non_negative = rule
    tolerance, max_iterations = stop
    momentum, old, slope, spare = work
    momentum[:], t = z, 1.0
    for iteration in range(max_iterations + 1):
        if iteration % CHECK == 0 or iteration == max_iterations:
            _slopes_(z, b, gram, slope)
            gap = _relative_gap(z, slope, problem, penalty, non_negative, spare)
            if gap <= tolerance:
                return gap
        if iteration == max_iterations:
            break
        _slopes_(momentum, b, gram, slope)
        disagreement = 0.0  # positive where the step and the momentum part (O'Donoghue and Candès 2015)
        old[:] = z
        for i in range(len(z)):
            z[i] = momentum[i] + step * slope[i]
        _shrink_(z, groups, step * penalty, non_negative)
        for i in range(len(z)):
            disagreement += (momentum[i] - z[i]) * (z[i] - old[i])
        following = 1.0 if disagreement > 0 else (1 + math.sqrt(1 + 4 * t * t)) / 2
        weight = 0.0 if disagreement > 0 else (t - 1) / following
        for i in range(len(z)):
            momentum[i] = z[i] + weight * (z[i] - old[i])
        t = following
    return gap


@njit(cache=True, parallel=True)
def _solve_all_(b: Any, energy: Any, gram: Any, groups: Any, penalty: Any, rule: Any, stop: Any, out: Any) -> None:
    codes, gaps = out
    step, non_negative = rule
    p = len(gram)
    for chunk in prange((len(b) + CHUNK - 1) // CHUNK):
        work = (np.empty(p), np.empty(p), np.empty(p), np.empty(p))
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(b))):
            gaps[row] = 0.0
            if energy[row] == 0:
                codes[row] = 0
            else:
                problem = (b[row], gram, groups, energy[row])
                law = (penalty[row], step, non_negative)
                gaps[row] = _minimise_(codes[row], problem, law, stop, work)


def group_lasso_(
    data: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
    groups: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
    penalty: npt.NDArray[Any],
    rule: tuple[float, bool],
    stop: tuple[float, int],
    out: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> None:
    """Fill ``out`` (codes (n, p), relative duality gaps (n,)), everything in float64; codes hold where to begin.

    ``data`` is x @ atoms.T, ||x||^2 and the Gram matrix; ``groups`` limits, members and weights, children first;
    ``penalty (n,)`` one per row; ``rule`` the step 1/L and whether codes are non-negative; ``stop`` gap and steps.
    """
    _solve_all_(*data, groups, penalty, rule, stop, out)
