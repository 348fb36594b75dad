"""Drawing the features whose latent Gaussians cross their thresholds, given shared factors, at the cost of what fires.

Given its factors z, feature i fires on its own with probability Phi(a_i), a_i = level_i + load_i . z. It does so when
the first point of a Poisson process of intensity h(a) = -log(1 - Phi(a)) falls below 1. Features are taken in chunks:
one exponential clock runs through a process whose intensity bounds h for all of a chunk, and a point of it is kept
with probability h over bound. The bound comes from scores in single precision plus their largest rounding error, the
decision from a score in double precision, so the law is exact to the 2^-53 resolution of a uniform number.

Features that have a parent are drawn from the top down, once the parent has fired; given z this is the law in which
all are drawn and those without parent are struck out.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from sparsesim.kernels.sampling import BLOCK, below_, collect, exponential_, normals_, uniform_

Array = npt.NDArray[Any]

TILE, STRIPS = 256, 4  # features that are scored together, and how many of them share a bound
CHUNKS, GROUPS = TILE // STRIPS, 8  # bounds a tile, and sums of bounds by which most of a tile is passed over
LOWEST, CELLS = -9.0, 1152  # scores from -9 to 9, beyond which Phi and 1 - Phi are below rounding, in cells of
FINE = 64.0  # 1/64
ROUNDING = 2.0**-22  # of a sum in single precision, relative to its terms and for each of them, twice over
WIDER = 1.0 + 1e-5  # a sum of single-precision bounds, to be on the safe side of its rounding
LOW32 = np.int64(2**32 - 1)


@njit(cache=True)
def phi_(a: float) -> float:
    """Return the normal distribution function at ``a``."""
    return 0.5 * math.erfc(-a * math.sqrt(0.5))


@njit(cache=True)
def hazard_(a: float) -> float:
    """Return h(a) = -log(1 - Phi(a))."""
    return -math.log1p(-phi_(a)) if a < 0.0 else -math.log(phi_(-a))


@njit(cache=True)
def _edges() -> Any:
    """Return h and Phi at the lower and upper edges of each cell; the outermost cells reach to infinity."""
    table = np.zeros((4, CELLS + 1))
    for cell in range(CELLS + 1):
        upper = min(LOWEST + (cell + 1) / FINE, -LOWEST)
        table[1, cell], table[3, cell] = hazard_(upper), phi_(upper)
        if cell:
            table[0, cell], table[2, cell] = table[1, cell - 1], table[3, cell - 1]
    return table


HAZARD_LOW, HAZARD_HIGH, PHI_LOW, PHI_HIGH = (np.ascontiguousarray(row) for row in _edges())
BOUND = np.nextafter(HAZARD_HIGH.astype(np.float32), np.float32(np.inf))


class Factors(NamedTuple):
    """Thresholds and loadings of ``m`` features, laid out for drawing.

    Attributes
    ----------
    level : (m,) score at z = 0; infinite for features that always or never fire.
    load : (m, r) change of the score with the factors.
    keep : (m,) probability that a feature which fires is counted, drawn for each on its own.
    tile_load : (tiles, r, TILE) single precision, of the features without a parent, in the order of their levels.
    tile_level : (tiles, TILE) likewise.
    member : (tiles, TILE) which features these are, chunk by chunk; -1 for none.
    reach, height : (tiles,) largest norm of a loading and largest finite magnitude of a level.
    child_start, child : where each feature's children begin in ``child``, and these.
    exclusive : (m,) of the children that fire, one is chosen at random and the others are struck out.
    mean : about how many features fire in a sample.
    """

    level: Array
    load: Array
    keep: Array
    tile_load: Array
    tile_level: Array
    member: Array
    reach: Array
    height: Array
    child_start: Array
    child: Array
    exclusive: Array
    mean: float


@njit(cache=True)
def _cell_(score: float) -> int:
    return int(min(max((score - LOWEST) * FINE, 0.0), float(CELLS)))


@njit(cache=True, fastmath={"contract", "reassoc"})
def _score_(law: Any, feature: int, z: Any, row: int) -> Any:
    """Return the score of one feature at the factors in one row of ``z``; no views, which would count references."""
    total = law[0][feature]
    for factor in range(z.shape[1]):
        total += law[1][feature, factor] * z[row, factor]
    return total


@njit(cache=True)
def _kept_(state: Any, score: float, bound: float) -> bool:
    """Decide with probability h(score) / bound; the table decides unless the number falls inside its cell."""
    value, cell = uniform_(state) * bound, _cell_(score)
    if cell == CELLS or value < HAZARD_LOW[cell]:
        return True
    return value < HAZARD_HIGH[cell] and value < hazard_(score)


@njit(cache=True)
def _fires_(state: Any, score: float) -> bool:
    """Decide with probability Phi(score)."""
    value, cell = uniform_(state), _cell_(score)
    if value < PHI_LOW[cell]:
        return True
    return value < PHI_HIGH[cell] and value < phi_(score)


@njit(cache=True)
def _counted_(state: Any, keep: Any, feature: int) -> bool:
    return bool(keep[feature] >= 1.0 or uniform_(state) < keep[feature])


@njit(cache=True)
def _chunk_(
    state: Any, clock: float, bound: float, chunk: Any, law: Any, z: Any, row: int, queue: Any, end: int
) -> Any:
    """Run the ``clock`` through a chunk of intensity ``bound`` a feature; queue what fires; return both ends."""
    member, low, size = chunk
    width = bound * size
    while clock < width:
        place = min(int(clock / bound), size - 1)
        feature = member[low + place]
        if feature >= 0 and _kept_(state, _score_(law, feature, z, row), bound):
            if _counted_(state, law[2], feature):
                queue[end] = feature
                end += 1
            clock = bound * (place + 1)  # what else falls on this feature does not matter
        clock += exponential_(state)
    return clock - width, end


@njit(cache=True, fastmath={"contract"})
def _scores_(load: Any, level: Any, z: Any, out: Any) -> None:
    """Write the scores ``(samples, TILE)`` of one tile at ``z (samples, r)``, in single precision, two rows a pass."""
    quads = len(load) - len(load) % 4
    for row in range(0, len(z), 2):
        first, second, a, b = out[row], out[row + 1], z[row], z[row + 1]
        for j in range(TILE):
            first[j] = level[j]
            second[j] = level[j]
        for t in range(0, quads, 4):
            a0, a1, a2, a3 = a[t], a[t + 1], a[t + 2], a[t + 3]
            b0, b1, b2, b3 = b[t], b[t + 1], b[t + 2], b[t + 3]
            for j in range(TILE):
                f0, f1, f2, f3 = load[t, j], load[t + 1, j], load[t + 2, j], load[t + 3, j]
                first[j] += a0 * f0 + a1 * f1 + a2 * f2 + a3 * f3
                second[j] += b0 * f0 + b1 * f1 + b2 * f2 + b3 * f3
        for t in range(quads, len(load)):
            a0, b0 = a[t], b[t]
            for j in range(TILE):
                first[j] += a0 * load[t, j]
                second[j] += b0 * load[t, j]


@njit(cache=True)
def _bounds_(score: Any, slack: Any, cell: Any, bound: Any, group: Any) -> None:
    """Write each chunk's bound ``(samples, CHUNKS)``, for features a stride of CHUNKS apart, and the groups' sums."""
    zero, top, fine = np.float32(0.0), np.float32(CELLS), np.float32(FINE)
    for row in range(len(slack)):
        mine, shift = score[row], slack[row] - np.float32(LOWEST)
        for c in range(CHUNKS):
            one, two, three, four = mine[c], mine[c + CHUNKS], mine[c + 2 * CHUNKS], mine[c + 3 * CHUNKS]
            one = one if one > two else two
            three = three if three > four else four
            one = ((one if one > three else three) + shift) * fine
            one = one if one > zero else zero
            cell[c] = one if one < top else top  # truncated
        for g in range(GROUPS):
            group[row, g] = np.float32(0.0)
        for low in range(0, CHUNKS, GROUPS):
            for g in range(GROUPS):
                value = BOUND[cell[low + g]]
                bound[row, low + g] = value
                group[row, g] += value


@njit(cache=True)
def _tile_(state: Any, clock: Any, bound: Any, group: Any, member: Any, law: Any, z: Any, queue: Any, end: int) -> int:
    """Run each sample's ``clock`` through one tile; queue what fires, as row and feature; return the queue's end."""
    for row in range(len(clock)):
        time, first = clock[row], end
        for g in range(GROUPS):
            width = np.float64(group[row, g]) * (STRIPS * WIDER)
            if time < width:
                for c in range(g, CHUNKS, GROUPS):
                    own = np.float64(bound[row, c])
                    width -= STRIPS * own
                    if time < STRIPS * own:
                        time, end = _chunk_(state, time, own, (member, c * STRIPS, STRIPS), law, z, row, queue, end)
                    else:
                        time -= STRIPS * own
                while time < width:  # what is left of the group's width belongs to no feature
                    time += exponential_(state)
            time -= width
        clock[row] = time
        for place in range(first, end):
            queue[place] |= np.int64(row) << 32
    return end


@njit(cache=True)
def _children_(state: Any, node: int, law: Any, tree: Any, z: Any, row: int, fired: Any) -> int:
    """Write the children of ``node`` that fire into ``fired`` and return their number."""
    child_start, child, exclusive = tree
    count = 0
    for place in range(child_start[node], child_start[node + 1]):
        feature = child[place]
        if _fires_(state, _score_(law, feature, z, row)) and _counted_(state, law[2], feature):
            fired[count] = feature
            count += 1
    if count > 1 and exclusive[node]:
        fired[0] = fired[np.int64(below_(state, np.uint64(count)))]
        count = 1
    return count


@njit(cache=True)
def _grown_(queue: Any, end: int, more: int) -> Any:
    """Return ``queue`` with room for ``more`` after ``end``."""
    if end + more <= len(queue):
        return queue
    larger = np.empty(2 * len(queue) + more, queue.dtype)
    larger[:end] = queue[:end]
    return larger


@njit(cache=True)
def _without_parent_(state: Any, law: Any, tiles: Any, z: Any, queue: Any) -> Any:
    """Queue the features without a parent that fire in the samples with factors ``z (rows, r)``, as row and feature."""
    tile_load, tile_level, member, reach, height = tiles
    rows, rank = z.shape
    single = np.zeros((rows + rows % 2, rank), np.float32)
    single[:rows] = z
    clock, norm, slack, end = np.empty(rows), np.empty(rows), np.empty(rows, np.float32), 0
    for row in range(rows):
        clock[row], norm[row] = exponential_(state), math.sqrt(np.sum(z[row] ** 2))
    score, cell = np.empty((len(single), TILE), np.float32), np.empty(CHUNKS, np.int32)
    bound, group = np.empty((rows, CHUNKS), np.float32), np.empty((rows, GROUPS), np.float32)
    for tile in range(len(member)):
        slack[:] = 1e-5 + ROUNDING * (rank + 4) * (height[tile] + reach[tile] * norm)
        _scores_(tile_load[tile], tile_level[tile], single, score)
        _bounds_(score, slack, cell, bound, group)
        queue = _grown_(queue, end, rows * TILE)
        end = _tile_(state, clock, bound, group, member[tile], law, z, queue, end)
    return queue, end


@njit(cache=True)
def _below_(state: Any, law: Any, tree: Any, z: Any, queue: Any, end: int) -> Any:
    """Queue the descendants that fire of what is in ``queue``, each child decided once, when its parent has fired."""
    child_start = tree[0]
    fired = np.empty(max(np.max(np.diff(child_start)), 1), np.int32)
    head = 0
    while head < end:
        row, node = queue[head] >> 32, queue[head] & LOW32
        head += 1
        if child_start[node] < child_start[node + 1]:
            count = _children_(state, node, law, tree, z, row, fired)
            queue = _grown_(queue, end, count)
            for place in range(count):
                queue[end] = (row << 32) | np.int64(fired[place])
                end += 1
    return queue, end


@njit(cache=True)
def _unpack_(queue: Any, counts: Any, out: Any) -> int:
    """Sort ``queue`` by row and feature; write the features into ``out`` as far as there is room."""
    queue.sort()
    counts[:] = 0
    for place in range(len(queue)):
        counts[queue[place] >> 32] += 1
        if place < len(out):
            out[place] = queue[place] & LOW32
    return len(queue)


@njit(cache=True, parallel=True)
def _factor_blocks(seeds: Any, law: Any, tiles: Any, tree: Any, counts: Any, out: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        state, rows = seeds[block].copy(), counts[block * BLOCK : (block + 1) * BLOCK]
        z = np.empty((len(rows), law[1].shape[1]))
        normals_(state, z.ravel())
        queue, end = _without_parent_(state, law, tiles, z, np.empty(TILE, np.int64))
        if len(tree[1]):
            queue, end = _below_(state, law, tree, z, queue, end)
        used[block] = _unpack_(queue[:end], rows, out[block])


@njit(cache=True)
def _shared_row_(state: Any, law: Any, chunks: Any, z: Any, queue: Any) -> int:
    """Queue what fires in one sample in which the features of block b share the factor ``z[b, 0]``."""
    start, block, top, member = chunks
    scale, clock, end = law[1][0, 0], exponential_(state), 0
    for place in range(len(block)):
        bound, size = HAZARD_HIGH[_cell_(top[place] + scale * z[block[place], 0])], start[place + 1] - start[place]
        if clock < bound * size:
            chunk = (member, start[place], size)
            clock, end = _chunk_(state, clock, bound, chunk, law, z, block[place], queue, end)
        else:
            clock -= bound * size
    return end


@njit(cache=True, parallel=True)
def _shared_blocks(seeds: Any, law: Any, chunks: Any, blocks: int, counts: Any, out: Any, used: Any) -> None:
    for block in prange(len(seeds)):
        state, filled = seeds[block].copy(), 0
        z, queue = np.empty((blocks, 1)), np.empty(len(law[0]), np.int64)
        for row in range(block * BLOCK, min((block + 1) * BLOCK, len(counts))):
            normals_(state, z.ravel())
            end = _shared_row_(state, law, chunks, z, queue)
            fired = queue[:end]
            fired.sort()
            if filled + end <= out.shape[1]:
                out[block, filled : filled + end] = fired
            counts[row] = end
            filled += end
        used[block] = filled


def factors_of(level: Array, load: Array, keep: Array, parents: Array, exclusive: Array, mean: float) -> Factors:
    """Return the layout of features with these thresholds, loadings and parents (-1 for none)."""
    m = len(load)
    roots = np.flatnonzero((parents < 0) & (level > -np.inf) & (keep > 0))
    roots = roots[np.argsort(-level[roots], kind="stable")]
    padded = np.append(roots, np.full(-len(roots) % TILE, -1))
    member = padded.reshape(-1, CHUNKS, STRIPS)
    order = member.transpose(0, 2, 1).reshape(-1, TILE)
    tile_level = np.where(order < 0, -1e30, level[order])
    tile_load = np.where((order < 0)[:, :, None], 0.0, load[order])
    finite = np.where((order < 0) | np.isinf(tile_level), 0.0, np.abs(tile_level))
    reach = np.sqrt(np.square(tile_load).sum(axis=2)).max(axis=1, initial=0.0)
    child = np.argsort(parents, kind="stable")[np.count_nonzero(parents < 0) :]
    child_start = np.searchsorted(parents[child], np.arange(m + 1)).astype(np.int64)
    single = np.ascontiguousarray(tile_load.transpose(0, 2, 1), dtype=np.float32), tile_level.astype(np.float32)
    largest = reach, finite.max(axis=1, initial=0.0)
    tree = child_start, child.astype(np.int32), exclusive
    return Factors(level, load, keep, *single, padded.reshape(-1, TILE).astype(np.int32), *largest, *tree, mean)


def draw_factors(factors: Factors, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ascending ``indices`` of the features that fire in n samples."""

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _factor_blocks(seeds, factors[:3], factors[3:8], factors[8:11], counts, out, used)

    return collect(fill, n, rng, factors.mean)


