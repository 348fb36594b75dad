"""Latent Gaussians drawn one by one, and firing rates below gates, given shared factors.

`draw_cholesky` and `draw_exchangeable` draw every latent number and cost m^2 and m a sample: for correlations that
have no shared factor. `gated_rates` is the law of `sparsesim.kernels.copula` below a parent, as a number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.sampling import BLOCK, collect, normals_

Array = npt.NDArray[Any]


@njit(cache=True)
def _cross_(latent: Any, level: Any, filled: int, out: Any) -> int:
    """Write the features with latent + level > 0 after ``filled`` in ``out``, if there is room; return how many."""
    count = 0
    for feature in range(len(level)):
        if latent[feature] + level[feature] > 0.0:
            if filled + count < len(out):
                out[filled + count] = feature
            count += 1
    return count


@njit(cache=True, fastmath={"contract", "reassoc"})
def _mixed_(factor: Any, normal: Any, latent: Any) -> None:
    """Write the product of the lower triangle ``factor (m, m)`` and ``normal (m,)`` into ``latent``."""
    for row in range(len(latent)):
        total = 0.0
        for column in range(row + 1):
            total += factor[row, column] * normal[column]
        latent[row] = total


@njit(cache=True)
def _exchanged_(start: Any, common: Any, own: float, normal: Any, latent: Any) -> None:
    """Write own * normal_i + common_b * sum of the normals of block b into ``latent``."""
    for block in range(len(common)):
        shared = common[block] * np.sum(normal[start[block] : start[block + 1]])
        for place in range(start[block], start[block + 1]):
            latent[place] = own * normal[place] + shared


@njit(cache=True, parallel=True)
def _cholesky_blocks(seeds: Any, factor: Any, level: Any, counts: Any, out: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        state, filled = seeds[block].copy(), 0
        normal, latent = np.empty(len(level)), np.empty(len(level))
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(counts))):
            normals_(state, normal)
            _mixed_(factor, normal, latent)
            counts[row] = _cross_(latent, level, filled, out[block])
            filled += counts[row]
        used[block] = filled


@njit(cache=True, parallel=True)
def _exchangeable_blocks(
    seeds: Any, start: Any, common: Any, own: float, level: Any, counts: Any, out: Any, used: Any
) -> None:
    for block in prange(len(seeds)):
        state, filled = seeds[block].copy(), 0
        normal, latent = np.empty(len(level)), np.empty(len(level))
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(counts))):
            normals_(state, normal)
            _exchanged_(start, common, own, normal, latent)
            counts[row] = _cross_(latent, level, filled, out[block])
            filled += counts[row]
        used[block] = filled


def draw_cholesky(factor: Array, level: Array, mean: float, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return ``indptr`` and ascending ``indices`` where factor @ normals + level > 0, ``factor`` lower triangular."""

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _cholesky_blocks(seeds, factor, level, counts, out, used)

    return collect(fill, n, rng, mean)


def draw_exchangeable(
    start: Array, correlation: float, level: Array, mean: float, n: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return ``indptr`` and ascending ``indices`` where latent + level > 0, equally correlated within blocks.

    With own^2 = 1 - r and (own + size * common)^2 = 1 + (size - 1) r, own * normal_i + common * sum of normals has
    correlation r; r may be negative.
    """
    size, own = np.diff(start), math.sqrt(1.0 - correlation)
    common = (np.sqrt(1.0 + (size - 1) * correlation) - own) / size

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _exchangeable_blocks(seeds, start, common, own, level, counts, out, used)

    return collect(fill, n, rng, mean)


@njit(cache=True, fastmath={"contract", "reassoc"})
def _chance_(level: float, load: Any, z: Any, keep: float) -> float:
    """Return keep * Phi(level + load . z)."""
    score = level
    for factor in range(len(z)):
        score += load[factor] * z[factor]
    return keep * 0.5 * math.erfc(-score * math.sqrt(0.5))


@njit(cache=True)
def _siblings_(chance: Any, children: Any, exclusive: bool, node: Any, weight: Any, above: float, rate: Any) -> None:
    """Write the rates of the ``children`` of a feature of rate ``above``.

    One of the children that fire stays, at random, if they are exclusive: with probability chance_i E[1 / (1 + N)], N
    of the others firing, where E[1 / (1 + N)] is the integral over t in (0, 1) of prod_j (1 - chance_j (1 - t)).
    """
    for child in children:
        rate[child] = 0.0 if exclusive else above * chance[child]
    if not exclusive:
        return
    for point in range(len(node)):
        all_others, missing = weight[point] * above, 1.0 - node[point]
        for child in children:
            all_others *= 1.0 - chance[child] * missing
        for child in children:
            rate[child] += chance[child] * all_others / (1.0 - chance[child] * missing)


@njit(cache=True, parallel=True)
def _gated(z: Any, law: Any, order: Any, tree: Any, quadrature: Any, out: Any) -> None:
    level, load, keep = law
    child_start, child, exclusive = tree
    for replicate in prange(len(z)):
        chance, rate = np.empty(len(level)), np.empty(len(level))
        for point in range(z.shape[1]):
            for feature in order:
                chance[feature] = _chance_(level[feature], load[feature], z[replicate, point], keep[feature])
                rate[feature] = chance[feature]
            for parent in order:
                if child_start[parent] == child_start[parent + 1]:
                    continue
                children = child[child_start[parent] : child_start[parent + 1]]
                crowd = exclusive[parent] and len(children) > 1
                _siblings_(chance, children, crowd, quadrature[0], quadrature[1], rate[parent], rate)
            for feature in order:
                out[replicate, feature] += rate[feature]


def gated_rates(z: Array, law: tuple[Array, Array, Array], order: Array, tree: tuple[Array, Array, Array]) -> Array:
    """Return the mean rates ``(replicates, m)`` of the features ``order`` over factors ``z (replicates, points, r)``.

    ``law`` is ``level, load, keep`` and ``tree`` ``child_start, child, exclusive`` of `Factors`; ``order`` lists every
    parent before its children. The rate given z is exact: the quadrature is, for polynomials of this degree.
    """
    most = int(np.diff(tree[0]).max(initial=0))
    node, weight = np.polynomial.legendre.leggauss(max((most + 1) // 2, 1))
    out = np.zeros((len(z), len(law[0])))
    _gated(z, law, order, tree, (0.5 * (1.0 + node), 0.5 * weight), out)
    out /= z.shape[1]
    return out
