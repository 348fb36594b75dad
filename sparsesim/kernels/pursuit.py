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

CHUNK = 64  # signals whose correlations are in cache together
PANEL = 256  # atoms per pass: two signals' correlations and four rows of the panel stay in L1
BLOCK = 64  # correlations per step of the search for the largest
STORED_GRAM_BYTES = 2**28  # a larger Gram matrix is computed row by row as needed
# Squared distance of a unit atom from the span of the chosen ones below which it counts as dependent.
DEPENDENT = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-10}
DEPENDENT64 = 1e-10
ROUNDING = 64  # a correlation below ROUNDING * eps * ||x|| is not told from zero


@njit(cache=True, fastmath={"contract"})
def _add_four_(out0: Any, out1: Any, x0: Any, x1: Any, rows: Any, j: int, low: int, high: int) -> None:
    """Add ``x[j:j+4] @ rows[j:j+4, low:high]`` to two outputs; 1-D slices of rows are known to be contiguous."""
    a0, a1, a2, a3 = x0[j], x0[j + 1], x0[j + 2], x0[j + 3]
    b0, b1, b2, b3 = x1[j], x1[j + 1], x1[j + 2], x1[j + 3]
    r0, r1, r2, r3 = rows[j][low:high], rows[j + 1][low:high], rows[j + 2][low:high], rows[j + 3][low:high]
    for column in range(out0.shape[0]):
        u = out0[column] + a0 * r0[column]
        v = out1[column] + b0 * r0[column]
        u += a1 * r1[column]
        v += b1 * r1[column]
        u += a2 * r2[column]
        v += b2 * r2[column]
        u += a3 * r3[column]
        v += b3 * r3[column]
        out0[column] = u
        out1[column] = v


@njit(cache=True, fastmath={"contract"})
def _add_(out: Any, weight: Any, row: Any) -> None:
    for column in range(out.shape[0]):
        out[column] += weight * row[column]


@njit(cache=True)
def correlate_(x: Any, atoms_t: Any, out: Any) -> None:
    """Write ``x (b, d) @ atoms_t (d, p)`` into ``out (b, p)``, every entry summed over d in ascending order."""
    b, d = x.shape
    p = atoms_t.shape[1]
    even, quads = b - b % 2, d - d % 4
    out[:] = 0
    for low in range(0, p, PANEL):
        high = min(low + PANEL, p)
        for s in range(0, even, 2):
            left, right = out[s][low:high], out[s + 1][low:high]
            for j in range(0, quads, 4):
                _add_four_(left, right, x[s], x[s + 1], atoms_t, j, low, high)
            for j in range(quads, d):
                _add_(left, x[s, j], atoms_t[j][low:high])
                _add_(right, x[s + 1, j], atoms_t[j][low:high])
        if even < b:
            for j in range(d):
                _add_(out[even][low:high], x[even, j], atoms_t[j][low:high])


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


