"""Branch and bound over supports: the least squared error, plus a price per atom, that at most k atoms can reach.

A node has chosen the atoms I. Projected on the complement of their span and scaled to unit norm, the free atoms have
Gram matrix M and correlations h with the residual, sorted by |h|: adding atom a explains h_a^2, adding a pair explains
(h_a^2 + h_b^2 - 2 h_a h_b M_ab) / (1 - M_ab^2), and adding a set T explains at most the residual energy and at most
sum_T h^2 / v with v = 1 - (the largest sum of |T| - 1 off-diagonal magnitudes in a row of M), by Gershgorin's theorem.
Nodes with two atoms to go are therefore settled without solving anything. Numbers are float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

DEPENDENT = 1e-10  # squared distance of a unit atom from the span of the others below which it counts as dependent
MARGIN = (
    1e-13  # a support replaces another only if it gains more than this fraction of ||x||^2: rounding decides nothing
)


@njit(cache=True)
def _solve_(gram: Any, b: Any, chosen: Any, size: int, factor: Any, out: Any) -> bool:
    """Write the least squares coefficients on the chosen atoms; return False where one depends on the others."""
    for i in range(size):
        diagonal = gram[chosen[i], chosen[i]]
        value = b[chosen[i]]
        for j in range(i):
            entry = gram[chosen[i], chosen[j]]
            for t in range(j):
                entry -= factor[i, t] * factor[j, t]
            factor[i, j] = entry / factor[j, j]
            diagonal -= factor[i, j] ** 2
            value -= factor[i, j] * out[j]
        if not diagonal > DEPENDENT:
            return False
        factor[i, i] = math.sqrt(diagonal)
        out[i] = value / factor[i, i]
    for i in range(size - 1, -1, -1):
        for t in range(i + 1, size):
            out[i] -= factor[t, i] * out[t]
        out[i] /= factor[i, i]
    return True


@njit(cache=True)
def _offer_(problem: Any, chosen: Any, size: int, best: Any, spare: Any) -> None:
    """Let the chosen atoms replace the best support, if they are independent, admissible and better by the margin."""
    gram, alpha, energy, price, non_negative = problem
    places, values, record = best
    trial, factor, order = spare
    order[:size] = chosen[:size]
    order[:size].sort()
    if not _solve_(gram, alpha, order, size, factor, trial):
        return
    worth = -price * size
    for t in range(size):
        worth += trial[t] * alpha[order[t]]
        if non_negative and trial[t] <= 0:
            return
    if worth > record[0] + MARGIN * energy:
        record[0], record[1] = worth, size
        places[:size], values[:size] = order[:size], trial[:size]


@njit(cache=True)
def _singles_and_pairs_(problem: Any, level: Any, state: Any, depth: int, left: int, best: Any, spare: Any) -> None:
    """Offer what one atom more, and with ``left`` = 2 what two atoms more, reach from this node."""
    energy, price = problem[2], problem[3]
    m, h, free, count = level
    chosen, explained = state
    base, margin = explained[depth] - price * depth, MARGIN * energy
    for a in range(count):
        if base + h[a] ** 2 - price <= best[2][0] + margin:
            break  # sorted: no later atom is better
        chosen[depth] = free[a]
        _offer_(problem, chosen, depth + 1, best, spare)
    if left < 2:
        return
    for a in range(count - 1):
        need = best[2][0] + margin - base + 2.0 * price
        own, row = h[a], m[a]
        for b in range(a + 1, count):
            slack = 1.0 - row[b] ** 2
            if own**2 + h[b] ** 2 - 2.0 * own * h[b] * row[b] > need * slack and slack > DEPENDENT:
                chosen[depth], chosen[depth + 1] = free[a], free[b]
                _offer_(problem, chosen, depth + 2, best, spare)
                need = best[2][0] + margin - base + 2.0 * price


@njit(cache=True)
def _project_(parent: Any, place: int, child: Any, rank: Any, order: Any) -> int:
    """Write the free atoms after ``place``, projected off that atom, rescaled and sorted; return how many are left."""
    m, h, free, count = parent
    out_m, out_h, out_free = child
    row, own, kept = m[place], h[place], 0
    for a in range(place + 1, count):
        pivot = 1.0 - row[a] ** 2
        if pivot > DEPENDENT:
            order[kept], rank[kept] = a, -abs(h[a] - own * row[a]) / math.sqrt(pivot)
            kept += 1
    by = np.argsort(rank[:kept], kind="mergesort")
    for i in range(kept):
        a = order[by[i]]
        scale = 1.0 / math.sqrt(1.0 - row[a] ** 2)
        out_free[i], out_h[i], rank[i] = free[a], (h[a] - own * row[a]) * scale, scale
    for i in range(kept):
        a = order[by[i]]
        out_m[i, i] = 1.0
        for j in range(i):
            b = order[by[j]]
            out_m[i, j] = out_m[j, i] = (m[a, b] - row[a] * row[b]) * rank[i] * rank[j]
    return kept


@njit(cache=True)
def _rows_bound_(m: Any, count: int, left: int, out: Any) -> None:
    """Write, for t atoms with t <= ``left``, a lower bound on the smallest eigenvalue of any t by t block of ``m``."""
    top = np.empty(left)
    out[: left + 1] = 1.0
    for a in range(count):
        top[:] = 0.0
        for b in range(count):
            value = abs(m[a, b]) if a != b else 0.0
            if value > top[left - 1]:
                place = left - 1
                while place > 0 and top[place - 1] < value:
                    top[place] = top[place - 1]
                    place -= 1
                top[place] = value
        total = 0.0
        for t in range(2, left + 1):
            total += top[t - 2]
            out[t] = min(out[t], 1.0 - total)


@njit(cache=True)
def _reach(problem: Any, level: Any, place: int, left: int, eigen: Any, explained: float) -> float:
    """Return a bound on what atoms from ``place`` on, at most ``left`` of them, add to the objective."""
    energy, price = problem[2], problem[3]
    _, h, _, count = level
    best, total, rest = 0.0, 0.0, max(energy - explained, 0.0)
    for t in range(1, min(left, count - place) + 1):
        total += h[place + t - 1] ** 2
        gain = min(total / eigen[t], rest) if eigen[t] > 0 else rest
        best = max(best, gain - price * t)
    return best


@njit(cache=True)
def _search_(problem: Any, k: int, budget: int, tree: Any, state: Any, best: Any, spare: Any) -> Any:
    """Leave the best support in ``best``; return the nodes visited and a bound on what the ones left out can reach."""
    m, h, free, count, place, eigen, rank, order = tree
    energy, price = problem[2], problem[3]
    chosen, explained = state
    margin, nodes, beyond, depth = MARGIN * energy, 1, -np.inf, 0
    _singles_and_pairs_(problem, (m[0], h[0], free[0], count[0]), state, 0, k, best, spare)
    if k >= 3:
        _rows_bound_(m[0], count[0], k, eigen[0])
    place[0] = 0 if k >= 3 else count[0]
    while depth >= 0:
        left = k - depth
        level = (m[depth], h[depth], free[depth], count[depth])
        base = explained[depth] - price * depth
        reach = base
        if place[depth] < count[depth]:
            reach = base + _reach(problem, level, place[depth], left, eigen[depth], explained[depth])
        if place[depth] >= count[depth] or reach <= best[2][0] + margin:
            depth -= 1
            continue
        if nodes >= budget:
            beyond, depth = max(beyond, reach), depth - 1
            continue
        a, nodes = place[depth], nodes + 1
        place[depth] += 1
        chosen[depth], explained[depth + 1] = free[depth, a], explained[depth] + h[depth, a] ** 2
        child = (m[depth + 1], h[depth + 1], free[depth + 1])
        depth += 1
        count[depth] = _project_(level, a, child, rank, order)
        deeper = (m[depth], h[depth], free[depth], count[depth])
        _singles_and_pairs_(problem, deeper, state, depth, k - depth, best, spare)
        place[depth] = 0 if k - depth >= 3 else count[depth]
        if k - depth >= 3:
            _rows_bound_(m[depth], count[depth], k - depth, eigen[depth])
    return nodes, beyond


@njit(cache=True)
def _root_(gram: Any, alpha: Any, m: Any, h: Any, free: Any) -> int:
    """Write the atoms other than zero, scaled to unit norm and sorted; return how many there are."""
    scale = np.sqrt(np.diag(gram))
    size = np.where(scale > 0, np.abs(alpha) / np.where(scale > 0, scale, 1.0), -1.0)
    by = np.argsort(-size, kind="mergesort")
    count = 0
    for atom in by:
        if scale[atom] > 0:
            free[count], h[count] = atom, alpha[atom] / scale[atom]
            count += 1
    for i in range(count):
        for j in range(count):
            m[i, j] = gram[free[i], free[j]] / (scale[free[i]] * scale[free[j]]) if i != j else 1.0
    return count


@njit(cache=True)
def _search_row_(
    x: Any, alpha: Any, gram: Any, law: Any, given: Any, limit: Any, indices: Any, data: Any, record: Any
) -> None:
    """Write the best support, its coefficients, and in ``record`` its certificate and size.

    ``law`` is the price of an atom, and what a support must explain beyond its prices to be taken at all; the atoms
    ``given``, up to the first below zero, are the first support to beat, if there are at most k. The work
    arrays are made here: allocated and filled inside a parallel loop they may be hoisted out of it.
    """
    (price, least), (k, budget, non_negative) = law, limit
    p, levels = len(gram), max(k - 1, 1)
    grams, slopes = np.empty((levels, p, p)), np.empty((levels, p))
    free, counts, place = np.empty((levels, p), np.int64), np.empty(levels, np.int64), np.empty(levels, np.int64)
    tree = (grams, slopes, free, counts, place, np.empty((levels, k + 1)), np.empty(p), np.empty(p, np.int64))
    state = (np.empty(k + 1, np.int64), np.zeros(k + 1))
    best = (indices, data, np.array([least, 0.0]))
    spare = (np.empty(k), np.empty((k, k)), np.empty(k, np.int64))
    energy = np.sum(x**2)
    problem, size = (gram, alpha, energy, price, non_negative), 0
    while size < len(given) and given[size] >= 0:
        size += 1
    if 0 < size <= k:
        _offer_(problem, given, size, best, spare)
    counts[0] = _root_(gram, alpha, grams[0], slopes[0], free[0])
    nodes, beyond = _search_(problem, k, budget, tree, state, best, spare)
    record[0] = energy - max(beyond, best[2][0])
    record[1] = nodes
    record[2] = beyond <= best[2][0] + MARGIN * energy
    record[3] = best[2][1]


@njit(cache=True, parallel=True)
def _search_all_(
    x: Any, alpha: Any, gram: Any, law: Any, given: Any, limit: Any, indices: Any, data: Any, record: Any
) -> None:
    for row in prange(len(x)):
        own = (law[row, 0], law[row, 1])
        _search_row_(x[row], alpha[row], gram, own, given[row], limit, indices[row], data[row], record[row])


def exhaustive_search(
    x: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    gram: npt.NDArray[Any],
    law: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    given: npt.NDArray[np.int64],
    limit: tuple[int, int, bool],
) -> tuple[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]], npt.NDArray[Any]]:
    """Return ``indices, data (n, k)`` with ``count (n,)`` entries in use, and a certificate ``(n, 3)`` for each row.

    Parameters
    ----------
    x : (n, d) rows, of which only the energy is used beside ``alpha (n, p)``, their products with the atoms.
    gram : (p, p) products of the atoms.
    law : the price (n,) of one atom, in squared error, and the energy less prices (n,) that a support must explain more
        than: others are not looked for.
    given : (n, most) supports to beat, ended by -1; one of more than k atoms is not looked at.
    limit : atoms, nodes visited at most, and whether codes are non-negative.

    The certificate is a lower bound on the objective, the nodes visited, and 1 where the codes are proven optimal.
    """
    indices, data = np.empty((len(x), limit[0]), np.int64), np.empty((len(x), limit[0]))
    record = np.empty((len(x), 4))
    _search_all_(x, alpha, gram, np.stack(law, axis=1), given, limit, indices, data, record)
    return (indices, data, record[:, 3].astype(np.int64)), record[:, :3]
