"""Sums over samples and coordinates of what a reconstruction keeps and loses, in float64, in one read of both.

Rows are summed in chunks of fixed size, and chunks in their order, so that the result is the same on any number of
threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

CHUNK = 256  # rows that one thread sums


@njit(cache=True, parallel=True)
def column_ranges(x: Any) -> Any:
    """Return the smallest and the largest entry and the mean of each column of ``x (n, d)``, n >= 1, ``(3, d)``.

    The mean is that of the first row plus that of the differences from it, which keeps the digits of what varies little
    about a large offset.
    """
    rows, d = x.shape
    chunks = (rows + CHUNK - 1) // CHUNK
    parts = np.empty((chunks, 3, d))
    for chunk in prange(chunks):
        part = parts[chunk]
        part[0, :], part[1, :], part[2, :] = np.inf, -np.inf, 0.0
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
            for j in range(d):
                value = np.float64(x[row, j])
                part[0, j] = min(part[0, j], value)
                part[1, j] = max(part[1, j], value)
                part[2, j] += value - np.float64(x[0, j])
    found = parts[0].copy()
    for chunk in range(1, chunks):
        for j in range(d):
            found[0, j] = min(found[0, j], parts[chunk, 0, j])
            found[1, j] = max(found[1, j], parts[chunk, 1, j])
            found[2, j] += parts[chunk, 2, j]
    for j in range(d):
        found[2, j] = np.float64(x[0, j]) + found[2, j] / rows
    return found


@njit(cache=True, parallel=True, fastmath={"contract", "reassoc", "nsz"})
def centred_energies(x: Any, estimate: Any, mean: Any, unit: float) -> Any:
    """Return the sums of (x - estimate)^2, (x - mean)^2 and (estimate - mean)^2 in units of ``unit``^2, and a vector.

    ``x`` and ``estimate`` are ``(n, d)``; the vector ``(d,)`` is the sum of (estimate - mean) / unit.
    """
    rows, d = x.shape
    chunks = (rows + CHUNK - 1) // CHUNK
    sums, shifts = np.zeros((chunks, 3)), np.zeros((chunks, d))
    for chunk in prange(chunks):
        shift = shifts[chunk]
        error, variance, signal = 0.0, 0.0, 0.0
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
            for j in range(d):
                lost = (np.float64(x[row, j]) - np.float64(estimate[row, j])) / unit
                own = (np.float64(x[row, j]) - mean[j]) / unit
                rebuilt = (np.float64(estimate[row, j]) - mean[j]) / unit
                error += lost * lost
                variance += own * own
                signal += rebuilt * rebuilt
                shift[j] += rebuilt
        sums[chunk, 0], sums[chunk, 1], sums[chunk, 2] = error, variance, signal
    total, vector = np.zeros(3), np.zeros(d)
    for chunk in range(chunks):
        total += sums[chunk]
        vector += shifts[chunk]
    return total, vector


@njit(cache=True, parallel=True, fastmath={"contract", "reassoc", "nsz"})
def norm_sums(x: Any, estimate: Any, least: float) -> Any:
    """Return the sums of ||x||^2, ||x - estimate||^2, 1 and ||estimate|| / ||x||, and the sum of x ``(d,)``.

    The last two of the four are over the rows with ||x|| > ``least``.
    """
    rows, d = x.shape
    chunks = (rows + CHUNK - 1) // CHUNK
    sums, vectors = np.zeros((chunks, 4)), np.zeros((chunks, d))
    for chunk in prange(chunks):
        vector, part = vectors[chunk], sums[chunk]
        for row in range(chunk * CHUNK, min((chunk + 1) * CHUNK, rows)):
            own, rebuilt, lost = 0.0, 0.0, 0.0
            for j in range(d):
                value, other = np.float64(x[row, j]), np.float64(estimate[row, j])
                own += value * value
                rebuilt += other * other
                lost += (value - other) * (value - other)
                vector[j] += value
            part[0] += own
            part[1] += lost
            if np.sqrt(own) > least:
                part[2] += 1.0
                part[3] += np.sqrt(rebuilt) / np.sqrt(own)
    total, whole = np.zeros(4), np.zeros(d)
    for chunk in range(chunks):
        total += sums[chunk]
        whole += vectors[chunk]
    return total, whole
