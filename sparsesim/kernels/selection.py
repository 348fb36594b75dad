"""The largest entries of rows and of batches, found in one read: which latents of an autoencoder speak.

Entries are compared by the bits of their floats: for positive numbers the order of the integers is that of the floats,
and negative numbers are negative integers. A guess of the threshold cuts them to few, whose threshold is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.compiled import borrowing

CHUNK = 16  # rows that share a guess of the k-th largest entry
SLACK = {4: 2**21, 8: 2**50}  # a guess is lowered by this, a factor of 0.75 to 0.88
SAMPLED_ROWS = 16  # rows from which the threshold of a batch is guessed
MARGIN = 1.3  # entries of the sample above the guess, over those expected above the threshold

Selected = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]  # indptr, indices


def _keys(u: npt.NDArray[Any], magnitude: bool) -> tuple[npt.NDArray[Any], Any]:
    """Return ``u`` as integers, and the bits of these by which entries are compared: all, or all but the sign."""
    if u.dtype == np.float32:
        return u.view(np.int32), np.int32(2**31 - 1 if magnitude else -1)
    return u.view(np.int64), np.int64(2**63 - 1 if magnitude else -1)


def select_rows(u: npt.NDArray[Any], k: npt.NDArray[np.int64], *, magnitude: bool = False) -> Selected:
    """Return ``indptr (E B + 1,)`` and ``indices`` of the ``k[e]`` largest positive entries of each row of u (E, B, p).

    Indices are those of latents of the ensemble, e p + j, ascending within a row; ties go to the lowest. A row with
    fewer positive entries keeps those it has. With ``magnitude`` entries are compared by |u|, zero being none.
    """
    members, batch, p = u.shape
    keys, bits = _keys(u, magnitude)
    found = np.empty((members * batch, int(k.max(initial=0))), np.int32)
    counts = np.zeros(members * batch + 1, np.int64)
    _rows(keys.reshape(members * batch, p), bits, k, batch, SLACK[u.itemsize], found, counts)
    indptr = np.cumsum(counts)
    indices = np.empty(indptr[-1], np.int32)
    _compact(found, indptr, indices)
    return indptr, indices


@borrowing()
def _above_(keys: Any, bits: Any, bar: Any, places: Any, values: Any) -> Any:
    """Write, ascending, the places of the keys above ``bar``, and these keys; return how many. No branch is guessed."""
    count = np.uint64(0)
    for j in range(len(keys)):
        places[count] = j
        count += np.uint64((keys[j] & bits) > bar)
    for t in range(count):
        values[t] = keys[places[t]] & bits
    return np.int64(count)


@borrowing()
def _exceeding(values: Any, bits: Any, count: int, bar: Any) -> Any:
    number = np.int32(0)
    for t in range(count):
        number += np.int32((values[t] & bits) > bar)
    return number


@borrowing()
def _threshold(values: Any, bits: Any, count: int, k: int, low: Any) -> Any:
    """Return a bar that at most k of the values exceed, and how many do: k, but for values that equal the bar.

    More than k of them exceed ``low``. The integers between are bisected: a count over them is vectorised.
    """
    kind, high, above = values.dtype.type, values[0], np.int32(0)
    for t in range(count):
        high = max(high, values[t])
    while high - low > 1:
        middle = kind(low + (high - low) // 2)
        number = _exceeding(values, bits, count, middle)
        if number == k:
            return middle, number
        if number > k:
            low = middle
        else:
            high, above = middle, number
    return high, above


@borrowing()
def _row_(keys: Any, bits: Any, k: int, guess: Any, first: int, work: Any, out: Any) -> Any:
    """Write ``first`` + the places of the k largest positive keys, ascending; return how many, and their threshold."""
    places, values = work
    count, bar, ties = _above_(keys, bits, guess, places, values), guess, k
    if count < k and guess > 0:
        bar = keys.dtype.type(0)
        count = _above_(keys, bits, bar, places, values)
    if count > k:
        bar, above = _threshold(values, bits, count, k, bar)
        ties = k - above
    size = np.int64(0)
    for t in range(count):
        if values[t] > bar or (values[t] == bar and ties > 0):
            ties -= values[t] == bar
            out[size] = first + places[t]
            size += 1
    return size, bar


@njit(cache=True, parallel=True)
def _rows(keys: Any, bits: Any, k: Any, batch: int, slack: int, found: Any, counts: Any) -> None:
    rows, p = keys.shape
    none = keys.dtype.type(0)
    for chunk in prange((rows + CHUNK - 1) // CHUNK):
        work, guess = (np.empty(p, np.int32), np.empty(p, keys.dtype)), none
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
            member = row // batch
            size, bar = _row_(keys[row], bits, k[member], guess, member * p, work, found[row])
            guess = keys.dtype.type(max(0, bar - slack)) if size == k[member] else none
            counts[row + 1] = size


@njit(cache=True)
def _compact(found: Any, indptr: Any, indices: Any) -> None:
    for row in range(len(found)):
        low = indptr[row]
        for t in range(indptr[row + 1] - low):
            indices[low + t] = found[row, t]


def select_batches(u: npt.NDArray[Any], numbers: npt.NDArray[np.int64], *, magnitude: bool = False) -> Selected:
    """Return ``indptr`` and ``indices``, as `select_rows`, of the ``numbers[e]`` largest positive ones of member e."""
    members, batch, p = u.shape
    keys, bits = _keys(u, magnitude)
    parts, counts = [], np.zeros(members * batch + 1, np.int64)
    for member in range(members):
        wanted, own = int(numbers[member]), counts[1 + member * batch : 1 + (member + 1) * batch]
        bar, indptr, values, columns = _candidates(keys[member], bits, wanted)
        found = np.empty(min(wanted, len(values)), np.int32)
        _keep(values, columns, indptr, (wanted, bar, member * p), found, own)
        parts.append(found)
    return np.cumsum(counts), np.concatenate(parts)


def _candidates(
    keys: npt.NDArray[Any], bits: Any, wanted: int
) -> tuple[Any, npt.NDArray[np.int64], npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return a bar and all keys ``(B, p)`` above it, row by row: limits, keys and columns.

    Among them are the ``wanted`` largest positive ones.
    """
    stride = max(1, len(keys) // SAMPLED_ROWS)
    sample = keys[::stride].ravel() & bits
    expected = int(MARGIN * wanted / keys.size * len(sample)) + 8
    guess = int(np.partition(sample, len(sample) - expected)[len(sample) - expected]) if expected < len(sample) else 0
    indptr = np.zeros(len(keys) + 1, np.int64)
    for bar in (max(guess, 0), 0):
        _count(keys, bits, keys.dtype.type(bar), indptr[1:])
        np.cumsum(indptr, out=indptr)
        if indptr[-1] >= wanted or bar == 0:
            break
    values, columns = np.empty(indptr[-1], keys.dtype), np.empty(indptr[-1], np.int32)
    _collect(keys, bits, keys.dtype.type(bar), indptr, values, columns)
    return keys.dtype.type(bar), indptr, values, columns


@njit(cache=True, parallel=True)
def _count(keys: Any, bits: Any, bar: Any, counts: Any) -> None:
    for row in prange(len(keys)):
        counts[row] = _exceeding(keys[row], bits, keys.shape[1], bar)


@njit(cache=True, parallel=True)
def _collect(keys: Any, bits: Any, bar: Any, indptr: Any, values: Any, columns: Any) -> None:
    rows, p = keys.shape
    for chunk in prange((rows + CHUNK - 1) // CHUNK):
        places, found = np.empty(p, np.int32), np.empty(p, keys.dtype)
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
            low = indptr[row]
            for t in range(_above_(keys[row], bits, bar, places, found)):
                values[low + t], columns[low + t] = found[t], places[t]


@njit(cache=True)
def _keep(values: Any, columns: Any, indptr: Any, law: Any, found: Any, counts: Any) -> None:
    """Write ``first`` + the columns of the ``wanted`` largest values, and how many each row has of them."""
    wanted, bar, first = law
    ties = wanted
    if len(values) > wanted:
        bar, above = _threshold(values, values.dtype.type(-1), len(values), wanted, bar)
        ties = wanted - above
    size = 0
    for row in range(len(counts)):
        before = size
        for t in range(indptr[row], indptr[row + 1]):
            if values[t] > bar or (values[t] == bar and ties > 0):
                ties -= values[t] == bar
                found[size] = first + columns[t]
                size += 1
        counts[row] = size - before


@njit(cache=True)
def mask_selection(mask: Any, indptr: Any) -> Any:
    """Return the indices e p + j of the nonzero entries of ``mask (E, B, p)``, row by row, and fill ``indptr``."""
    members, batch, p = mask.shape
    indices = np.empty(np.count_nonzero(mask), np.int32)
    n = 0
    indptr[0] = 0
    for row in range(members * batch):
        member = row // batch
        for j in range(p):
            if mask[member, row - member * batch, j] != 0:
                indices[n] = member * p + j
                n += 1
        indptr[row + 1] = n
    return indices
