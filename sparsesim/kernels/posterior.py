"""Posterior means of Bernoulli-Gaussian codes, by a sum over supports that share their factorisations.

Supports are the nodes of a tree, each its parent with one later atom added. With rho = noise variance / slab variance
and M_S = G_SS + diag(rho_S) = L L^T, a node's ``weights`` are the last row of L^-1: the products ``z = weights @ b_S``
along a path are L^-1 b_S, so that what S explains is the sum of their squares and its mean is the sum of
``z * weights``. The tree is the same for every row; rows walk it eight at a time, each in sums of its own.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]

LANES = 8  # rows that walk the tree together: one vector register, and one reading of the tree
FAINT = -700.0  # a support of e^-700 times the largest weight adds nothing


class Supports(NamedTuple):
    """Supports in depth-first order, the empty one first.

    Attributes
    ----------
    parent : (s,) the support without its last atom; -1 for the empty one.
    size : (s,) atoms.
    members : (s, k) the atoms, ascending.
    weights : (s, k) last row of L^-1.
    offset : (s,) log prior and normaliser, relative to those of the empty support.
    """

    parent: Array
    size: Array
    members: Array
    weights: Array
    offset: Array


@njit(cache=True)
def _extend_(gram: Any, rho: Any, members: Any, weights: Any, path: Any, out: Any) -> float:
    """Write the last row of L^-1 of the path's support into ``out``; return the square of its last pivot.

    ``path`` lists the nodes above, from the first atom on; ``members`` are those of the new support.
    """
    size = len(path)
    atom = members[size]
    pivot = gram[atom, atom] + rho[atom]
    for t in range(size):
        out[t] = 0.0
    for t in range(size):
        row = weights[path[t]]
        entry = 0.0
        for s in range(t + 1):
            entry += row[s] * gram[atom, members[s]]
        pivot -= entry * entry
        for s in range(t + 1):
            out[s] -= entry * row[s]
    pivot = float(max(pivot, rho[atom]))  # an eigenvalue of M is never below the least rho
    scale = 1.0 / math.sqrt(pivot)
    for s in range(size):
        out[s] *= scale
    out[size] = scale
    return pivot


@njit(cache=True)
def _tree_(gram: Any, rho: Any, gain: Any, tree: Any) -> None:
    """Fill the tree of all supports of at most as many atoms as ``members`` has columns."""
    parent, size, members, weights, offset = tree
    p, most = len(gram), members.shape[1]
    path, depth, upcoming, count = np.empty(most + 1, np.int64), 0, np.zeros(most + 1, np.int64), 1
    parent[0], size[0], offset[0], path[0] = -1, 0, 0.0, 0
    while depth >= 0:
        if depth == most or upcoming[depth] >= p:
            depth -= 1
            continue
        atom, above, node = upcoming[depth], path[depth], count
        upcoming[depth] += 1
        for t in range(depth):
            members[node, t] = members[above, t]
        members[node, depth] = atom
        pivot = _extend_(gram, rho, members[node], weights, path[1 : depth + 1], weights[node])
        parent[node], size[node] = above, depth + 1
        offset[node] = offset[above] + gain[atom] + 0.5 * math.log(rho[atom] / pivot)
        depth, count = depth + 1, count + 1
        path[depth], upcoming[depth] = node, atom + 1


@njit(cache=True)
def _score_(b: Any, precision: Any, tree: Any, least: int, z: Any, score: Any, best: Any) -> None:
    """Write ``z`` and the log posterior of every support, up to a constant, and the likeliest, for `LANES` rows."""
    parent, size, members, weights, offset = tree
    for node in range(len(parent)):
        out, total = z[node], score[node]
        for lane in range(LANES):
            out[lane] = 0.0
        for t in range(size[node]):
            weight, source = weights[node, t], b[members[node, t]]
            for lane in range(LANES):
                out[lane] += weight * source[lane]
        for lane in range(LANES):
            total[lane] = 0.5 * precision[lane] * out[lane] * out[lane]
        if node > 0:
            for lane in range(LANES):
                total[lane] += score[parent[node], lane]
    for lane in range(LANES):
        best[lane] = -1
    for node in range(len(parent)):
        for lane in range(LANES):
            score[node, lane] += offset[node]
            if size[node] >= least and (best[lane] < 0 or score[node, lane] > score[best[lane], lane]):
                best[lane] = node


@njit(cache=True)
def _average_(tree: Any, least: int, top: Any, z: Any, score: Any, mean: Any, active: Any, total: Any) -> None:
    """Write posterior means and P(active) ``(p, LANES)``, and ln of the sum of the supports' weights.

    Backwards in depth-first order a support comes after all that extend it, so that ``below`` holds their mass.
    """
    _, size, members, weights, _ = tree
    below, mass = np.zeros((members.shape[1] + 2, LANES)), np.empty(LANES)
    for node in range(len(size) - 1, -1, -1):
        depth, largest = size[node], 0.0
        for lane in range(LANES):
            beyond = score[node, lane] - top[lane] if depth >= least else FAINT
            mass[lane] = below[depth + 1, lane] + (math.exp(beyond) if beyond > FAINT else 0.0)
            below[depth + 1, lane] = 0.0
            below[depth, lane] += mass[lane]
            largest = max(largest, mass[lane])
        if depth == 0 or largest == 0.0:
            continue
        for lane in range(LANES):
            active[members[node, depth - 1], lane] += mass[lane]
            mass[lane] *= z[node, lane]
        for t in range(depth):
            weight, out = weights[node, t], mean[members[node, t]]
            for lane in range(LANES):
                out[lane] += mass[lane] * weight
    for i in range(len(mean)):
        for lane in range(LANES):
            mean[i, lane] /= below[0, lane]
            active[i, lane] /= below[0, lane]
    for lane in range(LANES):
        total[lane] = top[lane] + math.log(below[0, lane])


@njit(cache=True)
def _likeliest_(tree: Any, node: int, lane: int, z: Any, mean: Any, active: Any) -> None:
    """Write the mean on one support, and 1 for its atoms."""
    parent, size, members, weights, _ = tree
    for i in range(len(mean)):
        mean[i, lane] = active[i, lane] = 0.0
    while node > 0:
        active[members[node, size[node] - 1], lane] = 1.0
        for t in range(size[node]):
            mean[members[node, t], lane] += z[node, lane] * weights[node, t]
        node = parent[node]


@njit(cache=True)
def _lanes_(low: Any, problem: Any) -> None:
    """Write what is known of at most `LANES` rows from ``low`` on; lanes without a row compute on zeros."""
    b, precision, tree, rule, mean, active, record = problem
    least, likeliest = rule
    nodes, p, rows = len(tree[0]), b.shape[1], min(len(b) - low, LANES)
    z, score = np.empty((nodes, LANES)), np.empty((nodes, LANES))
    inner, level = np.zeros((p, LANES)), np.ones(LANES)
    average, chance, best = np.zeros((p, LANES)), np.zeros((p, LANES)), np.empty(LANES, np.int64)
    top, total = np.empty(LANES), np.empty(LANES)
    for lane in range(rows):
        level[lane] = precision[low + lane]
        for i in range(p):
            inner[i, lane] = b[low + lane, i]
    _score_(inner, level, tree, least, z, score, best)
    for lane in range(LANES):
        top[lane] = score[best[lane], lane]
    _average_(tree, least, top, z, score, average, chance, total)
    for lane in range(rows):
        if likeliest:
            _likeliest_(tree, best[lane], lane, z, average, chance)
        for i in range(p):
            mean[low + lane, i], active[low + lane, i] = average[i, lane], chance[i, lane]
        record[low + lane, 0], record[low + lane, 1] = total[lane], top[lane]


@njit(cache=True, parallel=True)
def _rows_(b: Any, precision: Any, tree: Any, rule: Any, mean: Any, active: Any, record: Any) -> None:
    for chunk in prange((len(b) + LANES - 1) // LANES):
        _lanes_(np.int64(chunk) * LANES, (b, precision, tree, rule, mean, active, record))


def supports(gram: Array, rho: Array, gain: Array, most: int) -> Supports:
    """Return all supports of at most ``most`` of p atoms, with what they share between rows.

    Parameters
    ----------
    gram : (p, p) products of the atoms.
    rho : (p,) noise variance over slab variance.
    gain : (p,) log prior odds of an atom's activity.
    """
    count = sum(math.comb(len(gram), size) for size in range(most + 1))
    room = max(most, 1)
    tree = Supports(
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros((count, room), np.int32),
        np.zeros((count, room)),
        np.zeros(count),
    )
    _tree_(gram, rho, gain, tuple(tree))
    return tree


def posterior_means(
    b: Array, precision: Array, tree: Supports, least: int, likeliest: bool
) -> tuple[Array, Array, Array]:
    """Return means ``(n, p)``, P(active) ``(n, p)``, and logs ``(n, 2)`` of the sum of weights and of the largest.

    Parameters
    ----------
    b : (n, p) products of rows and atoms, plus rho times the slab's mean.
    precision : (n,) one over the noise variance.
    least : supports of fewer atoms have no weight.
    likeliest : give the mean on the support of largest weight instead, and 1 for its atoms.
    """
    mean, active, record = np.empty(b.shape), np.empty(b.shape), np.empty((len(b), 2))
    _rows_(b, precision, tuple(tree), (least, likeliest), mean, active, record)
    return mean, active, record
