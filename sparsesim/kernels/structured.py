"""Drawing supports of acyclic graphs from the roots down: a node is decided once, and only when a parent fires."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.sampling import (
    BLOCK,
    collect,
    first_gaps_,
    geometric_,
    geometric_gap,
    put_,
    rate_classes,
    roots_,
    uniform_,
)

Array = npt.NDArray[Any]


class Graph(NamedTuple):
    """An acyclic graph laid out for drawing.

    Attributes
    ----------
    start, plain, root, gap : the nodes without parents in classes of similar rate, as in `sampling.Tree`.
    child_start : (m + 1,) where each node's edges begin in ``child``.
    child : (edges,) nodes that are decided when this node fires: a node that needs one parent is reached from each of
        them, one that needs all of them only from its deepest.
    weight : (edges,) rate over the largest rate among the children of the same node.
    child_gap : (m,) 1 / log(1 - largest rate of the children).
    parent_start, parent : the parents of each node in compressed rows.
    every : (m,) the node needs all its parents, not only one.
    level : (m,) length of the longest path from a root.
    mean : upper bound of the expected number of nodes that fire.
    """

    start: Array
    plain: Array
    root: Array
    gap: Array
    child_start: Array
    child: Array
    weight: Array
    child_gap: Array
    parent_start: Array
    parent: Array
    every: Array
    level: Array
    mean: float


@njit(cache=True)
def _open_(node: int, source: int, edges: Any, fired: Any, passed: Any, stamp: int) -> bool:
    """Say whether ``node``, hit from ``source``, is to be decided now, and not closed or decided before."""
    parent_start, parent, every = edges
    for place in range(parent_start[node], parent_start[node + 1]):
        other = parent[place]
        if every[node]:
            if fired[other] != stamp:
                return False
        elif other != source and passed[other] == stamp:
            return False
    return True


@njit(cache=True)
def _cascade_(state: Any, graph: Any, active: Any, count: int, stamp: int, marks: Any) -> int:
    """Append the descendants that fire to the ``count`` roots in ``active``, level by level; return the new count.

    The nodes of a level that fire are a linked list: ``first[level]``, then ``after[node]``; -1 ends it. All of a level
    are known before its first is visited, since every parent lies on a lower level.
    """
    child_start, child, weight, child_gap, parent_start, parent, every, level = graph
    fired, passed, first, after = marks
    for place in range(count):
        node = active[place]
        fired[node], after[node], first[0] = stamp, first[0], node
    depth, deepest = 0, 0
    while depth <= deepest:
        node, first[depth] = first[depth], -1
        while node >= 0:
            passed[node] = stamp
            low, high = child_start[node], child_start[node + 1]
            place = low + geometric_(state, child_gap[node]) if low < high else high
            while place < high:
                hit = weight[place] >= 1.0 or uniform_(state) < weight[place]
                if hit and _open_(child[place], node, (parent_start, parent, every), fired, passed, stamp):
                    found = child[place]
                    below = level[found]
                    fired[found], after[found], first[below] = stamp, first[below], found
                    deepest = max(deepest, below)
                    active[count] = found
                    count += 1
                place += 1 + geometric_(state, child_gap[node])
            node = after[node]
        depth += 1
    return count


@njit(cache=True)
def _block_(state: Any, roots: Any, graph: Any, counts: Any, out: Any) -> int:
    """Draw one block of samples into ``out`` as far as there is room, and return the room it needs."""
    m = len(graph[0]) - 1
    active = np.empty(m, np.int32)
    marks = (np.zeros(m, np.int64), np.zeros(m, np.int64), np.full(m, -1, np.int64), np.empty(m, np.int64))
    upcoming = first_gaps_(state, roots[3])
    used = 0
    for row in range(len(counts)):
        count = roots_(state, upcoming, roots, active)
        count = _cascade_(state, graph, active, count, row + 1, marks)
        used = put_(active[:count], used, out)
        counts[row] = count
    return used


@njit(cache=True, parallel=True)
def _blocks(seeds: Any, roots: Any, graph: Any, counts: Any, out: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        rows = counts[block * BLOCK : (block + 1) * BLOCK]
        used[block] = _block_(seeds[block].copy(), roots, graph, rows, out[block])


def graph_of(parents: tuple[tuple[int, ...], ...], rates: Array, every: Array, level: Array, mean: float) -> Graph:
    """Return the layout of the graph with ``parents`` of each node and conditional ``rates (m,)``."""
    m = len(parents)
    parent_start = np.concatenate([[0], np.cumsum([len(above) for above in parents])]).astype(np.int64)
    parent = np.array([node for above in parents for node in above], dtype=np.int32)
    source: list[int] = []
    target: list[int] = []
    for node, above in enumerate(parents):
        reached = above if not every[node] else above[:0] if not above else (max(above, key=level.__getitem__),)
        source.extend(reached)
        target.extend([node] * len(reached))
    order = np.argsort(np.array(source, dtype=np.int64), kind="stable")
    above_edge, child = np.array(source, dtype=np.int64)[order], np.array(target, dtype=np.int32)[order]
    child_start = np.searchsorted(above_edge, np.arange(m + 1)).astype(np.int64)
    largest = np.zeros(m)
    np.maximum.at(largest, above_edge, rates[child])
    most = largest[above_edge]
    weight = np.divide(rates[child], most, out=np.zeros(len(child)), where=most > 0)
    roots = rate_classes(np.flatnonzero(np.diff(parent_start) == 0), rates)
    edges = (child_start, child, weight, geometric_gap(largest), parent_start, parent)
    return Graph(*roots, *edges, every.astype(np.bool_), level.astype(np.int64), mean)


def draw_graph(graph: Graph, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ascending ``indices (nnz,)`` of the nodes that fire in n samples."""

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _blocks(seeds, graph[:4], graph[4:12], counts, out, used)

    return collect(fill, n, rng, graph.mean)