@njit(cache=True)
def _unit_scale_(x: Any, out: Any) -> int:
    """Write ``x * 2**-e`` with largest magnitude in [1/2, 1) into ``out`` and return e; exact, for any magnitude."""
    largest = 0.0
    for column in range(len(x)):
        largest = max(largest, abs(float(x[column])))
    exponent = math.frexp(largest)[1]
    first, second = math.ldexp(1.0, -(exponent // 2)), math.ldexp(1.0, -(exponent - exponent // 2))
    for column in range(len(x)):
        out[column] = x[column] * first * second
    return exponent


@njit(cache=True)
def _strongest(bits: Any, mask: Any) -> int:
    """Return the lowest index of the largest float, or of the largest magnitude where ``mask`` hides the sign bit.

    ``bits`` are the floats read as signed integers: they order non-negative floats as the floats themselves do, put
    negative ones below, and vectorise where a float comparison does not.
    """
    p = len(bits)
    best, winner = bits[0] & mask, 0
    for low in range(0, p, BLOCK):
        top = bits[low] & mask
        for column in range(low, min(low + BLOCK, p)):
            top = max(top, bits[column] & mask)
        if top > best:
            best, winner = top, low
    index = winner
    while bits[index] & mask != best:
        index += 1
    return index


@njit(cache=True)
def _gram_row(gram: Any, atoms: Any, atoms_t: Any, atom: int, spare: Any) -> Any:
    if len(gram):
        return gram[atom]
    correlate_(atoms[atom : atom + 1], atoms_t, spare)
    return spare[0]


@njit(cache=True)
def _exceeds(value: Any, floor: Any, mask: Any) -> bool:
    """Return whether ``value``, or its magnitude where ``mask`` hides the sign, is above ``floor``."""
    return bool(value > floor or (mask != -1 and -value > floor))


@njit(cache=True, fastmath={"contract", "reassoc"})
def _dot64(a: Any, b: Any) -> float:
    total = 0.0
    for column in range(len(a)):
        total += float(a[column]) * float(b[column])
    return total


@njit(cache=True)
def _back_substitute_(factor: Any, z: Any, size: int, out: Any) -> None:
    for i in range(size - 1, -1, -1):
        value = z[i]
        for t in range(i + 1, size):
            value -= factor[t, i] * out[t]
        out[i] = value / factor[i, i] if factor[i, i] > 0 else 0.0


@njit(cache=True)
def _solve_support_(x: Any, atoms: Any, chosen: Any, size: int, factor: Any, out: Any) -> None:
    """Write the float64 least squares coefficients of ``x`` on the chosen atoms; dependent atoms get zero."""
    for i in range(size):
        new = atoms[chosen[i]]
        out[i] = _dot64(new, x)
        for j in range(i + 1):
            value = _dot64(new, atoms[chosen[j]])
            for t in range(j):
                value -= factor[i, t] * factor[j, t]
            if i == j:
                factor[i, i] = math.sqrt(value) if value > DEPENDENT64 else 0.0
            else:
                factor[i, j] = value / factor[j, j] if factor[j, j] > 0 else 0.0
        for t in range(i):
            out[i] -= factor[i, t] * out[t]
        out[i] = out[i] / factor[i, i] if factor[i, i] > 0 else 0.0
    _back_substitute_(factor, out, size, out)


@njit(cache=True)
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


@njit(cache=True)
def _pursue_(
    alpha: Any, gram: Any, atoms: Any, atoms_t: Any, work: Any, k: int, bound: Any, dependent: Any, mask: Any
) -> int:
    """Choose up to ``k`` atoms, leave L^-1 A_S x in ``z``, and return how many were chosen."""
    chosen, rows, factor, z, spare = work
    energy, floor, target = bound
    bits = alpha.view(mask.dtype)
    for j in range(k):
        atom = _strongest(bits, mask[0])
        if not _exceeds(alpha[atom], floor, mask[0]):
            return j
        new = _gram_row(gram, atoms, atoms_t, atom, spare)
        pivot = float(new[atom])
        for t in range(j):
            factor[j, t] = rows[t, atom]
            pivot -= float(rows[t, atom]) ** 2
        if pivot < dependent:
            return j
        factor[j, j] = math.sqrt(pivot)
        chosen[j] = atom
        z[j] = alpha[atom] / factor[j, j]
        energy -= z[j] ** 2
        if j + 1 == k or energy <= target:
            return j + 1
        row = rows[j]
        row[:] = new
        _subtract_rows_(row, factor[j], rows, j)
        _finish_row_(row, alpha, 1 / factor[j, j], z[j])
        for t in range(j + 1):
            alpha[chosen[t]] = 0
    return k


@njit(cache=True, fastmath={"contract"})
def _subtract_rows_(row: Any, weights: Any, rows: Any, count: int) -> None:
    """Subtract ``weights[t] * rows[t]`` for t < ``count``, four rows a pass."""
    quads = count - count % 4
    kind = row.dtype.type
    for t in range(0, quads, 4):
        w0, w1, w2, w3 = kind(weights[t]), kind(weights[t + 1]), kind(weights[t + 2]), kind(weights[t + 3])
        r0, r1, r2, r3 = rows[t], rows[t + 1], rows[t + 2], rows[t + 3]
        for column in range(len(row)):
            value = row[column] - w0 * r0[column]
            value -= w1 * r1[column]
            value -= w2 * r2[column]
            value -= w3 * r3[column]
            row[column] = value
    for t in range(quads, count):
        weight, source = kind(weights[t]), rows[t]
        for column in range(len(row)):
            row[column] -= weight * source[column]


@njit(cache=True, fastmath={"contract"})
def _finish_row_(row: Any, alpha: Any, inverse: Any, weight: Any) -> None:
    kind = row.dtype.type
    inverse, weight = kind(inverse), kind(weight)
    for column in range(len(row)):
        row[column] *= inverse
        alpha[column] -= weight * row[column]


@njit(cache=True)
def _select_bound(x: Any, limit: Any) -> Any:
    """Return the energy of ``x``, the least correlation to go on with, and the residual energy to stop at."""
    energy = _dot64(x, x)
    floor, tolerance = limit
    return energy, floor * math.sqrt(energy), energy * tolerance**2 if tolerance > 0 else -np.inf


@njit(cache=True, parallel=True)
def _omp(x: Any, dictionary: Any, k: Any, start: Any, limit: Any, dependent: Any, mask: Any, out: Any) -> None:
    atoms, atoms_t, gram = dictionary
    indices, data, count = out
    p, largest = len(atoms), max(k.max(), 1)
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))
        block, exponent = np.empty((high - low, x.shape[1]), x.dtype), np.empty(high - low, np.int64)
        for s in range(high - low):
            exponent[s] = _unit_scale_(x[low + s], block[s])
        alpha = np.empty((high - low, p), x.dtype)
        correlate_(block, atoms_t, alpha)
        chosen, factor = np.empty(largest, np.int64), np.empty((largest, largest))
        z, solution = np.empty(largest), np.empty(largest)
        work = (chosen, np.empty((largest, p), x.dtype), factor, z, np.empty((1, p), x.dtype))
        for s in range(high - low):
            bound = _select_bound(block[s], limit)
            size = _pursue_(alpha[s], gram, atoms, atoms_t, work, k[low + s], bound, dependent, mask)
            if x.itemsize == 8:
                _back_substitute_(factor, z, size, solution)
            else:  # chosen in float32, solved on the support in float64
                _solve_support_(block[s], atoms, chosen, size, factor, solution)
            at = start[low + s]
            count[low + s] = _write_row_(chosen, solution, size, exponent[s], indices[at:], data[at:])


