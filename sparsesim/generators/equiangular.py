"""Equiangular tight frames: every two directions have the same |cosine|, the least there can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, unit_rows
from sparsesim.generators import designs
from sparsesim.generators.frames import certify, shuffled_lines, simplex


@final
@dataclass(frozen=True)
class EquiangularTightFrame:
    """All directions have the same |cosine|, the Welch bound sqrt((m - d) / (d (m - 1))): the least coherence there is.

    The construction is chosen by (m, d); where there is one for (m, m - d), its complement is taken. Order, signs and
    rotation (Haar) are random. `equiangular_sizes` lists what there is:

    simplex : m = d + 1.
    conference : m = 2d with m - 1 = 1 (mod 4) a prime power: (6, 3), (10, 5), (14, 7), (18, 9), (26, 13), ...
    pairs : m = v^2, d = v(v-1)/2 for every Hadamard order v >= 4: (16, 6), (64, 28), (144, 66), (256, 120), ... For v a
        power of two these are also the harmonic frames of the McFarland difference sets in Z_2^{2r}.
    triples : m = v(v+1)/2, d = v(v-1)/6 for Steiner triple systems: (28, 7), (120, 35), (496, 155), (780, 247), ...
    latin : (36, 15), of the Latin square of order 6.
    golay : (276, 23) and (176, 22).

    References
    ----------
    Strohmer and Heath (2003); Fickus, Mixon and Tremain (2012), "Steiner equiangular tight frames"; Lemmens and Seidel
    (1973), "Equiangular lines"; Fickus and Mixon (2015), arXiv:1504.00253 (tables of what exists).
    """

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)`` whose coherence has been checked against the bound, within 1e-10.

        The bits are the same whatever the number of threads.

        Raises
        ------
        ValueError
            If no construction gives m directions in dimension d. The message names the nearest sizes.
        """
        if m <= d:
            raise ValueError(f"an equiangular tight frame needs m > d; got m={m} <= d={d}. Use Orthonormal().")
        if d < 2:
            raise ValueError(f"an equiangular tight frame needs d >= 2; in d={d} all directions lie on one line.")
        name, other = _family(m, d), _family(m, m - d)
        if not (name or other):
            raise ValueError(_no_frame(m, d))
        with threadpool_limits(limits=1, user_api="blas"):  # so that the bits do not depend on the machine's load
            rows = _MAKERS[name](m, d) if name else _complement(_MAKERS[other](m, m - d))
        rows = shuffled_lines(unit_rows(rows)[0], d, rng)
        certify(rows, math.sqrt((m - d) / (d * (m - 1))), "the equiangular tight frame")
        return rows