class Shared(NamedTuple):
    """Features whose blocks share one factor each: ``law`` as in `Factors`, chunks of one block and about one level."""

    law: tuple[Array, Array, Array]
    chunks: tuple[Array, Array, Array, Array]
    blocks: int
    mean: float


def shared_of(level: Array, scale: float, block: Array, mean: float) -> Shared:
    """Return the layout of features with score ``level + scale * z[block]``, levels of a chunk within 1/8."""
    alive = np.flatnonzero(level > -np.inf)
    step = np.floor(8.0 * np.minimum(level[alive], -LOWEST))
    order = np.lexsort((-level[alive], -step, block[alive]))
    member, step = alive[order], step[order]
    first = np.flatnonzero((np.diff(block[member], prepend=-1) != 0) | (np.diff(step, prepend=np.inf) != 0))
    start = np.append(first, len(member)).astype(np.int64)
    chunks = (start, block[member[first]].astype(np.int64), level[member[first]], member.astype(np.int64))
    law = (np.ascontiguousarray(level), np.full((len(level), 1), scale), np.ones(len(level)))
    return Shared(law, chunks, int(block.max()) + 1, mean)


def draw_shared(shared: Shared, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return ``indptr (n + 1,)`` and ascending ``indices`` of the features that fire in n samples."""

    def fill(seeds: Array, counts: Array, out: Array, used: Array) -> None:
        _shared_blocks(seeds, *shared[:3], counts, out, used)

    return collect(fill, n, rng, shared.mean)
