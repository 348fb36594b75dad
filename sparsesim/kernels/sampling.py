"""Drawing supports at a cost that follows what fires: geometric skipping, trees from the top down, Floyd's subsets.

Samples are drawn in blocks of `BLOCK`; each block has its own xoshiro256++ state, 256 bits of the caller's generator,
so the result does not depend on the number of threads.

References
----------
Blackman and Vigna (2021), "Scrambled linear pseudorandom number generators", xoshiro256++ 1.0; Lemire (2019), "Fast
random integer generation in an interval", arXiv 1805.10941, algorithm 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

BLOCK = 256  # samples that share a random state; part of the stream, so a change changes every drawn world
RAREST = -60  # rates below 2^-60 share one class
FAR = 2**62  # a gap longer than any block
# Typed constants: a Python integer mixed with a uint64 makes numba compute in float64.
U5, U11, U17, U19, U23, U32, U41, U45 = (np.uint64(number) for number in (5, 11, 17, 19, 23, 32, 41, 45))
U1, LOW32 = np.uint64(1), np.uint64(2**32 - 1)

Array = npt.NDArray[Any]


class Tree(NamedTuple):
    """A forest laid out for drawing: roots in classes of similar rate, children in compressed rows.

    Attributes
    ----------
    start : (classes + 1,) where each class of roots begins in ``root``.
    plain : (classes,) first root of a class of consecutive features of one rate, which needs no look-up; else -1.
    root : (roots, 2) rate over the largest rate of the class, and the feature; those of rate 0 are left out.
    gap : (classes,) 1 / log(1 - largest rate), by which a logarithm becomes a geometric number.
    child_start : (m + 1,) where each feature's children begin in ``child``.
    child : (edges,) features.
    weight : (edges,) running sum of the siblings' rates if they are ``exclusive``, else rate over their largest rate.
    child_gap : (m,) ``gap`` of the children's largest rate.
    exclusive : (m,) whether at most one child of this parent fires.
    mean : expected number of features that fire in a sample.
    """

    start: Array
    plain: Array
    root: Array
    gap: Array
    child_start: Array
    child: Array
    weight: Array
    child_gap: Array
    exclusive: Array
    mean: float


@njit(cache=True)
def next64_(state: Any) -> Any:
    """Advance the xoshiro256++ ``state (4,)`` and return 64 random bits."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << U23) | (total >> U41)) + s0
    shifted = s1 << U17
    s2 ^= s0
    s3 ^= s1
    state[1] = s1 ^ s2
    state[0] = s0 ^ s3
    state[2] = s2 ^ shifted
    state[3] = (s3 << U45) | (s3 >> U19)
    return result


@njit(cache=True)
def uniform_(state: Any) -> float:
    """Return a uniform number in [0, 1), a multiple of 2^-53."""
    return np.float64(next64_(state) >> U11) * 2.0**-53


@njit(cache=True)
def exponential_(state: Any) -> float:
    """Return a standard exponential number, at most 53 log 2."""
    return -math.log(1.0 - uniform_(state))


@njit(cache=True)
def normals_(state: Any, out: Any) -> None:
    """Fill ``out`` with standard normal numbers (Box and Muller)."""
    for place in range(0, len(out), 2):
        radius, angle = math.sqrt(2.0 * exponential_(state)), 2.0 * math.pi * uniform_(state)
        out[place] = radius * math.cos(angle)
        if place + 1 < len(out):
            out[place + 1] = radius * math.sin(angle)


@njit(cache=True)
def geometric_(state: Any, gap: float) -> Any:
    """Return how many misses come before the next hit, where ``gap`` = 1 / log(1 - rate)."""
    value = math.log(1.0 - uniform_(state)) * gap
    return np.int64(value) if value < FAR else np.int64(FAR)  # a NaN (0 times infinity) is far, too


