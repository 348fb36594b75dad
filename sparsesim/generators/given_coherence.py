"""Directions under a given coherence: no two of them closer than asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sparsesim._arrays import FloatArray, Rng, check_real, unit_rows
from sparsesim.generators.equiangular import EquiangularTightFrame
from sparsesim.generators.frames import MutuallyUnbiased, RootLines, least_coherence
from sparsesim.generators.geometry import LowCoherence, Orthonormal, RandomSphere, coherence

_MOST_FEATURES = 8192  # beyond, the Gram matrix and its gradient would take gigabytes and hours


@final
@dataclass(frozen=True)
class GivenCoherence:
    """No two directions have |cosine| above ``most``; where random ones would, they are moved apart until none has.

    From a uniform start sum_{i<j} max(|<d_i, d_j>| - most, 0)^2 is brought to zero by L-BFGS, so that the closest
    pairs lie at ``most``; if that stops early, it starts again from `LowCoherence`, and at last from an
    equiangular tight frame, unbiased bases or root lines of this size.

    Measured, how near to the bound it comes: see `LowCoherence`, and exactly where one of the exact frames exists.

    Parameters
    ----------
    most : the largest |cosine|, in [0, 1].
    """

    most: float

    def __post_init__(self) -> None:
        check_real("most", self.most, 0.0, 1.0)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Return unit rows ``(m, d)`` with coherence at most ``most`` (within 1e-12); the same bits for any threads.

        Raises
        ------
        ValueError
            If ``most`` is below the bound on the coherence of m directions in dimension d, or was not reached.
        """
        bound = least_coherence(m, d)
        if self.most < bound - 1e-12:
            raise ValueError(
                f"m={m} unit vectors in d={d} have coherence at least {bound:.6g} (Welch, orthoplex or Levenshtein "
                f"bound); got most={self.most:g}. Raise it, or dim."
            )
        if m > _MOST_FEATURES:
            raise ValueError(
                f"m={m} features are too many: the m x m Gram matrix is formed in every step. Use RandomSphere()."
            )
        found = math.inf
        for start in (
            RandomSphere(),
            LowCoherence(),
            Orthonormal(),
            EquiangularTightFrame(),
            MutuallyUnbiased(),
            RootLines(),
        ):
            try:
                begun = start.atoms(m, d, rng)
                rows = self._moved_apart(begun, bound)
            except ValueError:  # there is no such frame of this size
                continue
            reached = coherence(rows)
            if reached <= self.most + 1e-12:
                return rows
            found = min(found, reached, coherence(begun))
        raise ValueError(
            f"most={self.most:g} was not reached for m={m}, d={d}: the search ended at {found:.6g}, and the bound "
            f"{bound:.6g} need not be attainable. Raise most to {math.ceil(found * 1e6) / 1e6:.6f}."
        )

    def _moved_apart(self, rows: FloatArray, bound: float) -> FloatArray:
        if coherence(rows) <= self.most:
            return rows
        target = self.most - 1e-4 * (
            self.most - bound
        )  # strictly inside, so that the search ends in finitely many steps
        options = {"maxiter": 500, "maxcor": 20, "ftol": 0.0, "gtol": 0.0}
        with threadpool_limits(limits=1, user_api="blas"):
            found = minimize(
                _excess, rows.ravel(), args=(*rows.shape, target), jac=True, method="L-BFGS-B", options=options
            )
        return unit_rows(found.x.reshape(rows.shape))[0]


def _excess(flat: FloatArray, m: int, d: int, most: float) -> tuple[float, FloatArray]:
    """Return the sum over pairs of max(|cosine| - most, 0)^2 of the rows after normalisation, and its gradient."""
    rows = flat.reshape(m, d)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / norms
    gram = unit @ unit.T
    np.fill_diagonal(gram, 0.0)
    over = np.maximum(np.abs(gram) - most, 0.0)
    pull = 2.0 * (np.sign(gram) * over) @ unit
    along = np.einsum("ij,ij->i", pull, unit)[:, None]
    return 0.5 * float(np.square(over).sum()), ((pull - along * unit) / norms).ravel()
