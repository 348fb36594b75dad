"""The lasso encoder and the certificates of its solutions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import vstack

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real
from sparsesim.kernels.synthesis import synthesise
from sparsesim.solvers.active_set import ActiveSet
from sparsesim.solvers.blocks import row_blocks, row_scale, scaled_penalty
from sparsesim.solvers.proximal_gradient import proximal_codes
from sparsesim.solvers.pursuit import checked
from sparsesim.solvers.start import checked_start

BLOCK_ENTRIES = 2**22  # dense codes held at a time by the certificates
ROUNDING = 1e-14  # a smaller relative gap is not told from none
RESOLVED = 1e-12  # a penalty below this fraction of max |x| is not told from rounding by any method


@final
@dataclass(frozen=True)
class Lasso:
    """Encodes each row by ``argmin_z ||x - z A||^2 / 2 + penalty * ||z||_1``, exact zeros included.

    A row is done when its duality gap is at most ``tolerance * ||x||^2 / 2``, or after ``max_iterations`` steps;
    `duality_gap` tells which. The gap bounds the squared error of the reconstruction: ``||(z - z*) A||^2 <= 2 gap``.
    Codes come back in the precision of ``x``. Each row is scaled to magnitude 1, and its penalty with it, so that
    samples of 1e+-150 are fine.

    A step sweeps over all atoms in float32, admits those of largest slope |A (x - z A)| above the penalty, and solves
    the normal equations of the active atoms in float64, dropping those whose coefficient changes sign; slopes that
    float32 cannot tell from the penalty are decided in float64. So codes are exact to rounding once
    the active set is right, whatever the tolerance. A row that rounding keeps from its tolerance (atoms nearly
    dependent) is encoded by `FISTA`, and the smaller gap is taken.

    Parameters
    ----------
    penalty : weight of the l1 norm, positive, in the units of ``x``: codes are zero where it is at least max |A x|.
    non_negative : minimise over z >= 0.
    tolerance : relative duality gap.
    max_iterations : sweeps over all atoms, or proximal gradient steps.
    accelerated : the active set. Otherwise plain ISTA with step 1/L, in float64.

    References
    ----------
    Lee, Battle, Raina and Ng (2006), "Efficient sparse coding algorithms", feature-sign search; Osborne, Presnell and
    Turlach (2000) for its convergence; Kim et al. (2007) and Mairal (2010), section D.2, for the gap.
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
        """Return the same codes ``(n, p)`` to within the tolerance, with the atoms of ``start (n, p)`` active at first.

        A start near the end saves sweeps, e.g. the codes at another penalty. With ``non_negative`` its negative entries
        are taken as zero.

        Raises
        ------
        ValueError, TypeError
            As by `encode`, or if ``start`` is not finite codes ``(n, p)``.
        """
        x, atoms = checked(x, atoms)
        begin = None if start is None else checked_start(start, x, atoms)
        stop = (float(self.tolerance), int(self.max_iterations))
        if not self.accelerated:
            return proximal_codes(x, atoms, self.penalty, bool(self.non_negative), stop, False, begin)[0]
        programme = ActiveSet(self.penalty, 0.0, self.non_negative, *stop)
        codes, gaps = programme.solve(x, atoms, start=begin)
        late = np.flatnonzero(~(gaps <= max(self.tolerance, ROUNDING)))
        late = late[scaled_penalty(self.penalty, row_scale(x[late])) > RESOLVED] if len(late) else late
        return self._retry(x, atoms, codes, gaps, late) if len(late) else codes

    def _retry(self, x: FloatArray, atoms: FloatArray, codes: Codes, gaps: FloatArray, late: IntArray) -> Codes:
        stop = (float(self.tolerance), int(self.max_iterations))
        again, reached = proximal_codes(x[late], atoms, self.penalty, bool(self.non_negative), stop, True)
        better = reached < gaps[late]
        order = np.arange(len(x))
        order[late[better]] = len(x) + np.flatnonzero(better)
        return Codes(vstack([codes, again], format="csr")[order])