@njit(cache=True)
def below_(state: Any, bound: Any) -> Any:
    """Return a uniform integer in [0, bound), bound < 2^32, without bias."""
    product = (next64_(state) >> U32) * bound
    if (product & LOW32) < bound:
        threshold = (LOW32 - bound + U1) % bound
        while (product & LOW32) < threshold:
            product = (next64_(state) >> U32) * bound
    return product >> U32


@njit(cache=True)
def roots_(state: Any, upcoming: Any, roots: Any, active: Any) -> int:
    """Write the roots that fire in one sample into ``active``; ``upcoming`` carries each class's gap to the next."""
    start, plain, root, gap = roots
    count = 0
    for group in range(len(gap)):
        low, width, first = start[group], start[group + 1] - start[group], plain[group]
        position = upcoming[group]
        while position < width:
            if first >= 0:
                active[count] = first + position
                count += 1
            elif root[low + position, 0] >= 1.0 or uniform_(state) < root[low + position, 0]:
                active[count] = np.int32(root[low + position, 1])
                count += 1
            position += 1 + geometric_(state, gap[group])
        upcoming[group] = position - width
    return count


@njit(cache=True)
def _one_child_(state: Any, low: int, high: int, weight: Any) -> int:
    """Return the place of the child that fires, by bisection in the running sums, or -1 for none."""
    value = uniform_(state)
    if value >= weight[high - 1]:
        return -1
    high -= 1
    while low < high:
        middle = (low + high) // 2
        if value < weight[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@njit(cache=True)
def _descend_(state: Any, tree: Any, active: Any, count: int) -> int:
    """Append the descendants that fire to the ``count`` roots in ``active`` and return the new count."""
    child_start, child, weight, child_gap, exclusive = tree
    head = 0
    while head < count:
        node = active[head]
        head += 1
        low, high = child_start[node], child_start[node + 1]
        if low == high:
            continue
        if exclusive[node]:
            place = _one_child_(state, low, high, weight)
            if place >= 0:
                active[count] = child[place]
                count += 1
            continue
        place = low + geometric_(state, child_gap[node])
        while place < high:
            if weight[place] >= 1.0 or uniform_(state) < weight[place]:
                active[count] = child[place]
                count += 1
            place += 1 + geometric_(state, child_gap[node])
    return count


@njit(cache=True)
def first_gaps_(state: Any, gap: Any) -> Any:
    """Return how far the first root that fires is in each class."""
    upcoming = np.empty(len(gap), np.int64)
    for group in range(len(gap)):
        upcoming[group] = geometric_(state, gap[group])
    return upcoming


@njit(cache=True)
def put_(fired: Any, used: int, out: Any) -> int:
    """Sort the features of a sample and write them behind the ``used`` entries of ``out``, if there is room."""
    fired.sort()
    if used + len(fired) <= len(out):
        out[used : used + len(fired)] = fired
    return used + len(fired)


@njit(cache=True)
def _block_(state: Any, roots: Any, tree: Any, counts: Any, out: Any) -> int:
    """Draw one block of samples into ``out`` as far as there is room, and return the room it needs."""
    active = np.empty(len(tree[0]) - 1, np.int32)
    upcoming = first_gaps_(state, roots[3])
    used = 0
    for row in range(len(counts)):
        count = roots_(state, upcoming, roots, active)
        if len(tree[1]):
            count = _descend_(state, tree, active, count)
        used = put_(active[:count], used, out)
        counts[row] = count
    return used


@njit(cache=True, parallel=True)
def _blocks(seeds: Any, roots: Any, tree: Any, counts: Any, out: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        rows = counts[block * BLOCK : (block + 1) * BLOCK]
        used[block] = _block_(seeds[block].copy(), roots, tree, rows, out[block])


@njit(cache=True, parallel=True)
def _subsets(seeds: Any, m: int, k: int, n: int, indices: Any) -> None:
    for block in prange(len(seeds)):
        state = seeds[block].copy()
        taken = np.zeros(m, np.bool_)
        for row in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            chosen = indices[row * k : (row + 1) * k]
            for j in range(k):
                last = m - k + j
                pick = np.int64(below_(state, np.uint64(last + 1)))
                chosen[j] = last if taken[pick] else pick
                taken[chosen[j]] = True
            chosen.sort()
            for j in range(k):
                taken[chosen[j]] = False


@njit(cache=True)
def _energy(order: Any, parents: Any, rates: Any, exclusive: Any, vectors: Any) -> Any:
    """Pass every subtree's mean and energy up to its parent; row m is the roots' common parent, not exclusive."""
    m, width = vectors.shape
    below = np.zeros((m + 1, width))  # sum over children of rate * E[subtree sum | child fires]
    rest = np.zeros(m + 1)  # what the children's energy holds beyond that sum (squared, if independent)
    for step in range(m - 1, -1, -1):
        node = order[step]
        parent, rate = parents[node], rates[node]
        energy, centre = rest[node], 0.0
        for column in range(width):
            own, under = vectors[node, column], below[node, column]
            energy += own * own + 2.0 * own * under
            if not exclusive[node]:
                energy += under * under
            centre += (own + under) ** 2
            below[parent, column] += rate * (own + under)
        rest[parent] += rate * energy
        if not exclusive[parent]:
            rest[parent] -= rate * rate * centre
    total = rest[m]
    for column in range(width):
        total += below[m, column] ** 2
    return total


def geometric_gap(rate: Array) -> Array:
    """Return 1 / log(1 - rate), by which a logarithm becomes a geometric number."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1.0 / np.log1p(-rate))


def rate_classes(index: Array, rates: Array) -> tuple[Array, Array, Array, Array]:
    """Return ``start, plain, root, gap`` of the features ``index``, in classes of rates within a factor two."""
    index = index[rates[index] > 0]
    level = np.maximum(np.floor(np.log2(rates[index])), RAREST)
    order = np.argsort(-level, kind="stable")
    root = index[order]
    first = np.flatnonzero(np.diff(level[order], prepend=np.inf))
    largest = np.maximum.reduceat(rates[root], first) if len(root) else np.empty(0)
    start = np.append(first, len(root)).astype(np.int64)
    size = np.diff(start)
    keep, place = rates[root] / np.repeat(largest, size), np.arange(len(root)) - np.repeat(first, size)
    looked_up = (keep < 1.0) | (root != np.repeat(root[first], size) + place)
    plain = np.where(np.bincount(np.repeat(np.arange(len(size)), size), looked_up, len(size)) > 0, -1, root[first])
    return start, plain.astype(np.int64), np.column_stack([keep, root]), geometric_gap(largest)


def tree_of(parents: Array, rates: Array, exclusive: bool | Array, mean: float) -> Tree:
    """Return the layout of the forest with ``parents (m,)`` (-1 for a root) and conditional ``rates (m,)``.

    ``exclusive`` says whether at most one child of a parent fires, for all parents or for each of the m features.
    """
    m = len(parents)
    flags = np.full(m, exclusive, dtype=bool)
    child = np.argsort(parents, kind="stable")[np.count_nonzero(parents < 0) :]
    child_start = np.searchsorted(parents[child], np.arange(m + 1)).astype(np.int32)
    weight = rates[child].copy()
    largest = np.zeros(m)
    np.maximum.at(largest, parents[child], weight)
    above = np.where(flags, 1.0, largest)[parents[child]]
    weight = np.divide(weight, above, out=np.zeros_like(weight), where=above > 0)
    for node in np.flatnonzero(flags & (np.diff(child_start) > 0)):
        siblings = weight[child_start[node] : child_start[node + 1]]
        np.cumsum(siblings, out=siblings)
    roots = rate_classes(np.flatnonzero(parents < 0), rates)
    return Tree(*roots, child_start, child.astype(np.int32), weight, geometric_gap(largest), flags, mean)


def block_seeds(n: int, rng: np.random.Generator) -> Array:
    """Return the random states ``(blocks, 4)`` of the blocks of ``n`` samples."""
    return rng.integers(0, 2**64, size=((n + BLOCK - 1) // BLOCK, 4), dtype=np.uint64)


@njit(cache=True)
def _below_(state: Any, tree: Any, roots: Any, active: Any) -> int:
    """Write one sample, its ``roots`` and their descendants, into ``active`` in ascending order; return its length."""
    active[: len(roots)] = roots
    count = _descend_(state, tree, active, len(roots))
    fired = active[:count]
    fired.sort()
    return count


@njit(cache=True, parallel=True)
def _below(seeds: Any, tree: Any, root_start: Any, roots: Any, counts: Any, out: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        state, filled = seeds[block].copy(), 0
        active = np.empty(len(tree[0]) - 1, np.int32)
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(counts))):
            counts[row] = _below_(state, tree, roots[root_start[row] : root_start[row + 1]], active)
            if filled + counts[row] <= out.shape[1]:
                out[block, filled : filled + counts[row]] = active[: counts[row]]
            filled += counts[row]
        used[block] = filled


def collect(fill: Callable[..., None], n: int, rng: np.random.Generator, mean: float) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ``indices (nnz,)`` of n samples of which about ``mean`` features fire each.

    ``fill(seeds, counts, out, used)`` draws the blocks: it writes the number of features of each sample into ``counts
    (n,)``, those of a block one after the other into its row of ``out (blocks, room)`` as far as there is room, and
    the room that the block needs into ``used (blocks,)``.
    """
    seeds, counts = block_seeds(n, rng), np.zeros(n, np.int64)
    used = np.zeros(len(seeds), np.int64)
    expected = min(n, BLOCK) * mean
    room = int(1.1 * expected + 10.0 * math.sqrt(expected)) + 64
    while True:
        parts = np.empty((len(seeds), room), np.int32)
        fill(seeds, counts, parts, used)
        needed = int(used.max(initial=0))
        if needed <= room:
            break
        room = needed  # the same states draw the same samples, now with room for them
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = [part[:filled] for part, filled in zip(parts, used.tolist(), strict=True)]
    return indptr, np.concatenate([*indices, np.empty(0, np.int32)])


def draw_tree(tree: Tree, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ascending ``indices (nnz,)`` of the features that fire in n samples."""

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _blocks(seeds, tree[:4], tree[4:9], counts, out, used)

    return collect(fill, n, rng, tree.mean)


def draw_below(
    tree: Tree, root_start: Array, roots: Array, rng: np.random.Generator, mean: float
) -> tuple[Array, Array]:
    """Return ``indptr`` and ascending ``indices`` of samples whose roots, ``roots`` in compressed rows, are given."""

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _below(seeds, tree[4:9], root_start, roots, counts, out, used)

    return collect(fill, len(root_start) - 1, rng, mean)


def draw_subsets(m: int, k: int, n: int, rng: np.random.Generator) -> Array:
    """Return ascending ``indices (n * k,)`` of n uniform k-subsets of m features."""
    indices = np.empty(n * k, np.int32)
    _subsets(block_seeds(n, rng), m, k, n, indices)
    return indices


def tree_energy(order: Array, parents: Array, rates: Array, exclusive: bool | Array, vectors: Array) -> float:
    """Return E||sum of the firing rows of ``vectors (m, d)``||^2; ``order`` lists every parent before its children.

    The energy is a sum over columns, which are taken 32 at a time to bound the memory by 256 bytes a feature.
    """
    above = np.where(parents < 0, len(parents), parents)
    flags = np.append(np.full(len(parents), exclusive, dtype=bool), False)
    blocks = (np.ascontiguousarray(vectors[:, low : low + 32]) for low in range(0, vectors.shape[1], 32))
    return float(sum(_energy(order, above, rates, flags, block) for block in blocks))
