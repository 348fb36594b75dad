"""Breadth-first search over supports that grow by one atom: matching pursuit along several paths at once.

A path is a slot of the work arrays. Signed paths carry L with L L' = G_SS and z = L^-1 A_S x, so that an atom with
correlation c and squared distance v from the span of the path explains c^2 / v more; non-negative ones carry G_SS,
A_S x, their solution and the factor of the atoms that it uses, from which Lawson and Hanson's method goes on.
``dictionary`` and ``alpha`` are those of `greedy`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.greedy import DEPENDENT, SLOPE, correlations_, least_squares_, top_

CHUNK = 16  # rows that share one set of work arrays
TIE = 1e-13  # energies explained that differ by this fraction differ by rounding


@njit(cache=True)
def _extend_(node: int, child: int, size: int, atom: int, slope: float, dictionary: Any, paths: Any) -> bool:
    """Write the path ``node`` with ``atom`` added to ``child``, signed; return False if the atom depends on it."""
    atoms, _, gram = dictionary
    chosen, _, factor, z, explained, _, _ = paths
    pivot = np.sum(atoms[atom] ** 2)
    row, old = factor[child, size], factor[node]
    for t in range(size):
        value = gram[atom, chosen[node, t]] if len(gram) else np.sum(atoms[atom] * atoms[chosen[node, t]])
        for s in range(t):
            value -= row[s] * old[t, s]
        row[t] = value / old[t, t]
        pivot -= row[t] ** 2
    if not pivot >= DEPENDENT:
        return False
    row[size] = math.sqrt(pivot)
    for t in range(size):
        factor[child, t, : t + 1] = old[t, : t + 1]
        z[child, t], chosen[child, t] = z[node, t], chosen[node, t]
    z[child, size], chosen[child, size] = slope / row[size], atom
    explained[child] = explained[node] + z[child, size] ** 2
    return True


@njit(cache=True)
def _extend_non_negative_(
    node: int, child: int, size: int, atom: int, alpha: float, norm: float, dictionary: Any, paths: Any
) -> None:
    """Write the path ``node`` with ``atom`` added to ``child``, solved by non-negative least squares."""
    atoms, _, gram = dictionary
    chosen, solution, system, b, explained, held, spare = paths
    order, factor, image, used = held
    for t in range(size):
        value = gram[atom, chosen[node, t]] if len(gram) else np.sum(atoms[atom] * atoms[chosen[node, t]])
        system[child, size, t] = system[child, t, size] = value
        system[child, t, :size] = system[node, t, :size]
        chosen[child, t], b[child, t] = chosen[node, t], b[node, t]
        solution[child, t] = solution[node, t]
    chosen[child, size], b[child, size] = atom, alpha
    system[child, size, size] = np.sum(atoms[atom] ** 2)
    solution[child, size], count = 0.0, used[node]
    for t in range(count):
        order[child, t], image[child, t] = order[node, t], image[node, t]
        factor[child, t, t:count] = factor[node, t, t:count]
    own = (order[child], factor[child], image[child])
    count = least_squares_(system[child], b[child], size + 1, count, SLOPE * norm, own, spare, solution[child])
    used[child] = count
    total = 0.0
    for t in range(size + 1):
        total += b[child, t] * solution[child, t]
    explained[child] = total


@njit(cache=True)
def _back_substitute_(factor: Any, z: Any, size: int, out: Any) -> None:
    for i in range(size - 1, -1, -1):
        value = z[i]
        for t in range(i + 1, size):
            value -= factor[t, i] * out[t]
        out[i] = value / factor[i, i]


@njit(cache=True)
def _known(chosen: Any, slots: Any, node: int, atom: int, size: int) -> bool:
    """Return whether one of ``slots`` holds the atoms of ``node`` and ``atom`` already, in any order."""
    for other in slots:
        same = np.any(chosen[other, : size + 1] == atom)
        for t in range(size):
            same = same and np.any(chosen[other, : size + 1] == chosen[node, t])
        if same:
            return True
    return False


@njit(cache=True)
def _keep_(slots: Any, width: int, count: int, explained: Any) -> int:
    """Let the path in the spare (last) slot into the ordered children if it is good enough; return their number."""
    child = slots[2 * width]
    gain = explained[child] * (1 - TIE)  # among equals the path found first stays before the others
    if count == width and not gain > explained[slots[2 * width - 1]]:
        return count
    place = width + min(count, width - 1)
    slots[2 * width] = slots[place]
    while place > width and explained[slots[place - 1]] < gain:
        slots[place] = slots[place - 1]
        place -= 1
    slots[place] = child
    return min(count + 1, width)


@njit(cache=True)
def _leaf_(paths: Any, node: int, size: int, best: Any) -> None:
    """Remember the path ``node`` if it explains more than what is remembered."""
    places, values, record = best
    if paths[4][node] > record[0]:
        record[0], record[1] = paths[4][node], size
        places[:size], values[:size] = paths[0][node, :size], paths[1][node, :size]


@njit(cache=True)
def _grow_(
    problem: Any, dictionary: Any, shape: Any, slots: Any, parents: int, size: int, paths: Any, best: Any
) -> int:
    """Extend each of the ``parents`` paths of ``size`` atoms, and return how many paths of one atom more were kept."""
    x, alpha, norm, floor, non_negative, score, pool = problem
    width, branch = shape
    chosen, solution, factor, z, explained, _, _ = paths
    kept = 0
    for place in range(parents):
        node, open_ = slots[place], False
        if size:
            correlations_(x, alpha, dictionary, chosen[node], solution[node], size, score)
        else:
            score[:] = alpha
        score[chosen[node, :size]] = 0.0
        for t in range(top_(score, branch, floor, non_negative, pool)):
            atom = pool[t]
            if _known(chosen, slots[width : width + kept], node, atom, size):
                open_ = True
                continue
            if non_negative:
                _extend_non_negative_(node, slots[2 * width], size, atom, alpha[atom], norm, dictionary, paths)
            elif not _extend_(node, slots[2 * width], size, atom, score[atom], dictionary, paths):
                continue
            open_ = True
            kept = _keep_(slots, width, kept, explained)
        if not open_:
            _leaf_(paths, node, size, best)
    for child in slots[width : width + kept]:
        if not non_negative:
            _back_substitute_(factor[child], z[child], size + 1, solution[child])
    return kept


@njit(cache=True)
def _begin_(problem: Any, dictionary: Any, given: Any, slots: Any, spare: int, paths: Any) -> int:
    """Put the ``given`` atoms on the first path, without those that depend on others, and return how many there are."""
    x, alpha, norm, _, non_negative, score, _ = problem
    chosen, solution, factor, z, explained, held, _ = paths
    explained[slots[0]], held[3][slots[0]], size = 0.0, 0, 0
    for atom in given:
        node, child = slots[0], slots[spare]
        if non_negative:
            _extend_non_negative_(node, child, size, atom, alpha[atom], norm, dictionary, paths)
        else:
            correlations_(x, alpha, dictionary, chosen[node], solution[node], size, score)
            if not _extend_(node, child, size, atom, score[atom], dictionary, paths):
                continue
            _back_substitute_(factor[child], z[child], size + 1, solution[child])
        slots[0], slots[spare] = child, node
        size += 1
    return size


@njit(cache=True)
def _search_(
    problem: Any, dictionary: Any, shape: Any, k: int, target: float, given: Any, slots: Any, paths: Any, best: Any
) -> int:
    """Leave the best path of up to ``k`` atoms that begins with the ``given`` ones in ``best`` and return its size."""
    width, energy = shape[0], problem[2] ** 2
    best[2][:] = 0.0
    parents, size = 1, _begin_(problem, dictionary, given, slots, 2 * width, paths)
    if size > 0 and (size == k or energy - paths[4][slots[0]] <= target):
        _leaf_(paths, slots[0], size, best)
        return int(best[2][1])
    while size < k:
        parents = _grow_(problem, dictionary, shape, slots, parents, size, paths, best)
        if parents == 0:
            break
        size += 1
        for place in range(width):
            slots[place], slots[width + place] = slots[width + place], slots[place]
        if size == k or energy - paths[4][slots[0]] <= target:
            _leaf_(paths, slots[0], size, best)
            break
    return int(best[2][1])


@njit(cache=True)
def _search_chunk_(x: Any, alpha: Any, dictionary: Any, k: Any, shape: Any, limit: Any, start: Any, out: Any) -> None:
    indices, data, count = out
    floor, tolerance, non_negative = limit
    most, slot_count = max(k.max(), 1), 2 * shape[0] + 1
    square, flat = (slot_count, most, most), (slot_count, most)
    spare, own = (np.empty(most), np.empty(most), np.empty(most, np.bool_)), most if non_negative else 1
    used = (np.empty((slot_count, own), np.int64), np.empty((slot_count, own, own)), np.empty((slot_count, own)))
    held, explained = (*used, np.zeros(slot_count, np.int64)), np.empty(slot_count)
    paths = (np.empty(flat, np.int64), np.empty(flat), np.empty(square), np.empty(flat), explained, held, spare)
    best = (np.empty(most, np.int64), np.empty(most), np.empty(2))
    score, pool, slots = np.empty(len(dictionary[0])), np.empty(shape[1], np.int64), np.arange(slot_count)
    for row in range(len(x)):
        norm = math.sqrt(np.sum(x[row] ** 2))
        target = (tolerance * norm) ** 2 if tolerance > 0 else -np.inf
        problem = (x[row], alpha[row], norm, floor * norm, non_negative, score, pool)
        given, count[row] = indices[start[row] : start[row] + count[row]].copy(), 0
        size = _search_(problem, dictionary, shape, k[row], target, given, slots, paths, best)
        for t in range(size):
            if best[1][t] != 0:
                place = start[row] + count[row]
                indices[place], data[place] = best[0][t], best[1][t]
                count[row] += 1


@njit(cache=True, parallel=True)
def _search_all_(x: Any, alpha: Any, dictionary: Any, k: Any, shape: Any, limit: Any, out: Any) -> None:
    start, indices, data, count = out
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, len(x))
        own = (indices, data, count[low:high])
        _search_chunk_(x[low:high], alpha[low:high], dictionary, k[low:high], shape, limit, start[low:high], own)


def search_(
    x: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    dictionary: tuple[npt.NDArray[Any], ...],
    k: npt.NDArray[Any],
    shape: tuple[int, int],
    limit: tuple[float, float, bool],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Fill ``out`` (start, indices, data, count) with the codes of ``x (n, d)``, ``k (n,)`` atoms a row at most.

    The first ``count`` places of a row hold the atoms that all its paths begin with.
    ``shape`` is the number of paths and of extensions tried of each; ``limit`` the least correlation to go on with and
    the residual norm to stop at, as fractions of ||x||, and whether codes are non-negative.
    """
    _search_all_(x, alpha, dictionary, k, shape, limit, out)
