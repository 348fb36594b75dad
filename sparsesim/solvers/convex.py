"""The lasso encoder and the certificates of its solutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, check_int, check_real
from sparsesim.kernels.convex import lasso_
from sparsesim.kernels.pursuit import correlate
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.pursuit import checked

STORED_GRAM = 2048  # a wider dictionary is multiplied with residuals instead (32 MiB of Gram matrix)
BLOCK_ENTRIES = 2**22  # dense codes held at a time


@final
@dataclass(frozen=True)
class Lasso:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * ||z||_1``, exact zeros included.

    A row is done when its duality gap is at most ``tolerance * ||x||^2 / 2``, or after ``max_iterations`` steps;
    `duality_gap` tells which. The gap bounds the squared error of the reconstruction: ``||(z - z*) A||^2 <= 2 gap``.
    All computation is in float64; codes come back in the precision of ``x``. Each row is scaled to magnitude 1, and its
    penalty with it, so that samples of 1e+-150 are fine.

    Parameters
    ----------
    penalty : weight of the l1 norm, positive, in the units of ``x``: codes are zero where it is at least max |A x|.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap.
    max_iterations : proximal gradient steps.
    accelerated : FISTA with adaptive restart, finished by solving the normal equations on the active set once the
        signs stand still (taken only if the gap certifies it). Otherwise plain ISTA with step 1/L.

    References
    ----------
    Beck and Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm"; O'Donoghue and Candès,
    arXiv:1204.3982, gradient restart; Kim et al. (2007) and Mairal (2010), section D.2, for the gap.
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
        x, atoms = checked(x, atoms)
        wide = atoms.astype(np.float64, copy=False)
        lipschitz = _largest_eigenvalue(wide)
        if not len(x) or lipschitz == 0:
            return Codes((len(x), len(atoms)), dtype=x.dtype)
        gram = correlate(wide, wide) if len(wide) <= STORED_GRAM else np.empty((0, len(wide)))
        parts = [self._block(x[rows], wide, gram, 1 / lipschitz) for rows in _blocks(len(x), len(wide))]
        return Codes(vstack(parts, format="csr", dtype=x.dtype))

    def _block(self, x: FloatArray, atoms: FloatArray, gram: FloatArray, step: float) -> Codes:
        scale = _scale(x)
        rows = x / scale
        with np.errstate(over="ignore"):  # beside a vanishing row the penalty is infinite, and the codes zero
            penalty = (self.penalty / scale)[:, 0]
        out = (np.empty((len(x), len(atoms))), np.empty(len(x)))
        stop = (float(self.tolerance), int(self.max_iterations))
        rule = (step, bool(self.non_negative))
        lasso_(rows, (gram, atoms), correlate(rows, atoms), penalty, rule, stop, bool(self.accelerated), out)
        return Codes(out[0] * scale)


def _largest_eigenvalue(atoms: FloatArray) -> float:
    """Return the largest eigenvalue of A A^T, rounded up so that a step of its inverse never overshoots."""
    small = atoms @ atoms.T if len(atoms) < atoms.shape[1] else atoms.T @ atoms
    return float(np.linalg.eigvalsh(small)[-1]) * (1 + 1e-14)


def _blocks(n: int, p: int) -> Iterator[slice]:
    size = max(1, BLOCK_ENTRIES // p)
    return (slice(low, min(low + size, n)) for low in range(0, n, size))


def _scale(x: FloatArray) -> FloatArray:
    """Return the largest magnitude of each row ``(n, 1)`` in float64, 1 for a zero row."""
    scale: FloatArray = np.abs(x).max(axis=1, keepdims=True).astype(np.float64)
    scale[scale == 0] = 1.0
    return scale


def duality_gap(
    x: FloatArray, atoms: FloatArray, codes: Codes, penalty: float, *, non_negative: bool = False
) -> FloatArray:
    """Return the lasso's duality gap at ``codes`` relative to ``||x||^2 / 2``, one for each row ``(n,)``, in float64.

    With r = x - z A and the dual point t r, t = min(1, penalty / max |A r|), the gap is
    ``(1 - t)^2 ||r||^2 / 2 + penalty ||z||_1 - t r.(z A)``: never below the distance of the objective from its
    minimum. A zero row has gap 0 at zero codes, infinity at others.
    """
    gaps = np.empty(len(x))
    for rows, sample, code, slope, level in _certificate_blocks(x, atoms, codes, penalty):
        fit = synthesise(code, atoms.astype(np.float64))
        residual = sample - fit
        largest = slope.max(axis=1) if non_negative else np.abs(slope).max(axis=1)
        t = level / np.maximum(largest, level)
        l1 = np.asarray(np.abs(code).sum(axis=1))
        gap = (1 - t) ** 2 * np.square(residual).sum(axis=1) / 2 + level * l1 - t * (residual * fit).sum(axis=1)
        energy = np.square(sample).sum(axis=1) / 2
        gaps[rows] = np.where(energy > 0, gap / np.where(energy > 0, energy, 1), np.where(l1 > 0, np.inf, 0.0))
    return gaps


def kkt_residual(
    x: FloatArray, atoms: FloatArray, codes: Codes, penalty: float, *, non_negative: bool = False
) -> FloatArray:
    """Return how far each row of ``codes`` is from the lasso's optimality conditions ``(n,)``, relative to max |x|.

    The conditions on the slope s = A (x - z A) are s_i = penalty sign(z_i) where z_i is not zero, and
    |s_i| <= penalty elsewhere (s_i <= penalty, if ``non_negative``); the result is the largest violation over i.
    A negative code violates ``non_negative`` by infinity.
    """
    worst = np.empty(len(x))
    for rows, _, code, slope, level in _certificate_blocks(x, atoms, codes, penalty):
        z = code.toarray()
        excess = (slope if non_negative else np.abs(slope)) - level[:, None]
        violation = np.where(z != 0, np.abs(slope - level[:, None] * np.sign(z)), np.maximum(excess, 0.0))
        if non_negative:
            violation[z < 0] = np.inf
        worst[rows] = violation.max(axis=1)
    return worst


def _certificate_blocks(
    x: FloatArray, atoms: FloatArray, codes: Codes, penalty: float
) -> Iterator[tuple[slice, FloatArray, Codes, FloatArray, FloatArray]]:
    """Yield rows, samples and codes divided by max |x|, slopes ``(b, p)`` and penalties ``(b,)``, in float64."""
    if x.ndim != 2 or codes.shape != (len(x), len(atoms)) or atoms.shape[1] != x.shape[1]:
        raise ValueError(
            f"x (n, d), atoms (p, d) and codes (n, p) must fit; got {x.shape}, {atoms.shape}, {codes.shape}."
        )
    check_real("penalty", penalty, 0.0, open_low=True)
    wide, limits = atoms.astype(np.float64), np.finfo(np.float64)
    for rows in _blocks(len(x), len(atoms)):
        scale = _scale(x[rows])
        sample = x[rows] / scale
        code = codes[rows].astype(np.float64)
        code.data /= np.repeat(scale[:, 0], np.diff(code.indptr))
        with np.errstate(over="ignore", under="ignore"):  # a penalty that leaves the range acts as its end does
            level = np.clip(penalty / scale[:, 0], limits.tiny, limits.max)
        yield rows, sample, code, (sample - synthesise(code, wide)) @ wide.T, level
