"""Products of a sparse layer and their gradients, at the cost of what fires, and the step of Adam in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from numba import njit, prange

from sparsesim.kernels.compiled import borrowing

STRIDE = 2**12  # weights that one thread updates at a time: 64 KiB of float32 in four arrays, in its cache
ROWS = 8  # rows of weights for which a thread takes the memory of a gradient


@contextmanager
def kernel_threads(count: int) -> Iterator[None]:
    """Run the kernels of the block on at most ``count`` threads; the number is restored on exit."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(count, before)))
    try:
        yield
    finally:
        numba.set_num_threads(before)


@njit(cache=True, parallel=True)
def pick(indptr: Any, indices: Any, u: Any) -> Any:
    """Return the entries of ``u (E, B, p)`` at a selection: row r of ``indptr`` is sample r % B of member r // B."""
    _, batch, p = u.shape
    values = np.empty(len(indices), u.dtype)
    for row in prange(len(indptr) - 1):
        member = row // batch
        for t in range(indptr[row], indptr[row + 1]):
            values[t] = u[member, row - member * batch, indices[t] - member * p]
    return values


@njit(cache=True)
def transpose(indptr: Any, indices: Any, columns: int) -> Any:
    """Return ``indptr (columns + 1,)``, rows and places in the original order of a sparse pattern by columns."""
    start = np.zeros(columns + 1, np.int64)
    for j in indices:
        start[j + 1] += 1
    for j in range(columns):
        start[j + 1] += start[j]
    fill = start[:-1].copy()
    rows, places = np.empty(len(indices), np.int32), np.empty(len(indices), np.int64)
    for row in range(len(indptr) - 1):
        for t in range(indptr[row], indptr[row + 1]):
            j = indices[t]
            rows[fill[j]], places[fill[j]] = row, t
            fill[j] += 1
    return start, rows, places


@borrowing("contract")
def _gather_(indices: Any, data: Any, low: int, high: int, table: Any, target: Any) -> None:
    """Add ``data[t] * table[indices[t]]`` over low <= t < high to ``target``, in order, four rows a pass."""
    whole = high - (high - low) % 4
    for t in range(low, whole, 4):
        w0, w1, w2, w3 = data[t], data[t + 1], data[t + 2], data[t + 3]
        a0, a1, a2, a3 = table[indices[t]], table[indices[t + 1]], table[indices[t + 2]], table[indices[t + 3]]
        for column in range(len(target)):
            value = target[column] + w0 * a0[column]
            value += w1 * a1[column]
            value += w2 * a2[column]
            value += w3 * a3[column]
            target[column] = value
    for t in range(whole, high):
        weight, source = data[t], table[indices[t]]
        for column in range(len(target)):
            target[column] += weight * source[column]


@njit(cache=True, parallel=True)
def add_product_(indptr: Any, indices: Any, data: Any, table: Any, out: Any) -> None:
    """Add the product of a sparse matrix and ``table`` to ``out``; a row without entries is not touched.

    Each row is summed in its own order by one thread.
    """
    for row in prange(len(indptr) - 1):
        _gather_(indices, data, indptr[row], indptr[row + 1], table, out[row])


@borrowing("contract", "reassoc", "nsz")
def _dot(a: Any, b: Any) -> Any:
    total = a[0] * b[0]
    for column in range(1, len(a)):
        total += a[column] * b[column]
    return total


@njit(cache=True, parallel=True)
def sampled_product(indptr: Any, indices: Any, left: Any, right: Any, out: Any) -> None:
    """Set ``out[t]`` to the dot product of ``left[row]`` and ``right[indices[t]]`` for every entry t of every row."""
    for row in prange(len(indptr) - 1):
        for t in range(indptr[row], indptr[row + 1]):
            out[t] = _dot(left[row], right[indices[t]])


@borrowing()
def _misfit_(reconstruction: Any, bias: Any, x: Any, residual: Any) -> None:
    """Add the bias to a decoded row, and write what it has beyond ``x``."""
    for column in range(len(x)):
        reconstruction[column] += bias[column]
        residual[column] = reconstruction[column] - x[column]


@borrowing()
def _scale_(row: Any, factor: Any) -> None:
    for column in range(len(row)):
        row[column] *= factor


