"""Greedy pursuits, one sample per loop step: matching pursuit and orthogonal matching pursuit.

Orthogonal matching pursuit never forms a residual. With G = A A^T and L the Cholesky factor of G on the chosen atoms,
it keeps the rows P_j = (G[i_j] - sum_{l<j} L_jl P_l) / L_jj; the row of L that belongs to a new atom i is P[:j, i],
and the correlations with the residual fall by z_j P_j. A row's numbers are summed in one fixed order, whatever the rows
beside it and the number of threads, and Gram rows come from the same sum whether they are stored or not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.compiled import borrowing, larger

CHUNK = 48  # signals whose correlations are in cache together
PANEL = 512  # atoms per pass: three signals' correlations and four rows of the panel stay in L1
BLOCK = 64  # correlations per step of the search for one that is known to be the largest
PAD = 256  # bytes between rows: at distances of whole pages they would compete for the same lines of L1
STORED_GRAM_BYTES = 2**28  # a larger Gram matrix is computed row by row as needed
# Squared distance of a unit atom from the span of the chosen ones below which it counts as dependent.
DEPENDENT = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-10}
DEPENDENT64 = 1e-10
NONE: Any = np.int64(0)  # a literal would have the callees compiled twice
ROUNDING = 64  # a correlation below ROUNDING * eps * ||x|| is not told from zero


@borrowing()
def _largest(values: Any, signed: bool) -> Any:
    """Return the largest value, or the largest magnitude if ``signed``."""
    top = abs(values[0]) if signed else values[0]
    for column in range(len(values)):
        top = larger(top, abs(values[column]) if signed else values[column])
    return top


@borrowing()
def _first_of(values: Any, top: Any, signed: bool) -> int:
    """Return the lowest index of the largest value (magnitude) ``top``, or the length if there is none such."""
    p = index = len(values)
    for low in range(0, p, BLOCK):
        if _largest(values[low : low + BLOCK], signed) == top:
            index = low
            break
    while index < p and (abs(values[index]) if signed else values[index]) != top:
        index += 1
    return index


@borrowing("contract")
def _add_four_(out: Any, x: Any, rows: Any, s: int, j: int, low: int, high: int) -> None:
    """Add ``x[s:s+3, j:j+4] @ rows[j:j+4, low:high]`` to three outputs, as many as sixteen registers hold.

    1-D slices of rows are known to be contiguous.
    """
    out0, out1, out2 = out[s][low:high], out[s + 1][low:high], out[s + 2][low:high]
    a0, a1, a2, a3 = x[s, j], x[s, j + 1], x[s, j + 2], x[s, j + 3]
    b0, b1, b2, b3 = x[s + 1, j], x[s + 1, j + 1], x[s + 1, j + 2], x[s + 1, j + 3]
    c0, c1, c2, c3 = x[s + 2, j], x[s + 2, j + 1], x[s + 2, j + 2], x[s + 2, j + 3]
    r0, r1, r2, r3 = rows[j][low:high], rows[j + 1][low:high], rows[j + 2][low:high], rows[j + 3][low:high]
    for column in range(out0.shape[0]):
        u = out0[column] + a0 * r0[column]
        v = out1[column] + b0 * r0[column]
        w = out2[column] + c0 * r0[column]
        u += a1 * r1[column]
        v += b1 * r1[column]
        w += c1 * r1[column]
        u += a2 * r2[column]
        v += b2 * r2[column]
        w += c2 * r2[column]
        u += a3 * r3[column]
        v += b3 * r3[column]
        w += c3 * r3[column]
        out0[column] = u
        out1[column] = v
        out2[column] = w


@borrowing("contract")
def _add_(out: Any, weight: Any, row: Any) -> None:
    for column in range(out.shape[0]):
        out[column] += weight * row[column]


@borrowing()
def correlate_(x: Any, atoms_t: Any, out: Any) -> None:
    """Write ``x (b, d) @ atoms_t (d, p)`` into ``out (b, p)``, every entry summed over d in ascending order."""
    b, d = x.shape
    p = atoms_t.shape[1]
    triples, quads = b - b % 3, d - d % 4
    out[:] = 0
    for low in range(0, p, PANEL):
        high = min(low + PANEL, p)
        for s in range(0, triples, 3):
            for j in range(0, quads, 4):
                _add_four_(out, x, atoms_t, s, j, low, high)
            for j in range(quads, d):
                for t in range(s, s + 3):
                    _add_(out[t][low:high], x[t, j], atoms_t[j][low:high])
        for s in range(triples, b):
            for j in range(d):
                _add_(out[s][low:high], x[s, j], atoms_t[j][low:high])


@njit(cache=True, parallel=True)
def _correlate_all_(x: Any, atoms_t: Any, out: Any) -> None:
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low = chunk * CHUNK
        correlate_(x[low : low + CHUNK], atoms_t, out[low : low + CHUNK])


def correlate(x: npt.NDArray[Any], atoms: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``x (n, d) @ atoms.T (d, p)``, each row the same bits whatever the rows beside it."""
    out = np.empty((len(x), len(atoms)), dtype=x.dtype)
    _correlate_all_(np.ascontiguousarray(x), np.ascontiguousarray(atoms.T, dtype=x.dtype), out)
    return out


