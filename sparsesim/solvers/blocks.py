"""Samples in blocks of rows, each row scaled to magnitude one: what the convex encoders compute on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sparsesim._arrays import FloatArray


def row_blocks(n: int, entries: int, width: int) -> Iterator[slice]:
    """Return consecutive slices of ``n`` rows, each of at most ``entries`` numbers in ``width`` columns or one row."""
    size = max(1, entries // max(width, 1))
    return (slice(low, min(low + size, n)) for low in range(0, n, size))


def row_scale(x: FloatArray) -> FloatArray:
    """Return the largest magnitude of each row ``(n, 1)`` in the precision of ``x``, 1 for a zero row."""
    scale: FloatArray = np.maximum(x.max(axis=1, keepdims=True), -x.min(axis=1, keepdims=True))
    scale[scale == 0] = 1.0
    return scale


def binary_scale(x: FloatArray) -> FloatArray:
    """Return the power of two ``(n, 1)`` in (max |x| / 2, max |x|] of each row: dividing by it is exact."""
    scale: FloatArray = np.ldexp(np.ones(1, x.dtype), np.frexp(row_scale(x))[1] - 1)
    return scale


def scaled_penalty(penalty: float, scale: FloatArray) -> FloatArray:
    """Return ``penalty / scale (n,)`` in float64; where a positive one leaves the range it acts as the range's end."""
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        level: FloatArray = penalty / scale[:, 0].astype(np.float64)
    return np.clip(level, limits.tiny if penalty > 0 else 0.0, limits.max)