@njit(cache=True)
def _match_(alpha: Any, gram: Any, atoms: Any, atoms_t: Any, work: Any, k: int, bound: Any, mask: Any) -> int:
    """Make up to ``k`` selections, leave the coefficients in ``work``, and return the number of distinct atoms."""
    chosen, coefficient, slot, spare = work
    energy, floor, target = bound
    bits = alpha.view(mask.dtype)
    size = 0
    for _ in range(k):
        atom = _strongest(bits, mask[0])
        value = alpha[atom]
        if not _exceeds(value, floor, mask[0]):
            break
        if slot[atom] < 0:
            slot[atom], chosen[size], coefficient[size] = size, atom, 0.0
            size += 1
        coefficient[slot[atom]] += value
        energy -= float(value) ** 2
        if energy <= target:
            break
        _add_(alpha, -value, _gram_row(gram, atoms, atoms_t, atom, spare))
    for j in range(size):
        slot[chosen[j]] = -1
    return size


@njit(cache=True, parallel=True)
def _mp(x: Any, dictionary: Any, k: int, start: Any, limit: Any, mask: Any, out: Any) -> None:
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
            bound = _select_bound(block[s], limit)
            size = _match_(alpha[s], gram, atoms, atoms_t, work, k, bound, mask)
            at = start[low + s]
            count[low + s] = _write_row_(chosen, coefficient, size, exponent[s], indices[at:], data[at:])


def sign_mask(dtype: np.dtype[Any], non_negative: bool) -> npt.NDArray[Any]:
    """Return the integer mask under which `_strongest` ranks values: by size if ``non_negative``, else by magnitude."""
    kind = np.dtype(f"i{dtype.itemsize}")
    return np.array([-1 if non_negative else 2 ** (8 * kind.itemsize - 1) - 1], dtype=kind)


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
    x: npt.NDArray[Any], atoms: npt.NDArray[Any], k: npt.NDArray[Any], tolerance: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``data, indices, indptr`` of orthogonal matching pursuit with ``k[i]`` unit ``atoms (p, d)`` for row i."""
    start, out = room(k, x.dtype)
    limit = (ROUNDING * float(np.finfo(x.dtype).eps), tolerance)
    _omp(x, stored(atoms, len(out[0])), k, start, limit, DEPENDENT[x.dtype], sign_mask(x.dtype, False), out)
    return rows_of(start, out[2], out[0], out[1])


def matching_pursuit(
    x: npt.NDArray[Any], atoms: npt.NDArray[Any], k: int, tolerance: float, non_negative: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return ``data, indices, indptr`` of matching pursuit with ``k`` selections from unit ``atoms (p, d)``."""
    start, out = room(np.full(len(x), min(k, len(atoms))), x.dtype)
    limit = (ROUNDING * float(np.finfo(x.dtype).eps), tolerance)
    _mp(x, stored(atoms, len(x) * k), k, start, limit, sign_mask(x.dtype, non_negative), out)
    return rows_of(start, out[2], out[0], out[1])
