"""The lasso on an active set: exact solutions on a few atoms, sweeps over all atoms only to admit and to certify.

Sweeps are in the precision of the samples; systems on the active set, residuals and duality gaps are in float64, and
slopes that a sweep cannot tell from the largest are computed again in float64. One problem a row:

    min_z ||x - z A||^2 / 2 + sum_i l_i |z_i| + ridge ||z||^2 / 2,  l_i = penalty w_i, w_i = 1 unless listed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

CHUNK = 64  # rows that share work arrays
BLOCK = 64  # slopes per step of the search for large ones
BATCH = 8  # atoms admitted at a time
SHARE = 0.6  # of the largest slope: violators below wait for the next sweep
SINGULAR = 1e-12  # squared distance of a unit atom from the span of the active ones below which it counts as dependent
MARGIN = 8.0  # a slope is resolved to MARGIN sqrt(d) eps (||x|| + ||z||_1): rounding adds up like a random walk
CORRECTIONS = 3  # of the active coefficients, by their residual


@njit(cache=True, fastmath={"contract", "reassoc"})
def _dot(a: Any, b: Any) -> float:
    total = 0.0
    for column in range(len(a)):
        total += np.float64(a[column]) * np.float64(b[column])  # float() would stay in float32
    return total


@njit(cache=True)
def _inner(dictionary: Any, i: int, j: int) -> float:
    """Return the float64 inner product of atoms i and j (with the ridge where they are one)."""
    gram, atoms, ridge = dictionary
    value = np.float64(gram[i, j]) if len(gram) and gram.itemsize == 8 else _dot(atoms[i], atoms[j])
    return value + ridge if i == j else value


@njit(cache=True, fastmath={"contract"})
def _subtract_rows_(out: Any, weights: Any, rows: Any, chosen: Any, size: int) -> None:
    """Subtract ``weights[t] * rows[chosen[t]]`` for t < ``size`` from ``out``, four rows a pass."""
    kind, quads = out.dtype.type, size - size % 4
    for t in range(0, quads, 4):
        w0, w1, w2, w3 = kind(weights[t]), kind(weights[t + 1]), kind(weights[t + 2]), kind(weights[t + 3])
        r0, r1, r2, r3 = rows[chosen[t]], rows[chosen[t + 1]], rows[chosen[t + 2]], rows[chosen[t + 3]]
        for column in range(len(out)):
            value = out[column] - w0 * r0[column]
            value -= w1 * r1[column]
            value -= w2 * r2[column]
            value -= w3 * r3[column]
            out[column] = value
    for t in range(quads, size):
        weight, row = kind(weights[t]), rows[chosen[t]]
        for column in range(len(out)):
            out[column] -= weight * row[column]


@njit(cache=True)
def _sweep_(problem: Any, dictionary: Any, state: Any, size: int, slope: Any) -> None:
    """Write A (x - z A) / w, zero at active atoms, into ``slope (p,)``."""
    x, b, weights = problem[:3]
    gram, atoms, _ = dictionary
    chosen, _, z, residual = state[:4]
    if len(gram):
        slope[:] = b
        _subtract_rows_(slope, z, gram, chosen, size)
    else:
        residual[:] = x
        _subtract_rows_(residual, z, atoms, chosen, size)
        for i in range(len(slope)):
            slope[i] = _dot(atoms[i], residual)
    for i in range(len(weights[0])):
        slope[weights[0][i]] /= weights[1][i]
    for t in range(size):
        slope[chosen[t]] = 0


@njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _peaks_(slope: Any, non_negative: bool, peaks: Any) -> float:
    """Write the largest slope, or magnitude of one, of each block of slopes (at least zero); return the largest."""
    highest = 0.0
    for block in range(len(peaks)):
        largest = slope.dtype.type(0)
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(slope))):
            value = slope[i] if non_negative else abs(slope[i])
            largest = value if value > largest else largest
        peaks[block] = largest
        highest = max(highest, np.float64(largest))
    return highest


@njit(cache=True)
def _violators_(slope: Any, non_negative: bool, peaks: Any, threshold: float, found: Any) -> int:
    """Write up to ``len(found)`` atoms with slopes above ``threshold``, the largest first, then the lowest index."""
    count = 0
    for block in range(len(peaks)):
        if not peaks[block] > threshold:
            continue
        for i in range(block * BLOCK, min((block + 1) * BLOCK, len(slope))):
            value = slope[i] if non_negative else abs(slope[i])
            if not value > threshold:
                continue
            place = min(count, len(found) - 1)
            if count == len(found) and not value > abs(slope[found[place]]):
                continue
            while place > 0 and abs(slope[found[place - 1]]) < value:
                found[place] = found[place - 1]
                place -= 1
            found[place] = i
            count = min(count + 1, len(found))
    return count


@njit(cache=True)
def _weight(problem: Any, atom: int) -> float:
    where, value = problem[2]
    for i in range(len(where)):
        if where[i] == atom:
            return float(value[i])
    return 1.0


@njit(cache=True)
def _project_(dictionary: Any, state: Any, size: int, atom: int) -> float:
    """Write L^-1 G[S, atom] as row ``size`` of the factor, and return the squared distance from the span."""
    chosen, factor, inverse = state[0], state[4], state[5][3]
    row = factor[size]
    pivot = _inner(dictionary, atom, atom)
    for t in range(size):
        value = _inner(dictionary, chosen[t], atom)
        for j in range(t):
            value -= factor[t, j] * row[j]
        row[t] = value * inverse[t]
        pivot -= row[t] ** 2
    return float(pivot)


@njit(cache=True)
def _append_(problem: Any, dictionary: Any, state: Any, size: int, atom: int, entry: Any) -> None:
    """Make ``atom`` active, row ``size`` of the factor being its projection; ``entry`` is pivot, sign and value."""
    x, b, _, penalty = problem
    chosen, _, z, _, factor, right = state
    pivot, sign, value = entry
    factor[size, size] = math.sqrt(pivot)
    right[3, size] = 1 / factor[size, size]
    chosen[size], z[size] = atom, value
    right[0, size] = _weight(problem, atom) * penalty * sign
    right[1, size] = b[atom] if b.itemsize == 8 else _dot(dictionary[1][atom], x)
    right[2, size] = sign


@njit(cache=True)
def _drop_(state: Any, size: int, leaving: int) -> None:
    """Take place ``leaving`` out of the active set; rotations keep the factor triangular."""
    chosen, _, z, _, factor, right = state
    for t in range(leaving, size - 1):
        chosen[t], z[t] = chosen[t + 1], z[t + 1]
        for i in range(max(t + 2, 3)):
            right[min(i, 2), t], factor[t, i] = right[min(i, 2), t + 1], factor[t + 1, i]
    for t in range(leaving, size - 1):
        length = math.hypot(factor[t, t], factor[t, t + 1])
        c, s = factor[t, t] / length, factor[t, t + 1] / length
        for i in range(t, size - 1):
            u, v = factor[i, t], factor[i, t + 1]
            factor[i, t], factor[i, t + 1] = c * u + s * v, c * v - s * u
        right[3, t] = 1 / length


@njit(cache=True)
def _back_(factor: Any, inverse: Any, size: int, out: Any) -> None:
    """Replace ``out`` by L^-T out; ``inverse`` is one over the diagonal of L."""
    for i in range(size - 1, -1, -1):
        value = out[i] * inverse[i]
        out[i] = value
        for t in range(i):
            out[t] -= factor[i, t] * value


@njit(cache=True)
def _settle_(state: Any, size: int) -> int:
    """Minimise over the active atoms with their signs, dropping those that reach zero; return how many stay.

    A step goes to the minimum, or to where the first coefficient vanishes; of several the last to enter leaves first.
    """
    _, target, z, _, factor, right = state
    while size > 0:
        for i in range(size):
            value = right[1, i] - right[0, i]
            for t in range(i):
                value -= factor[i, t] * target[t]
            target[i] = value * right[3, i]
        _back_(factor, right[3], size, target)
        step, leaving = 1.0, -1
        for t in range(size):
            if target[t] * right[2, t] <= 0:
                ratio = z[t] / (z[t] - target[t]) if z[t] * right[2, t] > 0 else 0.0
                if ratio <= step:
                    step, leaving = ratio, t
        if leaving < 0:
            z[:size] = target[:size]
            return size
        for t in range(size):
            z[t] += step * (target[t] - z[t])
        _drop_(state, size, leaving)
        size -= 1
    return 0


@njit(cache=True)
def _exchange_(problem: Any, dictionary: Any, state: Any, size: int, atom: int, sign: float) -> int:
    """Let a dependent atom grow at the cost of the active ones, the fit unchanged, until one of these vanishes.

    The atom takes its place: a shorter code of the same fit, since the slope of ``atom`` exceeds the penalty.
    Returns the new size, or -1 and does nothing where no coefficient falls.
    """
    _, share, z, _, factor, right = state
    share[:size] = factor[size, :size]
    _back_(factor, right[3], size, share)
    step, leaving = np.inf, -1
    for t in range(size):
        fall = share[t] * sign * right[2, t]
        if fall > 0 and abs(z[t]) < step * fall:
            step, leaving = abs(z[t]) / fall, t
    if leaving < 0:
        return -1
    for t in range(size):
        z[t] -= step * sign * share[t]
    _drop_(state, size, leaving)
    pivot = _project_(dictionary, state, size - 1, atom)
    if pivot <= SINGULAR:  # rounding: the atom depends on those that stay, and may come back by a later sweep
        return size - 1
    _append_(problem, dictionary, state, size - 1, atom, (pivot, sign, step * sign))
    return size


@njit(cache=True)
def _admit_(problem: Any, dictionary: Any, state: Any, size: int, slope: Any, found: Any) -> int:
    """Make ``found`` atoms active and minimise; return the new size, or -1 where no atom could be admitted.

    An atom that depends on the active ones waits for another sweep, unless it is the first.
    """
    before = size
    for i in range(len(found)):
        atom, sign = found[i], 1.0 if slope[found[i]] > 0 else -1.0
        pivot = _project_(dictionary, state, size, atom)
        if pivot > SINGULAR and size + 1 < len(state[0]):
            _append_(problem, dictionary, state, size, atom, (pivot, sign, 0.0))
            size += 1
        elif i == 0:
            size = _exchange_(problem, dictionary, state, size, atom, sign)
            if size < 0:
                return -1
            before = -1
    return _settle_(state, size) if size != before else -1


@njit(cache=True)
def _polish_(problem: Any, dictionary: Any, state: Any, size: int, noise: float) -> int:
    """Solve the active system again for what its float64 residual leaves; return the size, smaller if atoms drop out.

    The residual and the slopes at the active atoms stay in ``state``.
    """
    (x, _, _, _), (_, atoms, ridge) = problem, dictionary
    chosen, slope, z, residual, _, right = state
    for attempt in range(CORRECTIONS + 1):
        residual[:] = x
        _subtract_rows_(residual, z, atoms, chosen, size)
        error = 0.0
        for t in range(size):
            slope[t] = _dot(atoms[chosen[t]], residual) - ridge * z[t]
            error = max(error, abs(slope[t] - right[0, t]))
        if error <= noise or attempt == CORRECTIONS:
            break
        for t in range(size):
            right[1, t] += slope[t] - right[0, t]
        settled = _settle_(state, size)
        if settled < size:
            return settled
    return size


@njit(cache=True)
def _recheck_(problem: Any, dictionary: Any, state: Any, sweep: Any, cutoff: float) -> Any:
    """Compute the slopes above ``cutoff`` again, in float64; return the largest and its atom (the penalty and -1)."""
    slope, peaks, _, non_negative = sweep
    worst, top = -1, problem[3]
    for block in range(len(peaks)):
        if peaks[block] > cutoff:
            for i in range(block * BLOCK, min((block + 1) * BLOCK, len(slope))):
                if (slope[i] if non_negative else abs(slope[i])) > cutoff and slope[i] != 0:
                    value = _dot(dictionary[1][i], state[3]) / _weight(problem, i)
                    slope[i] = value
                    value = value if non_negative else abs(value)
                    if value > top:
                        top, worst = value, i
    return top, worst


@njit(cache=True)
def _relative_gap(problem: Any, dictionary: Any, state: Any, size: int, top: float) -> float:
    """Return the duality gap over ||x||^2 / 2 (without a penalty the largest slope over ||x||).

    ``state`` is as `_polish_` leaves it, ``top`` the largest slope at other atoms, at least the penalty. The dual
    point is the residual r scaled to be feasible: with t = min(1, penalty / max slope) the gap is
    (1 - t)^2 ||r||^2 / 2 + sum l |z| - t r.(z A), for r and A with the rows of the ridge.
    """
    (x, _, _, penalty), ridge = problem, dictionary[2]
    chosen, inside, z, residual, _, right = state
    energy, size_l1, inner = _dot(residual, residual), 0.0, _dot(inside[:size], z[:size])
    for t in range(size):
        top = max(top, abs(inside[t]) / _weight(problem, chosen[t]))
        energy += ridge * z[t] ** 2
        size_l1 += abs(right[0, t] * z[t])
    if penalty == 0:
        return float(top / math.sqrt(_dot(x, x)))
    t = penalty / top
    return float(((1 - t) ** 2 * energy / 2 + size_l1 - t * inner) / (_dot(x, x) / 2))


@njit(cache=True)
def _estimate(state: Any, size: int, largest: float, penalty: float, energy: float) -> float:
    """Return the relative duality gap that a sweep makes likely: exact but for rounding, if the active set is."""
    z, right = state[2][:size], state[5]
    t = penalty / max(largest, penalty) if penalty > 0 else 0.0
    l1 = _dot(right[0, :size], z)
    rest = energy - l1 - _dot(right[1, :size], z)
    return ((1 - t) ** 2 * rest / 2 + (1 - t) * l1) / (energy / 2)


@njit(cache=True)
def _begin_(problem: Any, dictionary: Any, state: Any, begin: Any, non_negative: bool) -> int:
    """Make the atoms of ``begin`` (atoms, codes, from, to) active and minimise from there; return how many stay."""
    size, (atoms, values, low, high) = 0, begin
    for i in range(low, high):
        if (values[i] > 0 if non_negative else values[i] != 0) and size + 1 < len(state[0]):
            pivot = _project_(dictionary, state, size, atoms[i])
            if pivot > SINGULAR:
                sign = 1.0 if values[i] > 0 else -1.0
                _append_(problem, dictionary, state, size, atoms[i], (pivot, sign, values[i]))
                size += 1
    return _settle_(state, size) if size > 0 else 0


@njit(cache=True)
def _minimise_(problem: Any, dictionary: Any, state: Any, sweep: Any, stop: Any, begin: Any) -> Any:
    """Leave the solution in ``state``; return its size and the relative gap reached.

    It starts with the atoms of ``begin`` active.
    Where no atom is left to admit and the gap still exceeds the tolerance, rounding ends the work early.
    """
    (x, _, _, penalty), (tolerance, max_steps) = problem, stop
    slope, peaks, found, non_negative = sweep
    z, size, energy, step = state[2], 0, _dot(x, x), 0
    unit = MARGIN * math.sqrt(len(x))
    coarse, fine = unit * np.finfo(slope.dtype).eps, unit * np.finfo(np.float64).eps
    if begin[2] < begin[3]:
        size = _begin_(problem, dictionary, state, begin, non_negative)
    while True:
        _sweep_(problem, dictionary, state, size, slope)
        largest, length = _peaks_(slope, non_negative, peaks), math.sqrt(energy) + np.sum(np.abs(z[:size]))
        noise, last = coarse * length, step >= max_steps
        step += 1
        likely = _estimate(state, size, largest, penalty, energy)
        if largest > penalty + noise and likely > tolerance and not last:
            count = _violators_(slope, non_negative, peaks, max(penalty + noise, SHARE * largest), found)
            larger = _admit_(problem, dictionary, state, size, slope, found[:count])
            if larger >= 0:
                size = larger
                continue
        polished = _polish_(problem, dictionary, state, size, fine * length)
        if polished < size and not last:
            size = polished
            continue
        size = polished
        top, worst = _recheck_(problem, dictionary, state, sweep, max(largest, penalty) - 2 * noise)
        gap = _relative_gap(problem, dictionary, state, size, top)
        if gap <= tolerance or last or worst < 0 or top <= penalty + fine * length:
            return size, gap
        found[0] = worst
        larger = _admit_(problem, dictionary, state, size, slope, found[:1])
        if larger < 0:
            return size, gap
        size = larger


@njit(cache=True, parallel=True)
def active_set_(x: Any, b: Any, dictionary: Any, law: Any, weights: Any, stop: Any, begin: Any, out: Any) -> None:
    """Fill ``out`` (start, indices, data, count, relative gaps) with the codes of ``x (n, d)``, of magnitude about 1.

    ``b`` is x @ atoms.T, ``dictionary`` the Gram matrix ((0, p) if it is too large), the atoms and the ridge; ``law``
    each row's penalty and scale of codes, and whether codes are non-negative; ``weights`` each row's atoms with a
    weight in (0, 1) (limits, atoms, weights); ``stop`` the relative gap (for penalty 0 a slope) and the most sweeps;
    ``begin`` each row's codes to start from, in its units (limits, atoms, codes), empty for zero.
    """
    penalty, scale, non_negative = law
    start, indices, data, count, gaps = out
    indptr, where, weight = weights
    limits, atoms, codes = begin
    p, d = dictionary[1].shape
    most = (p if dictionary[2] > 0 else min(p, d)) + 1  # a ridge makes any atoms independent
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        chosen, factor, right = np.empty(most, np.int64), np.empty((most, most)), np.empty((4, most))
        state = (chosen, np.empty(most), np.empty(most), np.empty(d), factor, right)
        slope, peaks = np.empty(p, x.dtype), np.empty((p + BLOCK - 1) // BLOCK, x.dtype)
        sweep = (slope, peaks, np.empty(BATCH, np.int64), non_negative)
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))):
            own = slice(indptr[row], indptr[row + 1])
            problem = (x[row], b[row], (where[own], weight[own]), penalty[row])
            size, gaps[row] = 0, 0.0
            if np.any(x[row] != 0):
                given = (atoms, codes, limits[row], limits[row + 1])  # slices would cost every row
                size, gaps[row] = _minimise_(problem, dictionary, state, sweep, stop, given)
            order = np.argsort(chosen[:size])
            for t in range(size):
                value = state[2][order[t]] * scale[row]
                indices[start[row] + count[row]], data[start[row] + count[row]] = chosen[order[t]], value
                count[row] += 1 if value != 0 else 0