@njit(cache=True, parallel=True)
def reconstruct_(indptr: Any, indices: Any, values: Any, table: Any, bias: Any, x: Any, factor: Any, out: Any) -> None:
    """Fill ``out`` with reconstructions, slopes, squared errors and value gradients, each sample's in one pass.

    These are ``values @ table`` + the row of ``bias`` of the member, ``factor`` times the reconstruction less ``x``,
    the squared norm of that without the factor, and the slope's products with the rows of the table that were used.
    """
    reconstruction, slope, energy, towards = out[0], out[1], out[2], out[3]  # unpacked, ``energy[row]`` is not written
    batch = len(x) // len(bias)
    for row in prange(len(x)):
        target, residual = reconstruction[row], slope[row]
        target[:] = 0
        _gather_(indices, values, indptr[row], indptr[row + 1], table, target)
        _misfit_(target, bias[row // batch], x[row], residual)
        energy[row] = _dot(residual, residual)
        _scale_(residual, factor)
        for t in range(indptr[row], indptr[row + 1]):
            towards[t] = _dot(residual, table[indices[t]])


@njit(cache=True, parallel=True)
def add_segments_(indptr: Any, places: Any, values: Any, out: Any) -> None:
    """Add to ``out[j]`` the sum of ``values[places]`` over segment j."""
    for j in prange(len(indptr) - 1):
        total = out[j]
        for t in range(indptr[j], indptr[j + 1]):
            total += values[places[t]]
        out[j] = total


@borrowing("contract")
def _adam_part_(weights: Any, gradient: Any, mean: Any, square: Any, slowness: Any, constants: Any) -> None:
    rate, eps, new, keep, fresh = constants[0], constants[1], constants[2], constants[3], constants[4]
    alike = len(slowness) == 0
    for i in range(len(weights)):
        slope = gradient[i]
        first = mean[i] + new * (slope - mean[i])
        second = keep * square[i] + fresh * (slope * slope)
        mean[i], square[i], gradient[i] = first, second, 0
        if alike:
            weights[i] -= rate * first / (np.sqrt(second) + eps)
    if not alike:
        for i in range(len(weights)):
            weights[i] -= rate * mean[i] / ((np.sqrt(square[i]) + eps) * slowness[i])


@njit(cache=True, parallel=True)
def adam_(weights: Any, gradient: Any, mean: Any, square: Any, slowness: Any, constants: Any) -> None:
    """Move flat ``weights`` by one step of Adam and set the ``gradient`` to zero.

    ``constants`` are rate, eps, 1 - beta1, beta2 and 1 - beta2, bias corrections included in the first two;
    ``slowness`` is empty, or divides the rate weight by weight.
    """
    for chunk in prange((len(weights) + STRIDE - 1) // STRIDE):
        part = slice(chunk * STRIDE, min(len(weights), (chunk + 1) * STRIDE))
        _adam_part_(weights[part], gradient[part], mean[part], square[part], slowness[part], constants)


@borrowing("contract", "reassoc", "nsz")
def _remove_radial_(a: Any, g: Any) -> None:
    along = a[0] * g[0]
    for column in range(1, len(a)):
        along += a[column] * g[column]
    if along != 0:
        for column in range(len(a)):
            g[column] -= along * a[column]


@njit(cache=True, parallel=True)
def remove_radial_(rows: Any, gradient: Any) -> None:
    """Remove from each row of ``gradient`` its component along the unit row of ``rows``."""
    for j in prange(len(rows)):
        _remove_radial_(rows[j], gradient[j])


@njit(cache=True, parallel=True)
def adam_rows_(factors: Any, state: Any, radial: bool, slowness: Any, constants: Any) -> None:
    """Move ``state``, rows of weights with their two moments, by `adam_` on a gradient of which one row exists at once.

    It is the product of a sparse matrix and a table, ``factors``: indptr, columns, data, table; if ``radial``, without
    the component of each row along that of the weights. The numbers are those of `add_product_` to zeros,
    `remove_radial_` and `adam_`.
    """
    indptr, columns, data, table = factors
    weights, mean, square = state
    count, width = weights.shape
    for chunk in prange((count + ROWS - 1) // ROWS):
        gradient = np.empty(width, weights.dtype)
        for j in range(chunk * ROWS, min(count, (chunk + 1) * ROWS)):
            gradient[:] = 0
            _gather_(columns, data, indptr[j], indptr[j + 1], table, gradient)
            if radial:
                _remove_radial_(weights[j], gradient)
            own = slowness[j * width : (j + 1) * width]
            _adam_part_(weights[j], gradient, mean[j], square[j], own, constants)


@njit(cache=True, parallel=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def normalise_(rows: Any, least: Any) -> None:
    """Divide each row by its norm, or by ``least`` where that is larger."""
    for j in prange(len(rows)):
        a = rows[j]
        energy = a[0] * a[0]
        for column in range(1, len(a)):
            energy += a[column] * a[column]
        norm = max(np.sqrt(energy), least)
        for column in range(len(a)):
            a[column] /= norm
