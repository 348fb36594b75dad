"""Directions with a given spectrum: unit rows whose singular values follow a power law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, check_real, unit_rows
from sparsesim.generators.geometry import haar_rows


@final
@dataclass(frozen=True)
class PowerSpectrum:
    """Unit directions; the eigenvalues of atoms^T atoms are proportional to i^-``exponent``, i = 1 ... min(m, d).

    They sum to m. Exponent 0 is a tight frame (orthonormal for m <= d); the larger the exponent, the fewer dimensions
    the directions crowd into. Any spectrum with the sum m and at most m values is that of m unit vectors (Schur-Horn);
    a random matrix with this spectrum is turned, two rows at a time, until each row has unit norm, which leaves the
    spectrum as it is. The principal directions are uniform (Haar), the order of the rows random.

    References
    ----------
    Bendel and Mickey (1978), "Population correlation matrices for sampling experiments"; Davies and Higham (2000),
    "Numerically stable generation of correlation matrices and their factors".
    """

    exponent: float

    def __post_init__(self) -> None:
        check_real("exponent", self.exponent, 0.0)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)``; eigenvalues are exact within rounding, relative to the largest.

        Raises
        ------
        ValueError
            If the exponent is so large that the smallest eigenvalue vanishes beside the largest in double precision.
        """
        rank = min(m, d)
        if self.exponent * math.log(rank) > 30.0:
            raise ValueError(
                f"{rank}^-exponent must be above 1e-13, or rounding decides the smallest eigenvalues; "
                f"got exponent={self.exponent:g}. Pass at most {math.floor(3000.0 / math.log(rank)) / 100}."
            )
        values = np.arange(1.0, rank + 1.0) ** -self.exponent
        values *= m / values.sum()
        with threadpool_limits(limits=1, user_api="blas"):
            mixing = haar_rows(rank, m, rng).T
            rows = (mixing * np.sqrt(values)) @ haar_rows(rank, d, rng)
            equalise_rows_(rows)
        return rng.permutation(unit_rows(rows)[0])


def equalise_rows_(rows: FloatArray) -> None:
    """Turn pairs of ``rows (m, d)`` in place, by m - 1 plane rotations at most, until all norms are equal to 1.

    rows^T rows is kept; the squared norms must sum to m. Each rotation takes one row shorter and one longer than 1 and
    gives the former unit norm.
    """
    squares = np.einsum("ij,ij->i", rows, rows)
    short, long = (list(np.flatnonzero(side)) for side in (squares < 1.0, squares > 1.0))
    while short and long:
        i, j = short.pop(), long[-1]
        a, b, across = squares[i] - 1.0, squares[j] - 1.0, float(rows[i] @ rows[j])
        # |cos r_i + sin r_j|^2 = 1 is b t^2 + 2 across t + a = 0 for t = tan, with a < 0 < b: two real roots.
        root = math.sqrt(max(across * across - a * b, 0.0))
        tangent = -a / (across + root) if across > 0 else (root - across) / b  # the one without cancellation
        cosine = 1.0 / math.hypot(1.0, tangent)
        turned = cosine * (rows[i] + tangent * rows[j])
        rows[j] = cosine * (rows[j] - tangent * rows[i])
        rows[i] = turned
        squares[j] = rows[j] @ rows[j]
        if squares[j] <= 1.0:
            long.pop()
            if squares[j] < 1.0:
                short.append(j)