def _family(m: int, d: int) -> str:
    """Return the name of the construction of m directions in dimension d; empty where there is none."""
    if d < 1 or m <= d:
        return ""
    v = math.isqrt(m)
    if v * v == m and v >= 4 and 2 * d == v * (v - 1) and designs.has_hadamard(v):
        return "pairs"
    w = (math.isqrt(8 * m + 1) - 1) // 2
    if w % 6 in (1, 3) and w >= 7 and (w * (w + 1), w * (w - 1)) == (2 * m, 6 * d) and designs.has_hadamard(w // 2 + 1):
        return "triples"
    if m == d + 1:
        return "simplex"
    if m == 2 * d and designs.has_conference(m):
        return "conference"
    return {(36, 15): "latin", (276, 23): "golay", (176, 22): "golay"}.get((m, d), "")


def equiangular_sizes(most: int) -> tuple[tuple[int, int, str], ...]:
    """Return every (m, d, construction) with m <= ``most`` and d > 1 that `EquiangularTightFrame` makes, sorted."""
    sizes = {(m, m - 1) for m in range(3, most + 1)} | {(m, m // 2) for m in range(6, most + 1, 4)}
    sizes |= {(v * v, v * (v - 1) // 2) for v in range(4, math.isqrt(most) + 1, 4)}
    sizes |= {(w * (w + 1) // 2, w * (w - 1) // 6) for w in range(7, math.isqrt(2 * most) + 1, 2)}
    sizes |= {(36, 15), (276, 23), (176, 22)}
    named = {(m, d): _family(m, d) for m, d in sizes if m <= most and _family(m, d)}
    other = {(m, m - d): f"complement of {name}" for (m, d), name in named.items()}
    return tuple(sorted((m, d, name) for (m, d), name in (other | named).items() if d > 1))


def _no_frame(m: int, d: int) -> str:
    def apart(size: tuple[int, int, str]) -> float:
        return abs(math.log(size[0] / m)) + abs(math.log(size[1] / d))

    limit = ""
    if 2 * m > d * (d + 1) or 2 * m > (m - d) * (m - d + 1):
        limit = " and none can exist, since m > min(d(d+1)/2, (m-d)(m-d+1)/2)"
    near = sorted(equiangular_sizes(2 * m + 30), key=apart)[:4]
    return (
        f"no construction of an equiangular tight frame of m={m} directions in d={d} is known here{limit}. The nearest "
        f"(m, d) are {', '.join(str(size[:2]) for size in near)}; or use LowCoherence()."
    )


def _conference(m: int, d: int) -> FloatArray:
    return _upper_eigenspace(designs.conference(m).astype(np.float64), d)


def _latin(m: int, d: int) -> FloatArray:
    return _upper_eigenspace(-designs.latin_square_graph(math.isqrt(m)).astype(np.float64), d)


def _upper_eigenspace(matrix: FloatArray, d: int) -> FloatArray:
    """Return an orthonormal basis ``(m, d)`` of the eigenspace of the largest eigenvalue, which has multiplicity d."""
    return np.asarray(np.linalg.eigh(matrix)[1][:, -d:])


def _steiner(m: int, d: int) -> FloatArray:
    """Return the frame of a Steiner system: one coordinate a block, for each point a Hadamard matrix on its blocks."""
    w = (math.isqrt(8 * m + 1) - 1) // 2
    triple = (w * (w + 1), w * (w - 1)) == (2 * m, 6 * d)
    points = w if triple else math.isqrt(m)
    blocks = designs.triples(points) if triple else designs.pairs(points)
    through: list[list[int]] = [[] for _ in range(points)]
    for block, members in enumerate(blocks):
        for point in members:
            through[point].append(block)
    signs = designs.hadamard(len(through[0]) + 1)[:, 1:]
    rows = np.zeros((m, d))
    for point, chosen in enumerate(through):
        rows[point * len(signs) : (point + 1) * len(signs), chosen] = signs
    return rows


def _golay(m: int, d: int) -> FloatArray:
    """Return 276 lines in the 23-space orthogonal to (5, 1, ..., 1), or the 176 of them with equal coordinates 1, 2.

    A vector of norm 6 of the Leech lattice is the sum of two of norm 4 in 276 ways; the lines are their differences.
    """
    words = designs.octads()
    rows = 4.0 * words[words[:, 0] == 1] - 1.0
    rows[:, 0] = -1.0
    if m == 276:
        lone = np.full((23, 24), -1.0) + 8.0 * np.eye(24)[1:]
        lone[:, 0] = 3.0
        rows = np.concatenate([rows, lone])
    else:
        rows = rows[rows[:, 1] < 0]
    return np.asarray(rows @ np.linalg.svd(rows, full_matrices=False)[2][:d].T)


def _complement(rows: FloatArray) -> FloatArray:
    """Return an orthonormal basis, as columns, of what is orthogonal to the columns of a tight frame (Naimark)."""
    m, d = rows.shape
    return np.asarray(np.linalg.eigh(rows @ rows.T)[1][:, : m - d])


_MAKERS: dict[str, Callable[[int, int], FloatArray]] = {
    "simplex": simplex,
    "conference": _conference,
    "pairs": _steiner,
    "triples": _steiner,
    "latin": _latin,
    "golay": _golay,
}