@borrowing()
def _unit_scale_(x: Any, out: Any) -> int:
    """Write ``x * 2**-e`` with largest magnitude in [1/2, 1) into ``out`` and return e; exact, for any magnitude."""
    exponent = math.frexp(_largest(x, True))[1]
    first, second = math.ldexp(1.0, -(exponent // 2)), math.ldexp(1.0, -(exponent - exponent // 2))
    for column in range(len(x)):
        out[column] = x[column] * first * second
    return exponent


@borrowing()
def _gram_place_(gram: Any, atoms: Any, atoms_t: Any, atom: int, spare: Any) -> int:
    """Return the place of the Gram row of ``atom`` in ``gram`` or, if that is empty, in ``spare`` after writing it."""
    if len(gram):
        return atom
    correlate_(atoms[atom : atom + 1], atoms_t, spare)
    return 0


@borrowing("contract", "reassoc")
def _dot64(a: Any, b: Any) -> float:
    total = 0.0
    for column in range(len(a)):
        total += np.float64(a[column]) * np.float64(b[column])
    return total


@borrowing()
def _back_substitute_(factor: Any, z: Any, size: int, out: Any) -> None:
    for i in range(size - 1, -1, -1):
        value = z[i]
        for t in range(i + 1, size):
            value -= factor[t, i] * out[t]
        out[i] = value / factor[i, i] if factor[i, i] > 0 else 0.0


@borrowing("contract", "reassoc")
def _dots_(rows: Any, i: int, out: Any) -> None:
    """Write the inner products of row ``i`` with rows 0 to ``i``, four a pass."""
    new, quads = rows[i], (i + 1) // 4 * 4
    for t in range(0, quads, 4):
        r0, r1, r2, r3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
        a = b = c = d = 0.0
        for column in range(len(new)):
            a += new[column] * r0[column]
            b += new[column] * r1[column]
            c += new[column] * r2[column]
            d += new[column] * r3[column]
        out[t], out[t + 1], out[t + 2], out[t + 3] = a, b, c, d
    for t in range(quads, i + 1):
        out[t] = _dot64(new, rows[t])


@borrowing()
def _solve_support_(x: Any, atoms: Any, chosen: Any, size: int, factor: Any, wide: Any, out: Any) -> None:
    """Write the float64 least squares coefficients of ``x`` on the chosen atoms; dependent atoms get zero.

    ``wide`` takes the atoms and, below them, x in float64; L of the atoms then has L^-1 A_S x as its next row.
    """
    for i in range(size + 1):
        source, row = x if i == size else atoms[chosen[i]], wide[i]
        for column in range(len(x)):
            row[column] = source[column]
        _dots_(wide, i, factor[i])
        for j in range(min(i + 1, size)):
            value = factor[i, j]
            for t in range(j):
                value -= factor[i, t] * factor[j, t]
            if i == j:
                factor[i, i] = math.sqrt(value) if value > DEPENDENT64 else 0.0
            else:
                factor[i, j] = value / factor[j, j] if factor[j, j] > 0 else 0.0
    _back_substitute_(factor, factor[size], size, out)


@borrowing()
def _write_row_(chosen: Any, coefficient: Any, size: int, exponent: int, indices: Any, data: Any) -> int:
    """Write the non-zero coefficients in ascending atom order, undoing the scaling, and return how many there are."""
    first, second = math.ldexp(1.0, exponent // 2), math.ldexp(1.0, exponent - exponent // 2)
    count = 0
    for j in range(size):
        value = coefficient[j] * first * second
        if value == 0:
            continue
        place = count
        while place > 0 and indices[place - 1] > chosen[j]:
            indices[place] = indices[place - 1]
            data[place] = data[place - 1]
            place -= 1
        indices[place] = chosen[j]
        data[place] = value
        count += 1
    return count


@borrowing()
def _pursue_(alpha: Any, dictionary: Any, work: Any, k: int, given: Any, bound: Any, dependent: Any) -> Any:
    """Choose up to ``k`` atoms, those ``given`` first, leave L^-1 A_S x in ``z``, and return how many were chosen.

    A given atom that depends on those before it is left out.
    """
    atoms, atoms_t, gram = dictionary
    chosen, rows, factor, z, spare = work
    energy, floor, target = bound
    places, at, last = given
    source, top, j = gram if len(gram) else spare, _largest(alpha, True), NONE
    while j < k:
        begins, atom = at < last, NONE
        if begins:
            atom = np.int64(places[at])
            at += 1
        else:
            atom = _first_of(alpha, top, True)
            if atom == len(alpha):  # the largest was that of an atom chosen before, and is zero now
                top = _largest(alpha, True)
                atom = _first_of(alpha, top, True)
            if top <= floor:
                return j
        place = _gram_place_(gram, atoms, atoms_t, atom, spare)
        pivot = float(source[place, atom])
        for t in range(j):
            factor[j, t] = rows[t, atom]
            pivot -= float(rows[t, atom]) ** 2
        if pivot < dependent:
            if begins:
                continue
            return j
        factor[j, j] = math.sqrt(pivot)
        chosen[j] = atom
        z[j] = alpha[atom] / factor[j, j]
        energy -= z[j] ** 2
        if j + 1 == k or (energy <= target and at >= last):
            return j + 1
        top = _next_row_(rows, j, source, place, factor, z[j], alpha)
        for t in range(j + 1):
            alpha[chosen[t]] = 0
        j += 1
    return j


@borrowing()
def _weight(rows: Any, weights: Any, j: int, t: int) -> Any:
    """Return ``weights[j, t]`` and ``t``, or, if row ``t`` does not come before row ``j``, zero and a row that does."""
    return rows.dtype.type(weights[j, t] if t < j else 0.0), max(min(t, j - 1), 0)


@borrowing()
def _four_weights(rows: Any, weights: Any, j: int, t: int) -> Any:
    (w0, t0), (w1, t1) = _weight(rows, weights, j, t), _weight(rows, weights, j, t + 1)
    (w2, t2), (w3, t3) = _weight(rows, weights, j, t + 2), _weight(rows, weights, j, t + 3)
    return (w0, w1, w2, w3), (t0, t1, t2, t3)


@borrowing("contract")
def _less_two(value: Any, weighted: Any, rows: Any, column: int) -> Any:
    w, t = weighted
    value -= w[0] * rows[t[0], column]
    value -= w[1] * rows[t[1], column]
    return value


@borrowing("contract")
def _less_four(value: Any, weighted: Any, rows: Any, column: int) -> Any:
    w, t = weighted
    value = _less_two(value, weighted, rows, column)
    value -= w[2] * rows[t[2], column]
    value -= w[3] * rows[t[3], column]
    return value


@borrowing("contract")
def _close_(value: Any, rows: Any, j: int, column: int, inverse: Any, alpha: Any, weight: Any, top: Any) -> Any:
    """Write one number of P_j and of ``alpha`` less ``z P_j``; return the larger of ``top`` and its magnitude."""
    value *= inverse
    rows[j, column] = value
    value = alpha[column] - weight * value
    alpha[column] = value
    return larger(top, abs(value))


@borrowing("contract")
def _subtract_eight_(rows: Any, out: int, j: int, source: Any, place: int, weights: Any, t: int, p: int) -> None:
    """Write ``source[place] - weights[j, t:t+8] @ rows[t:t+8]`` into row ``out``."""
    first, second = _four_weights(rows, weights, j, t), _four_weights(rows, weights, j, t + 4)
    for column in range(p):
        value = _less_four(source[place, column], first, rows, column)
        rows[out, column] = _less_four(value, second, rows, column)


@borrowing("contract")
def _finish_(rows: Any, j: int, source: Any, place: int, weights: Any, t: int, z: Any, alpha: Any) -> Any:
    """Write P_j = (``source[place] - weights[j, t:j] @ rows[t:j]``) / L_jj and return what `_close_` does, in one pass.

    There are at most eight rows to subtract; up to two, four or eight, a row that is missing has weight zero.
    """
    kind, p = rows.dtype.type, len(alpha)
    inverse, weight, top = kind(1 / weights[j, j]), kind(z), kind(0)
    first, second = _four_weights(rows, weights, j, t), _four_weights(rows, weights, j, t + 4)
    if j <= t:
        for column in range(p):
            top = _close_(source[place, column], rows, j, column, inverse, alpha, weight, top)
    elif j <= t + 2:
        for column in range(p):
            value = _less_two(source[place, column], first, rows, column)
            top = _close_(value, rows, j, column, inverse, alpha, weight, top)
    elif j <= t + 4:
        for column in range(p):
            value = _less_four(source[place, column], first, rows, column)
            top = _close_(value, rows, j, column, inverse, alpha, weight, top)
    elif j <= t + 6:
        for column in range(p):
            value = _less_four(source[place, column], first, rows, column)
            value = _less_two(value, second, rows, column)
            top = _close_(value, rows, j, column, inverse, alpha, weight, top)
    else:
        for column in range(p):
            value = _less_four(source[place, column], first, rows, column)
            value = _less_four(value, second, rows, column)
            top = _close_(value, rows, j, column, inverse, alpha, weight, top)
    return top


@borrowing()
def _next_row_(rows: Any, j: int, source: Any, place: int, weights: Any, z: Any, alpha: Any) -> Any:
    """Write P_j given the Gram row ``source[place]``, take ``z P_j`` off ``alpha``, and return the largest |alpha|.

    Partial sums go to the last two rows in turn: a loop that writes the row that it reads is not vectorised.
    """
    done, out, other = NONE, len(rows) - 1, len(rows) - 2
    while done + 8 < j:
        _subtract_eight_(rows, out, j, source, place, weights, done, len(alpha))
        source, place, done = rows, out, done + 8
        out, other = other, out
    return _finish_(rows, j, source, place, weights, done, z, alpha)


@borrowing()
def _select_bound(x: Any, limit: Any) -> Any:
    """Return the energy of ``x``, the least correlation to go on with, and the residual energy to stop at."""
    energy = _dot64(x, x)
    floor, tolerance = limit
    return energy, floor * math.sqrt(energy), energy * tolerance**2 if tolerance > 0 else -np.inf


@njit(cache=True, parallel=True)
def _omp(x: Any, dictionary: Any, k: Any, start: Any, begin: Any, limit: Any, dependent: Any, out: Any) -> None:
    atoms, atoms_t, _ = dictionary
    limits, places = begin
    indices, data, count = out
    p, largest = len(atoms), max(k.max(), 1)
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))
        block, exponent = np.empty((high - low, x.shape[1]), x.dtype), np.empty(high - low, np.int64)
        for s in range(high - low):
            exponent[s] = _unit_scale_(x[low + s], block[s])
        alpha = np.empty((high - low, p), x.dtype)
        correlate_(block, atoms_t, alpha)
        chosen, factor = np.empty(largest, np.int64), np.empty((largest + 1, largest + 1))
        z, solution, wide = np.empty(largest), np.empty(largest), np.empty((largest + 1, x.shape[1]))
        work = (chosen, np.empty((largest + 2, p + PAD // x.itemsize), x.dtype), factor, z, np.empty((1, p), x.dtype))
        for s in range(high - low):
            bound, given = _select_bound(block[s], limit), (places, limits[low + s], limits[low + s + 1])
            size = _pursue_(alpha[s], dictionary, work, k[low + s], given, bound, dependent)
            if x.itemsize == 8:
                _back_substitute_(factor, z, size, solution)
            else:  # chosen in float32, solved on the support in float64
                _solve_support_(block[s], atoms, chosen, size, factor, wide, solution)
            at = start[low + s]
            count[low + s] = _write_row_(chosen, solution, size, exponent[s], indices[at:], data[at:])


@borrowing()
def _match_(alpha: Any, gram: Any, atoms: Any, atoms_t: Any, work: Any, k: int, bound: Any, signed: bool) -> int:
    """Make up to ``k`` selections, leave the coefficients in ``work``, and return the number of distinct atoms."""
    chosen, coefficient, slot, spare = work
    energy, floor, target = bound
    source, size = gram if len(gram) else spare, 0
    for _ in range(k):
        top = _largest(alpha, signed)
        if top <= floor:
            break
        atom = _first_of(alpha, top, signed)
        value = alpha[atom]
        if slot[atom] < 0:
            slot[atom], chosen[size], coefficient[size] = size, atom, 0.0
            size += 1
        coefficient[slot[atom]] += value
        energy -= float(value) ** 2
        if energy <= target:
            break
        place = _gram_place_(gram, atoms, atoms_t, atom, spare)
        _add_(alpha, -value, source[place])
    for j in range(size):
        slot[chosen[j]] = -1
    return size


@njit(cache=True, parallel=True)
def _mp(x: Any, share: Any, dictionary: Any, k: int, start: Any, limit: Any, signed: bool, out: Any) -> None:
    atoms, atoms_t, gram = dictionary
    indices, data, count = out
    p, largest = len(atoms), min(k, len(atoms))
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))
        block, exponent = np.empty((high - low, x.shape[1]), x.dtype), np.empty(high - low, np.int64)
        for s in range(high - low):
            exponent[s] = _unit_scale_(x[low + s], block[s])
        alpha = np.empty((high - low, p), x.dtype)
        correlate_(block, atoms_t, alpha)
        chosen, coefficient, slot = np.empty(largest, np.int64), np.empty(largest), np.full(p, -1)
        work = (chosen, coefficient, slot, np.empty((1, p), x.dtype))
        for s in range(high - low):
            energy, floor, target = _select_bound(block[s], limit)
            own = share[low + s]
            bound, ended = (energy, floor / own, target / own / own), own < 1 and energy <= target / own / own
            size = 0 if ended else _match_(alpha[s], gram, atoms, atoms_t, work, k, bound, signed)
            at = start[low + s]
            count[low + s] = _write_row_(chosen, coefficient, size, exponent[s], indices[at:], data[at:])


def stored(atoms: npt.NDArray[Any], selections: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return atoms, their transpose and their Gram matrix, which is left empty where it is too large or hardly used."""
    p = len(atoms)
    worth = p <= selections and p * p * atoms.itemsize <= STORED_GRAM_BYTES
    gram = correlate(atoms, atoms) if worth else np.empty((0, p), dtype=atoms.dtype)
    return atoms, np.ascontiguousarray(atoms.T), gram


def rows_of(
    start: npt.NDArray[Any], count: npt.NDArray[Any], indices: npt.NDArray[Any], data: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``data, indices, indptr`` of rows of which only the first ``count`` places from ``start`` are filled."""
    indptr = np.concatenate([[0], np.cumsum(count)])
    if indptr[-1] != len(data):
        place = np.arange(indptr[-1]) + np.repeat(start[:-1] - indptr[:-1], count)
        data, indices = data[place], indices[place]
    return data, indices, indptr


def room(places: npt.NDArray[Any], dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...]]:
    """Return where each row starts if row i gets ``places[i]``, and empty ``indices, data, count`` to be filled."""
    start = np.concatenate([[0], np.cumsum(places, dtype=np.int64)])
    total = int(start[-1])
    return start, (np.empty(total, np.int32), np.empty(total, dtype), np.zeros(len(places), np.int64))


def orthogonal_pursuit(
    x: npt.NDArray[Any],
    atoms: npt.NDArray[Any],
    k: npt.NDArray[Any],
    tolerance: float,
    begin: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``data, indices, indptr`` of orthogonal matching pursuit with ``k[i]`` unit ``atoms (p, d)`` for row i.

    ``begin`` lists at most ``k[i]`` atoms that row i begins with (limits (n + 1,), atoms), none if it is None.
    """
    start, out = room(k, x.dtype)
    begin = (np.zeros(len(x) + 1, np.int64), np.empty(0, np.int64)) if begin is None else begin
    limit = (ROUNDING * float(np.finfo(x.dtype).eps), tolerance)
    _omp(x, stored(atoms, len(out[0])), k, start, begin, limit, DEPENDENT[x.dtype], out)
    return rows_of(start, out[2], out[0], out[1])


def matching_pursuit(
    x: npt.NDArray[Any],
    atoms: npt.NDArray[Any],
    k: int,
    tolerance: float,
    non_negative: bool,
    share: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``data, indices, indptr`` of matching pursuit with ``k`` selections from unit ``atoms (p, d)``.

    ``share (n,)`` is the norm of a row over that of the sample of which it is what is left: a row ends by the latter.
    """
    start, out = room(np.full(len(x), min(k, len(atoms))), x.dtype)
    limit = (ROUNDING * float(np.finfo(x.dtype).eps), tolerance)
    _mp(x, share, stored(atoms, len(x) * k), k, start, limit, not non_negative, out)
    return rows_of(start, out[2], out[0], out[1])
