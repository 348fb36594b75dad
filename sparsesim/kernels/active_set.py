"""The lasso on an active set: exact solutions on a few atoms, sweeps over all atoms only to admit and to certify.

Sweeps are in float32; systems on the active set, residuals and duality gaps are in float64, and slopes that a sweep
cannot tell from the largest are computed again in float64. One problem a row:

    min_z ||x - z A||^2 / 2 + sum_i l_i |z_i| + ridge ||z||^2 / 2,  l_i = penalty w_i, w_i = 1 unless listed.

What is known of the active atoms is in ``chosen`` and, by place, in the rows of ``system``: the coefficients where
the minimum is (TARGET) and where they are (VALUE), l_i sign (PRICE), the slopes at zero (SLOPE), signs (SIGN) and, from
row FACTOR on, the Cholesky factor L of their Gram matrix with one over its diagonal (INVERSE).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from sparsesim.kernels.compiled import borrowing, larger

CHUNK = 64  # rows that share work arrays
LANES = 64  # slopes at equal places modulo LANES are searched together
BATCH = 8  # atoms admitted at a time
SHARE = 0.6  # of the largest slope: violators below wait for the next sweep
SINGULAR = 1e-12  # squared distance of a unit atom from the span of the active ones below which it counts as dependent
MARGIN = 8.0  # a slope is resolved to MARGIN sqrt(d) eps (||x|| + ||z||_1): rounding adds up like a random walk
CORRECTIONS = 3  # of the active coefficients, by their residual
LONG: Any = np.int64  # a literal has callees compiled twice: once for itself
NONE, NOUGHT, ONE = LONG(-1), LONG(0), LONG(1)
TARGET, VALUE, PRICE, SLOPE, SIGN, INVERSE, FACTOR = (LONG(row) for row in range(7))  # of ``system``
COARSE, FINE = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)


@borrowing("contract", "reassoc")
def _dot(a: Any, b: Any) -> Any:
    total = a.dtype.type(0)
    for column in range(len(a)):
        total += a[column] * b[column]
    return total


@borrowing("contract", "reassoc")
def _dots_(atoms: Any, chosen: Any, size: int, vector: Any, out: Any, row: int) -> None:
    """Write the products of the chosen atoms with ``vector`` into ``out[row]``, four a pass."""
    for t in range(0, size, 4):
        t1, t2, t3 = min(t + 1, size - 1), min(t + 2, size - 1), min(t + 3, size - 1)
        r0, r1, r2, r3 = atoms[chosen[t]], atoms[chosen[t1]], atoms[chosen[t2]], atoms[chosen[t3]]
        a = b = c = d = 0.0
        for column in range(len(vector)):
            a += vector[column] * r0[column]
            b += vector[column] * r1[column]
            c += vector[column] * r2[column]
            d += vector[column] * r3[column]
        out[row, t3], out[row, t2], out[row, t1], out[row, t] = d, c, b, a


@borrowing("contract")
def _less_rows_(start: Any, system: Any, rows: Any, chosen: Any, size: int, out: Any) -> None:
    """Write ``start`` less ``system[VALUE, t] * rows[chosen[t]]`` for t < ``size``, four rows a pass."""
    kind = out.dtype.type
    for column in range(len(out)):
        out[column] = start[column]
    for t in range(0, size, 4):
        t1, t2, t3 = min(t + 1, size - 1), min(t + 2, size - 1), min(t + 3, size - 1)
        w0 = kind(system[VALUE, t])
        w1 = kind(system[VALUE, t1] if t1 > t else 0.0)
        w2 = kind(system[VALUE, t2] if t2 > t1 else 0.0)
        w3 = kind(system[VALUE, t3] if t3 > t2 else 0.0)
        r0, r1, r2, r3 = rows[chosen[t]], rows[chosen[t1]], rows[chosen[t2]], rows[chosen[t3]]
        for column in range(len(out)):
            value = out[column] - w0 * r0[column]
            value -= w1 * r1[column]
            value -= w2 * r2[column]
            value -= w3 * r3[column]
            out[column] = value


@borrowing()
def _sweep_(problem: Any, dictionary: Any, state: Any, size: int, slope: Any) -> None:
    """Write A (x - z A) / w, zero at active atoms, into ``slope (p,)``."""
    x, b, where, weight, first, last, _ = problem
    gram, _, narrow, atoms, _ = dictionary
    chosen, system, residual, short = state
    if len(gram) or size == 0:
        _less_rows_(b, system, gram, chosen, size, slope)
    else:
        _less_rows_(x, system, atoms, chosen, size, residual)
        for column in range(len(x)):
            short[column] = residual[column]
        for i in range(len(slope)):
            slope[i] = _dot(narrow[i], short)
    for i in range(first, last):
        slope[where[i]] /= weight[i]
    for t in range(size):
        slope[chosen[t]] = 0


@borrowing()
def _peaks_(slope: Any, non_negative: bool, peaks: Any) -> float:
    """Write the largest slope (or magnitude of one, at least zero) of each lane; return the largest of all."""
    highest = slope.dtype.type(0)
    for lane in range(len(peaks)):
        peaks[lane] = 0
    for low in range(0, len(slope), LANES):
        part = slope[low : low + LANES]
        for lane in range(len(part)):
            peaks[lane] = larger(part[lane] if non_negative else abs(part[lane]), peaks[lane])
    for lane in range(len(peaks)):
        highest = larger(peaks[lane], highest)
    return np.float64(highest)


@borrowing()
def _precedes(value: float, i: int, other: float, j: int) -> bool:
    return value > other or (value == other and i < j)


@borrowing()
def _violators_(slope: Any, non_negative: bool, peaks: Any, threshold: float, found: Any, heights: Any) -> Any:
    """Write up to BATCH atoms with slopes above ``threshold``, and these: the largest, then the lowest index first."""
    count, floor = NOUGHT, slope.dtype.type(threshold)
    for lane in range(len(peaks)):
        if peaks[lane] > floor:
            for i in range(lane, len(slope), LANES):
                value = slope[i] if non_negative else abs(slope[i])
                if value > floor:
                    place = count
                    while place > 0 and _precedes(value, i, abs(heights[place - 1]), found[place - 1]):
                        if place < BATCH:
                            found[place], heights[place] = found[place - 1], heights[place - 1]
                        place -= 1
                    if place < BATCH:
                        found[place], heights[place] = i, slope[i]
                        count = min(count + 1, BATCH)
    return count


@borrowing()
def _weight(problem: Any, atom: int) -> float:
    _, _, where, weight, first, last, _ = problem
    for i in range(first, last):
        if where[i] == atom:
            return float(weight[i])
    return 1.0


@borrowing("contract")
def _project_(dictionary: Any, chosen: Any, system: Any, size: int, atom: int) -> Any:
    """Write L^-1 G[S, atom] as row ``size`` of the factor, and return the squared distance from the span."""
    row, (_, wide, _, atoms, ridge) = FACTOR + size, dictionary
    if len(wide):
        pivot = wide[atom, atom] + ridge
        for t in range(size):
            system[row, t] = wide[atom, chosen[t]]
    else:
        _dots_(atoms, chosen, size, atoms[atom], system, row)
        pivot = _dot(atoms[atom], atoms[atom]) + ridge
    for t in range(size):
        value = system[row, t]
        for j in range(t):
            value -= system[FACTOR + t, j] * system[row, j]
        value *= system[INVERSE, t]
        system[row, t] = value
        pivot -= value * value
    return pivot


@borrowing()
def _append_(problem: Any, atoms: Any, chosen: Any, system: Any, size: int, entry: Any) -> None:
    """Make an atom active, row ``size`` of the factor being its projection; ``entry``: atom, pivot, sign and value."""
    atom, pivot, sign, value = entry
    chosen[size] = atom
    length = math.sqrt(pivot)
    system[FACTOR + size, size] = length
    system[INVERSE, size] = 1 / length
    system[VALUE, size] = value
    system[PRICE, size] = _weight(problem, atom) * problem[6] * sign
    system[SLOPE, size] = _dot(atoms[atom], problem[0])
    system[SIGN, size] = sign


@borrowing("contract")
def _drop_(chosen: Any, system: Any, size: int, leaving: int) -> None:
    """Take place ``leaving`` out of the active set; rotations keep the factor triangular."""
    for t in range(leaving, size - 1):
        chosen[t] = chosen[t + 1]
        for i in range(VALUE, SIGN + 1):
            system[i, t] = system[i, t + 1]
        for i in range(t + 2):
            system[FACTOR + t, i] = system[FACTOR + t + 1, i]
    for t in range(leaving, size - 1):
        c, s = system[FACTOR + t, t], system[FACTOR + t, t + 1]
        inverse = 1 / math.sqrt(c * c + s * s)  # s is the diagonal of an active atom: not zero
        system[INVERSE, t], c, s = inverse, c * inverse, s * inverse
        for i in range(FACTOR + t, FACTOR + size - 1):
            u, v = system[i, t], system[i, t + 1]
            system[i, t], system[i, t + 1] = c * u + s * v, c * v - s * u


@borrowing("contract")
def _back_(system: Any, size: int) -> None:
    """Replace the row TARGET t by L^-T t."""
    for i in range(size - 1, -1, -1):
        value = system[TARGET, i] * system[INVERSE, i]
        system[TARGET, i] = value
        for t in range(i):
            system[TARGET, t] -= system[FACTOR + i, t] * value


@borrowing("contract")
def _settle_(chosen: Any, system: Any, size: int) -> int:
    """Minimise over the active atoms with their signs, dropping those that reach zero; return how many stay.

    A step goes to the minimum, or to where the first coefficient vanishes; of several the last to enter leaves first.
    """
    while size > 0:
        for i in range(size):
            value = system[SLOPE, i] - system[PRICE, i]
            for t in range(i):
                value -= system[FACTOR + i, t] * system[TARGET, t]
            system[TARGET, i] = value * system[INVERSE, i]
        _back_(system, size)
        step, leaving = 1.0, NONE
        for t in range(size):
            if system[TARGET, t] * system[SIGN, t] <= 0:
                value = system[VALUE, t]
                ratio = value / (value - system[TARGET, t]) if value * system[SIGN, t] > 0 else 0.0
                if ratio <= step:
                    step, leaving = ratio, t
        for t in range(size):
            value, target = system[VALUE, t], system[TARGET, t]
            system[VALUE, t] = value + step * (target - value) if leaving >= 0 else target
        if leaving < 0:
            return size
        _drop_(chosen, system, size, leaving)
        size -= 1
    return 0


@borrowing()
def _exchange_(chosen: Any, system: Any, size: int, sign: float) -> float:
    """Let a dependent atom grow at the cost of the active ones, the fit unchanged, until one of these vanishes.

    Row ``size`` of the factor is its projection. Returns how far it grows, one active atom being dropped, or -1 and
    does nothing where no coefficient falls.
    """
    for t in range(size):
        system[TARGET, t] = system[FACTOR + size, t]
    _back_(system, size)
    step, leaving = np.inf, NONE
    for t in range(size):
        fall = system[TARGET, t] * sign * system[SIGN, t]
        if fall > 0 and abs(system[VALUE, t]) < step * fall:
            step, leaving = abs(system[VALUE, t]) / fall, t
    if leaving < 0:
        return -1.0
    for t in range(size):
        system[VALUE, t] -= step * sign * system[TARGET, t]
    _drop_(chosen, system, size, leaving)
    return step


@borrowing()
def _admit_(problem: Any, dictionary: Any, state: Any, size: int, entering: Any) -> int:
    """Make atoms active and minimise; return the new size, or -1 where no atom could be admitted.

    ``entering`` are atoms, what their signs are those of, the range of those to admit, and the share of it where they
    start: at zero for violators. A violator that depends on the active atoms waits for another sweep, unless it is the
    first: then it takes the place of one of them, a shorter code of the same fit, since its slope exceeds the penalty.
    """
    chosen, system = state[0], state[1]
    which, given, low, high, share = entering
    changed = False
    for i in range(low, high):
        atom, sign, value = which[i], 1.0 if given[i] > 0 else -1.0, share * given[i]
        pivot = _project_(dictionary, chosen, system, size, atom)
        if share == 0 and i == low and (pivot <= SINGULAR or size + 1 == len(chosen)):
            value = _exchange_(chosen, system, size, sign) * sign
            if value * sign < 0:
                return -1
            size -= 1
            changed = True
            pivot = _project_(dictionary, chosen, system, size, atom)  # by rounding it may still depend, and then waits
        if pivot > SINGULAR and size + 1 < len(chosen):
            _append_(problem, dictionary[3], chosen, system, size, (atom, pivot, sign, value))
            size += 1
            changed = True
    return _settle_(chosen, system, size) if changed else -1


@borrowing()
def _polish_(x: Any, atoms: Any, ridge: float, state: Any, size: int, noise: float) -> int:
    """Solve the active system again for what its float64 residual leaves; return the size, smaller if atoms drop out.

    The residual and, in the row TARGET, the slopes at the active atoms stay in ``state``.
    """
    chosen, system, residual, _ = state
    for attempt in range(CORRECTIONS + 1):
        _less_rows_(x, system, atoms, chosen, size, residual)
        _dots_(atoms, chosen, size, residual, system, TARGET)
        error = 0.0
        for t in range(size):
            system[TARGET, t] -= ridge * system[VALUE, t]
            error = max(error, abs(system[TARGET, t] - system[PRICE, t]))
        if error <= noise or attempt == CORRECTIONS:
            break
        for t in range(size):
            system[SLOPE, t] += system[TARGET, t] - system[PRICE, t]
        settled = _settle_(chosen, system, size)
        if settled < size:
            return settled
    return size


@borrowing()
def _is_active(chosen: Any, size: int, atom: int) -> bool:
    active = False
    for t in range(size):
        active |= chosen[t] == atom
    return active


@borrowing()
def _recheck_(problem: Any, atoms: Any, state: Any, size: int, sweep: Any, cutoff: float) -> Any:
    """Compute the slopes above ``cutoff`` again, in float64; return the largest and its atom (the penalty and -1)."""
    slope, peaks, non_negative = sweep
    chosen, residual = state[0], state[2]
    worst, top = NONE, problem[6]
    for lane in range(len(peaks)):
        if peaks[lane] > cutoff:
            for i in range(lane, len(slope), LANES):
                value = slope[i] if non_negative else abs(slope[i])
                if value > cutoff and not (value == 0 and _is_active(chosen, size, i)):
                    exact = _dot(atoms[i], residual) / _weight(problem, i)
                    slope[i] = exact
                    exact = exact if non_negative else abs(exact)
                    if exact > top or (exact == top and i < worst):
                        top, worst = exact, LONG(i)
    return top, worst


@borrowing()
def _relative_gap(problem: Any, ridge: float, state: Any, size: int, top: float, energy: float) -> Any:
    """Return the duality gap over ||x||^2 / 2 = ``energy`` / 2 (without a penalty the largest slope over ||x||).

    ``state`` is as `_polish_` leaves it, ``top`` the largest slope at other atoms, at least the penalty. The dual
    point is the residual r scaled to be feasible: with t = min(1, penalty / max slope) the gap is
    (1 - t)^2 ||r||^2 / 2 + sum l |z| - t r.(z A), for r and A with the rows of the ridge.
    """
    chosen, system, residual, _ = state
    penalty, rest, price, inner = problem[6], _dot(residual, residual), 0.0, 0.0
    for t in range(size):
        slope, value = system[TARGET, t], system[VALUE, t]
        top = max(top, abs(slope) / _weight(problem, chosen[t]))
        rest += ridge * value * value
        price += abs(system[PRICE, t] * value)
        inner += slope * value
    if penalty == 0:
        return top / math.sqrt(energy)
    t = penalty / top
    return ((1 - t) ** 2 * rest / 2 + price - t * inner) / (energy / 2)


@borrowing()
def _estimate(system: Any, size: int, largest: float, penalty: float, energy: float) -> Any:
    """Return the relative duality gap that a sweep makes likely (exact, but for rounding, at its end), and ||z||_1."""
    t = penalty / max(largest, penalty) if penalty > 0 else 0.0
    price, rest, length = 0.0, energy, 0.0
    for i in range(size):
        value = system[VALUE, i]
        price += system[PRICE, i] * value
        rest -= system[SLOPE, i] * value
        length += abs(value)
    return ((1 - t) ** 2 * (rest - price) / 2 + (1 - t) * price) / (energy / 2), length


@borrowing()
def _lightest(problem: Any) -> float:
    """Return the smallest weight of an atom."""
    _, _, _, weight, first, last, _ = problem
    least = 1.0
    for i in range(first, last):
        least = min(least, weight[i])
    return least


@borrowing()
def _write_(chosen: Any, system: Any, size: int, scale: float, indices: Any, data: Any) -> Any:
    """Write the codes that are not zero in ascending atom order, times ``scale``; return how many there are."""
    count = NOUGHT
    for t in range(size):
        system[VALUE, t] *= scale
    for t in range(size):
        if system[VALUE, t] != 0:
            place = NOUGHT
            for j in range(size):
                place += (chosen[j] < chosen[t]) & (system[VALUE, j] != 0)
            indices[place], data[place] = chosen[t], system[VALUE, t]
            count += 1
    return count


@borrowing()
def _minimise_(row: int, samples: Any, dictionary: Any, law: Any, listed: Any, stop: Any, work: Any, out: Any) -> None:
    """Write the codes of one row and the relative gap that they reach.

    Where no atom is left to admit and the gap still exceeds the tolerance, rounding ends the work early.
    """
    ((indptr, where, weight), (limits, atoms, codes)), (tolerance, max_steps) = listed, stop
    chosen, system, residual, short, slope, peaks, found, heights = work
    state, non_negative, penalty = (chosen, system, residual, short), law[2], law[0][row]
    x, size, step = samples[0][row], NOUGHT, NOUGHT
    problem = (x, samples[1][row], where, weight, indptr[row], indptr[row + 1], penalty)
    energy, gap = _dot(x, x), 0.0
    norm, unit = math.sqrt(energy), MARGIN * math.sqrt(len(x))
    coarse, fine = unit * COARSE / _lightest(problem), unit * FINE
    if energy > 0 and limits[row] < limits[row + 1]:
        size = max(_admit_(problem, dictionary, state, size, (atoms, codes, limits[row], limits[row + 1], 1.0)), 0)
    while energy > 0:
        _sweep_(problem, dictionary, state, size, slope)
        largest = _peaks_(slope, non_negative, peaks)
        likely, length = _estimate(system, size, largest, penalty, energy)
        length += norm
        noise, last, count = coarse * length, step >= max_steps, NOUGHT
        step += 1
        if largest > penalty + noise and likely > tolerance and not last:
            count = _violators_(slope, non_negative, peaks, max(penalty + noise, SHARE * largest), found, heights)
            larger = _admit_(problem, dictionary, state, size, (found, heights, NOUGHT, count, 0.0))
            if larger >= 0:
                size = larger
                continue
        polished = _polish_(x, dictionary[3], dictionary[4], state, size, fine * length)
        if polished < size and not last:
            size = polished
            continue
        size = polished
        sweep = (slope, peaks, non_negative)
        top, worst = _recheck_(problem, dictionary[3], state, size, sweep, max(largest, penalty) - 2 * noise)
        gap = _relative_gap(problem, dictionary[4], state, size, top, energy)
        if gap <= tolerance or last or worst < 0 or top <= penalty + fine * length:
            break
        found[0], heights[0] = worst, slope[worst]
        larger = _admit_(problem, dictionary, state, size, (found, heights, NOUGHT, ONE, 0.0))
        if larger < 0:
            break
        size = larger
    start, indices, data, written, gaps = out
    gaps[row] = gap
    written[row] = _write_(chosen, system, size, law[1][row], indices[start[row] :], data[start[row] :])


@njit(cache=True, parallel=True)
def active_set_(x: Any, b: Any, dictionary: Any, law: Any, weights: Any, stop: Any, begin: Any, out: Any) -> None:
    """Fill ``out`` (start, indices, data, count, relative gaps) with the codes of ``x (n, d)``, of magnitude about 1.

    ``b`` is x @ atoms.T in float32; ``dictionary`` the Gram matrix in float32 and in float64 (each (0, p) if it is too
    large), the atoms in float32 and in float64, and the ridge; ``law`` each row's penalty and scale of codes, and
    whether codes are non-negative; ``weights`` each row's atoms with a weight in (0, 1) (limits, atoms, weights);
    ``stop`` the relative gap (for penalty 0 a slope) and the most sweeps; ``begin`` each row's codes to start from, in
    its units (limits, atoms, codes), none for zero. With ``non_negative`` these are positive.
    """
    p, d = dictionary[3].shape
    most = (p if dictionary[4] > 0 else min(p, d)) + 1  # a ridge makes any atoms independent
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        work = (
            np.empty(most, np.int64),
            np.empty((FACTOR + most, most)),
            np.empty(d),
            np.empty(d, np.float32),
            np.empty(p, np.float32),
            np.empty(min(p, LANES), np.float32),
            np.empty(BATCH, np.int64),
            np.empty(BATCH),
        )
        samples, listed = (x, b), (weights, begin)
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))):
            _minimise_(row, samples, dictionary, law, listed, stop, work, out)
