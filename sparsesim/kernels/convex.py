"""The lasso, one sample per loop step: proximal gradient steps, a duality gap, and an active-set finish."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.compiled import borrowing

CHECK = 10  # steps between two computations of the duality gap
SINGULAR = 1e-12  # squared distance of a unit atom from the span of others below which it counts as dependent


@borrowing()
def _shrink(value: float, threshold: float, non_negative: bool) -> float:
    """Return the proximal map of threshold*|z| (plus z >= 0 if asked) at ``value``."""
    if value > threshold:
        return value - threshold
    if value < -threshold and not non_negative:
        return value + threshold
    return 0.0


@borrowing("contract", "reassoc")
def _dot(a: Any, b: Any) -> float:
    total = 0.0
    for column in range(len(a)):
        total += a[column] * b[column]
    return total


@borrowing("contract")
def _less_(start: Any, z: Any, rows: Any, out: Any) -> None:
    """Write ``start - z @ rows``."""
    for column in range(len(out)):
        out[column] = start[column]
    for i in range(len(z)):
        if z[i] != 0:
            weight, row = z[i], rows[i]
            for column in range(len(out)):
                out[column] -= weight * row[column]


@borrowing()
def _correlations_(z: Any, problem: Any, residual: Any, out: Any) -> None:
    """Write A (x - z A) into ``out (p,)``: from Gram rows where they are stored, else through the residual."""
    gram, atoms, x, b = problem
    if len(gram):
        _less_(b, z, gram, out)
        return
    _less_(x, z, atoms, residual)
    for i in range(len(z)):
        out[i] = _dot(atoms[i], residual)


@borrowing()
def _relative_gap(z: Any, slope: Any, problem: Any, residual: Any, penalty: float, non_negative: bool) -> float:
    """Return (primal - dual) / (||x||^2 / 2) at ``z``, given ``slope`` = A (x - z A).

    The dual point is the residual r = x - z A scaled to be feasible: with t = min(1, penalty / max slope), the gap is
    (1 - t)^2 ||r||^2 / 2 + penalty |z|_1 - t r.(z A).
    """
    _, atoms, x, _ = problem
    _less_(x, z, atoms, residual)
    largest = size = inner = 0.0
    for i in range(len(z)):
        largest = max(largest, slope[i] if non_negative else abs(slope[i]))
        size += abs(z[i])
        inner += z[i] * slope[i]
    scale = penalty / largest if largest > penalty else 1.0
    gap = 0.5 * (1 - scale) ** 2 * _dot(residual, residual) + penalty * size - scale * inner
    return gap / (0.5 * _dot(x, x))


@njit(cache=True)
def _solve_active_(z: Any, problem: Any, penalty: float, out: Any) -> bool:
    """Write the solution of G_SS out_S = b_S - penalty sign(z_S) on the support S of z; False if signs would change.

    An atom that depends on earlier ones of S gets zero: if they can carry its share, the gap at ``out`` will show it.
    """
    size: Any = np.int64(0)
    for i in range(len(z)):
        out[i] = 0.0
        size += z[i] != 0
    active, factor, value = np.empty(size, np.int64), np.zeros((size, size)), np.zeros(size)
    size = np.int64(0)
    for i in range(len(z)):
        if z[i] != 0:
            active[size] = i
            size += 1
    _factor_(z, problem, penalty, (active, factor, value))
    return _back_(z, active, factor, value, out) if size > 0 else False


@borrowing()
def _factor_(z: Any, problem: Any, penalty: float, system: Any) -> None:
    """Write the Cholesky factor L of G_SS, zero where an atom depends on others, and L^-1 (b_S - penalty sign(z_S))."""
    (gram, atoms, _, b), (active, factor, value) = problem, system
    for i in range(len(active)):
        atom = active[i]
        for j in range(i + 1):
            total = gram[atom, active[j]] if len(gram) else _dot(atoms[atom], atoms[active[j]])
            for t in range(j):
                total -= factor[i, t] * factor[j, t]
            if i == j:
                factor[i, i] = math.sqrt(total) if total > SINGULAR else 0.0
            elif factor[j, j] > 0:
                factor[i, j] = total / factor[j, j]
        if factor[i, i] > 0:
            total = b[atom] - (penalty if z[atom] > 0 else -penalty)
            for t in range(i):
                total -= factor[i, t] * value[t]
            value[i] = total / factor[i, i]


@borrowing()
def _back_(z: Any, active: Any, factor: Any, value: Any, out: Any) -> bool:
    """Write L^-T value at the active atoms; False where a sign differs from that of z."""
    for i in range(len(active) - 1, -1, -1):
        if factor[i, i] > 0:
            total, atom = value[i], active[i]
            for j in range(i + 1, len(active)):
                if factor[j, j] > 0:
                    total -= factor[j, i] * value[j]
            value[i] = total / factor[i, i]
            if value[i] * z[atom] <= 0:
                return False
            out[atom] = value[i]
    return True


@borrowing()
def _step_(z: Any, momentum: Any, slope: Any, rule: Any, old: Any) -> float:
    """Take one proximal step from ``momentum`` into ``z`` (its past kept in ``old``), and return the restart test.

    It is positive where the step and the gradient mapping at the momentum point disagree (O'Donoghue and Candès 2015).
    """
    penalty, step, non_negative = rule
    disagreement = 0.0
    for i in range(len(z)):
        old[i] = z[i]
        z[i] = _shrink(momentum[i] + step * slope[i], step * penalty, non_negative)
        disagreement += (momentum[i] - z[i]) * (z[i] - old[i])
    return disagreement


@borrowing()
def _signs_stand_(z: Any, signs: Any) -> bool:
    """Return whether the signs of ``z`` are ``signs``, which they become."""
    stand = True
    for i in range(len(z)):
        sign = 1.0 if z[i] > 0 else (-1.0 if z[i] < 0 else 0.0)
        stand &= sign == signs[i]
        signs[i] = sign
    return stand


@borrowing()
def _copy_(a: Any, out: Any) -> None:
    for i in range(len(a)):
        out[i] = a[i]


@njit(cache=True)
def _minimise_(z: Any, problem: Any, rule: Any, stop: Any, accelerated: bool, work: Any) -> float:
    """Minimise from ``z`` in place and return the relative duality gap that was reached."""
    penalty, _, non_negative = rule
    tolerance, max_iterations = stop
    momentum, old, slope, trial, signs, residual = work
    _copy_(z, momentum)
    _signs_stand_(z, signs)
    t, gap = 1.0, np.inf
    for iteration in range(max_iterations + 1):
        if iteration % CHECK == 0 or iteration == max_iterations:
            _correlations_(z, problem, residual, slope)
            gap = _relative_gap(z, slope, problem, residual, penalty, non_negative)
            if gap <= tolerance or iteration == max_iterations:
                return gap
            if _signs_stand_(z, signs) and accelerated and _solve_active_(z, problem, penalty, trial):
                _correlations_(trial, problem, residual, slope)
                finished = _relative_gap(trial, slope, problem, residual, penalty, non_negative)
                if finished <= tolerance:
                    _copy_(trial, z)
                    return finished
        _correlations_(momentum, problem, residual, slope)
        restart = _step_(z, momentum, slope, rule, old) > 0
        following = 1.0 if restart or not accelerated else (1 + math.sqrt(1 + 4 * t * t)) / 2
        weight = 0.0 if restart or not accelerated else (t - 1) / following
        for i in range(len(z)):
            momentum[i] = z[i] + weight * (z[i] - old[i])
        t = following
    return gap


@borrowing()
def _worse_than_zero(z: Any, problem: Any, penalty: float, residual: Any) -> bool:
    """Return whether the objective at ``z`` exceeds that at zero; not for zero.

    By the residual: z.(A r) has the rounding of z^2, which hides what large codes of opposite atoms cost.
    """
    _, atoms, x, _ = problem
    _less_(x, z, atoms, residual)
    size = 0.0
    for value in z:
        size += abs(value)
    return not 0.5 * _dot(residual, residual) + penalty * size <= 0.5 * _dot(x, x)


@borrowing()
def _is_trivial(problem: Any, penalty: float, non_negative: bool) -> bool:
    """Return whether the codes are zero."""
    largest = penalty
    for slope in problem[3]:
        largest = max(largest, slope if non_negative else abs(slope))
    return largest <= penalty


@njit(cache=True)
def _solve_row_(z: Any, problem: Any, rule: Any, stop: Any, accelerated: bool) -> float:
    """Write the lasso codes of one row, from ``z`` on, into ``z``; return the relative duality gap that was reached."""
    p, d = problem[1].shape
    work = (np.empty(p), np.empty(p), np.empty(p), np.empty(p), np.empty(p), np.empty(d))
    trivial = _is_trivial(problem, rule[0], rule[2])
    if trivial or _worse_than_zero(z, problem, rule[0], work[5]):
        for i in range(p):
            z[i] = 0.0
    return 0.0 if trivial else _minimise_(z, problem, rule, stop, accelerated, work)


@njit(cache=True, parallel=True)
def _lasso(x: Any, dictionary: Any, b: Any, penalty: Any, rule: Any, stop: Any, accelerated: bool, out: Any) -> None:
    gram, atoms = dictionary
    codes, gaps = out[0], out[1]  # numba loses what is written to gaps[row] after ``codes, gaps = out``
    step, non_negative = rule
    for row in prange(len(x)):
        problem, law = (gram, atoms, x[row], b[row]), (penalty[row], step, non_negative)
        gaps[row] = _solve_row_(codes[row], problem, law, stop, accelerated)


def lasso_(
    x: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    correlations: npt.NDArray[Any],
    penalty: npt.NDArray[Any],
    rule: tuple[float, bool],
    stop: tuple[float, int],
    accelerated: bool,
    out: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> None:
    """Fill ``out`` (codes (n, p), relative duality gaps (n,)) with lasso solutions, everything in float64.

    The codes come in as where to start, zero or any others of the right signs.

    ``dictionary`` is the Gram matrix (0, p) if it is too large, and the atoms; ``correlations`` is x @ atoms.T;
    ``penalty (n,)`` one per row; ``rule`` the step 1/L and whether codes are non-negative; ``stop`` gap and steps.
    """
    _lasso(x, dictionary, correlations, penalty, rule, stop, accelerated, out)
