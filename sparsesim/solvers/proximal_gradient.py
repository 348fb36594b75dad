"""Proximal gradient steps for the lasso: ISTA, and FISTA with restart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.convex import lasso_
from sparsesim.kernels.pursuit import correlate
from sparsesim.solvers.blocks import row_blocks, row_scale, scaled_penalty
from sparsesim.solvers.pursuit import checked
from sparsesim.solvers.start import checked_start

STORED_GRAM = 2048  # a wider dictionary is multiplied with residuals instead (32 MiB of Gram matrix)
BLOCK_ENTRIES = 2**22  # dense codes held at a time


@final
@dataclass(frozen=True)
class FISTA:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * ||z||_1``, through accelerated proximal gradients.

    The same minimum as `Lasso`, by another road: a row is done when its duality gap is at most
    ``tolerance * ||x||^2 / 2``, or after ``max_iterations`` steps. All computation is in float64; codes come back in
    the precision of ``x``.

    Parameters
    ----------
    penalty : weight of the l1 norm, positive, in the units of ``x``.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap.
    max_iterations : proximal gradient steps.
    accelerated : FISTA with adaptive restart, finished by solving the normal equations on the active set once the
        signs stand still (taken only if the gap certifies it). Otherwise plain ISTA with step 1/L.

    References
    ----------
    Beck and Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm"; O'Donoghue and Candès,
    arXiv:1204.3982, gradient restart.
    """

    penalty: float
    non_negative: bool = False
    tolerance: float = 1e-6
    max_iterations: int = 10_000
    accelerated: bool = True

    def __post_init__(self) -> None:
        check_real("penalty", self.penalty, 0.0, open_low=True)
        check_real("tolerance", self.tolerance, 0.0, 1.0)
        check_int("max_iterations", self.max_iterations, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``."""
        return self.encode_from(x, atoms, None)

    def encode_from(self, x: FloatArray, atoms: FloatArray, start: Codes | None) -> Codes:
        """Return the same codes ``(n, p)`` to within the tolerance, from ``start (n, p)`` on instead of from zero.

        A start near the end saves steps, e.g. the codes at another penalty; a row whose start is worse than zero begins
        at zero. With ``non_negative`` negative entries of the start are taken as zero.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        stop = (float(self.tolerance), int(self.max_iterations))
        return proximal_codes(x, atoms, self.penalty, bool(self.non_negative), stop, bool(self.accelerated), begin)[0]


def proximal_codes(
    x: FloatArray,
    atoms: FloatArray,
    penalty: float,
    non_negative: bool,
    stop: tuple[float, int],
    accelerated: bool,
    start: Codes | None = None,
) -> tuple[Codes, FloatArray]:
    """Return the codes ``(n, p)`` of checked samples, and the relative duality gaps ``(n,)`` that were reached.

    Steps begin at ``start (n, p)``, at zero if there is none.
    """
    wide = atoms.astype(np.float64, copy=False)
    lipschitz, gaps = largest_eigenvalue(wide), np.zeros(len(x))
    if not len(x) or lipschitz == 0:
        return Codes((len(x), len(atoms)), dtype=x.dtype), gaps
    gram = correlate(wide, wide) if len(wide) <= STORED_GRAM else np.empty((0, len(wide)))
    parts = []
    for block in row_blocks(len(x), BLOCK_ENTRIES, len(wide)):
        scale = row_scale(x[block]).astype(np.float64)
        begin = np.zeros((len(scale), len(wide))) if start is None else start[block].toarray() / scale
        rows, out = x[block] / scale, (np.maximum(begin, 0.0) if non_negative else begin, gaps[block])
        level, rule = scaled_penalty(penalty, scale), (1 / lipschitz, non_negative)
        lasso_(rows, (gram, wide), correlate(rows, wide), level, rule, stop, accelerated, out)
        parts.append(Codes(out[0] * scale))
    return Codes(vstack(parts, format="csr", dtype=x.dtype)), gaps


def largest_eigenvalue(atoms: FloatArray) -> float:
    """Return the largest eigenvalue of A A^T, rounded up so that a step of its inverse never overshoots."""
    small = atoms @ atoms.T if len(atoms) < atoms.shape[1] else atoms.T @ atoms
    return float(np.linalg.eigvalsh(small)[-1]) * (1 + 1e-14)