def duality_gap(
    x: FloatArray, atoms: FloatArray, codes: Codes, penalty: float, *, ridge: float = 0.0, non_negative: bool = False
) -> FloatArray:
    """Return the lasso's duality gap at ``codes`` relative to ``||x||^2 / 2``, one for each row ``(n,)``, in float64.

    With r = x - z A and the dual point t r, t = min(1, penalty / max |A r|), the gap is
    ``(1 - t)^2 ||r||^2 / 2 + penalty ||z||_1 - t r.(z A)``: never below the distance of the objective from its
    minimum. A zero row has gap 0 at zero codes, infinity at others. With ``ridge`` it is the gap of the elastic net,
    the lasso of the samples (x, 0) in the atoms (A, sqrt(ridge) I).
    """
    check_real("penalty", penalty, 0.0, open_low=True)
    gaps = np.empty(len(x))
    for rows, sample, code, slope, level in _certificate_blocks(x, atoms, codes, penalty, ridge):
        fit = synthesise(code, atoms.astype(np.float64))
        residual = sample - fit
        largest = slope.max(axis=1) if non_negative else np.abs(slope).max(axis=1)
        t = level / np.maximum(largest, level)
        l1 = np.asarray(np.abs(code).sum(axis=1))
        l2 = ridge * np.asarray(code.power(2).sum(axis=1))
        distance, inner = np.square(residual).sum(axis=1) + l2, (residual * fit).sum(axis=1) - l2
        gap = (1 - t) ** 2 * distance / 2 + level * l1 - t * inner
        energy = np.square(sample).sum(axis=1) / 2
        gaps[rows] = np.where(energy > 0, gap / np.where(energy > 0, energy, 1), np.where(l1 > 0, np.inf, 0.0))
    return gaps


def kkt_residual(
    x: FloatArray, atoms: FloatArray, codes: Codes, penalty: float, *, ridge: float = 0.0, non_negative: bool = False
) -> FloatArray:
    """Return how far each row of ``codes`` is from the lasso's optimality conditions ``(n,)``, relative to max |x|.

    The conditions on the slope s = A (x - z A) - ridge z are s_i = penalty sign(z_i) where z_i is not zero, and
    |s_i| <= penalty elsewhere (s_i <= penalty, if ``non_negative``); the result is the largest violation over i.
    A negative code violates ``non_negative`` by infinity. With ``non_negative`` the penalty may be zero: the
    conditions are then those of non-negative least squares.
    """
    check_real("penalty", penalty, 0.0, open_low=not non_negative)
    worst = np.empty(len(x))
    for rows, _, code, slope, level in _certificate_blocks(x, atoms, codes, penalty, ridge):
        z = code.toarray()
        excess = (slope if non_negative else np.abs(slope)) - level[:, None]
        violation = np.where(z != 0, np.abs(slope - level[:, None] * np.sign(z)), np.maximum(excess, 0.0))
        if non_negative:
            violation[z < 0] = np.inf
        worst[rows] = violation.max(axis=1)
    return worst


def _certificate_blocks(
    x: FloatArray, atoms: FloatArray, codes: Codes, penalty: float, ridge: float
) -> Iterator[tuple[slice, FloatArray, Codes, FloatArray, FloatArray]]:
    """Yield rows, samples and codes divided by max |x|, slopes ``(b, p)`` and penalties ``(b,)``, in float64."""
    if x.ndim != 2 or codes.shape != (len(x), len(atoms)) or atoms.shape[1] != x.shape[1]:
        raise ValueError(
            f"x (n, d), atoms (p, d) and codes (n, p) must fit; got {x.shape}, {atoms.shape}, {codes.shape}."
        )
    check_real("ridge", ridge, 0.0)
    wide = atoms.astype(np.float64)
    for rows in row_blocks(len(x), BLOCK_ENTRIES, len(atoms)):
        scale = row_scale(x[rows]).astype(np.float64)
        sample = x[rows] / scale
        code = codes[rows].astype(np.float64)
        code.data /= np.repeat(scale[:, 0], np.diff(code.indptr))
        slope = (sample - synthesise(code, wide)) @ wide.T
        if ridge > 0:
            slope -= ridge * code.toarray()
        yield rows, sample, code, slope, scaled_penalty(penalty, scale)
