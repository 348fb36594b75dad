"""The lasso, one sample per loop step: proximal gradient steps, a duality gap, and an active-set finish."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

CHECK = 10  # steps between two computations of the duality gap
SINGULAR = 1e-12  # squared distance of a unit atom from the span of others below which it counts as dependent


@njit(cache=True)
def _shrink(value: float, threshold: float, non_negative: bool) -> float:
    """Return the proximal map of threshold*|z| (plus z >= 0 if asked) at ``value``."""
    if value > threshold:
        return value - threshold
    if value < -threshold and not non_negative:
        return value + threshold
    return 0.0


@njit(cache=True, fastmath={"contract"})
def _correlations_(z: Any, problem: Any, residual: Any, out: Any) -> None:
    """Write A (x - z A) into ``out (p,)``: from Gram rows where they are stored, else through the residual."""
    gram, atoms, x, b = problem
    if len(gram):
        out[:] = b
        for i in range(len(z)):
            if z[i] != 0:
                weight, row = z[i], gram[i]
                for column in range(len(out)):
                    out[column] -= weight * row[column]
        return
    residual[:] = x
    for i in range(len(z)):
        if z[i] != 0:
            weight, row = z[i], atoms[i]
            for column in range(len(residual)):
                residual[column] -= weight * row[column]
    for i in range(len(z)):
        out[i] = np.dot(atoms[i], residual)


@njit(cache=True)
def _relative_gap(z: Any, slope: Any, problem: Any, residual: Any, penalty: float, non_negative: bool) -> float:
    """Return (primal - dual) / (||x||^2 / 2) at ``z``, given ``slope`` = A (x - z A).

    The dual point is the residual r = x - z A scaled to be feasible: with t = min(1, penalty / max slope), the gap is
    (1 - t)^2 ||r||^2 / 2 + penalty |z|_1 - t r.(z A).
    """
    _, atoms, x, _ = problem
    residual[:] = x
    largest = size = inner = 0.0
    for i in range(len(z)):
        largest = max(largest, slope[i] if non_negative else abs(slope[i]))
        if z[i] != 0:
            residual -= z[i] * atoms[i]
            size += abs(z[i])
            inner += z[i] * slope[i]
    scale = penalty / largest if largest > penalty else 1.0
    energy = np.sum(residual**2)
    gap = 0.5 * (1 - scale) ** 2 * energy + penalty * size - scale * inner
    return float(gap / (0.5 * np.sum(x**2)))


@njit(cache=True)
def _solve_active_(z: Any, problem: Any, penalty: float, out: Any) -> bool:
    """Write the solution of G_SS out_S = b_S - penalty sign(z_S) on the support S of z; False if signs would change.

    An atom that depends on earlier ones of S gets zero: if they can carry its share, the gap at ``out`` will show it.
    """
    gram, atoms, _, b = problem
    active = np.flatnonzero(z)
    size = len(active)
    factor, value = np.zeros((size, size)), np.zeros(size)
    for i in range(size):
        for j in range(i + 1):
            total = gram[active[i], active[j]] if len(gram) else np.dot(atoms[active[i]], atoms[active[j]])
            total -= np.dot(factor[i, :j], factor[j, :j])
            if i == j:
                factor[i, i] = math.sqrt(total) if total > SINGULAR else 0.0
            elif factor[j, j] > 0:
                factor[i, j] = total / factor[j, j]
        if factor[i, i] > 0:
            value[i] = b[active[i]] - penalty * np.sign(z[active[i]]) - np.dot(factor[i, :i], value[:i])
            value[i] /= factor[i, i]
    out[:] = 0
    for i in range(size - 1, -1, -1):
        if factor[i, i] > 0:
            for j in range(i + 1, size):
                if factor[j, j] > 0:
                    value[i] -= factor[j, i] * value[j]
            value[i] /= factor[i, i]
            if value[i] * z[active[i]] <= 0:
                return False
            out[active[i]] = value[i]
    return size > 0


@njit(cache=True)
def _step_(z: Any, momentum: Any, slope: Any, rule: Any, old: Any) -> float:
    """Take one proximal step from ``momentum`` into ``z`` (its past kept in ``old``), and return the restart test.

    It is positive where the step and the gradient mapping at the momentum point disagree (O'Donoghue and Candès 2015).
    """
    step, threshold, non_negative = rule
    disagreement = 0.0
    for i in range(len(z)):
        old[i] = z[i]
        z[i] = _shrink(momentum[i] + step * slope[i], threshold, non_negative)
        disagreement += (momentum[i] - z[i]) * (z[i] - old[i])
    return disagreement


@njit(cache=True)
def _minimise_(z: Any, problem: Any, rule: Any, stop: Any, accelerated: bool) -> float:
    """Minimise from ``z`` in place and return the relative duality gap that was reached."""
    penalty, step, non_negative = rule
    tolerance, max_iterations = stop
    p, d = problem[1].shape
    momentum, old, slope, trial, tested = z.copy(), np.empty(p), np.empty(p), np.empty(p), np.sign(z)
    residual = np.empty(d)
    t, gap = 1.0, np.inf
    for iteration in range(max_iterations + 1):
        if iteration % CHECK == 0 or iteration == max_iterations:
            _correlations_(z, problem, residual, slope)
            gap = _relative_gap(z, slope, problem, residual, penalty, non_negative)
            if gap <= tolerance or iteration == max_iterations:
                return gap
            if accelerated and np.all(np.sign(z) == tested) and _solve_active_(z, problem, penalty, trial):
                _correlations_(trial, problem, residual, slope)
                finished = _relative_gap(trial, slope, problem, residual, penalty, non_negative)
                if finished <= tolerance:
                    z[:] = trial
                    return finished
            tested[:] = np.sign(z)
        _correlations_(momentum, problem, residual, slope)
        restart = _step_(z, momentum, slope, (step, step * penalty, non_negative), old) > 0
        following = 1.0 if restart or not accelerated else (1 + math.sqrt(1 + 4 * t * t)) / 2
        weight = 0.0 if restart or not accelerated else (t - 1) / following
        momentum[:] = z + weight * (z - old)
        t = following
    return gap


@njit(cache=True)
def _worse_than_zero(z: Any, problem: Any, penalty: float) -> bool:
    """Return whether the objective at ``z`` exceeds that at zero."""
    slope, change = np.empty(len(z)), 0.0
    _correlations_(z, problem, np.empty(len(problem[2])), slope)
    for i in range(len(z)):
        change += penalty * abs(z[i]) - 0.5 * z[i] * (problem[3][i] + slope[i])
    return not change <= 0


@njit(cache=True)
def _solve_row_(z: Any, problem: Any, rule: Any, stop: Any, accelerated: bool) -> float:
    """Write the lasso codes of one row, from ``z`` on, into ``z``; return the relative duality gap that was reached."""
    largest = np.max(problem[3]) if rule[2] else np.max(np.abs(problem[3]))
    if not largest > rule[0]:
        z[:] = 0
        return 0.0
    if np.any(z != 0) and _worse_than_zero(z, problem, rule[0]):
        z[:] = 0
    return _minimise_(z, problem, rule, stop, accelerated)


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
