"""Medians with intervals that assume nothing of the clock's errors, and what the machine's memory allows."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit, prange
from scipy.special import bdtr

LINE = 16  # float32 numbers in a cache line of 64 bytes


class Median(NamedTuple):
    """A median with the interval between two order statistics; NaN limits where there are too few values."""

    value: float
    low: float
    high: float


def median_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Median:
    """Return the median of independent ``values (n,)`` and its distribution-free interval.

    The interval from the (r+1)-th smallest to the (r+1)-th largest value misses the true median with probability
    2 P(Binomial(n, 1/2) <= r) whatever the distribution; r is the largest with which that is at most 1 - confidence.
    Of nine values it is the second and the eighth (96.1%); fewer than six have none at 95%.

    Raises
    ------
    ValueError
        If there is no value, or one is not finite.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not len(ordered) or not np.isfinite(ordered).all():
        raise ValueError(f"a median needs at least one value and finite ones; got {ordered.tolist()}.")
    missed = 2.0 * bdtr(np.arange(len(ordered)), len(ordered), 0.5)
    outside = int(np.count_nonzero(missed <= 1.0 - confidence))
    if not outside:
        return Median(float(np.median(ordered)), np.nan, np.nan)
    return Median(float(np.median(ordered)), float(ordered[outside - 1]), float(ordered[-outside]))


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds of wall clock that ``action`` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Run the kernels of the block on ``count`` threads; the number is restored on exit."""
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def peak_bytes(action: Callable[[], object]) -> int:
    """Return the most bytes of numpy arrays alive at once during ``action`` beyond those before, results included.

    Traced by tracemalloc, in a call of its own: tracing slows. It counts what is asked for, so the kernels' scratch
    too, of four bytes a feature and thread, of which only what fires is ever touched.
    """
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        action()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@njit(cache=True, parallel=True)
def _copy(source: Any, target: Any) -> None:
    for row in prange(len(source)):
        target[row] = source[row]


@njit(cache=True, parallel=True)
def _touch(indptr: Any, indices: Any, table: Any, out: Any) -> None:
    """Read one number of every cache line of the rows ``indices``, four rows at once; write all of ``out``."""
    for row in prange(len(out)):
        a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        low, high = indptr[row], indptr[row + 1]
        for place in range(low, high, 4):
            # Past the last row the last is read again, from the nearest cache.
            i, j, k, q = place, min(place + 1, high - 1), min(place + 2, high - 1), min(place + 3, high - 1)
            first, second, third, fourth = table[indices[i]], table[indices[j]], table[indices[k]], table[indices[q]]
            for column in range(0, table.shape[1], LINE):
                a += first[column]
                b += second[column]
                c += third[column]
                d += fourth[column]
        out[row] = a + b + c + d


def stream_bandwidth(shape: tuple[int, int]) -> float:
    """Return the bytes read and written per second when a float32 table of ``shape`` is copied from end to end."""
    source, target = np.ones(shape, np.float32), np.empty(shape, np.float32)
    rounds = max(1, 2**28 // source.nbytes)

    def copies() -> None:
        for _ in range(rounds):
            _copy(source, target)

    copies()
    return 2.0 * source.nbytes * rounds / min(seconds(copies) for _ in range(5))


def gather_seconds(indptr: np.ndarray, indices: np.ndarray, table: np.ndarray) -> float:
    """Return the least seconds of five in which the rows ``indices`` of ``table (m, d)`` can be fetched at all.

    Every cache line of a fetched row is touched once, in the order in which the features fire, and x is written; this
    is the memory's own limit of ``codes @ atoms`` for a table of this size in whatever cache it fits.
    """
    out = np.empty((len(indptr) - 1, table.shape[1]), np.float32)
    _touch(indptr, indices, table, out)
    return min(seconds(lambda: _touch(indptr, indices, table, out)) for _ in range(5))
