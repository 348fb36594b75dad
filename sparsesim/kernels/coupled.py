"""Coefficients that pass from parent to child within a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]


@njit(cache=True)
def _place_(row: Any, feature: int) -> int:
    """Return where ``feature`` stands in the ascending ``row``, or -1."""
    low, high = 0, len(row)
    while low < high:
        middle = (low + high) // 2
        if row[middle] < feature:
            low = middle + 1
        else:
            high = middle
    return low if low < len(row) and row[low] == feature else -1


@njit(cache=True, parallel=True)
def _cascade(indptr: Any, indices: Any, parents: Any, reference: Any, data: Any, orphans: Any) -> None:
    for row in prange(len(indptr) - 1):
        low, high = indptr[row], indptr[row + 1]
        active, values = indices[low:high], data[low:high]
        above = np.empty(high - low, np.int64)
        done = np.zeros(high - low, np.bool_)
        path = np.empty(high - low, np.int64)
        for t in range(high - low):
            parent = parents[active[t]]
            above[t] = _place_(active, parent) if parent >= 0 else -1
            if parent >= 0 and above[t] < 0:
                orphans[row] = active[t]
        if orphans[row] >= 0:
            continue
        for t in range(high - low):
            length, node = 0, t
            while node >= 0 and not done[node]:
                path[length] = node
                length += 1
                node = above[node]
            for step in range(length - 1, -1, -1):
                node = path[step]
                if above[node] >= 0:
                    values[node] *= values[above[node]] / reference[active[above[node]]]
                done[node] = True


def cascade_(indptr: Array, indices: Array, parents: Array, reference: Array, data: Array) -> int:
    """Multiply, in place and from the roots down, each coefficient by its parent's over the parent's ``reference``.

    Returns a feature that fires without its parent, or -1 where there is none; ``data`` is of no use otherwise.
    """
    orphans = np.full(len(indptr) - 1, -1, np.int64)
    _cascade(indptr, indices, parents, reference, data, orphans)
    return int(orphans.max(initial=-1))
