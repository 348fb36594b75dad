"""Lines at exact angles, certified when built: unbiased bases, root systems, and the bounds they attain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, unit_rows
from sparsesim.generators import designs
from sparsesim.generators.blocks import placed
from sparsesim.generators.geometry import coherence

CERTIFIED = 1e-10  # how far a construction may be from its coherence: rounding is a thousand times less


def least_coherence(m: int, d: int) -> float:
    """Return a lower bound on the coherence of m unit vectors in R^d: Welch, orthoplex or Levenshtein; 0 for m <= d.

    Welch: sqrt((m - d) / (d (m - 1))). For m > d (d+1) / 2 also 1/sqrt(d) and, from equality on,
    sqrt((3m - d^2 - 2d) / ((d+2)(m - d))); the largest is returned.

    References
    ----------
    Welch (1974); Conway, Hardin and Sloane (1996); Levenshtein (1982).
    """
    if m <= d:
        return 0.0
    bounds = [(m - d) / (d * (m - 1))]
    if 2 * m > d * (d + 1):
        bounds += [1.0 / d, (3 * m - d * d - 2 * d) / ((d + 2) * (m - d))]
    return math.sqrt(max(bounds))


def certify(rows: FloatArray, bound: float, name: str) -> None:
    """Check that the coherence of unit ``rows (m, d)`` is ``bound`` within 1e-10.

    Raises
    ------
    ArithmeticError
        If it is not, so that nobody computes with a frame that is not what it says.
    """
    found = coherence(rows)
    if not abs(found - bound) <= CERTIFIED:  # so that NaN is refused, too
        raise ArithmeticError(f"{name} of shape {rows.shape} has coherence {found:.12g}, not {bound:.12g}.")


def shuffled_lines(rows: FloatArray, d: int, rng: Rng) -> FloatArray:
    """Return the lines of ``rows`` in random order, sign and rotation (Haar)."""
    turned = rows[rng.permutation(len(rows))] * rng.choice((-1.0, 1.0), size=(len(rows), 1))
    return placed(turned, d, rng)


def simplex(m: int, d: int) -> FloatArray:
    """Return the m = d + 1 corners of the regular simplex around 0, as rows ``(m, d)``, not normalised."""
    corners = np.eye(m) - 1.0 / m
    flat = np.linalg.qr(corners[:, :d])[0]  # an orthonormal basis of the plane of the simplex
    return np.asarray(corners @ flat)


@final
@dataclass(frozen=True)
class MutuallyUnbiased:
    """Directions are orthonormal bases such that every two of different bases have |cosine| 1/sqrt(d) exactly.

    The standard basis, then the Walsh basis times the signs of quadratic forms (Kerdock): d/2 + 1 bases for d = 4^r,
    that is up to m = d(d+2)/2 directions, which attain the orthoplex and Levenshtein bounds. Two bases for any other
    Hadamard order d. The bases follow one another, d features each; the last is incomplete where d does not divide m.
    A random rotation (Haar), random signs, and random order within each basis.

    References
    ----------
    Cameron and Seidel (1973); Calderbank, Cameron, Kantor and Seidel (1997).
    """

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)`` whose coherence has been checked against 1/sqrt(d), within 1e-10.

        Raises
        ------
        ValueError
            If d is no order of a known Hadamard matrix, or there are not enough bases for m.
        """
        if not designs.has_hadamard(d):
            raise ValueError(f"MutuallyUnbiased needs a Hadamard matrix of order d; none is known here for d={d}.")
        most = d // 2 + 1 if d >= 4 and d.bit_count() == 1 and d.bit_length() % 2 else 2
        if m > most * d:
            raise ValueError(
                f"there are {most} mutually unbiased bases of R^{d} here, so m <= {most * d}; got m={m}. "
                "Use a dim that is a power of 4 (d/2 + 1 bases), or LowCoherence()."
            )
        count = -(-m // d)
        walsh = designs.hadamard(d) / math.sqrt(d)
        bases = [np.eye(d)]
        if count > 1:
            forms = designs.kerdock_signs(d, count - 1) if most > 2 else np.ones((1, d))
            bases += [walsh * form for form in forms]
        rows = np.concatenate([rng.permutation(basis) for basis in bases])[:m]
        rows = placed(rows * rng.choice((-1.0, 1.0), size=(m, 1)), d, rng)
        certify(rows, 1.0 / math.sqrt(d) if m > d else 0.0, "the union of unbiased bases")
        return rows


@final
@dataclass(frozen=True)
class RootLines:
    """Directions are the lines of a root system: every two have |cosine| 0 or 1/2 exactly.

    A_d: m = d(d+1)/2. D_d: m = d(d-1), d >= 4; D_4 has the 12 lines of the 24-cell. E_6: (36, 6), E_7: (63, 7),
    E_8: (120, 8). D_4, E_6, E_7 and E_8 attain the Levenshtein bound. Order, signs and rotation (Haar) are random.

    References
    ----------
    Conway and Sloane (1999), "Sphere packings, lattices and groups", chapter 4.
    """

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)`` whose coherence has been checked against 1/2, within 1e-10.

        The bits are the same whatever the number of threads.

        Raises
        ------
        ValueError
            If no root system of rank d has m lines.
        """
        sizes = (
            {d * (d + 1) // 2: "A"} | ({d * (d - 1): "D"} if d > 3 else {}) | {{6: 36, 7: 63, 8: 120}.get(d, 0): "E"}
        )
        if d < 2 or m < 1 or m not in sizes:
            known = sorted(size for size in sizes if size > 1)
            raise ValueError(f"the root systems of rank d={d} have m in {known} lines; got m={m}. Use LowCoherence().")
        with threadpool_limits(limits=1, user_api="blas"):
            rows = unit_rows(_roots(sizes[m], d))[0]
        rows = shuffled_lines(rows, d, rng)
        certify(rows, 0.5, "the root system")
        return rows


def _roots(family: str, d: int) -> FloatArray:
    if family == "A":
        edges = np.array([np.eye(d + 1)[i] - np.eye(d + 1)[j] for i, j in combinations(range(d + 1), 2)])
        return np.asarray(edges @ simplex(d + 1, d))
    size = d if family == "D" else 8
    axes = np.eye(size)
    roots = np.array([axes[i] + s * axes[j] for i, j in combinations(range(size), 2) for s in (1.0, -1.0)])
    if family == "D":
        return roots
    halves = [h for h in product((0.5, -0.5), repeat=7) if math.prod(h) > 0]  # one of each line: the first is +1/2
    roots = np.concatenate([roots, [(0.5, *h) for h in halves]])
    # E7 is what is orthogonal to one root of E8, E6 what is orthogonal to two that form A2.
    for normal in ((0, 0, 0, 0, 0, 0, 1, 1), (0, 0, 0, 0, 0, 1, 0, 1))[: 8 - d]:
        roots = roots[np.abs(roots @ np.array(normal)) < 0.1]
    return np.asarray(roots @ np.linalg.svd(roots, full_matrices=False)[2][:d].T)
