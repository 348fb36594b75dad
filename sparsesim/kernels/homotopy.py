"""The lasso's path: codes as a piecewise linear function of the penalty, one sample per loop step, in float64.

On a stretch with active atoms S and signs s the codes grow by w = G_SS^-1 s for each unit that the penalty falls, and
the slopes A (x - z A) fall by G[:, S] w. A stretch ends where an inactive slope meets the penalty or an active
coefficient meets zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

CHUNK = 16  # rows that share work arrays
SINGULAR = 1e-12  # squared distance of a unit atom from the span of the active ones below which it counts as dependent
PARALLEL = 1e-10  # a slope that falls as fast as the penalty, to this fraction, never meets it
ROUNDING = 1e-14  # a largest slope that exceeds the penalty by this fraction is at it: the code is zero
VANISHED = 1e-12  # of the largest penalty of the path: below there is nothing but rounding


@njit(cache=True, fastmath={"contract", "reassoc"})
def _dot(a: Any, b: Any) -> float:
    total = 0.0
    for column in range(len(a)):
        total += a[column] * b[column]
    return total


@njit(cache=True, fastmath={"contract"})
def _combine_(weights: Any, rows: Any, chosen: Any, size: int, out: Any) -> None:
    """Write ``sum_t weights[t] * rows[chosen[t]]`` into ``out``."""
    out[:] = 0
    for t in range(size):
        weight, row = weights[t], rows[chosen[t]]
        for column in range(len(out)):
            out[column] += weight * row[column]


@njit(cache=True)
def _products_(weights: Any, dictionary: Any, chosen: Any, size: int, spare: Any, out: Any) -> None:
    """Write A (sum_t weights[t] a_chosen[t]) into ``out (p,)``: from Gram rows where they are stored."""
    gram, atoms = dictionary
    if len(gram):
        _combine_(weights, gram, chosen, size, out)
        return
    _combine_(weights, atoms, chosen, size, spare)
    for i in range(len(out)):
        out[i] = _dot(atoms[i], spare)


@njit(cache=True)
def _append_(dictionary: Any, chosen: Any, factor: Any, size: int) -> bool:
    """Write row ``size`` of the Cholesky factor, of atom ``chosen[size]``; False if it depends on those before."""
    gram, atoms = dictionary
    new = chosen[size]
    pivot = gram[new, new] if len(gram) else _dot(atoms[new], atoms[new])
    for t in range(size):
        value = gram[chosen[t], new] if len(gram) else _dot(atoms[chosen[t]], atoms[new])
        value = (value - _dot(factor[t, :t], factor[size, :t])) / factor[t, t]
        factor[size, t] = value
        pivot -= value**2
    if pivot <= SINGULAR:
        return False
    factor[size, size] = math.sqrt(pivot)
    return True


@njit(cache=True)
def _grow_(factor: Any, signs: Any, size: int, out: Any) -> None:
    """Write (L L^T)^-1 signs into ``out``."""
    for i in range(size):
        out[i] = (signs[i] - _dot(factor[i, :i], out[:i])) / factor[i, i]
    for i in range(size - 1, -1, -1):
        out[i] /= factor[i, i]
        for t in range(i):
            out[t] -= factor[i, t] * out[i]


@njit(cache=True)
def _next_entry(slope: Any, fall: Any, penalty: float, resting: Any, left: Any, non_negative: bool) -> Any:
    """Return how far the penalty falls until a slope that does not rest meets it, whose, and with which sign.

    The atom that has just left is at the penalty still, and moves away from it: it may only meet the other side.
    """
    best, entering, sign = np.inf, -1, 1.0
    for i in range(len(slope)):
        if resting[i]:
            continue
        for side in (1.0, -1.0):
            room = 1 - side * fall[i]
            if i == left[0] and side == left[1]:
                continue
            if room > PARALLEL and not (non_negative and side < 0):
                step = max((penalty - side * slope[i]) / room, 0.0)
                if step < best:
                    best, entering, sign = step, i, side
    return best, entering, sign


@njit(cache=True)
def _next_exit(z: Any, w: Any, signs: Any, size: int) -> Any:
    """Return how far the penalty falls until an active coefficient vanishes, and its place."""
    best, leaving = np.inf, -1
    for t in range(size):
        if w[t] * signs[t] < 0:
            step = max(-z[t] / w[t], 0.0)
            if step <= best:
                best, leaving = step, t
    return best, leaving


@njit(cache=True)
def _record_(trace: Any, count: int, penalty: float, chosen: Any, z: Any, size: int) -> int:
    """Write a breakpoint, over the last one if the penalty has not fallen since; return how many there are."""
    penalties, codes = trace
    if len(penalties) == 0:
        return 0
    if count == 0 or penalty < penalties[count - 1]:
        count += 1
    penalties[count - 1] = penalty
    codes[count - 1] = 0
    for t in range(size):
        codes[count - 1, chosen[t]] = z[t]
    return count


@njit(cache=True)
def _leave_(dictionary: Any, state: Any, size: int, leaving: int) -> int:
    chosen, signs, z, _, factor = state
    for t in range(leaving, size - 1):
        chosen[t], signs[t], z[t] = chosen[t + 1], signs[t + 1], z[t + 1]
    for t in range(leaving, size - 1):
        _append_(dictionary, chosen, factor, t)  # a subset of independent atoms is independent
    return size - 1


@njit(cache=True)
def _follow_(b: Any, dictionary: Any, state: Any, sweep: Any, rule: Any, trace: Any) -> Any:
    """Follow the path from its largest penalty to ``end``; return size, penalty reached and breakpoints recorded."""
    chosen, signs, z, w, factor = state
    slope, fall, resting, spare = sweep
    end, limit, non_negative = rule
    resting[:] = False
    fall[:] = 0
    reach = np.max(b) if non_negative else np.max(np.abs(b))
    penalty, size, left, count = reach if reach > end * (1 + ROUNDING) else end, 0, (-1, 0.0), 0
    for _ in range(limit):
        count = _record_(trace, count, penalty, chosen, z, size)
        if penalty <= end:
            return size, end, count
        _grow_(factor, signs, size, w)
        _products_(w, dictionary, chosen, size, spare, fall)
        _products_(z, dictionary, chosen, size, spare, slope)
        for i in range(len(b)):
            slope[i] = b[i] - slope[i]
        entry, entering, sign = _next_entry(slope, fall, penalty, resting, left, non_negative)
        departure, leaving = _next_exit(z, w, signs, size)
        left = (-1, 0.0)
        stretch = min(entry, departure, penalty - end)
        if penalty - stretch < VANISHED * reach:
            stretch = penalty - end
        for t in range(size):
            z[t] += stretch * w[t]
        if stretch >= penalty - end:
            penalty = end
            continue
        penalty -= stretch
        if departure <= entry:
            left = (chosen[leaving], signs[leaving])
            resting[chosen[leaving]] = False
            size = _leave_(dictionary, state, size, leaving)
            continue
        chosen[size], signs[size], z[size], resting[entering] = entering, sign, 0.0, True
        if size + 1 < len(chosen) and _append_(dictionary, chosen, factor, size):
            size += 1  # a dependent atom rests for good: its slope is a fixed share of the penalty
    return size, penalty, count


@njit(cache=True, parallel=True)
def _follow_all_(b: Any, dictionary: Any, end: Any, limit: int, non_negative: bool, out: Any) -> None:
    start, indices, data, count, reached = out
    p, d = dictionary[1].shape
    for chunk in prange((len(b) + CHUNK - 1) // CHUNK):
        most = min(p, d) + 1
        chosen, factor = np.empty(most, np.int64), np.empty((most, most))
        state = (chosen, np.empty(most), np.empty(most), np.empty(most), factor)
        sweep = (np.empty(p), np.empty(p), np.empty(p, np.bool_), np.empty(d))
        trace = (np.empty(0), np.empty((0, p)))
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(b))):
            rule = (end[row], limit, non_negative)
            size, reached[row], _ = _follow_(b[row], dictionary, state, sweep, rule, trace)
            order = np.argsort(chosen[:size])
            for t in range(size):
                indices[start[row] + t], data[start[row] + t] = chosen[order[t]], state[2][order[t]]
            count[row] = size


def follow_paths_(
    correlations: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    end: npt.NDArray[Any],
    rule: tuple[int, bool],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Fill ``out`` (start, indices, data, count, penalty reached) with the codes at penalty ``end (n,)`` of each path.

    ``correlations`` is x @ atoms.T; ``dictionary`` the Gram matrix ((0, p) if it is too large) and the atoms; ``rule``
    the most breakpoints, and whether codes are non-negative.
    """
    _follow_all_(correlations, dictionary, end, rule[0], rule[1], out)


@njit(cache=True)
def _trace(b: Any, dictionary: Any, end: float, limit: int, non_negative: bool) -> Any:
    p, d = dictionary[1].shape
    most = min(p, d) + 1
    state = (np.empty(most, np.int64), np.empty(most), np.empty(most), np.empty(most), np.empty((most, most)))
    sweep = (np.empty(p), np.empty(p), np.empty(p, np.bool_), np.empty(d))
    trace = (np.empty(limit), np.empty((limit, p)))
    _, reached, count = _follow_(b, dictionary, state, sweep, (end, limit, non_negative), trace)
    return trace[0][:count], trace[1][:count], reached


def trace_path(
    correlations: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    end: float,
    limit: int,
    non_negative: bool,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], float]:
    """Return penalties ``(s,)`` and codes ``(s, p)`` at the breakpoints of one sample's path, and the end reached."""
    penalties, codes, reached = _trace(correlations, dictionary, end, limit, non_negative)
    return penalties, codes, float(reached)
