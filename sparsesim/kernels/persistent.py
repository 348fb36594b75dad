"""Drawing on/off Markov chains at a cost that follows their runs: holding times are geometric numbers.

Features are drawn in blocks of `BLOCK`, each with its own random state, so the result does not depend on the number of
threads. A run is a feature, its first row and the row after its last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.sampling import BLOCK, block_seeds, geometric_, geometric_gap, uniform_

Array = npt.NDArray[Any]


@njit(cache=True)
def _block_(state: Any, rates: Any, leave: Any, enter: Any, low: int, n: int, runs: Any) -> int:
    """Write the runs of one block of features as far as there is room, and return the room they need."""
    used = 0
    for feature in range(low, min(low + BLOCK, len(rates))):
        row = 0 if uniform_(state) < rates[feature] else 1 + geometric_(state, enter[feature])
        while row < n:
            stop = min(row + 1 + geometric_(state, leave[feature]), n)
            if used < len(runs):
                runs[used, 0], runs[used, 1], runs[used, 2] = feature, row, stop
            used += 1
            row = stop + 1 + geometric_(state, enter[feature])
    return used


@njit(cache=True, parallel=True)
def _blocks(seeds: Any, rates: Any, leave: Any, enter: Any, n: int, start: Any, runs: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        own = runs[start[block] : start[block + 1]]
        used[block] = _block_(seeds[block].copy(), rates, leave, enter, block * BLOCK, n, own)


@njit(cache=True)
def _count(runs: Any, indptr: Any) -> None:
    """Turn ``runs`` into row pointers: +1 where a run starts, -1 where it stops, summed twice."""
    for run in range(len(runs)):
        start, stop = runs[run, 1], runs[run, 2]
        indptr[start + 1] += 1
        if stop + 1 < len(indptr):
            indptr[stop + 1] -= 1
    for _ in range(2):
        for row in range(1, len(indptr)):
            indptr[row] += indptr[row - 1]


@njit(cache=True)
def _spread(runs: Any, place: Any, indices: Any) -> None:
    """Write each run's feature into its rows; runs come with ascending features, so rows are ascending, too."""
    for run in range(len(runs)):
        for row in range(runs[run, 1], runs[run, 2]):
            indices[place[row]] = runs[run, 0]
            place[row] += 1


def draw_chains(rates: Array, leave: Array, enter: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ascending ``indices (nnz,)`` of n successive rows of independent on/off chains.

    Parameters
    ----------
    rates : (m,) probability to be on in the first row.
    leave, enter : (m,) probability to switch off when on, and on when off, from a row to the next.
    """
    seeds = block_seeds(len(rates), rng)  # a block of features each
    used = np.zeros(len(seeds), np.int64)
    # Each block has room of its own: rates that fall with the rank fill the first far more than the last.
    mean = np.add.reduceat(rates + n * (1.0 - rates) * enter, np.arange(0, len(rates), BLOCK))
    room = (1.1 * mean + 10.0 * np.sqrt(mean)).astype(np.int64) + 64
    while True:
        start = np.concatenate([[0], np.cumsum(room)])
        runs = np.empty((start[-1], 3), np.int64)
        _blocks(seeds, rates, geometric_gap(leave), geometric_gap(enter), n, start, runs, used)
        if (used <= room).all():
            break
        room = np.maximum(room, used)  # the same states draw the same runs, now with room for them
    drawn = [runs[low : low + filled] for low, filled in zip(start[:-1].tolist(), used.tolist(), strict=True)]
    runs = np.concatenate(drawn)
    indptr = np.zeros(n + 1, np.int64)
    _count(runs, indptr)
    indices = np.empty(indptr[-1], np.int32)
    _spread(runs, indptr[:-1].copy(), indices)
    return indptr, indices
